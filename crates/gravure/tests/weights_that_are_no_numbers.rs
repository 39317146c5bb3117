//! Weights and scales that are no finite numbers are refused when a model is loaded, by the name of their
//! tensor, in every encoding.

mod common;

use std::path::Path;

use common::engine;
use gravure::engine::{Activations, LoadOptions, load};
use gravure::mixtures::{self, MixtureRequest, TensorType};
use gravure::{CalibrateRequest, ErrorKind, OpenRequest, PlanSource, QuantizeRequest, Quiet, calibrate, catalog, open, quantize};
use gravure_testing::tiny_model::{self, Dtype, Options, Size};

const NAME: &str = "blk.1.ffn_down.weight";

/// Bytes of halves, singles and exponents that are no finite numbers: NaN and both infinities.
const BAD: &[&[u8]] = &[&[0x00, 0x7e], &[0x00, 0x7c], &[0x00, 0xfc], &[0xc0, 0x7f], &[0x80, 0x7f], &[0x80, 0xff], &[0xff]];

/// The text of the error that loading gives; nothing where it is loaded.
fn refusal(path: &Path, activations: Activations) -> Option<String> {
    let mut options = LoadOptions::new(path);
    (options.activations, options.positions) = (activations, 64);
    let error = load(&options, &Quiet).err()?;
    assert_eq!(error.kind(), ErrorKind::Input, "{error}");
    Some(error.to_string())
}

#[test]
fn in_every_encoding() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    tiny_model::write("llama", &Options { size: Size::Wide, ..Options::default() }, &source).unwrap();
    let importance = folder.path().join("importance.gguf");
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "the king of england and the queen of france ".repeat(100)).unwrap();
    let calibration = CalibrateRequest { context: 64, ..CalibrateRequest::new(LoadOptions::new(&source), &text, &importance) };
    calibrate(&calibration, &Quiet).unwrap();
    let path = folder.path().join("model.gguf");
    let (mut found, mut failures, mut without) = (0, Vec::new(), Vec::new());
    let integers = ["i64", "u64", "i32", "u32", "i16", "u16", "i8", "u8", "bool"];
    for encoding in catalog().encodings.iter().map(|e| e.id()).filter(|id| !integers.contains(id)) {
        let mut mixture = MixtureRequest::new(mixtures::find("q8_0").unwrap());
        mixture.tensor_types.push(TensorType::parse(&format!("ffn_down={encoding}")).unwrap());
        let mut request = QuantizeRequest::new(&source, &path, PlanSource::Mixture(mixture));
        request.importance = Some(importance.clone());
        if let Err(error) = quantize(&request, &Quiet) {
            // Not every encoding has a tag in this format.
            assert!(error.to_string().contains("cannot hold"), "{encoding}: {error}");
            without.push(encoding);
            continue;
        }
        engine(&path, |options| options.positions = 64);
        let model = open(&OpenRequest::new(&path)).unwrap();
        let tensor = model.tensor(NAME).unwrap();
        assert_eq!(tensor.encoding.id(), encoding);
        let (layout, rows) = (tensor.encoding.layout(), tensor.shape.rows());
        let mut last = Vec::new();
        tensor.data.read_rows(rows - 1..rows, &mut last).unwrap();
        let file = std::fs::read(&path).unwrap();
        let start = file.windows(last.len()).rposition(|window| window == last).unwrap();
        let block = last.len() - layout.block_bytes;
        let honest = &last[block..];
        let mut bad = 0;
        for (at, pattern) in (0..layout.block_bytes).flat_map(|at| BAD.iter().map(move |pattern| (at, *pattern))) {
            let mut changed = honest.to_vec();
            let Some(place) = changed.get_mut(at..at + pattern.len()) else { continue };
            place.copy_from_slice(pattern);
            let mut values = vec![0.0; layout.block_elements];
            tensor.encoding.decode(&changed, &mut values).unwrap();
            if values.iter().all(|v| v.is_finite()) {
                continue;
            }
            bad += 1;
            let mut file = file.clone();
            file[start + block..start + block + changed.len()].copy_from_slice(&changed);
            std::fs::write(&path, &file).unwrap();
            for activations in [Activations::Fast, Activations::F32] {
                match refusal(&path, activations) {
                    Some(text) if text.contains(NAME) => {}
                    Some(text) => failures.push(format!("{encoding}, byte {at}: the tensor has no name in {text:?}")),
                    None => failures.push(format!("{encoding}, byte {at}: {pattern:x?} was loaded")),
                }
            }
        }
        found += 1;
        // The scales of this encoding have no infinity, and their NaN counts as zero.
        if bad == 0 && encoding != "nvfp4" {
            failures.push(format!("{encoding}: nothing bad was found"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(found >= 26, "{found} encodings were tried, and not {without:?}");
}

/// Every tensor of a plain model: tables, matrices, norms and biases.
#[test]
fn in_every_tensor() {
    let mut failures = Vec::new();
    for (design, dtype) in [("qwen2", Dtype::F32), ("gemma3", Dtype::F16), ("gpt2", Dtype::BF16), ("bert", Dtype::F32)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny");
        tiny_model::write(design, &Options { dtype, ..Options::default() }, &path).unwrap();
        let file = path.join("model.safetensors");
        let original = std::fs::read(&file).unwrap();
        let header = 8 + u64::from_le_bytes(*original.first_chunk().unwrap()) as usize;
        let tensors: serde_json::Value = serde_json::from_slice(&original[8..header]).unwrap();
        let bad: &[u8] = match dtype {
            Dtype::F32 => &[0, 0, 0xc0, 0x7f],
            Dtype::F16 => &[0, 0x7c],
            Dtype::BF16 => &[0x80, 0xff],
        };
        for (name, entry) in tensors.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__") {
            let end = header + entry["data_offsets"][1].as_u64().unwrap() as usize;
            let mut changed = original.clone();
            changed[end - bad.len()..end].copy_from_slice(bad);
            std::fs::write(&file, changed).unwrap();
            // The pooler is not executed.
            match refusal(&path, Activations::Fast) {
                Some(text) if text.contains(name.as_str()) => {}
                None if name.contains("pooler") => {}
                other => failures.push(format!("{design}, {name}: {other:?}")),
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
