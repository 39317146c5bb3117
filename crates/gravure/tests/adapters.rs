//! Low-rank adapters: every one of `tests/fixtures/adapters` against what llama.cpp's own converter wrote for it
//! (`scripts/reference_adapter.py`), and what adapters do to the models that they are for.

use std::collections::BTreeMap;
use std::path::Path;

use gravure::engine::{Activations, CacheType, LoadOptions, load};
use gravure::mixtures::{self, MixtureRequest};
use gravure::{ErrorKind, OpenRequest, PlanSource, QuantizeRequest, Quiet, Result, Uniform, Value, open, quantize};
use gravure_base::Sha256;
use gravure_core::contracts::{Chunk, Phase, Step, Wanted};
use gravure_testing::tiny_model::{self, AdapterOptions, Options};
use gravure_testing::workspace_root;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value as Json, json};

/// The folder's name is part of what is compared.
const NAME: &str = "Tiny-7M-chat-lora";

fn convert(adapter: &Path, base: &Path, target: &Path, dtype: &str) -> Result<()> {
    let mut request = QuantizeRequest::new(adapter, target, PlanSource::Uniform(Uniform::parse(dtype)?));
    request.base = Some(base.to_owned());
    quantize(&request, &Quiet).map(|_| ())
}

fn entry(key: &str, value: &Value) -> Json {
    match value {
        Value::U32(v) => json!({"key": key, "type": "uint32", "value": v}),
        Value::F32(v) => json!({"key": key, "type": "float32", "value": f64::from(*v)}),
        Value::String(v) => json!({"key": key, "type": "string", "value": v}),
        Value::Strings(v) => json!({"key": key, "type": "array", "of": "string", "count": v.len(), "value": v.iter().collect::<Vec<_>>()}),
        Value::U32s(v) => json!({"key": key, "type": "array", "of": "uint32", "count": v.len(), "value": v}),
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn every_adapter_converts_as_the_reference_does() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in std::fs::read_dir(workspace_root().join("tests/fixtures/adapters")).unwrap() {
        let path = file.unwrap().path();
        let fixture: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (base, adapter) = (folder.path().join("base"), folder.path().join(NAME));
        let (design, model) = (fixture["design"].as_str().unwrap(), Options::from_json(&fixture["model"]).unwrap());
        tiny_model::write(design, &model, &base).unwrap();
        // No weight of the base is read.
        std::fs::remove_file(base.join("model.safetensors")).unwrap();
        tiny_model::write_adapter(design, &model, &AdapterOptions::from_json(&fixture["adapter"]).unwrap(), &adapter).unwrap();
        for dtype in ["f32", "f16", "bf16", "q8_0"] {
            count += 1;
            let at = format!("{} {dtype}", path.file_stem().unwrap().to_string_lossy());
            let target = folder.path().join(format!("{dtype}.gguf"));
            if let Err(error) = convert(&adapter, &base, &target, dtype) {
                wrong.push(format!("{at}: {error}"));
                continue;
            }
            let written = open(&OpenRequest::new(&target)).unwrap();
            let metadata: Vec<Json> = written.metadata.iter().map(|(key, value)| entry(key, value)).collect();
            let tensors: Vec<Json> = written
                .tensors
                .iter()
                .map(|t| {
                    let (mut bytes, mut digest) = (Vec::new(), Sha256::new());
                    t.data.read_rows(0..t.shape.rows(), &mut bytes).unwrap();
                    digest.update(&bytes);
                    json!({"name": t.name, "shape": t.shape.dimensions(), "type": t.encoding.id(), "sha256": digest.finish()})
                })
                .collect();
            for (kind, ours) in [("metadata", metadata), ("tensors", tensors)] {
                let theirs = fixture[dtype][kind].as_array().unwrap();
                if ours.len() != theirs.len() {
                    wrong.push(format!("{at}: {} {kind} instead of {}", ours.len(), theirs.len()));
                }
                wrong.extend(ours.iter().zip(theirs).filter(|(a, b)| a != b).map(|(a, b)| format!("{at}: {a} instead of {b}")));
            }
        }
    }
    assert!(count >= 50, "only {count} conversions");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The logits of all positions, one after the other.
fn logits(model: &Path, adapter: Option<&Path>) -> Result<Vec<f32>> {
    let mut options = LoadOptions::new(model);
    (options.activations, options.cache, options.threads) = (Activations::F32, CacheType::F32, 2);
    options.adapters = adapter.map(|path| (path.to_owned(), 1.0)).into_iter().collect();
    let model = load(&options, &Quiet)?;
    let tokens: Vec<u32> = (5..30).collect();
    if let Some(encoder) = model.loaded.encoder() {
        return encoder.encode(&tokens, &[]);
    }
    let decoder = model.loaded.decoder().unwrap();
    let chunk = Chunk { sequence: decoder.open()?, tokens: &tokens, phase: Phase::Prefill, wanted: Wanted::From(0) };
    let mut out = Vec::new();
    decoder.step(Step::new(&[chunk]), &mut |row| {
        out.extend_from_slice(row.values);
        Ok(())
    })?;
    Ok(out)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Adds α / rank times the product of each pair to its weight in the folder `model`.
fn merge(model: &Path, adapter: &Path, turned: bool) {
    let (weights, pairs) = (model.join("model.safetensors"), adapter.join("adapter_model.safetensors"));
    let (weights_bytes, pairs_bytes) = (std::fs::read(&weights).unwrap(), std::fs::read(pairs).unwrap());
    let stored = SafeTensors::deserialize(&weights_bytes).unwrap();
    let pairs = SafeTensors::deserialize(&pairs_bytes).unwrap();
    let mut changed: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (name, a) in pairs.tensors().iter().filter(|(name, _)| name.ends_with(".lora_A.weight")) {
        let module = name.strip_suffix(".lora_A.weight").unwrap();
        let b = pairs.tensor(&format!("{module}.lora_B.weight")).unwrap();
        let weight = format!("{}.weight", module.strip_prefix("base_model.model.").unwrap());
        let (rank, inputs, outputs) = (a.shape()[0], a.shape()[1], b.shape()[0]);
        let (a, b) = (floats(a.data()), floats(b.data()));
        let mut values = floats(stored.tensor(&weight).unwrap().data());
        for (output, input) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
            let product: f32 = (0..rank).map(|r| b[output * rank + r] * a[r * inputs + input]).sum();
            values[if turned { input * outputs + output } else { output * inputs + input }] += 8.0 / rank as f32 * product;
        }
        changed.insert(weight, values.iter().flat_map(|v| v.to_le_bytes()).collect());
    }
    assert!(!changed.is_empty());
    let views: Vec<(String, TensorView<'_>)> = stored
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let data = changed.get(&name).map_or(view.data(), Vec::as_slice);
            let view = TensorView::new(view.dtype(), view.shape().to_vec(), data).unwrap();
            (name, view)
        })
        .collect();
    std::fs::write(&weights, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// GPT-2's too, which the reference converts wrongly.
#[test]
fn an_adapted_model_is_the_merged_one() {
    for design in tiny_model::DESIGNS {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (base, merged, adapter, converted) = (at("base"), at("merged"), at(NAME), at("adapter.gguf"));
        let options = Options::default();
        for path in [&base, &merged] {
            tiny_model::write(design, &options, path).unwrap();
        }
        tiny_model::write_adapter(design, &options, &AdapterOptions::default(), &adapter).unwrap();
        merge(&merged, &adapter, *design == "gpt2");
        convert(&adapter, &base, &converted, "f32").unwrap();
        let (plain, expected) = (logits(&base, None).unwrap(), logits(&merged, None).unwrap());
        let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let distance = |a: &[f32]| a.iter().zip(&expected).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest;
        assert!(distance(&plain) > 0.01, "{design}: the adapter changes nothing: {}", distance(&plain));
        // The folder itself, and the file that was made of it; on the folder of the base, and on its GGUF.
        for path in [&adapter, &converted] {
            let adapted = logits(&base, Some(path)).unwrap_or_else(|e| panic!("{design}: {e}"));
            assert!(distance(&adapted) < 1e-4, "{design} with {path:?}: {}", distance(&adapted));
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (base, wide, tied, target) = (at("base"), at("wide"), at("tied"), at("x.gguf"));
    let plain = Options::default();
    let options = |config: Json| Options { config: config.as_object().unwrap().clone().into_iter().collect(), ..plain.clone() };
    tiny_model::write("llama", &plain, &base).unwrap();
    tiny_model::write("llama", &Options { size: tiny_model::Size::Wide, ..plain.clone() }, &wide).unwrap();
    tiny_model::write("llama", &options(json!({"tie_word_embeddings": true})), &tied).unwrap();
    let adapter = |name: &str, design: &str, model: &Options, given: Json| {
        tiny_model::write_adapter(design, model, &AdapterOptions::from_json(&given).unwrap(), &at(name)).unwrap();
        at(name)
    };
    let usual = adapter("usual", "llama", &plain, json!({}));
    let output = adapter("output", "llama", &plain, json!({"targets": ["lm_head"]}));
    let deep = adapter("deep", "llama", &Options { layers: 5, ..plain.clone() }, json!({}));
    let alien = adapter("alien", "gpt2", &plain, json!({}));
    let cases = [
        (&usual, &wide, ErrorKind::Input, "for another base model"),
        (&deep, &base, ErrorKind::Input, "2 layers only"),
        (&alien, &base, ErrorKind::Unsupported, "no such weight"),
        (&output, &tied, ErrorKind::Unsupported, "no output matrix"),
        (&base, &base, ErrorKind::Request, "no adapter"),
        (&usual, &usual, ErrorKind::Request, "an adapter itself"),
    ];
    for (source, base, kind, text) in cases {
        let error = convert(source, base, &target, "f32").unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text) || error.help_text().is_some_and(|h| h.contains(text)), "{error}");
    }
    // Where no base is named, the adapter's own word counts.
    let request = QuantizeRequest::new(&usual, &target, PlanSource::Uniform(Uniform::Usual));
    let error = quantize(&request, &Quiet).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    assert!(error.to_string().contains("somebody/Tiny-Base-7M"), "{error}");
    let named = adapter("named", "llama", &plain, json!({"config": {"base_model_name_or_path": base}}));
    quantize(&QuantizeRequest::new(&named, &target, PlanSource::Uniform(Uniform::Usual)), &Quiet).unwrap();
    let written = open(&OpenRequest::new(&target)).unwrap();
    assert!(written.tensors.iter().all(|t| t.encoding.id() == "f32"));
    // A mixture, or another format, is nothing for an adapter.
    let mixture = MixtureRequest::new(mixtures::find("q4_k_m").unwrap());
    for source in [&named, &target] {
        let error = quantize(&QuantizeRequest::new(source, at("y.gguf"), PlanSource::Mixture(mixture.clone())), &Quiet).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Request, "{error}");
        let mut request = QuantizeRequest::new(source, at("y"), PlanSource::Uniform(Uniform::F32));
        request.output_format = Some("safetensors".into());
        assert_eq!(quantize(&request, &Quiet).unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert!(!at("y").exists() && !at("y.gguf").exists());
}

/// An activated adapter's text becomes the tokens after its first, and such an adapter does not run as an ordinary one.
#[test]
fn a_text_that_turns_an_adapter_on_becomes_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let (base, adapter, target) = (folder.path().join("base"), folder.path().join(NAME), folder.path().join("x.gguf"));
    tiny_model::write("llama", &Options::default(), &base).unwrap();
    let options = AdapterOptions::from_json(&json!({"targets": ["q_proj"], "config": {"invocation_string": "the king"}})).unwrap();
    tiny_model::write_adapter("llama", &Options::default(), &options, &adapter).unwrap();
    convert(&adapter, &base, &target, "f32").unwrap();
    let written = open(&OpenRequest::new(&target)).unwrap();
    let tokenizer = open(&OpenRequest::new(&base)).unwrap().tokenizer.unwrap();
    let tokens = tokenizer.encode_with("the king", gravure_text::Around::Specials, gravure_text::SpecialText::Token).unwrap();
    assert!(tokens.len() > 2);
    assert_eq!(written.metadata.get("adapter.alora.invocation_tokens"), Some(&Value::U32s(tokens[1..].to_vec())));
    let error = logits(&base, Some(&target)).unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("after certain tokens"), "{error}");
    std::fs::remove_file(base.join("tokenizer.json")).unwrap();
    assert_eq!(convert(&adapter, &base, &target, "f32").unwrap_err().kind(), ErrorKind::Request);
}
