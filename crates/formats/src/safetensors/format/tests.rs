use std::path::Path;

use gravure_base::ErrorKind;
use gravure_core::{HyperKey, Role, Value};
use proptest::prelude::*;

use super::super::testing::{bytes_of, f32_file, file, read};
use super::*;

const CONFIG: &str = r#"{"architectures": ["TinyForCausalLM"], "model_type": "x", "num_hidden_layers": 2, "tie_word_embeddings": true}"#;

fn weights() -> Vec<u8> {
    f32_file(&[
        ("model.layers.0.up.weight", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        ("model.layers.1.up.weight", &[2, 2], &[5.0, 6.0, 7.0, 8.0]),
        ("model.embed.weight", &[3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
    ])
}

/// A folder of these files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn open(dir: &Path) -> Result<Model> {
    read(&HuggingFace, dir, false)
}

#[test]
fn a_folder_is_a_model() {
    let card = "---\nlicense: mit\nlanguage:\n- en\n---\n# x";
    let generation = r#"{"temperature": 0.5, "eos_token_id": [1, 2], "nested": {}}"#;
    let dir = folder(&[
        ("config.json", CONFIG.as_bytes()),
        ("model.safetensors", &weights()),
        ("README.md", card.as_bytes()),
        ("generation_config.json", generation.as_bytes()),
    ]);
    assert_eq!(HuggingFace.probe(dir.path(), &[]), Confidence::Certain);
    let model = open(dir.path()).unwrap();
    assert_eq!((model.architecture_id.as_deref(), model.naming), (Some("tiny"), Naming::HuggingFace));
    assert_eq!(model.hyperparameters.u64(HyperKey::BlockCount).unwrap(), 2);
    let ids: Vec<_> = model.tensors.iter().map(|t| (t.id.unwrap().role, t.id.unwrap().layer)).collect();
    assert_eq!(ids, [(Role::FeedForwardUp, Some(0)), (Role::FeedForwardUp, Some(1)), (Role::TokenEmbedding, None)]);
    assert_eq!(bytes_of(&model, "model.layers.1.up.weight"), [5.0f32, 6.0, 7.0, 8.0].map(f32::to_le_bytes).concat());
    assert_eq!(model.metadata.get("license"), Some(&Value::String("mit".into())));
    assert_eq!(model.metadata.get("generation.temperature"), Some(&Value::F64(0.5)));
    assert_eq!(model.metadata.get("generation.eos_token_id"), Some(&Value::I64s(vec![1, 2])));
    assert!(model.notes.iter().any(|n| n.subject.ends_with("nested")), "{:?}", model.notes);
    assert_eq!(model.source.files.len(), 4);
    assert!(model.graph.is_some());
}

#[test]
fn one_row_is_read_without_the_others() {
    let dir = folder(&[("config.json", CONFIG.as_bytes()), ("model.safetensors", &weights())]);
    let model = open(dir.path()).unwrap();
    let (mut scratch, mut out) = (Vec::new(), Vec::new());
    model.tensor("model.embed.weight").unwrap().decode_rows(1..2, &mut scratch, &mut out).unwrap();
    assert_eq!((out, scratch.len()), (vec![2.0, 3.0], 8));
}

fn shards() -> [(&'static str, Vec<u8>); 2] {
    [
        ("model-00001-of-00002.safetensors", f32_file(&[("model.embed.weight", &[1, 2], &[1.0, 2.0])])),
        ("model-00002-of-00002.safetensors", f32_file(&[("layers.0.up.weight", &[1], &[3.0]), ("layers.1.up.weight", &[1], &[4.0])])),
    ]
}

fn sharded(index: &str) -> tempfile::TempDir {
    let [a, b] = shards();
    folder(&[("config.json", CONFIG.as_bytes()), ("model.safetensors.index.json", index.as_bytes()), (a.0, &a.1), (b.0, &b.1)])
}

const INDEX: &str = r#"{"metadata": {"total_size": 16}, "weight_map": {"model.embed.weight": "model-00001-of-00002.safetensors", "layers.0.up.weight": "model-00002-of-00002.safetensors", "layers.1.up.weight": "model-00002-of-00002.safetensors"}}"#;

#[test]
fn shards_are_one_model() {
    let dir = sharded(INDEX);
    let model = open(dir.path()).unwrap();
    assert_eq!(model.tensors.len(), 3);
    // The architecture's prefix may be missing from the names.
    assert_eq!(model.tensor("layers.1.up.weight").unwrap().id.unwrap().layer, Some(1));
    assert_eq!(bytes_of(&model, "layers.1.up.weight"), 4.0f32.to_le_bytes());
    assert_eq!(model.source.detail, "Hugging Face folder, 2 shards");
}

#[test]
fn links_from_a_cache_are_followed() {
    let dir = sharded(INDEX);
    let blobs = tempfile::tempdir().unwrap();
    let shard = dir.path().join("model-00002-of-00002.safetensors");
    std::fs::rename(&shard, blobs.path().join("3f2a")).unwrap();
    std::os::unix::fs::symlink(blobs.path().join("3f2a"), &shard).unwrap();
    assert_eq!(open(dir.path()).unwrap().tensors.len(), 3);
    // A link that leads to a folder, or nowhere, is no shard.
    std::fs::remove_file(&shard).unwrap();
    std::os::unix::fs::symlink(blobs.path(), &shard).unwrap();
    assert_eq!(open(dir.path()).unwrap_err().kind(), ErrorKind::Input);
}

#[test]
fn disagreements_between_index_and_shards_are_errors() {
    let missing = INDEX.replace("layers.1.up", "layers.7.up");
    let moved = INDEX.replace(r#"weight": "model-00001"#, r#"weight": "model-00002"#);
    let short = INDEX.replace(r#", "layers.1.up.weight": "model-00002-of-00002.safetensors""#, "");
    let third = INDEX.replace(r#""layers.1.up.weight": "model-00002-of-00002"#, r#""layers.1.up.weight": "model-00003-of-00002"#);
    let cases = [
        (missing, "no shard holds it"),
        (moved, "but no shard holds it"),
        (short.clone(), "not in the index"),
        (third, "is not there"),
        (INDEX.replace("model-00001", "../model-00001"), "not a plain file name"),
    ];
    for (index, message) in cases {
        let error = open(sharded(&index).path()).unwrap_err();
        assert!(error.message().contains(message), "{message}: {error}");
    }
    let lenient = read(&HuggingFace, sharded(&short).path(), true).unwrap();
    assert_eq!(lenient.tensors.len(), 3);
    assert!(lenient.notes.iter().any(|n| n.text.contains("not in the index")));
}

#[test]
fn a_tensor_in_two_shards_is_an_error() {
    let dir = sharded(INDEX);
    let [_, b] = shards();
    std::fs::write(dir.path().join("model-00001-of-00002.safetensors"), b.1).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(error.message().contains("is in model-00001"), "{error}");
}

#[test]
fn what_is_no_model_says_what_was_looked_for() {
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
    let w = weights();
    let config = CONFIG.as_bytes();
    let two = br#"{"weight_map": {"a": "model-00001-of-00001.safetensors"}}"#.as_slice();
    type Files<'a> = Vec<(&'a str, &'a [u8])>;
    let cases: Vec<(Files<'_>, ErrorKind, &str)> = vec![
        (vec![], ErrorKind::NotFound, "looked for model.safetensors"),
        (vec![("config.json", config)], ErrorKind::NotFound, "has a config.json, but no weights"),
        (vec![("config.json", config), ("pytorch_model.bin", b"PK".as_slice())], ErrorKind::NotFound, "holds pickled weights"),
        (vec![("config.json", config), ("adapter_model.safetensors", &w)], ErrorKind::NotFound, "holds an adapter"),
        (vec![("config.json", config), ("model-00001-of-00002.safetensors", &w)], ErrorKind::NotFound, "holds shards"),
        (vec![("config.json", config), ("other.safetensors", &w)], ErrorKind::NotFound, "but no model.safetensors"),
        (vec![("config.json", config), ("model.safetensors", lfs)], ErrorKind::Input, "git-lfs pointer"),
        (vec![("config.json", lfs), ("model.safetensors", &w)], ErrorKind::Input, "git-lfs pointer"),
        (vec![("config.json", config), ("model.safetensors", &w[..w.len() - 1])], ErrorKind::Input, "but only"),
        (vec![("config.json", config), ("model.safetensors", &w), ("model.safetensors.index.json", two)], ErrorKind::Input, "holds both"),
        (vec![("config.json", b"{".as_slice()), ("model.safetensors", &w)], ErrorKind::Input, "not valid JSON"),
        (vec![("config.json", b"[]".as_slice()), ("model.safetensors", &w)], ErrorKind::Input, "not a JSON object"),
        (vec![("config.json", br#"{"_pooling": {}}"#.as_slice()), ("model.safetensors", &w)], ErrorKind::Input, "reserved"),
        (vec![("config.json", br#"{"architectures": 7}"#.as_slice()), ("model.safetensors", &w)], ErrorKind::Input, "list of strings"),
    ];
    for (files, kind, message) in cases {
        let dir = folder(&files);
        let error = open(dir.path()).expect_err(message);
        assert!(error.kind() == kind && error.message().contains(message), "{message}: {error}");
        assert!(error.file().is_some(), "{message}: no file");
    }
}

#[test]
fn unknown_and_missing_tensors_are_named() {
    let config = CONFIG.as_bytes();
    let extra = f32_file(&[
        ("model.embed.weight", &[1], &[1.0]),
        ("model.layers.0.up.weight", &[1], &[1.0]),
        ("model.layers.0.mask", &[1], &[1.0]),
        ("model.layers.1.up.weight", &[1], &[1.0]),
        ("model.layers.1.strange", &[1], &[1.0]),
    ]);
    let dir = folder(&[("config.json", config), ("model.safetensors", &extra)]);
    let error = open(dir.path()).unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Unsupported, Some("model.layers.1.strange")));
    let model = read(&HuggingFace, dir.path(), true).unwrap();
    assert_eq!(model.tensors.len(), 3, "the mask carries nothing, the strange one was left out");
    assert!(model.notes.iter().any(|n| n.subject == "model.layers.1.strange"));

    let gap = f32_file(&[("model.embed.weight", &[1], &[1.0]), ("model.layers.0.up.weight", &[1], &[1.0])]);
    let dir = folder(&[("config.json", config), ("model.safetensors", &gap)]);
    let error = open(dir.path()).unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Input, Some("model.layers.1.up.weight")));

    let beyond = f32_file(&[("model.embed.weight", &[1], &[1.0]), ("model.layers.2.up.weight", &[1], &[1.0])]);
    let dir = folder(&[("config.json", config), ("model.safetensors", &beyond)]);
    assert!(open(dir.path()).unwrap_err().message().contains("beyond the 2 layers"));

    let twice = f32_file(&[("model.embed.weight", &[1], &[1.0]), ("embed.weight", &[1], &[1.0])]);
    let dir = folder(&[("config.json", config), ("model.safetensors", &twice)]);
    assert!(open(dir.path()).unwrap_err().message().contains("second name"));
}

#[test]
fn a_configuration_of_a_billion_layers_ends_at_once() {
    for layers in ["1000000000", "18446744073709551615"] {
        let config = CONFIG.replace("\"num_hidden_layers\": 2", &format!("\"num_hidden_layers\": {layers}"));
        let dir = folder(&[("config.json", config.as_bytes()), ("model.safetensors", &weights())]);
        for lenient in [false, true] {
            assert_eq!(read(&HuggingFace, dir.path(), lenient).unwrap_err().kind(), ErrorKind::Input);
        }
    }
}

#[test]
fn a_tied_output_is_one_weight_unless_it_differs() {
    let with_output = |values: &[f32; 2]| {
        f32_file(&[
            ("model.embed.weight", &[1, 2], &[1.0, 2.0]),
            ("model.layers.0.up.weight", &[1], &[1.0]),
            ("model.layers.1.up.weight", &[1], &[1.0]),
            ("lm_head.weight", &[1, 2], values),
        ])
    };
    let same = folder(&[("config.json", CONFIG.as_bytes()), ("model.safetensors", &with_output(&[1.0, 2.0]))]);
    let model = open(same.path()).unwrap();
    assert!(model.tensor("lm_head.weight").is_none() && model.hyperparameters.flag(HyperKey::TiedEmbeddings));
    let other = folder(&[("config.json", CONFIG.as_bytes()), ("model.safetensors", &with_output(&[1.0, 3.0]))]);
    let model = open(other.path()).unwrap();
    assert!(model.tensor("lm_head.weight").is_some() && !model.hyperparameters.flag(HyperKey::TiedEmbeddings));
    let untied = CONFIG.replace("true", "false");
    let dir = folder(&[("config.json", untied.as_bytes()), ("model.safetensors", &weights())]);
    assert_eq!(open(dir.path()).unwrap_err().item(), Some("lm_head.weight"));
}

#[test]
fn an_unknown_architecture_can_be_inspected() {
    let config = br#"{"architectures": ["OtherForCausalLM"], "model_type": "other", "whatever": 1}"#;
    let dir = folder(&[("config.json", config), ("model.safetensors", &weights())]);
    let model = open(dir.path()).unwrap();
    assert!(model.architecture.is_none() && model.graph.is_none());
    assert_eq!((model.architecture_id.as_deref(), model.tensors.len()), (Some("other"), 3));
}

#[test]
fn unread_keys_are_errors_or_notes() {
    let config = CONFIG.replace("}", r#", "strange": 1}"#);
    let dir = folder(&[("config.json", config.as_bytes()), ("model.safetensors", &weights())]);
    let error = open(dir.path()).unwrap_err();
    assert_eq!(error.item(), Some("strange"));
    assert!(error.file().unwrap().ends_with("config.json"));
    let model = read(&HuggingFace, dir.path(), true).unwrap();
    assert!(model.notes.iter().any(|n| n.text.contains("strange")));
}

#[test]
fn pooling_modules_reach_the_architecture() {
    let modules = br#"[{"type": "sentence_transformers.models.Transformer", "path": ""}, {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]"#;
    let files: &[(&str, &[u8])] = &[("config.json", CONFIG.as_bytes()), ("model.safetensors", &weights()), ("modules.json", modules)];
    let dir = folder(files);
    assert_eq!(open(dir.path()).unwrap_err().kind(), ErrorKind::NotFound, "its configuration is not there");
    std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    std::fs::write(dir.path().join("1_Pooling/config.json"), b"{}").unwrap();
    let model = open(dir.path()).unwrap();
    assert!(model.source.files.iter().any(|f| f.ends_with("1_Pooling/config.json")));
    std::fs::write(dir.path().join("modules.json"), String::from_utf8_lossy(modules).replace("1_Pooling", "../x")).unwrap();
    assert!(open(dir.path()).unwrap_err().message().contains("plain folder name"));
}

#[test]
fn a_bare_file_has_tensors_and_no_architecture() {
    let dir = folder(&[("config.json", CONFIG.as_bytes()), ("x.safetensors", &weights())]);
    let path = dir.path().join("x.safetensors");
    let head = std::fs::read(&path).unwrap();
    assert_eq!(HuggingFace.probe(&path, &head), Confidence::Certain);
    assert_eq!(HuggingFace.probe(&path, b""), Confidence::Name);
    assert_eq!(HuggingFace.probe(Path::new("x.bin"), b"PK\x03\x04"), Confidence::No);
    let model = open(&path).unwrap();
    assert_eq!((model.tensors.len(), model.architecture_id.as_deref()), (3, None));
    assert!(model.notes.iter().any(|n| n.subject == "config.json"));
}

#[test]
fn a_bare_file_shows_its_metadata() {
    let dir = folder(&[("x.safetensors", &file(r#"{"__metadata__":{"format":"pt","made by":"us"}}"#, &[]))]);
    let model = open(&dir.path().join("x.safetensors")).unwrap();
    assert_eq!(model.metadata.get("made by"), Some(&Value::String("us".into())));
}

#[test]
fn element_types_without_an_encoding_are_unsupported() {
    let dir = folder(&[("x.safetensors", &file(r#"{"w":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}"#, &[0; 8]))]);
    let error = open(&dir.path().join("x.safetensors")).unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Unsupported, Some("w")));
}

#[test]
fn real_checkpoints_are_read() {
    for name in ["gravure-tiny", "stories260k-llama"] {
        let Some(dir) = gravure_testing::test_data(&format!("models/{name}")) else { return };
        let model = open(&dir).unwrap();
        let stored = std::fs::metadata(dir.join("model.safetensors")).unwrap().len();
        let bytes: u64 = model.tensors.iter().map(|t| t.bytes().unwrap()).sum();
        assert!(bytes < stored && bytes > stored - 20_000, "{name}: {bytes} of {stored}");
        assert!(model.architecture_id.is_some(), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_folders_never_panic(config in proptest::collection::vec(any::<u8>(), 0..80), index in proptest::collection::vec(any::<u8>(), 0..80), weights in proptest::collection::vec(any::<u8>(), 0..80)) {
        let dir = folder(&[("config.json", &config), ("model.safetensors.index.json", &index), ("a.safetensors", &weights)]);
        prop_assert!(open(dir.path()).is_err());
        let dir = folder(&[("config.json", &config), ("model.safetensors", &weights)]);
        let _ = open(dir.path());
    }

    #[test]
    fn flipped_folders_never_panic(at in any::<prop::sample::Index>(), bit in 0u8..8, which in 0usize..3) {
        let [a, b] = shards();
        let mut files = [CONFIG.as_bytes().to_vec(), INDEX.as_bytes().to_vec(), a.1, b.1];
        let file = &mut files[which];
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        let dir = folder(&[("config.json", &files[0]), ("model.safetensors.index.json", &files[1]), (a.0, &files[2]), (b.0, &files[3])]);
        if let Ok(model) = open(dir.path()) {
            for tensor in &model.tensors {
                let mut out = Vec::new();
                tensor.data.read_rows(0..tensor.shape.rows(), &mut out).unwrap();
            }
        }
    }
}
