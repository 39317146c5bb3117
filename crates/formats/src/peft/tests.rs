use std::path::Path;

use gravure_base::{ErrorKind, Limits, Result};
use gravure_core::values::Invocation;
use gravure_core::{Confidence, Format, Model, Naming, ReadRequest};

use super::Peft;
use crate::safetensors::testing::{bytes_of, catalog, f32_file, read};

const CONFIG: &str = r#"{"peft_type": "LORA", "lora_alpha": 6, "r": 2, "base_model_name_or_path": "somebody/Base"}"#;
const WEIGHTS: &str = "adapter_model.safetensors";

/// Name, shape and values.
type Given<'a> = (&'a str, &'a [u64], &'a [f32]);

fn folder(config: &str, tensors: &[Given<'_>]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("adapter_config.json"), config).unwrap();
    std::fs::write(folder.path().join(WEIGHTS), f32_file(tensors)).unwrap();
    folder
}

fn opened(config: &str, tensors: &[Given<'_>]) -> Result<Model> {
    read(&Peft, folder(config, tensors).path(), false)
}

/// The two pairs of the fixtures, as their script made them.
const PAIRS: &[Given<'static>] = &[
    ("base_model.model.model.layers.0.up.lora_B.weight", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    ("base_model.model.model.layers.0.up.lora_A.weight", &[2, 1], &[0.5, 0.25]),
    ("base_model.model.model.norm.weight", &[3], &[1.0, 1.0, 2.0]),
    ("base_model.model.model.layers.0.up.base_layer.weight", &[3, 1], &[0.0, 0.0, 0.0]),
    ("base_model.model.model.embed.lora_embedding_A", &[2, 4], &[1.0; 8]),
    ("base_model.model.model.embed.lora_embedding_B", &[3, 2], &[2.0; 6]),
];

#[test]
fn pairs_come_together_behind_the_vectors() {
    let folder = folder(CONFIG, PAIRS);
    std::fs::write(folder.path().join("README.md"), "---\nlicense: mit\n---\n").unwrap();
    let model = read(&Peft, folder.path(), false).unwrap();
    let names: Vec<&str> = model.tensors.iter().map(|t| t.name.as_str()).collect();
    let expected = [
        "model.norm.weight",
        "model.layers.0.up.weight.lora_a",
        "model.layers.0.up.weight.lora_b",
        "model.embed.weight.lora_a",
        "model.embed.weight.lora_b",
    ];
    assert_eq!(names, expected);
    assert_eq!(bytes_of(&model, expected[1]), [0.5f32, 0.25].map(f32::to_le_bytes).concat());
    let facts = model.adapter.unwrap();
    assert_eq!((facts.kind.as_str(), facts.alpha, facts.base.as_deref()), ("lora", 6.0, Some("somebody/Base")));
    assert_eq!((facts.invocation, model.naming), (Invocation::Always, Naming::HuggingFace));
    assert_eq!(model.metadata.get("license").and_then(|v| v.as_str()), Some("mit"));
    assert!(model.notes.iter().any(|n| n.text.contains("1 unchanged weights")), "{:?}", model.notes);
}

/// `fixtures/adapter_model.bin` holds the same tensors as torch saved them.
#[test]
fn a_pickled_adapter_is_the_same() {
    let folder = folder(CONFIG, PAIRS);
    let expected = read(&Peft, folder.path(), false).unwrap();
    std::fs::remove_file(folder.path().join(WEIGHTS)).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/peft/fixtures/adapter_model.bin");
    std::fs::copy(fixture, folder.path().join("adapter_model.bin")).unwrap();
    let pickled = read(&Peft, folder.path(), false).unwrap();
    for (a, b) in expected.tensors.iter().zip(&pickled.tensors) {
        assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
        assert_eq!(bytes_of(&expected, &a.name), bytes_of(&pickled, &b.name));
    }
    assert_eq!(expected.tensors.len(), pickled.tensors.len());
}

#[test]
fn the_root_of_the_rank_goes_into_alpha() {
    let config = CONFIG.replace("\"r\"", "\"use_rslora\": true, \"r\"");
    let alpha = opened(&config, &PAIRS[..2]).unwrap().adapter.unwrap().alpha;
    assert_eq!(alpha, (6.0 * 2f64.sqrt()) as f32);
    let other: Given<'_> = ("base_model.model.x.lora_A.weight", &[1, 1], &[1.0]);
    let second: Given<'_> = ("base_model.model.x.lora_B.weight", &[1, 1], &[1.0]);
    let error = opened(&config, &[PAIRS[0], PAIRS[1], other, second]).unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Unsupported, Some("use_rslora")));
}

#[test]
fn what_is_no_pair_is_refused_by_name() {
    let cases: &[(&[Given<'_>], ErrorKind, &str)] = &[
        (&[PAIRS[0]], ErrorKind::Input, "model.layers.0.up.weight"),
        (
            &[PAIRS[1], ("base_model.model.model.layers.0.up.lora_B.weight", &[3, 1], &[0.0; 3])],
            ErrorKind::Input,
            "model.layers.0.up.weight.lora_a",
        ),
        (&[("base_model.model.model.layers.0.up.lora_magnitude_vector", &[3], &[0.0; 3])], ErrorKind::Unsupported, "lora_magnitude_vector"),
        (&[("base_model.model.lm_head.weight", &[3, 1], &[0.0; 3])], ErrorKind::Unsupported, "lm_head.weight"),
        (&[PAIRS[2]], ErrorKind::Input, ""),
    ];
    for (tensors, kind, item) in cases {
        let error = opened(CONFIG, tensors).unwrap_err();
        assert_eq!(error.kind(), *kind, "{error}");
        assert!(error.item().unwrap_or_default().ends_with(item), "{error}");
    }
    let lone = tempfile::tempdir().unwrap();
    std::fs::write(lone.path().join("adapter_config.json"), CONFIG).unwrap();
    assert_eq!(read(&Peft, lone.path(), false).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(Peft.probe(lone.path(), &[]), Confidence::Name);
    assert_eq!(Peft.probe(folder(CONFIG, PAIRS).path(), &[]), Confidence::Certain);
    assert_eq!(Peft.probe(tempfile::tempdir().unwrap().path(), &[]), Confidence::No);
}

/// Both files cut anywhere, and with single bits turned over: accepted or refused, never a panic.
#[test]
fn broken_files_are_refused() {
    let folder = folder(CONFIG, PAIRS);
    let limits = Limits::default();
    let mut refused = 0;
    for name in ["adapter_config.json", WEIGHTS] {
        let path = folder.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut attempt = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let request = ReadRequest { path: folder.path(), catalog: catalog(), limits: &limits, lenient: false, tokenizer_later: false };
            let model = Peft.read(&request);
            refused += usize::from(model.is_err());
            for tensor in model.map(|m| m.tensors).unwrap_or_default() {
                let _ = tensor.data.read_rows(0..tensor.shape.rows(), &mut Vec::new());
            }
        };
        (0..whole.len()).for_each(|length| attempt(&whole[..length]));
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            attempt(&changed);
        }
        std::fs::write(&path, &whole).unwrap();
    }
    assert!(refused > 1000, "{refused}");
}
