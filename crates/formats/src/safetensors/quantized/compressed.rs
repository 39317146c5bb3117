//! compressed-tensors: packed integers, bytes and float8.

use gravure_base::{Error, Result};
use gravure_core::{Catalog, PlaneParameters, PlaneRole, Tensor};
use serde_json::{Map, Value as Json};

use super::groups::Groups;
use super::planes;
use super::scaled;
use super::scheme::{bits, group_size};

type Object = Map<String, Json>;

/// How the weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storage {
    Packed,
    Bytes,
    Float,
}

/// What shares a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    Tensor,
    Channel,
    Group(u64),
    Block([u64; 2]),
}

/// Settings of one checkpoint.
#[derive(Debug)]
pub(super) struct Compressed {
    storage: Storage,
    bits: u32,
    strategy: Strategy,
}

impl Compressed {
    pub(super) fn parse(object: &Object) -> Result<Self> {
        let groups = object.get("config_groups").and_then(Json::as_object).ok_or_else(|| Error::input("has no object `config_groups`"))?;
        let mut weights = groups.values().map(|group| group.get("weights").unwrap_or(&Json::Null));
        let first = weights.next().ok_or_else(|| Error::input("`config_groups` is empty"))?;
        if weights.any(|other| other != first) {
            return Err(Error::unsupported("compressed-tensors with several groups of weights"));
        }
        let weights = first.as_object().ok_or_else(|| Error::unsupported("compressed-tensors that leave the weights as they are"))?;
        let text = |key: &str| weights.get(key).and_then(Json::as_str);
        let kind = text("type").unwrap_or("int");
        let bits = bits(weights, &["num_bits"])?;
        let format = object.get("format").and_then(Json::as_str).unwrap_or("dense");
        let storage = match (format, kind, bits) {
            ("pack-quantized", "int", _) => Storage::Packed,
            ("int-quantized" | "naive-quantized", "int", 8) => Storage::Bytes,
            ("float-quantized" | "naive-quantized", "float", 8) => Storage::Float,
            _ => return Err(Error::unsupported(format!("compressed-tensors in the format `{format}` with {kind} of {bits} bits"))),
        };
        let block = || {
            let sizes = weights.get("block_structure").and_then(Json::as_array).map(|a| a.iter().map(Json::as_u64).collect::<Vec<_>>());
            match sizes.as_deref() {
                Some([Some(rows @ 1..), Some(columns @ 1..)]) => Ok(Strategy::Block([*rows, *columns])),
                _ => Err(Error::input("`block_structure` is no pair of positive numbers")),
            }
        };
        let strategy = match text("strategy") {
            Some("tensor") => Strategy::Tensor,
            Some("channel") => Strategy::Channel,
            Some("group") => group_size(weights, &["group_size"])?.map_or(Strategy::Channel, Strategy::Group),
            Some("block") => block()?,
            None => match weights.get("group_size") {
                None | Some(Json::Null) => Strategy::Tensor,
                Some(_) => group_size(weights, &["group_size"])?.map_or(Strategy::Channel, Strategy::Group),
            },
            Some(other) => return Err(Error::unsupported(format!("compressed-tensors with the strategy `{other}`"))),
        };
        Ok(Self { storage, bits, strategy })
    }

    pub(super) fn marker(&self) -> &'static str {
        if self.storage == Storage::Packed { ".weight_packed" } else { ".weight" }
    }

    pub(super) fn describe(&self) -> String {
        let kind = if self.storage == Storage::Float { "float" } else { "int" };
        let scales = match self.strategy {
            Strategy::Tensor => "one scale".to_owned(),
            Strategy::Channel => "a scale for each row".to_owned(),
            Strategy::Group(n) => format!("groups of {n}"),
            Strategy::Block([a, b]) => format!("blocks of {a} by {b}"),
        };
        format!("compressed-tensors, {kind} of {} bits, {scales}", self.bits)
    }
}

pub(super) fn decode(scheme: &Compressed, base: &str, groups: &mut Groups, catalog: &Catalog) -> Result<Option<Tensor>> {
    let scale_name = format!("{base}.weight_scale");
    if scheme.storage != Storage::Packed && groups.get(&scale_name).is_none() {
        return Ok(None);
    }
    let codes = groups.need(&format!("{base}{}", scheme.marker()))?;
    let scales = groups.need(&scale_name)?;
    let zeros = groups.take(&format!("{base}.weight_zero_point"));
    let index = groups.take(&format!("{base}.weight_g_idx"));
    let [rows, columns] = match scheme.storage {
        Storage::Packed => stored_shape(&groups.need(&format!("{base}.weight_shape"))?)?,
        _ => match codes.shape.dimensions() {
            [rows, columns] => [*rows, *columns],
            _ => return Err(Error::unsupported(format!("a quantized tensor of shape {}, which is no matrix", codes.shape))),
        },
    };
    let block = match scheme.strategy {
        Strategy::Block(block) => Some(block),
        Strategy::Group(size) => Some([1, size]),
        Strategy::Tensor | Strategy::Channel => None,
    };
    // Elements that mean themselves need only the scale.
    let plain = scheme.storage == Storage::Float || (scheme.storage == Storage::Bytes && zeros.is_none() && index.is_none());
    if plain {
        if let Some(extra) = zeros.or(index) {
            return Err(Error::unsupported(format!("float8 weights with `{}`", extra.name)));
        }
        return scaled::tensor(codes, scales, block, catalog).map(Some);
    }
    let group_size = match scheme.strategy {
        Strategy::Channel => columns,
        Strategy::Group(size) => size,
        Strategy::Tensor if rows == 1 => columns,
        Strategy::Tensor | Strategy::Block(_) => return Err(Error::unsupported("integer codes with this strategy")),
    };
    let parameters = PlaneParameters {
        rows,
        columns,
        bits: scheme.bits,
        group_size,
        numbers: scales.encoding,
        zero_points: zeros.is_some(),
        group_index: index.is_some(),
    };
    let encoding = if scheme.storage == Storage::Packed { "compressed_packed" } else { "compressed_int8" };
    let mut stored = vec![(PlaneRole::Codes, codes), (PlaneRole::Scales, scales)];
    stored.extend(zeros.map(|t| (PlaneRole::ZeroPoints, t)));
    stored.extend(index.map(|t| (PlaneRole::GroupIndex, t)));
    planes::tensor(format!("{base}.weight"), encoding, parameters, stored, catalog).map(Some)
}

/// The shape of the matrix, which two integers of the file say.
fn stored_shape(tensor: &Tensor) -> Result<[u64; 2]> {
    let bytes = tensor.encoding.layout().block_bytes;
    if tensor.shape.elements() != 2 || !tensor.encoding.is_integer() || !matches!(bytes, 4 | 8) {
        return Err(Error::input(format!("`{}` is {} of {} instead of two integers", tensor.name, tensor.shape, tensor.encoding.id())));
    }
    let mut stored = Vec::new();
    tensor.data.read_rows(0..tensor.shape.rows(), &mut stored)?;
    let mut dimensions = stored.chunks_exact(bytes).map(|chunk| {
        let mut wide = [0; 8];
        wide[..bytes].copy_from_slice(chunk);
        u64::from_le_bytes(wide)
    });
    match (dimensions.next(), dimensions.next()) {
        (Some(rows), Some(columns)) => Ok([rows, columns]),
        _ => Err(Error::input(format!("`{}` is cut short", tensor.name))),
    }
}
