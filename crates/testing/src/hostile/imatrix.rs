//! Hostile importance matrices, in both layouts.

use gravure_core::ErrorKind::{self, Input, Limit, Unsupported};

use super::gguf::{Gguf, number, strings, text, value};
use super::{Class, Sample, Verb, lfs_pointer};

fn one(name: &str, class: Class, kind: ErrorKind, bytes: Vec<u8>) -> Sample {
    Sample::file(&format!("imatrix: {name}"), "imatrix", class, kind, bytes).verb(Verb::Importance)
}

pub(super) fn samples() -> Vec<Sample> {
    [ggufs(), dats()].into_iter().flatten().collect()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The head of a matrix.
pub(super) fn head() -> Gguf {
    Gguf::new()
        .pair("general.type", text("imatrix"))
        .pair("imatrix.datasets", strings(&["d.txt"]))
        .pair("imatrix.chunk_count", number(7))
        .pair("imatrix.chunk_size", number(512))
}

fn entry(name: &str, sums: &[f32], counts: &[f32]) -> Vec<u8> {
    head()
        .filled(&format!("{name}.in_sum2"), &[sums.len() as u64], 0, floats(sums))
        .filled(&format!("{name}.counts"), &[counts.len() as u64], 0, floats(counts))
        .build()
}

fn ggufs() -> Vec<Sample> {
    let up = "blk.0.ffn_up.weight";
    let whole = entry(up, &[1.0; 256], &[4.0]);
    vec![
        one("empty", Class::Truncated, Input, vec![]),
        one("pointer", Class::Pointer, Limit, lfs_pointer()),
        one("cut", Class::Truncated, Input, whole[..whole.len() - 64].to_vec()),
        one("a model", Class::Contradiction, Input, super::importance_target()),
        one("no entries", Class::Contradiction, Input, head().build()),
        one("no data sets", Class::Contradiction, Input, Gguf::new().tensor("a.in_sum2", &[8], 0, 32).build()),
        one("a data set that is a number", Class::Syntax, Input, Gguf::new().pair("imatrix.datasets", number(1)).build()),
        one("a negative number of chunks", Class::Number, Input, {
            Gguf::new()
                .pair("imatrix.datasets", strings(&[]))
                .pair("imatrix.chunk_count", value(5, &(-1i32).to_le_bytes()))
                .pair("imatrix.chunk_size", number(1))
                .build()
        }),
        one("sums without counts", Class::Contradiction, Input, head().tensor("a.in_sum2", &[8], 0, 32).build()),
        one("counts without sums", Class::Contradiction, Input, head().tensor("a.counts", &[1], 0, 4).build()),
        one("a tensor of neither", Class::Unknown, Unsupported, head().tensor("a.weight", &[8], 0, 32).build()),
        one("sums in f16", Class::Contradiction, Input, head().tensor("a.in_sum2", &[8], 1, 16).tensor("a.counts", &[1], 0, 4).build()),
        one("sums in blocks of one bit", Class::HugeWork, Input, {
            head().tensor("a.in_sum2", &[128 << 17], 41, 18 << 17).tensor("a.counts", &[1], 0, 4).build()
        }),
        one(
            "sums in integers",
            Class::Contradiction,
            Input,
            head().tensor("a.in_sum2", &[8], 26, 32).tensor("a.counts", &[1], 0, 4).build(),
        ),
        one("sums of three over two counts", Class::Contradiction, Input, entry(up, &[1.0; 3], &[1.0; 2])),
        one("no sums", Class::Contradiction, Input, head().tensor("a.in_sum2", &[0], 0, 0).tensor("a.counts", &[1], 0, 4).build()),
        one("a sum that is not a number", Class::Number, Input, entry(up, &[f32::NAN; 256], &[1.0])),
        one("an infinite sum", Class::Number, Input, entry(up, &[f32::INFINITY; 256], &[1.0])),
        one("a negative sum", Class::Number, Input, entry(up, &[-1.0; 256], &[1.0])),
        one("a count that is not a number", Class::Number, Input, entry(up, &[1.0; 256], &[f32::NAN])),
        one("a negative count", Class::Number, Input, entry(up, &[1.0; 256], &[-1.0])),
        one("columns of another model", Class::Contradiction, Input, entry(up, &[1.0; 64], &[1.0])),
        one("entry twice", Class::Duplicate, Input, head().tensor("a.counts", &[1], 0, 4).tensor("a.counts", &[1], 0, 4).build()),
    ]
}

fn int(value: i32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// One entry of the older layout.
pub(super) fn dat_entry(name: &[u8], calls: i32, count: i32, values: &[f32]) -> Vec<u8> {
    [int(name.len() as i32), name.to_vec(), int(calls), int(count), floats(values)].concat()
}

fn dats() -> Vec<Sample> {
    let dat = |count: i32, parts: &[Vec<u8>]| [int(count), parts.concat()].concat();
    let good = || dat_entry(b"blk.0.ffn_up.weight", 1, 4, &[1.0; 4]);
    let case = |name: &str, class: Class, kind: ErrorKind, bytes: Vec<u8>| one(&format!("dat: {name}"), class, kind, bytes);
    vec![
        case("minus one entries", Class::Overflow, Input, dat(-1, &[])),
        case("2^31-1 entries", Class::HugeWork, Limit, dat(i32::MAX, &[])),
        case("a million entries in no bytes", Class::BeyondFile, Input, dat(1 << 20, &[])),
        case("one entry more than there is", Class::BeyondFile, Input, dat(2, &[good()])),
        case("name of minus one bytes", Class::Overflow, Input, dat(1, &[int(-1), vec![0; 64]])),
        case("name of 2 GiB", Class::BeyondFile, Input, dat(1, &[int(i32::MAX), vec![0; 64]])),
        case("name of no bytes", Class::Syntax, Input, dat(1, &[dat_entry(b"", 1, 1, &[1.0])])),
        case("name that is not UTF-8", Class::Text, Input, dat(1, &[dat_entry(b"\xff\xfe", 1, 1, &[1.0])])),
        case("name with a zero byte", Class::Text, Input, dat(1, &[dat_entry(b"a\0b", 1, 1, &[1.0])])),
        case("minus one values", Class::Overflow, Input, dat(1, &[dat_entry(b"a", 1, -1, &[1.0; 8])])),
        case("2^31-1 values", Class::HugeWork, Limit, dat(1, &[dat_entry(b"a", 1, i32::MAX, &[1.0; 8])])),
        case("16 million values in no bytes", Class::BeyondFile, Input, dat(1, &[dat_entry(b"a", 1, 16 << 20, &[1.0; 8])])),
        case("entry twice", Class::Duplicate, Input, dat(2, &[good(), good()])),
        case("value that is not a number", Class::Number, Input, dat(1, &[dat_entry(b"a", 1, 1, &[f32::NAN])])),
        case("negative value", Class::Number, Input, dat(1, &[dat_entry(b"a", 1, 1, &[-1.0])])),
        case("minus one chunks", Class::Number, Input, dat(1, &[good(), int(-1)])),
        case("bytes behind it", Class::Polyglot, Input, dat(1, &[good(), int(1), int(1), b"d".to_vec(), b"PK".to_vec()])),
    ]
}
