use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use gravure_base::{Disk, ErrorKind};
use gravure_core::{ChunkStream, Format, Metadata, Model, Naming, PackageTensor, Shape};
use gravure_testing::{Fault, FaultyDisk};

use super::super::HuggingFace;
use super::super::testing::{bytes_of, catalog, f32_file, file, read};
use super::*;

/// The tensors of a model as they are, in pieces of a few rows.
#[derive(Debug)]
struct Copied<'a> {
    model: &'a Model,
    rows: u64,
    /// Tensors that were asked for.
    made: AtomicU64,
    /// Stops with an error before this tensor.
    fails_at: usize,
}

impl<'a> Copied<'a> {
    fn new(model: &'a Model) -> Self {
        Self { model, rows: 2, made: AtomicU64::new(0), fails_at: usize::MAX }
    }
}

impl ChunkStream for Copied<'_> {
    fn stream(&self, first: usize, sink: &mut dyn FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let mut bytes = Vec::new();
        for (index, tensor) in self.model.tensors.iter().enumerate().skip(first) {
            if index == self.fails_at {
                return Err(Error::new(ErrorKind::Interrupted, "stopped"));
            }
            self.made.fetch_add(1, Ordering::Relaxed);
            let mut row = 0;
            while row < tensor.shape.rows() {
                let end = (row + self.rows).min(tensor.shape.rows());
                tensor.data.read_rows(row..end, &mut bytes)?;
                sink(index, &bytes)?;
                row = end;
            }
        }
        Ok(())
    }
}

fn package<'a>(model: &'a Model, chunks: &'a dyn ChunkStream) -> Package<'a> {
    Package {
        model,
        overrides: Metadata::new(),
        importance: None,
        file_type: None,
        pruned_layers: 0,
        naming: Naming::HuggingFace,
        tensors: model
            .tensors
            .iter()
            .map(|t| PackageTensor { name: t.name.clone(), id: t.id, shape: t.shape.clone(), encoding: t.encoding })
            .collect(),
        chunks,
    }
}

fn request(path: &Path) -> WriteRequest {
    WriteRequest::new(path, Arc::new(Disk))
}

const CONFIG: &str = r#"{"model_type": "tiny-type", "num_hidden_layers": 2, "tie_word_embeddings": true, "torch_dtype": "float64"}"#;

fn source() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let weights = f32_file(&[
        ("model.embed.weight", &[3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        ("model.layers.0.up.weight", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        ("model.layers.1.up.weight", &[5, 1], &[5.0, 6.0, 7.0, 8.0, 9.0]),
    ]);
    let files: [(&str, &[u8]); 5] = [
        ("config.json", CONFIG.as_bytes()),
        ("model.safetensors", &weights),
        ("generation_config.json", b"{\"eos_token_id\": 1}"),
        ("LICENSE", b"free"),
        ("notes.txt", b"mine"),
    ];
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn same_tensors(a: &Model, b: &Model) {
    assert_eq!(a.tensors.len(), b.tensors.len());
    for tensor in &a.tensors {
        let other = b.tensor(&tensor.name).unwrap();
        assert_eq!((&tensor.shape, tensor.encoding.id()), (&other.shape, other.encoding.id()));
        assert_eq!(bytes_of(a, &tensor.name), bytes_of(b, &tensor.name), "{}", tensor.name);
    }
}

#[test]
fn what_is_written_is_read_again() {
    let dir = source();
    let model = read(&HuggingFace, dir.path(), false).unwrap();
    let chunks = Copied::new(&model);
    let out = tempfile::tempdir().unwrap();
    let splits: [(Option<u64>, Option<u64>, usize); 5] =
        [(None, None, 1), (Some(40), None, 2), (None, Some(1), 3), (Some(1), None, 3), (None, Some(2), 2)];
    for (max_file_bytes, max_file_tensors, shards) in splits {
        let target = out.path().join(format!("m{max_file_bytes:?}{max_file_tensors:?}"));
        let request = WriteRequest { max_file_bytes, max_file_tensors, ..request(&target) };
        let layout = HuggingFace.layout(&package(&model, &chunks), &request).unwrap();
        let artifact = HuggingFace.write(&package(&model, &chunks), &request).unwrap();
        assert_eq!(layout.iter().filter(|(name, _)| name.ends_with(".safetensors")).count(), shards);
        let written: Vec<(String, u64)> =
            artifact.files.iter().map(|f| (f.path.strip_prefix(&target).unwrap().to_str().unwrap().to_owned(), f.bytes)).collect();
        assert_eq!(written, layout, "what was announced was written");
        let mut expected: Vec<String> = layout.into_iter().map(|(name, _)| name).collect();
        expected.sort();
        assert_eq!(names(&target), expected, "and nothing else");
        for file in &artifact.files {
            let bytes = std::fs::read(&file.path).unwrap();
            let mut digest = Sha256::new();
            digest.update(&bytes);
            assert_eq!((bytes.len() as u64, digest.finish()), (file.bytes, file.sha256.clone()));
        }
        let again = read(&HuggingFace, &target, false).unwrap();
        same_tensors(&model, &again);
        assert_eq!(again.metadata.get("generation.eos_token_id"), model.metadata.get("generation.eos_token_id"));
        let config = std::fs::read_to_string(target.join("config.json")).unwrap();
        assert!(config.contains("\"torch_dtype\": \"float32\"") && config.contains("\"num_hidden_layers\": 2"), "{config}");
        assert_eq!(std::fs::read(target.join("LICENSE")).unwrap(), b"free");
    }
    assert_eq!(names(out.path()).len(), 5, "no temporary names are left");
}

#[test]
fn the_reference_implementation_reads_it() {
    let dir = source();
    let model = read(&HuggingFace, dir.path(), false).unwrap();
    let chunks = Copied::new(&model);
    let target = dir.path().join("bare.safetensors");
    HuggingFace.write(&package(&model, &chunks), &request(&target)).unwrap();
    let bytes = std::fs::read(&target).unwrap();
    let tensors = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("model.layers.0.up.weight").unwrap().data(), [1.0f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat());
    assert_eq!(tensors.len(), 3);
}

#[test]
fn wide_elements_go_first_where_they_would_be_misaligned() {
    let dir = tempfile::tempdir().unwrap();
    let header = r#"{"b":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"f":{"dtype":"F32","shape":[1],"data_offsets":[3,7]},"h":{"dtype":"BF16","shape":[1],"data_offsets":[7,9]},"d":{"dtype":"F64","shape":[1],"data_offsets":[9,17]}}"#;
    let path = dir.path().join("x.safetensors");
    std::fs::write(&path, file(header, &(0..17).collect::<Vec<u8>>())).unwrap();
    let model = read(&HuggingFace, &path, false).unwrap();
    let chunks = Copied::new(&model);
    let target = dir.path().join("y.safetensors");
    HuggingFace.write(&package(&model, &chunks), &request(&target)).unwrap();
    let again = read(&HuggingFace, &target, false).unwrap();
    assert_eq!(again.tensors.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["d", "f", "h", "b"]);
    same_tensors(&model, &again);
}

#[test]
fn an_old_folder_is_replaced_as_a_whole_and_a_foreign_one_is_not() {
    let dir = source();
    let model = read(&HuggingFace, dir.path(), false).unwrap();
    let chunks = Copied::new(&model);
    let out = tempfile::tempdir().unwrap();
    let target = out.path().join("m");
    let sharded = WriteRequest { max_file_tensors: Some(1), ..request(&target) };
    HuggingFace.write(&package(&model, &chunks), &sharded).unwrap();
    HuggingFace.write(&package(&model, &chunks), &request(&target)).unwrap();
    assert!(!target.join("model.safetensors.index.json").exists(), "nothing of the old one is left");
    assert_eq!(names(out.path()), ["m"]);
    std::fs::write(target.join("diary.txt"), "mine").unwrap();
    let error = HuggingFace.write(&package(&model, &chunks), &request(&target)).unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Request, Some("diary.txt")));
    assert_eq!(names(out.path()), ["m"]);
}

/// Every operation of the disk fails once, at first writing and at replacing.
#[test]
fn a_failing_disk_leaves_the_old_or_nothing() {
    let dir = source();
    let model = read(&HuggingFace, dir.path(), false).unwrap();
    let chunks = Copied::new(&model);
    for replace in [false, true] {
        let out = tempfile::tempdir().unwrap();
        let target = out.path().join("m");
        let write = |disk: &FaultyDisk| {
            let request = WriteRequest { storage: Arc::new(disk.clone()), max_file_tensors: Some(2), ..request(&target) };
            HuggingFace.write(&package(&model, &chunks), &request)
        };
        let clean = || {
            let _ = std::fs::remove_dir_all(&target);
            if replace {
                std::fs::create_dir(&target).unwrap();
                std::fs::write(target.join("config.json"), "old").unwrap();
            }
        };
        clean();
        let counting = FaultyDisk::new(Fault::None);
        write(&counting).unwrap();
        assert!(counting.operations() > 20);
        for k in 0..counting.operations() {
            for fault in [Fault::Once(k), Fault::From(k)] {
                clean();
                let result = write(&FaultyDisk::new(fault));
                assert!(result.is_err(), "{fault:?}: the failure was not noticed");
                let whole = target.join("model.safetensors.index.json").exists();
                if whole {
                    // Only the last step, making the new name durable, may fail after the swap.
                    assert_eq!(k, counting.operations() - 1, "{fault:?}");
                    same_tensors(&model, &read(&HuggingFace, &target, false).unwrap());
                } else {
                    assert_eq!(target.exists(), replace, "{fault:?}");
                    assert!(!replace || names(&target) == ["config.json"], "{fault:?}");
                    assert!(!out.path().join(".m.partial").exists(), "{fault:?}: something is left");
                }
                let _ = std::fs::remove_dir_all(out.path().join(".m.partial"));
            }
        }
    }
}

#[test]
fn an_interrupted_run_goes_on_with_whole_tensors() {
    let dir = source();
    let model = read(&HuggingFace, dir.path(), false).unwrap();
    let out = tempfile::tempdir().unwrap();
    let target = out.path().join("m");
    let named = WriteRequest { fingerprint: Some("f".into()), ..request(&target) };
    // A killed process runs no destructors: forget the output in the middle.
    let chunks = Copied::new(&model);
    let whole = package(&model, &chunks);
    let outline = Outline::new(&whole, &named).unwrap();
    let partial = gravure_base::partial_path(&target);
    std::fs::create_dir(&partial).unwrap();
    let (mut shard, _) = OutputFile::begin(Arc::new(Disk), &partial.join("model.safetensors"), Some("f")).unwrap();
    shard.write_all(&outline.shards[0].header).unwrap();
    for name in ["model.embed.weight", "model.layers.0.up.weight"] {
        shard.write_all(&bytes_of(&model, name)).unwrap();
        shard.end_unit().unwrap();
    }
    shard.write_all(&[1, 2, 3]).unwrap();
    let copy: PathBuf = out.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in names(&partial) {
        std::fs::copy(partial.join(&name), copy.join(&name)).unwrap();
    }
    drop(shard);
    std::fs::remove_dir_all(&partial).unwrap();
    std::fs::rename(&copy, &partial).unwrap();

    let again = Copied::new(&model);
    let resumed = HuggingFace.write(&package(&model, &again), &named).unwrap();
    assert_eq!(again.made.load(Ordering::Relaxed), 1, "two tensors were there already");
    let fresh = HuggingFace.write(&package(&model, &chunks), &request(&out.path().join("n"))).unwrap();
    let digests = |a: &Artifact| a.files.iter().map(|f| f.sha256.clone()).collect::<Vec<_>>();
    assert_eq!(digests(&resumed), digests(&fresh));
    assert_eq!(names(out.path()), ["m", "n"]);
}

#[test]
fn an_error_of_the_stream_leaves_nothing() {
    let dir = source();
    let model = read(&HuggingFace, dir.path(), false).unwrap();
    let out = tempfile::tempdir().unwrap();
    let chunks = Copied { fails_at: 2, ..Copied::new(&model) };
    for name in ["m", "m.safetensors"] {
        let error = HuggingFace.write(&package(&model, &chunks), &request(&out.path().join(name))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert!(names(out.path()).is_empty(), "{name}");
    }
}

#[test]
fn what_cannot_be_written_is_refused_before_anything_is_made() {
    let dir = source();
    let mut model = read(&HuggingFace, dir.path(), false).unwrap();
    let chunks_of = model.clone();
    let chunks = Copied::new(&chunks_of);
    let out = tempfile::tempdir().unwrap();
    let target = out.path().join("m");
    let refused = |package: &Package<'_>, request: &WriteRequest, kind: ErrorKind, message: &str| {
        let error = HuggingFace.write(package, request).unwrap_err();
        assert!(error.kind() == kind && error.message().contains(message), "{message}: {error}");
        assert!(names(out.path()).is_empty());
    };
    let neutral = Package { naming: Naming::Neutral, ..package(&model, &chunks) };
    refused(&neutral, &request(&target), ErrorKind::Unsupported, "names");
    let mut twice = package(&model, &chunks);
    twice.tensors[1].name = twice.tensors[0].name.clone();
    refused(&twice, &request(&target), ErrorKind::Input, "same name");
    let mut reserved = package(&model, &chunks);
    reserved.tensors[0].name = "__metadata__".into();
    refused(&reserved, &request(&target), ErrorKind::Unsupported, "of this name");
    let mut huge = package(&model, &chunks);
    huge.tensors[0].shape = Shape::new([1 << 61]).unwrap();
    refused(&huge, &request(&target), ErrorKind::Input, "impossibly large");
    let split = WriteRequest { max_file_tensors: Some(1), ..request(&out.path().join("m.safetensors")) };
    refused(&package(&model, &chunks), &split, ErrorKind::Request, "3 files are needed");
    model.source.path = out.path().join("gone.gguf");
    model.source.format = "gguf";
    refused(&package(&model, &chunks), &request(&target), ErrorKind::Unsupported, "rebuilt from a source in the format gguf");
}

#[test]
fn what_the_user_sets_is_in_the_first_header() {
    use gravure_core::Value;
    let folder = source();
    let model = read(&HuggingFace, folder.path(), false).unwrap();
    let chunks = Copied::new(&model);
    let mut package = package(&model, &chunks);
    package.overrides.set("gravure.a", Value::String("b \"c\"".into()));
    package.overrides.set("n", Value::U32(7));
    package.overrides.set("m", Value::I32(-7));
    package.overrides.set("x", Value::F32(0.5));
    package.overrides.set("y", Value::Bool(true));
    let texts = [("gravure.a", "b \"c\""), ("n", "7"), ("m", "-7"), ("x", "0.5"), ("y", "true"), ("format", "pt")];
    // One file, and one for each tensor.
    for most in [None, Some(1)] {
        let target = tempfile::tempdir().unwrap();
        let path = target.path().join("out");
        let written = write(&package, &WriteRequest { max_file_tensors: most, ..request(&path) }).unwrap();
        let shards: Vec<_> = written.files.iter().filter(|f| f.path.extension().is_some_and(|e| e == "safetensors")).collect();
        for (index, shard) in shards.iter().enumerate() {
            let bytes = std::fs::read(&shard.path).unwrap();
            let (_, header) = ::safetensors::SafeTensors::read_metadata(&bytes).unwrap();
            let found: BTreeSet<_> = header.metadata().iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let expected = if index == 0 { texts.into_iter().collect() } else { BTreeSet::from([("format", "pt")]) };
            assert_eq!(found, expected);
        }
        let again = read(&HuggingFace, &path, false).unwrap();
        assert_eq!(again.metadata.get("gravure.a"), Some(&Value::String("b \"c\"".into())));
        assert!(again.metadata.get("n").is_none(), "that would count as the model card's");
    }
    for (key, value) in [("format", Value::String("np".into())), ("list", Value::U32s(vec![1]))] {
        package.overrides = Metadata::new();
        package.overrides.set(key, value);
        let error = layout(&package, &request(&folder.path().join("out"))).unwrap_err();
        assert_eq!((error.kind(), error.item()), (ErrorKind::Request, Some(key)));
    }
}

#[test]
fn an_existing_file_is_not_replaced_by_a_folder() {
    let dir = source();
    let model = read(&HuggingFace, dir.path(), false).unwrap();
    let chunks = Copied::new(&model);
    let target = dir.path().join("notes.txt");
    let error = HuggingFace.write(&package(&model, &chunks), &request(&target)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    assert_eq!(std::fs::read(target).unwrap(), b"mine");
}

#[test]
fn real_checkpoints_survive() {
    for name in ["gravure-tiny", "stories260k-llama"] {
        let Some(dir) = gravure_testing::test_data(&format!("models/{name}")) else { return };
        let model = read(&HuggingFace, &dir, true).unwrap();
        let chunks = Copied { rows: 1000, ..Copied::new(&model) };
        let out = tempfile::tempdir().unwrap();
        let target = out.path().join(name);
        let request = WriteRequest { max_file_bytes: Some(1 << 19), ..request(&target) };
        HuggingFace.write(&package(&model, &chunks), &request).unwrap();
        same_tensors(&model, &read(&HuggingFace, &target, true).unwrap());
    }
    assert!(catalog().format("safetensors").is_ok());
}
