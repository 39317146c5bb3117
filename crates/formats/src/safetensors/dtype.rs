//! The table between safetensors' element types and encodings.

use ::safetensors::Dtype;
use gravure_core::{Catalog, Encoding, Error, Result};

/// Tags in the order of the specification; everything else in it (complex numbers, sub-byte and
/// FNUZ floats) has no encoding here.
const TABLE: &[(Dtype, &str, &str)] = &[
    (Dtype::F64, "F64", "f64"),
    (Dtype::F32, "F32", "f32"),
    (Dtype::F16, "F16", "f16"),
    (Dtype::BF16, "BF16", "bf16"),
    (Dtype::F8_E4M3, "F8_E4M3", "f8_e4m3"),
    (Dtype::F8_E5M2, "F8_E5M2", "f8_e5m2"),
    (Dtype::I64, "I64", "i64"),
    (Dtype::I32, "I32", "i32"),
    (Dtype::I16, "I16", "i16"),
    (Dtype::I8, "I8", "i8"),
    (Dtype::U64, "U64", "u64"),
    (Dtype::U32, "U32", "u32"),
    (Dtype::U16, "U16", "u16"),
    (Dtype::U8, "U8", "u8"),
    (Dtype::BOOL, "BOOL", "bool"),
];

/// The encoding of a stored element type.
pub(crate) fn encoding(dtype: Dtype, catalog: &Catalog) -> Result<&'static dyn Encoding> {
    let (_, _, id) = TABLE
        .iter()
        .find(|(d, ..)| *d == dtype)
        .ok_or_else(|| Error::unsupported(format!("the element type {dtype:?} is not known to this build")))?;
    let encoding = catalog.encoding(id)?;
    let layout = encoding.layout();
    if layout.block_elements != 1 || layout.block_bytes * 8 != dtype.bitsize() {
        return Err(Error::bug(format!("the encoding {id} does not hold elements of {dtype:?}")));
    }
    Ok(encoding)
}

/// The tag of an encoding in a header, where the format has one.
pub(crate) fn tag(encoding: &dyn Encoding) -> Option<&'static str> {
    TABLE.iter().find(|(_, _, id)| *id == encoding.id()).map(|(_, tag, _)| *tag)
}

/// What `config.json` calls a floating-point encoding (`torch_dtype`).
pub(crate) fn torch_name(encoding: &dyn Encoding) -> Option<&'static str> {
    Some(match encoding.id() {
        "f64" => "float64",
        "f32" => "float32",
        "f16" => "float16",
        "bf16" => "bfloat16",
        _ => return None,
    })
}
