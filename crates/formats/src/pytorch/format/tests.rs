use std::path::PathBuf;
use std::sync::Arc;

use gravure_base::{ErrorKind, Limits, MemoryReader, ReadAt};
use gravure_core::Model;
use proptest::prelude::*;

use super::*;
use crate::safetensors::testing::{bytes_of, catalog, read};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pytorch/fixtures").join(name)
}

fn open(path: &Path) -> Result<Model> {
    read(&PyTorch, path, false)
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn every_element_type_of_each_container_is_read() {
    for name in ["zip.pt", "protocol4.pt", "legacy.pt"] {
        let path = fixture(name);
        let head = std::fs::read(&path).unwrap();
        assert_eq!(PyTorch.probe(&path, &head[..head.len().min(4096)]), Confidence::Certain, "{name}");
        let model = open(&path).unwrap();
        let expected: &[(&str, &str, &[u64], Vec<u8>)] = &[
            ("matrix", "f32", &[2, 3], floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])),
            ("transposed", "f32", &[3, 2], floats(&[0.0, 3.0, 1.0, 4.0, 2.0, 5.0])),
            ("tail", "f32", &[2], floats(&[4.0, 5.0])),
            ("tied.a", "f32", &[2, 2], floats(&[0.0, 1.0, 2.0, 3.0])),
            ("tied.b", "f32", &[2, 2], floats(&[0.0, 1.0, 2.0, 3.0])),
            ("parameter", "f32", &[2], floats(&[1.5, -2.5])),
            ("f64", "f64", &[1], 0.5f64.to_le_bytes().to_vec()),
            ("f16", "f16", &[2], vec![0x00, 0x38, 0x00, 0x40]),
            ("bf16", "bf16", &[3], vec![0x00, 0x3f, 0x00, 0x40, 0x80, 0xbf]),
            ("i64", "i64", &[], (-7i64).to_le_bytes().to_vec()),
            ("i32", "i32", &[2], vec![1, 0, 0, 0, 2, 0, 0, 0]),
            ("i16", "i16", &[1], vec![3, 0]),
            ("i8", "i8", &[1], vec![255]),
            ("u8", "u8", &[1], vec![255]),
            ("bool", "bool", &[2], vec![1, 0]),
            ("empty", "f32", &[0, 3], vec![]),
        ];
        for (tensor, encoding, shape, bytes) in expected {
            let found = model.tensor(tensor).unwrap();
            assert_eq!((found.encoding.id(), found.shape.dimensions()), (*encoding, *shape), "{name} {tensor}");
            assert_eq!(bytes_of(&model, tensor), *bytes, "{name} {tensor}");
        }
        let newer: &[(&str, &str, &[u8])] = &[("f8", "f8_e4m3", &[0x38, 0xc0]), ("u16", "u16", &[255, 255])];
        for (tensor, encoding, bytes) in newer.iter().filter(|_| name != "legacy.pt") {
            assert_eq!(model.tensor(tensor).unwrap().encoding.id(), *encoding);
            assert_eq!(bytes_of(&model, tensor), *bytes, "{name} {tensor}");
        }
        let tied = |tensor| &model.tensor(tensor).unwrap().data;
        assert!(std::sync::Arc::ptr_eq(tied("tied.a"), tied("tied.b")), "{name}: shared storages share a reader");
    }
}

#[test]
fn rows_of_a_transposed_matrix_come_alone() {
    let model = open(&fixture("zip.pt")).unwrap();
    let mut out = Vec::new();
    model.tensor("transposed").unwrap().data.read_rows(1..3, &mut out).unwrap();
    assert_eq!(out, floats(&[1.0, 4.0, 2.0, 5.0]));
}

#[test]
fn what_scripts_wrap_around_the_weights_is_taken_off() {
    for (name, notes) in [("wrapped.pth", 1), ("state.th", 0)] {
        let model = open(&fixture(name)).unwrap();
        assert_eq!(model.tensors.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["weight", "bias"]);
        assert_eq!(bytes_of(&model, "weight"), floats(&[1.0, 2.0, 3.0, 4.0]));
        assert_eq!(model.notes.len(), notes, "{name}: {:?}", model.notes);
    }
}

#[test]
fn classes_and_strange_strides_are_refused_by_name() {
    let error = open(&fixture("module.pt")).unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Input, Some("torch.nn.modules.linear.Linear")));
    for name in ["expanded.pt", "slice.pt"] {
        let error = open(&fixture(name)).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.help_text().unwrap().contains("contiguous"), "{name}: {error}");
    }
}

#[test]
fn a_real_checkpoint_of_2019_is_read() {
    let Some(path) = gravure_testing::test_data("models/resnet20-cifar10/resnet20-12fca82f.th") else { return };
    let model = open(&path).unwrap();
    assert_eq!(model.source.detail, "PyTorch checkpoint (legacy stream)");
    let weights: u64 =
        model.tensors.iter().filter(|t| !t.encoding.is_integer() && !t.name.contains("running")).map(|t| t.shape.elements()).sum();
    assert_eq!(weights, 269_722, "ResNet-20's parameters, batch normalization included");
    let first = model.tensor("module.conv1.weight").unwrap();
    assert_eq!(first.shape.dimensions(), [16, 3, 3, 3]);
    let (mut scratch, mut values) = (Vec::new(), Vec::new());
    first.decode_rows(0..first.shape.rows(), &mut scratch, &mut values).unwrap();
    assert!(values.iter().all(|v| v.abs() < 2.0) && values.iter().any(|v| v.abs() > 0.01));
}

/// A folder of these files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

#[test]
fn a_folder_with_shards_is_one_model() {
    let (a, b) = (std::fs::read(fixture("wrapped.pth")).unwrap(), std::fs::read(fixture("legacy.pt")).unwrap());
    let config = br#"{"model_type": "other"}"#;
    let single = folder(&[("config.json", config), ("pytorch_model.bin", &a)]);
    assert_eq!(PyTorch.probe(single.path(), &[]), Confidence::Certain);
    let model = open(single.path()).unwrap();
    assert_eq!((model.architecture_id.as_deref(), model.tensors.len(), model.source.files.len()), (Some("other"), 2, 2));

    let names = [
        "matrix",
        "transposed",
        "tail",
        "tied.a",
        "tied.b",
        "parameter",
        "f64",
        "f16",
        "bf16",
        "i64",
        "i32",
        "i16",
        "i8",
        "u8",
        "bool",
        "empty",
    ];
    let map: Vec<String> =
        names.iter().map(|n| format!(r#""{n}": "b.bin""#)).chain(["weight", "bias"].map(|n| format!(r#""{n}": "a.bin""#))).collect();
    let index = format!(r#"{{"weight_map": {{{}}}}}"#, map.join(","));
    let sharded = folder(&[("config.json", config), ("pytorch_model.bin.index.json", index.as_bytes()), ("a.bin", &a), ("b.bin", &b)]);
    assert_eq!(open(sharded.path()).unwrap().tensors.len(), 18);
    std::fs::remove_file(sharded.path().join("b.bin")).unwrap();
    let error = open(sharded.path()).unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.message().contains("b.bin"), "{error}");
    assert_eq!(open(folder(&[("config.json", config)]).path()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn files_that_are_something_else_say_so() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("empty", b"", "the file is empty"),
        ("git-lfs", b"version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
        ("a bare pickle", b"\x80\x02K\x01.", "magic number"),
        ("a zip of something", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "no data.pkl"),
        ("half a zip", b"PK\x03\x04aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "end record"),
        ("text", b"hello world", "neither a zip archive nor a pickle"),
    ];
    for (what, bytes, message) in cases {
        let dir = folder(&[("x.pt", bytes)]);
        let error = open(&dir.path().join("x.pt")).expect_err(what);
        let full = error.to_string();
        assert!(error.kind() == ErrorKind::Input && full.contains(message), "{what}: {error}");
    }
}

/// The tensors of a checkpoint in memory.
fn tensors(bytes: Vec<u8>) -> Result<Vec<gravure_core::Tensor>> {
    let source: Arc<dyn ReadAt> = Arc::new(MemoryReader::new(bytes, "test"));
    let request =
        ReadRequest { path: Path::new("test"), catalog: catalog(), limits: &Limits::default(), lenient: false, tokenizer_later: false };
    super::super::read::read_source(&source, &request, &mut Vec::new()).map(|(tensors, _)| tensors)
}

#[test]
fn every_truncation_is_an_error() {
    for name in ["wrapped.pth", "state.th", "legacy.pt", "zip.pt"] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        assert!(tensors(bytes.clone()).is_ok());
        for length in 0..bytes.len() {
            let error = tensors(bytes[..length].to_vec()).expect_err("a cut file was accepted");
            assert_eq!(error.kind(), ErrorKind::Input, "{name} {length}: {error}");
        }
    }
}

#[test]
fn bit_flips_never_panic() {
    for name in ["wrapped.pth", "state.th", "legacy.pt", "zip.pt"] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            for tensor in tensors(flipped).unwrap_or_default() {
                let mut out = Vec::new();
                tensor.data.read_rows(0..tensor.shape.rows(), &mut out).unwrap();
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), zip in any::<bool>()) {
        let head: &[u8] = if zip { b"PK\x03\x04" } else { &legacy::HEAD };
        for bytes in [bytes.clone(), [head, &bytes].concat()] {
            prop_assert!(tensors(bytes).is_err());
        }
    }
}
