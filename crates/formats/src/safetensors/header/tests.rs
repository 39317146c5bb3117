use proptest::prelude::*;

use gravure_base::{ErrorKind, MemoryReader};

use super::super::testing::{f32_file, file};
use super::*;

fn header(bytes: Vec<u8>) -> Result<Header> {
    read(&MemoryReader::new(bytes, "test"), &Limits::default())
}

#[test]
fn tensors_come_in_the_order_of_their_bytes() {
    let text = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2],"data_offsets":[4,8]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"e":{"dtype":"I8","shape":[0,7],"data_offsets":[4,4]}} "#;
    let header = header(file(text, &[0; 8])).unwrap();
    let names: Vec<_> = header.tensors.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "e", "b"]);
    assert_eq!(header.metadata, [("format".to_owned(), "pt".to_owned())]);
    assert_eq!(header.data_start, text.len() as u64 + 8);
}

#[test]
fn hostile_headers_are_named_errors() {
    let entry = |name: &str, dtype: &str, shape: &str, offsets: &str| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    let one = |dtype: &str, shape: &str, offsets: &str| file(&format!("{{{}}}", entry("w", dtype, shape, offsets)), &[0; 16]);
    let two = |a: &str, b: &str| file(&format!("{{{},{}}}", entry("a", "F32", "[2]", a), entry("b", "F32", "[2]", b)), &[0; 16]);
    let cases: Vec<(&str, Vec<u8>, ErrorKind, &str)> = vec![
        ("overlap", two("[0,8]", "[4,12]"), ErrorKind::Input, "overlap"),
        ("the same bytes twice", two("[0,8]", "[0,8]"), ErrorKind::Input, "overlap"),
        ("hole", two("[0,8]", "[9,17]"), ErrorKind::Input, "belong to no tensor"),
        ("hole at the start", one("F32", "[2]", "[8,16]"), ErrorKind::Input, "belong to no tensor"),
        ("backwards", one("F32", "[4]", "[16,0]"), ErrorKind::Input, "before they start"),
        ("beyond the end", one("F32", "[8]", "[0,32]"), ErrorKind::Input, "only 16 are there"),
        ("trailing bytes", one("F32", "[2]", "[0,8]"), ErrorKind::Input, "8 bytes follow"),
        ("shape and size disagree", one("F32", "[3]", "[0,16]"), ErrorKind::Input, "does not fill"),
        ("shape overflows", one("F32", "[4611686018427387904,4611686018427387904]", "[0,16]"), ErrorKind::Input, "impossibly large"),
        ("size overflows", one("F64", "[18446744073709551615]", "[0,16]"), ErrorKind::Input, "impossibly large"),
        ("negative dimension", one("F32", "[-4]", "[0,16]"), ErrorKind::Input, "not valid JSON"),
        ("fractional dimension", one("F32", "[4.0]", "[0,16]"), ErrorKind::Input, "not valid JSON"),
        ("not a number", one("F32", "[NaN]", "[0,16]"), ErrorKind::Input, "not valid JSON"),
        ("offset past 64 bits", one("F32", "[4]", "[0,18446744073709551616]"), ErrorKind::Input, "not valid JSON"),
        ("three offsets", one("F32", "[4]", "[0,16,16]"), ErrorKind::Input, "not valid JSON"),
        ("unknown type", one("F31", "[4]", "[0,16]"), ErrorKind::Input, "F31"),
        ("many dimensions", one("U8", "[1,1,1,1,1,1,1,1,16]", "[0,16]"), ErrorKind::Limit, "dimensions"),
        ("duplicate name", file(&format!("{{{0},{0}}}", entry("a", "U8", "[16]", "[0,16]")), &[0; 16]), ErrorKind::Input, "there twice"),
        ("duplicate metadata", file(r#"{"__metadata__":{},"__metadata__":{}}"#, &[]), ErrorKind::Input, "there twice"),
        ("duplicate metadata key", file(r#"{"__metadata__":{"a":"1","a":"2"}}"#, &[]), ErrorKind::Input, "there twice"),
        ("metadata that is no string", file(r#"{"__metadata__":{"a":1}}"#, &[]), ErrorKind::Input, "not valid JSON"),
        ("a list", file("[]", &[]), ErrorKind::Input, "not JSON"),
        ("two documents", file("{}{}", &[]), ErrorKind::Input, "not valid JSON"),
        ("not UTF-8", [&4u64.to_le_bytes()[..], b"{\"\xff\""].concat(), ErrorKind::Input, "not valid JSON"),
        ("empty", Vec::new(), ErrorKind::Input, "has 0 bytes"),
        ("seven bytes", vec![0; 7], ErrorKind::Input, "has 7 bytes"),
        ("empty header", vec![0; 8], ErrorKind::Input, "not valid JSON"),
        ("header longer than the file", [&100u64.to_le_bytes()[..], b"{}"].concat(), ErrorKind::Input, "ends at 10"),
        ("header of 2^63 bytes", [&(1u64 << 63).to_le_bytes()[..], b"{}"].concat(), ErrorKind::Limit, "bytes of header"),
        ("git-lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".to_vec(), ErrorKind::Input, "git-lfs"),
        ("a web page", b"<!DOCTYPE html><html></html>".to_vec(), ErrorKind::Input, "not JSON"),
        (
            "deep value in an unknown key",
            file(&format!(r#"{{"a":{{"dtype":"U8","x":{}{}}}}}"#, "[".repeat(1000), "]".repeat(1000)), &[]),
            ErrorKind::Input,
            "JSON",
        ),
    ];
    for (what, bytes, kind, message) in cases {
        let error = header(bytes).expect_err(what);
        assert!(error.kind() == kind && error.message().contains(message), "{what}: {error}");
        assert!(error.file().is_some(), "{what}: no file");
    }
}

#[test]
fn a_hundred_thousand_entries_are_read_and_limits_hold() {
    let entries: Vec<String> = (0..100_000).map(|i| format!(r#""t{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    let bytes = file(&format!("{{{}}}", entries.join(",")), &[]);
    let reader = MemoryReader::new(bytes, "test");
    let start = std::time::Instant::now();
    assert_eq!(read(&reader, &Limits::default()).unwrap().tensors.len(), 100_000);
    assert!(start.elapsed().as_secs() < 5, "quadratic: {:?}", start.elapsed());
    let few = Limits { tensors: 99_999, ..Limits::default() };
    assert_eq!(read(&reader, &few).unwrap_err().kind(), ErrorKind::Limit);
    let short = Limits { header_bytes: 1000, ..Limits::default() };
    assert_eq!(read(&reader, &short).unwrap_err().kind(), ErrorKind::Limit);
}

fn sample() -> Vec<u8> {
    f32_file(&[("model.embed.weight", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), ("b", &[2], &[7.0, 8.0])])
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = sample();
    assert!(header(bytes.clone()).is_ok());
    for length in 0..bytes.len() {
        let error = header(bytes[..length].to_vec()).expect_err("a cut file was accepted");
        assert_eq!(error.kind(), ErrorKind::Input, "{length}: {error}");
    }
}

#[test]
fn every_bit_flip_is_an_error_or_a_consistent_header() {
    let bytes = sample();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(header) = header(flipped) {
            let end = header.tensors.iter().map(|(_, t)| t.data_offsets.1).max().unwrap_or(0);
            assert_eq!(header.data_start + end as u64, bytes.len() as u64, "bit {bit}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = header(bytes);
    }

    #[test]
    fn arbitrary_json_never_panics(text in r#"\{("[a-c]":\{("dtype":"(F32|U8|F4|BF16)",?|"shape":\[[0-9,]{0,12}\],?|"data_offsets":\[[0-9,]{0,12}\],?){0,4}\},?){0,3}\}"#, data in 0usize..64) {
        let _ = header(file(&text, &vec![0; data]));
    }

    #[test]
    fn what_is_written_is_read(shapes in proptest::collection::vec(proptest::collection::vec(0u64..5, 0..4), 0..6)) {
        let values: Vec<Vec<f32>> = shapes.iter().map(|s| vec![1.0; s.iter().product::<u64>() as usize]).collect();
        let names: Vec<String> = (0..shapes.len()).map(|i| format!("t{i}")).collect();
        let tensors: Vec<_> = (0..shapes.len()).map(|i| (names[i].as_str(), &shapes[i][..], &values[i][..])).collect();
        let header = header(f32_file(&tensors)).unwrap();
        prop_assert_eq!(header.tensors.len(), shapes.len());
    }
}
