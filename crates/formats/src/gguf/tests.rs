//! Round trips, hostile bytes, and the order of keys.

use std::path::{Path, PathBuf};

use gravure_base::{Limits, MemoryReader, Sha256};
use gravure_core::values::ImportanceEntry;
use gravure_core::{ErrorKind, HyperKey, ImportanceMatrix, Model, Value};
use proptest::prelude::*;

use super::header::Header;
use super::testing::{self, CATALOG, bytes_of, folder, metadata, model, package, pattern, request};
use super::write;

fn header_of(bytes: &[u8]) -> gravure_core::Result<Header> {
    Header::read(&MemoryReader::new(bytes, "memory"), &CATALOG, &Limits::default())
}

fn check_tensors(model: &Model) {
    let expected = testing::package_tensors();
    assert_eq!(model.tensors.len(), expected.len());
    for (index, (tensor, expected)) in model.tensors.iter().zip(&expected).enumerate() {
        assert_eq!((&tensor.name, tensor.encoding.id(), &tensor.id), (&expected.name, expected.encoding.id(), &expected.id));
        assert_eq!(tensor.shape.elements(), expected.shape.elements());
        let mut bytes = Vec::new();
        tensor.data.read_rows(0..tensor.shape.rows(), &mut bytes).unwrap();
        assert_eq!(bytes, bytes_of(index, tensor.bytes().unwrap()), "{}", tensor.name);
    }
}

fn keys(model: &Model) -> Vec<String> {
    model.metadata.iter().map(|(k, v)| format!("{k} = {v:?}")).collect()
}

#[test]
fn what_is_written_is_read_again() {
    let folder = folder();
    let path = folder.path().join("x.gguf");
    let (model, chunks) = (model("gguf"), pattern());
    let package = package(&model, &chunks);
    let layout = write::layout(&package, &request(&path)).unwrap();
    let artifact = write::write(&package, &request(&path)).unwrap();

    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(layout, [("x.gguf".to_owned(), bytes.len() as u64)]);
    assert_eq!((artifact.files.len(), artifact.files[0].bytes), (1, bytes.len() as u64));
    let mut digest = Sha256::new();
    digest.update(&bytes);
    assert_eq!(artifact.files[0].sha256, digest.finish());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the file is left");

    let again = testing::read(&path).unwrap();
    let mut expected = metadata();
    expected.remove("split.no");
    assert_eq!(again.metadata, expected);
    assert_eq!(again.source.detail, "GGUF v3");
    assert_eq!(again.notes, []);
    assert_eq!(again.architecture_id.as_deref(), Some("sample"));
    assert_eq!(again.hyperparameters.u64(HyperKey::BlockCount).unwrap(), 1);
    assert_eq!(again.hyperparameters.get(HyperKey::TiedEmbeddings), Some(&Value::Bool(true)));
    assert_eq!(again.tensors[4].shape.dimensions(), [2, 256], "outermost ones are dropped");
    check_tensors(&again);
}

#[test]
fn older_versions_are_read() {
    // Version 2 has the layout of version 3.
    let mut bytes = testing::sample();
    bytes[4] = 2;
    assert_eq!(header_of(&bytes).unwrap().version, 2);

    // Version 1 has 32-bit counts, lengths and dimensions.
    let mut v1 = Vec::new();
    v1.extend(b"GGUF");
    for number in [1u32, 1, 2] {
        v1.extend(number.to_le_bytes());
    }
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    };
    text(&mut v1, "general.architecture");
    v1.extend(8u32.to_le_bytes());
    text(&mut v1, "llama");
    text(&mut v1, "list");
    for number in [9u32, 4, 2, 11, 12] {
        v1.extend(number.to_le_bytes());
    }
    text(&mut v1, "t.weight");
    for number in [2u32, 32, 3, 2] {
        v1.extend(number.to_le_bytes());
    }
    v1.extend(0u64.to_le_bytes());
    v1.resize(v1.len().next_multiple_of(32) + 3 * 18, 7);
    let header = header_of(&v1).unwrap();
    assert_eq!((header.version, header.unclaimed), (1, 0));
    assert_eq!(header.metadata.get("list"), Some(&Value::U32s(vec![11, 12])));
    assert_eq!((header.tensors[0].shape.dimensions(), header.tensors[0].bytes), (&[3, 32][..], 54));
}

#[test]
fn other_byte_orders_and_versions_are_refused() {
    let sample = testing::sample();
    let with = |bytes: [u8; 4]| {
        let mut copy = sample.clone();
        copy[4..8].copy_from_slice(&bytes);
        header_of(&copy).unwrap_err()
    };
    let error = with([0, 0, 0, 3]);
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("big-endian GGUF (version 3)"), "{error}");
    assert_eq!(with([0; 4]).kind(), ErrorKind::Input);
    assert_eq!(with([4, 0, 0, 0]).kind(), ErrorKind::Unsupported);
    assert_eq!(header_of(b"GGML\0\0\0\0").unwrap_err().kind(), ErrorKind::Input);
}

#[test]
fn every_truncation_is_an_error() {
    let sample = testing::sample();
    // The padding behind the last tensor may be missing.
    let last = sample.len() - sample.iter().rev().take_while(|b| **b == 0).count();
    for length in 0..last {
        let error = header_of(&sample[..length]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Input), "cut at {length}: {error}");
        assert_eq!(error.file(), Some(Path::new("memory")));
    }
    for length in last..=sample.len() {
        assert!(header_of(&sample[..length]).is_ok(), "cut at {length}");
    }
}

#[test]
fn every_flipped_bit_is_an_error_or_another_valid_file() {
    let sample = testing::sample();
    let folder = folder();
    let path = folder.path().join("flipped.gguf");
    let mut refused = 0;
    let data_start = sample.len() - 2000;
    for bit in 0..data_start.min(sample.len()) * 8 {
        let mut copy = sample.clone();
        copy[bit / 8] ^= 1 << (bit % 8);
        match header_of(&copy) {
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::Bug, "bit {bit}: {error}");
                refused += 1;
            }
            // What is accepted must be readable to the last row.
            Ok(_) if bit % 61 == 0 => {
                std::fs::write(&path, &copy).unwrap();
                if let Ok(model) = testing::read(&path) {
                    let mut bytes = Vec::new();
                    for tensor in &model.tensors {
                        tensor.data.read_rows(0..tensor.shape.rows(), &mut bytes).unwrap();
                    }
                }
            }
            Ok(_) => {}
        }
    }
    assert!(refused > 1000, "only {refused} flips were noticed");
}

/// A header by hand: counts, then the given bytes.
fn by_hand(tensors: u64, pairs: u64, rest: &[u8]) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend(tensors.to_le_bytes());
    out.extend(pairs.to_le_bytes());
    out.extend(rest);
    out
}

fn text(text: &str) -> Vec<u8> {
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend(text.as_bytes());
    out
}

fn tensor(name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut out = text(name);
    out.extend((dimensions.len() as u32).to_le_bytes());
    dimensions.iter().for_each(|d| out.extend(d.to_le_bytes()));
    out.extend(kind.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out
}

fn pair(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [text(key), kind.to_le_bytes().to_vec(), value.to_vec()].concat()
}

#[test]
fn hostile_headers_are_refused_and_named() {
    let number = |n: u64| n.to_le_bytes().to_vec();
    let array = |kind: u32, count: u64| [kind.to_le_bytes().to_vec(), number(count)].concat();
    let nested = |depth: usize| [array(9, 1).repeat(depth), array(4, 0)].concat();
    let data = vec![0; 256];
    let cases: Vec<(&str, Vec<u8>, ErrorKind, &str)> = vec![
        ("tensor count", by_hand(u64::MAX, 0, &[]), ErrorKind::Limit, "tensors"),
        ("pair count", by_hand(0, u64::MAX, &[]), ErrorKind::Limit, "metadata entries"),
        ("tensor count beyond the file", by_hand(1000, 0, &[0; 100]), ErrorKind::Input, "cannot fit"),
        ("pair count beyond the file", by_hand(0, 1000, &[0; 100]), ErrorKind::Input, "cannot fit"),
        ("key length", by_hand(0, 1, &[&number(u64::MAX)[..], &[0; 32]].concat()), ErrorKind::Limit, "a metadata key"),
        ("key length beyond the file", by_hand(0, 1, &[&number(1000)[..], &[0; 32]].concat()), ErrorKind::Input, "cannot fit"),
        ("empty key", by_hand(0, 1, &pair("", 0, &[1, 0, 0])), ErrorKind::Input, "a metadata key of 0 bytes"),
        ("key that is not text", by_hand(0, 1, &[number(2), vec![0xff; 16]].concat()), ErrorKind::Input, "UTF-8"),
        ("key twice", by_hand(0, 2, &[pair("k", 0, &[1]), pair("k", 0, &[1])].concat()), ErrorKind::Input, "twice"),
        ("value type", by_hand(0, 1, &pair("k", 13, &[0; 8])), ErrorKind::Input, "metadata type 13"),
        ("flag", by_hand(0, 1, &pair("k", 7, &[2])), ErrorKind::Input, "neither 0 nor 1"),
        ("array type", by_hand(0, 1, &pair("k", 9, &array(99, 0))), ErrorKind::Input, "metadata type 99"),
        ("array count", by_hand(0, 1, &pair("k", 9, &array(4, 1 << 62))), ErrorKind::Limit, "elements"),
        ("array beyond the file", by_hand(0, 1, &pair("k", 9, &array(12, 1 << 20))), ErrorKind::Input, "cannot fit"),
        ("strings beyond the file", by_hand(0, 1, &pair("k", 9, &[array(8, 3), vec![0; 20]].concat())), ErrorKind::Input, "cannot fit"),
        ("depth", by_hand(0, 1, &pair("k", 9, &nested(200))), ErrorKind::Limit, "nesting"),
        ("alignment of 0", by_hand(0, 1, &pair("general.alignment", 4, &[0; 4])), ErrorKind::Input, "alignment of 0"),
        ("alignment of 3", by_hand(0, 1, &pair("general.alignment", 4, &[3, 0, 0, 0])), ErrorKind::Input, "alignment of 3"),
        ("large alignment", by_hand(0, 1, &pair("general.alignment", 4, &[0, 0, 0, 128])), ErrorKind::Input, "alignment of 2147483648"),
        (
            "alignment of another type",
            by_hand(0, 1, &pair("general.alignment", 10, &[32, 0, 0, 0, 0, 0, 0, 0])),
            ErrorKind::Input,
            "32-bit",
        ),
        ("dimensions", by_hand(1, 0, &[tensor("t", &[1; 5], 0, 0), data.clone()].concat()), ErrorKind::Input, "5 dimensions"),
        (
            "a negative dimension",
            by_hand(1, 0, &[tensor("t", &[u64::MAX], 0, 0), data.clone()].concat()),
            ErrorKind::Input,
            "impossible dimension",
        ),
        (
            "a product that wraps",
            by_hand(1, 0, &[tensor("t", &[1 << 32, 1 << 32, 1 << 32], 0, 0), data.clone()].concat()),
            ErrorKind::Input,
            "impossibly large",
        ),
        (
            "bytes that wrap",
            by_hand(1, 0, &[tensor("t", &[1 << 31, 1 << 31], 0, 0), data.clone()].concat()),
            ErrorKind::Input,
            "impossibly large",
        ),
        ("tensor type", by_hand(1, 0, &[tensor("t", &[1], 77, 0), data.clone()].concat()), ErrorKind::Unsupported, "tensor type 77"),
        ("retired tensor type", by_hand(1, 0, &[tensor("t", &[32], 31, 0), data.clone()].concat()), ErrorKind::Unsupported, "Q4_0_4_4"),
        ("broken row", by_hand(1, 0, &[tensor("t", &[33], 2, 0), data.clone()].concat()), ErrorKind::Input, "multiple"),
        (
            "offset beyond the end",
            by_hand(1, 0, &[tensor("t", &[4], 0, 1 << 40), data.clone()].concat()),
            ErrorKind::Input,
            "beyond the end",
        ),
        (
            "offset that wraps",
            by_hand(1, 0, &[tensor("t", &[4], 0, u64::MAX - 31), data.clone()].concat()),
            ErrorKind::Input,
            "beyond the end",
        ),
        ("crooked offset", by_hand(1, 0, &[tensor("t", &[4], 0, 8), data.clone()].concat()), ErrorKind::Input, "multiple of the alignment"),
        (
            "overlap",
            by_hand(2, 0, &[tensor("t", &[16], 0, 0), tensor("u", &[4], 0, 32), data.clone()].concat()),
            ErrorKind::Input,
            "overlaps `t`",
        ),
        (
            "name twice",
            by_hand(2, 0, &[tensor("t", &[4], 0, 0), tensor("t", &[4], 0, 32), data.clone()].concat()),
            ErrorKind::Input,
            "same name",
        ),
        ("no name", by_hand(1, 0, &[tensor("", &[4], 0, 0), data.clone()].concat()), ErrorKind::Input, "name of 0 bytes"),
        ("long name", by_hand(1, 0, &[tensor(&"n".repeat(256), &[4], 0, 0), data].concat()), ErrorKind::Input, "name of 256 bytes"),
    ];
    for (what, bytes, kind, message) in cases {
        let error = header_of(&bytes).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(error.message().contains(message), "{what}: {error}");
        assert!(error.file().is_some(), "{what}: {error}");
    }
}

#[test]
fn bytes_that_belong_to_no_tensor_are_noted() {
    let folder = folder();
    let path = folder.path().join("tail.gguf");
    let mut bytes = testing::sample();
    bytes.extend([1; 10]);
    std::fs::write(&path, &bytes).unwrap();
    let model = testing::read(&path).unwrap();
    assert_eq!(model.notes.len(), 1);
    assert!(model.notes[0].text.starts_with("10 bytes"), "{:?}", model.notes);
}

#[test]
fn a_header_beyond_the_limit_is_refused() {
    let sample = testing::sample();
    let limits = Limits { header_bytes: 200, ..Limits::default() };
    assert!(Header::read(&MemoryReader::new(sample, "memory"), &CATALOG, &limits).is_err());
}

#[test]
fn a_quantized_file_has_the_keys_where_llama_quantize_puts_them() {
    let folder = folder();
    let path = folder.path().join("x.gguf");
    let (model, chunks) = (model("gguf"), pattern());
    let importance = ImportanceMatrix {
        entries: [("a".to_owned(), ImportanceEntry { values: vec![1.0], counts: vec![1.0] })].into(),
        datasets: vec!["text.txt".into(), "other.txt".into()],
        chunk_count: 12,
        chunk_size: 512,
        path: PathBuf::from("i.gguf"),
    };
    let mut package = package(&model, &chunks);
    package.file_type = Some(15);
    package.importance = Some(&importance);
    package.overrides.set("a.u8", Value::U32(1));
    package.overrides.set("sample.block_count", Value::U32(40));
    package.pruned_layers = 1;
    write::write(&package, &request(&path)).unwrap();
    let keys = keys(&testing::read(&path).unwrap());
    let expected = [
        "general.quantization_version = U32(2)",
        "general.file_type = U32(15)",
        "a.u8 = U32(1)",
        "quantize.imatrix.file = String(\"i.gguf\")",
        "quantize.imatrix.dataset = String(\"text.txt\")",
        "quantize.imatrix.entries_count = U32(1)",
        "quantize.imatrix.chunks_count = U32(12)",
        "sample.block_count = U32(0)",
    ];
    assert_eq!(keys[keys.len() - expected.len()..], expected);
    assert_eq!(keys[..2], ["general.architecture = String(\"sample\")", "general.name = String(\"Größe 🙂\")"]);
    assert!(!keys.iter().any(|k| k.starts_with("split.")));
}

#[test]
fn a_converted_file_has_the_keys_of_the_converter() {
    let folder = folder();
    let path = folder.path().join("x.gguf");
    let (model, chunks) = (model("folder"), pattern());
    let mut package = package(&model, &chunks);
    package.file_type = Some(1);
    write::write(&package, &request(&path)).unwrap();
    let again = testing::read(&path).unwrap();
    let expected = [
        "general.architecture = String(\"sample\")",
        "general.type = String(\"model\")",
        "general.name = String(\"Some Folder 2B Chat\")",
        "general.finetune = String(\"2b-chat\")",
        "general.basename = String(\"Some-Folder\")",
        "general.size_label = String(\"0.9K\")",
        "sample.block_count = U32(2)",
        "general.file_type = U32(1)",
        "sample.rope.freq_base = F32(10000.0)",
        "general.quantization_version = U32(2)",
    ];
    assert_eq!(keys(&again), expected);
    assert_eq!(again.tensors[4].shape.dimensions(), [1, 2, 256], "the converter keeps outermost ones");
    check_tensors(&again);

    package.file_type = Some(15);
    write::write(&package, &request(&path)).unwrap();
    let keys = keys(&testing::read(&path).unwrap());
    assert_eq!(keys[keys.len() - 2..], ["general.quantization_version = U32(2)", "general.file_type = U32(15)"]);
}

#[test]
fn large_outputs_are_split_and_read_as_one() {
    let folder = folder();
    let (mut model, chunks) = (model("gguf"), pattern());
    model.metadata.set("general.alignment", Value::U32(64));
    let mut request = request(&folder.path().join("x.gguf"));
    // Padded sizes: 640, 128, 64, 0, 320, 64.
    for (bytes, tensors, expected) in [(Some(512), None, vec![1, 4, 1]), (None, Some(4), vec![4, 2]), (Some(1), None, vec![1; 6])] {
        (request.max_file_bytes, request.max_file_tensors) = (bytes, tensors);
        let package = package(&model, &chunks);
        let layout = write::layout(&package, &request).unwrap();
        let artifact = write::write(&package, &request).unwrap();
        let written: Vec<(String, u64)> =
            artifact.files.iter().map(|f| (f.path.file_name().unwrap().to_string_lossy().into_owned(), f.bytes)).collect();
        assert_eq!(layout, written);
        let counts: Vec<usize> =
            artifact.files.iter().map(|f| header_of(&std::fs::read(&f.path).unwrap()).unwrap().tensors.len()).collect();
        assert_eq!(counts, expected);
        for (index, file) in artifact.files.iter().enumerate() {
            let again = testing::read(&file.path).unwrap();
            assert_eq!(again.source.files.len(), expected.len());
            assert_eq!(again.metadata.get("general.name"), metadata().get("general.name"));
            check_tensors(&again);
            let header = header_of(&std::fs::read(&file.path).unwrap()).unwrap();
            let split = ["split.no", "split.count", "split.tensors.count"].map(|k| header.metadata.get(k).cloned());
            let count = expected.len() as u16;
            assert_eq!(split, [Some(Value::U16(index as u16)), Some(Value::U16(count)), Some(Value::I32(6))]);
        }
    }
}

#[test]
fn a_single_file_of_a_kept_split_has_its_number_in_its_name_alone() {
    let folder = folder();
    let (model, chunks) = (model("gguf"), pattern());
    let package = package(&model, &chunks);
    let mut request = request(&folder.path().join("x.gguf"));
    let plain = write::write(&package, &request).unwrap();
    request.file_tensors = vec![package.tensors.len() as u64];
    let numbered = write::write(&package, &request).unwrap();
    let [file] = &numbered.files[..] else { panic!("one file") };
    assert_eq!(file.path, folder.path().join("x-00001-of-00001.gguf"));
    assert_eq!(write::layout(&package, &request).unwrap(), [("x-00001-of-00001.gguf".to_owned(), file.bytes)]);
    assert_eq!(file.sha256, plain.files[0].sha256);
    assert!(testing::read(&file.path).is_ok());
}

#[test]
fn incomplete_and_mixed_sets_are_refused() {
    let folder = folder();
    let (model, chunks) = (model("gguf"), pattern());
    let mut request = request(&folder.path().join("x.gguf"));
    request.max_file_tensors = Some(3);
    let artifact = write::write(&package(&model, &chunks), &request).unwrap();
    let [first, second] = &artifact.files[..] else { panic!("two files") };

    let renamed = folder.path().join("alone.gguf");
    std::fs::copy(&first.path, &renamed).unwrap();
    let error = testing::read(&renamed).unwrap_err();
    assert!(error.message().contains("file 1 of 2"), "{error}");

    let whole = std::fs::read(&second.path).unwrap();
    std::fs::copy(&first.path, &second.path).unwrap();
    let error = testing::read(&first.path).unwrap_err();
    assert_eq!(error.item(), Some("split.no"), "{error}");

    std::fs::remove_file(&second.path).unwrap();
    let error = testing::read(&first.path).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::NotFound, Some(&*second.path)));
    std::fs::write(&second.path, whole).unwrap();
    assert!(testing::read(&first.path).is_ok());
}

#[test]
fn an_interrupted_split_output_goes_on_and_ends_the_same() {
    let whole = folder();
    let resumed = folder();
    let (model, chunks) = (model("gguf"), pattern());
    let package = package(&model, &chunks);
    let request_in = |folder: &Path| {
        let mut request = request(&folder.join("x.gguf"));
        request.max_file_tensors = Some(2);
        request.fingerprint = Some("f".into());
        request
    };
    let expected = write::write(&package, &request_in(whole.path())).unwrap();

    // Breaks off within each tensor, leaving behind what a killed process would.
    for stop in 0..chunks.0.len() {
        let request = request_in(resumed.path());
        let broken = Breaking { pattern: pattern(), stop, folder: resumed.path().to_owned(), saved: folder() };
        let broken_package = gravure_core::Package {
            chunks: &broken,
            tensors: testing::package_tensors(),
            overrides: Default::default(),
            ..package_like(&package)
        };
        write::write(&broken_package, &request).unwrap_err();
        broken.restore();
        let artifact = write::write(&package, &request).unwrap();
        for (file, expected) in artifact.files.iter().zip(&expected.files) {
            assert_eq!((file.bytes, &file.sha256), (expected.bytes, &expected.sha256), "stopped in tensor {stop}");
            assert_eq!(std::fs::read(&file.path).unwrap(), std::fs::read(&expected.path).unwrap());
            std::fs::remove_file(&file.path).unwrap();
        }
        assert_eq!(std::fs::read_dir(resumed.path()).unwrap().count(), 0, "nothing else is left");
    }
}

fn package_like<'a>(package: &gravure_core::Package<'a>) -> gravure_core::Package<'a> {
    gravure_core::Package {
        model: package.model,
        pruned_layers: 0,
        overrides: Default::default(),
        importance: None,
        file_type: None,
        naming: package.naming,
        tensors: Vec::new(),
        chunks: package.chunks,
    }
}

/// Streams until it comes to a tensor, then saves the folder as it is and fails.
struct Breaking {
    pattern: testing::Pattern,
    stop: usize,
    folder: PathBuf,
    saved: tempfile::TempDir,
}

impl Breaking {
    fn copy(from: &Path, to: &Path) {
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }

    fn restore(&self) {
        Self::copy(self.saved.path(), &self.folder);
    }
}

impl gravure_core::ChunkStream for Breaking {
    fn stream(&self, first: usize, sink: &mut dyn FnMut(usize, &[u8]) -> gravure_core::Result<()>) -> gravure_core::Result<()> {
        self.pattern.stream(first, &mut |index, bytes| {
            sink(index, bytes)?;
            if index < self.stop {
                return Ok(());
            }
            Self::copy(&self.folder, self.saved.path());
            Err(gravure_core::Error::new(ErrorKind::Interrupted, "stopped"))
        })?;
        // The stop was at a tensor without bytes.
        Self::copy(&self.folder, self.saved.path());
        Err(gravure_core::Error::new(ErrorKind::Interrupted, "stopped"))
    }
}

#[test]
fn a_stream_that_breaks_its_word_is_noticed() {
    let folder = folder();
    let path = folder.path().join("x.gguf");
    let model = model("gguf");
    for change in [-1i64, 1] {
        let mut wrong = pattern();
        wrong.0[1] = wrong.0[1].wrapping_add_signed(change);
        let error = write::write(&package(&model, &wrong), &request(&path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Bug);
        assert_eq!(error.item(), Some("blk.0.attn_q.weight"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn what_a_gguf_cannot_hold_is_refused() {
    let folder = folder();
    let path = folder.path().join("x.gguf");
    let (model, chunks) = (model("gguf"), pattern());
    let mut long = package(&model, &chunks);
    long.tensors[0].name = "n".repeat(64);
    let error = write::layout(&long, &request(&path)).unwrap_err();
    assert!(error.message().contains("64 bytes"), "{error}");
    let mut twice = package(&model, &chunks);
    twice.tensors[0].name = twice.tensors[1].name.clone();
    assert!(write::layout(&twice, &request(&path)).is_err());
    let mut deep = package(&model, &chunks);
    deep.tensors[0].shape = gravure_core::Shape::new([1, 1, 1, 5, 32]).unwrap();
    assert!(write::layout(&deep, &request(&path)).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_a_header(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = header_of(&bytes);
        let mut named = b"GGUF\x03\0\0\0".to_vec();
        named.extend(&bytes);
        let _ = header_of(&named);
    }

    #[test]
    fn any_changed_piece_is_an_error_or_a_header(at in 0usize..1200, piece in proptest::collection::vec(any::<u8>(), 1..24)) {
        let mut sample = testing::sample();
        let at = at.min(sample.len() - piece.len());
        sample[at..at + piece.len()].copy_from_slice(&piece);
        if let Err(error) = header_of(&sample) {
            prop_assert_ne!(error.kind(), ErrorKind::Bug);
        }
    }
}

#[test]
fn real_vocabularies_are_written_as_they_were() {
    let Some(data) = gravure_testing::test_data("vocab-gguf") else { return };
    let folder = folder();
    let mut count = 0;
    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "gguf") {
            continue;
        }
        let model = testing::read(&path).unwrap();
        let (chunks, copy) = (testing::Pattern(Vec::new()), folder.path().join("copy.gguf"));
        let mut package = package(&model, &chunks);
        package.tensors.clear();
        write::write(&package, &request(&copy)).unwrap();
        assert!(std::fs::read(&path).unwrap() == std::fs::read(&copy).unwrap(), "{} is not written as it was", path.display());
        count += 1;
    }
    assert!(count > 3, "only {count} files");
}
