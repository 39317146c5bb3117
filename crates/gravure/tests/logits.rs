//! The native runtime against transformers: every architecture's tiny model, loaded from its folder
//! and from a GGUF of it, gives the logits (or embeddings) that transformers gives in 32 bits.
//! `scripts/reference_logits.py` made the fixtures.

use std::path::{Path, PathBuf};

use gravure::engine::{Activations, CacheType, Engine, LoadOptions, load};
use gravure::{PlanSource, QuantizeRequest, Quiet, Uniform, quantize};
use gravure_core::contracts::{Chunk, Phase, Step, Wanted};
use gravure_testing::tiny_model::{self, Options};
use gravure_testing::workspace_root;
use serde_json::Value as Json;

/// What a GGUF has no key for, so that a model of it computes something else (in llama.cpp too).
const NOT_IN_A_GGUF: &[(&str, &str)] = &[
    ("gemma2", "the divisor of scores: that of the published models is assumed"),
    ("gemma2_window", "the divisor of scores: that of the published models is assumed"),
    ("mistral", "the sliding window: the whole context is seen"),
    ("mistral_window", "the sliding window: the whole context is seen"),
];

fn fixtures() -> Vec<(String, Json)> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(workspace_root().join("tests/fixtures/logits")).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 18, "fixtures are missing");
    let name = |p: &Path| p.file_stem().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|p| (name(p), serde_json::from_slice(&std::fs::read(p).unwrap()).unwrap())).collect()
}

fn numbers(value: &Json) -> Vec<u32> {
    value.as_array().map(|list| list.iter().map(|v| v.as_u64().unwrap() as u32).collect()).unwrap_or_default()
}

fn load_exact(path: &Path) -> Engine {
    let mut request = LoadOptions::new(path);
    request.activations = Activations::F32;
    request.cache = CacheType::F32;
    request.threads = 2;
    load(&request, &Quiet).unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

/// The rows of all positions.
fn rows(model: &Engine, tokens: &[u32], types: &[u32]) -> Vec<Vec<f32>> {
    let width = model.loaded.facts().width;
    if let Some(encoder) = model.loaded.encoder() {
        return encoder.encode(tokens, types).unwrap().chunks_exact(width).map(<[f32]>::to_vec).collect();
    }
    let decoder = model.loaded.decoder().unwrap();
    let sequence = decoder.open().unwrap();
    let mut out = Vec::new();
    let chunk = Chunk { sequence, tokens, phase: Phase::Prefill, wanted: Wanted::From(0) };
    decoder
        .step(Step::new(&[chunk]), &mut |row| {
            assert_eq!(row.token, out.len());
            out.push(row.values.to_vec());
            Ok(())
        })
        .unwrap();
    out
}

fn compare(name: &str, model: &Engine, fixture: &Json, failures: &mut Vec<String>) {
    let got = rows(model, &numbers(&fixture["tokens"]), &numbers(&fixture["token_types"]));
    for (position, expected) in fixture["positions"].as_array().unwrap().iter().zip(fixture["rows"].as_array().unwrap()) {
        let expected: Vec<f32> = expected.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
        let got = &got[position.as_u64().unwrap() as usize];
        let scale = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let worst = got.iter().zip(&expected).fold(0.0_f32, |m, (a, b)| if (a - b).abs() <= m { m } else { (a - b).abs() });
        if got.len() != expected.len() || worst.is_nan() || worst > 1e-4 * scale {
            failures.push(format!("{name}, position {position}: {worst} of {scale}"));
        }
    }
}

#[test]
fn logits_are_transformers() {
    let mut failures = Vec::new();
    for (name, fixture) in fixtures() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny");
        let options = Options::from_json(&fixture["options"]).unwrap();
        tiny_model::write(fixture["design"].as_str().unwrap(), &options, &path).unwrap();
        compare(&format!("{name} from its folder"), &load_exact(&path), &fixture, &mut failures);
        let gguf = folder.path().join("tiny.gguf");
        let mut request = QuantizeRequest::new(&path, &gguf, PlanSource::Uniform(Uniform::F32));
        request.threads = 2;
        quantize(&request, &Quiet).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut of_gguf = Vec::new();
        compare(&format!("{name} from a GGUF"), &load_exact(&gguf), &fixture, &mut of_gguf);
        match NOT_IN_A_GGUF.iter().any(|(n, _)| *n == name) {
            true if of_gguf.is_empty() => failures.push(format!("{name}: its GGUF says it all, and the list is out of date")),
            true => {}
            false => failures.append(&mut of_gguf),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
