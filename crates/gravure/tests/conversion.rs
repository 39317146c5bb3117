//! Every tiny model, converted, against what llama.cpp's own converter wrote for it
//! (`tests/fixtures/conversion`, made by `scripts/reference_conversion.py`): every key in order with type
//! and value, every tensor in order with shape, encoding and bytes.

use std::path::Path;

use gravure::{OpenRequest, PlanSource, QuantizeRequest, Quiet, Uniform, Value, open, quantize};
use gravure_base::Sha256;
use gravure_testing::{tiny_model, workspace_root};
use serde_json::{Value as Json, json};

/// Keys that we write beyond the reference, and why.
const OURS: &[(&str, &str)] = &[
    ("tokenizer.ggml.add_bos_token", "llama.cpp guesses where it is absent, and not always as the source behaves"),
    ("tokenizer.ggml.add_eos_token", "likewise"),
    ("tokenizer.ggml.unknown_token_id", "the source names it"),
];

/// An entry as the script records it; a long list goes by the SHA-256 of its bytes in a GGUF.
fn entry(key: &str, value: &Value) -> Json {
    let list = |kind: &str, count: usize, bytes: &mut dyn Iterator<Item = Vec<u8>>, shown: Json| {
        let mut entry = json!({"key": key, "type": "array", "of": kind, "count": count});
        if count <= 8 {
            entry["value"] = shown;
        } else {
            let mut digest = Sha256::new();
            bytes.for_each(|b| digest.update(&b));
            entry["sha256"] = json!(digest.finish());
        }
        entry
    };
    match value {
        Value::U32(v) => json!({"key": key, "type": "uint32", "value": v}),
        Value::I32(v) => json!({"key": key, "type": "int32", "value": v}),
        Value::F32(v) => json!({"key": key, "type": "float32", "value": f64::from(*v)}),
        Value::Bool(v) => json!({"key": key, "type": "bool", "value": v}),
        Value::String(v) => json!({"key": key, "type": "string", "value": v}),
        Value::Strings(v) => list(
            "string",
            v.len(),
            &mut v.iter().map(|s| [&(s.len() as u64).to_le_bytes(), s.as_bytes()].concat()),
            json!(v.iter().collect::<Vec<_>>()),
        ),
        Value::I32s(v) => list("int32", v.len(), &mut v.iter().map(|n| n.to_le_bytes().to_vec()), json!(v)),
        Value::F32s(v) => list("float32", v.len(), &mut v.iter().map(|n| n.to_le_bytes().to_vec()), json!(v)),
        Value::Bools(v) => list("bool", v.len(), &mut v.iter().map(|b| vec![u8::from(*b)]), json!(v)),
        other => panic!("{key}: {other:?}"),
    }
}

fn convert(folder: &Path, fixture: &Json, dtype: &str) -> Vec<String> {
    let source = folder.join("tiny");
    let output = folder.join(format!("{dtype}.gguf"));
    let mut request = QuantizeRequest::new(&source, &output, PlanSource::Uniform(Uniform::parse(dtype).unwrap()));
    request.threads = 2;
    if let Err(e) = quantize(&request, &Quiet) {
        return vec![e.to_string()];
    }
    let model = open(&OpenRequest::new(&output)).unwrap();
    let reference = &fixture[dtype];
    let mut wrong = Vec::new();
    let ours: Vec<Json> = model.metadata.iter().filter(|(k, _)| OURS.iter().all(|(o, _)| o != k)).map(|(k, v)| entry(k, v)).collect();
    let theirs: Vec<Json> =
        reference["metadata"].as_array().unwrap().iter().filter(|e| OURS.iter().all(|(o, _)| e["key"] != *o)).cloned().collect();
    let sorted = |list: &[Json]| {
        let mut list: Vec<String> = list.iter().map(Json::to_string).collect();
        list.sort();
        list
    };
    let (a, b) = (sorted(&ours), sorted(&theirs));
    wrong.extend(a.iter().filter(|e| !b.contains(e)).map(|e| format!("only ours: {e}")));
    wrong.extend(b.iter().filter(|e| !a.contains(e)).map(|e| format!("only the reference's: {e}")));
    let mut bytes = Vec::new();
    let tensors: Vec<Json> = model
        .tensors
        .iter()
        .map(|t| {
            t.data.read_rows(0..t.shape.rows(), &mut bytes).unwrap();
            let mut digest = Sha256::new();
            digest.update(&bytes);
            json!({"name": t.name, "shape": t.shape.dimensions(), "type": t.encoding.id(), "sha256": digest.finish()})
        })
        .collect();
    let theirs = reference["tensors"].as_array().unwrap();
    if tensors.len() != theirs.len() {
        wrong.push(format!("{} tensors instead of {}", tensors.len(), theirs.len()));
    }
    wrong.extend(tensors.iter().zip(theirs).filter(|(a, b)| a != b).map(|(a, b)| format!("tensor {a} instead of {b}")));
    wrong
}

#[test]
fn every_tiny_model_converts_as_the_reference_does() {
    let mut report = Vec::new();
    let mut count = 0;
    let fixtures = workspace_root().join("tests/fixtures/conversion");
    for file in std::fs::read_dir(fixtures).unwrap() {
        let path = file.unwrap().path();
        let fixture: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let folder = tempfile::tempdir().unwrap();
        let options = tiny_model::Options::from_json(&fixture["options"]).unwrap();
        tiny_model::write(fixture["design"].as_str().unwrap(), &options, &folder.path().join("tiny")).unwrap();
        for dtype in ["f32", "f16"] {
            count += 1;
            report.extend(convert(folder.path(), &fixture, dtype).into_iter().map(|w| format!("{name} {dtype}: {w}")));
        }
    }
    assert!(count >= 40, "only {count} conversions");
    assert!(report.is_empty(), "{}", report.join("\n"));
}
