//! Checkpoints whose packed matrices lie the other way around than the architecture's floats.

use std::collections::BTreeMap;
use std::path::Path;

use gravure::engine::{Activations, LoadOptions, load};
use gravure::{OpenRequest, PlanSource, QuantizeRequest, Quiet, Uniform, inspect, open, quantize};
use gravure_core::contracts::{Chunk, LogitsRow, Phase, Step, Wanted};
use gravure_testing::tiny_model::{Options, write};
use safetensors::{Dtype, SafeTensors};
use serde_json::json;

const GROUP: usize = 32;

/// Name, type, shape and bytes.
type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

/// A matrix `[inputs, outputs]` in codes of 4 bits, as AutoGPTQ packs it: along the inputs, eight to a word. Also what the
/// codes mean, in the order of the floats.
fn packed(name: &str, values: &[f32], inputs: usize, outputs: usize, columns: Columns) -> (Vec<Stored>, Vec<f32>) {
    let groups = inputs.div_ceil(GROUP);
    let (mut words, mut zero_words) = (vec![0u32; inputs / 8 * outputs], vec![0u32; groups * outputs / 8]);
    let mut scales = vec![half::f16::ZERO; groups * outputs];
    let mut meant = vec![0.0; values.len()];
    let group_of = |input: usize| match columns {
        Columns::InOrder => input / GROUP,
        Columns::ByImportance => input * 7 % inputs / GROUP,
    };
    for group in 0..groups {
        let members = (0..inputs).filter(|input| group_of(*input) == group);
        for output in 0..outputs {
            let column = members.clone().map(|i| values[i * outputs + output]);
            let (low, high) = column.fold((0.0f32, 0.0f32), |(low, high), v| (low.min(v), high.max(v)));
            let scale = half::f16::from_f32((high - low) / 15.0);
            let zero = (-low / scale.to_f32()).round().clamp(0.0, 15.0);
            scales[group * outputs + output] = scale;
            zero_words[(group * outputs + output) / 8] |= (zero as u32) << (output % 8 * 4);
            for input in members.clone() {
                let code = (values[input * outputs + output] / scale.to_f32() + zero).round().clamp(0.0, 15.0);
                words[input / 8 * outputs + output] |= (code as u32) << (input % 8 * 4);
                meant[input * outputs + output] = scale.to_f32() * (code - zero);
            }
        }
    }
    let base = name.strip_suffix(".weight").unwrap();
    let bytes = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    let index: Vec<u32> = (0..inputs).map(|i| group_of(i) as u32).collect();
    let stored = vec![
        (format!("{base}.qweight"), Dtype::I32, vec![inputs / 8, outputs], bytes(&words)),
        (format!("{base}.qzeros"), Dtype::I32, vec![groups, outputs / 8], bytes(&zero_words)),
        (format!("{base}.scales"), Dtype::F16, vec![groups, outputs], scales.iter().flat_map(|s| s.to_le_bytes()).collect()),
        (format!("{base}.g_idx"), Dtype::I32, vec![inputs], bytes(&index)),
    ];
    (stored, meant)
}

fn store(tensors: &[Stored], folder: &Path) {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (name.as_str(), safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(folder.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Name, shape and bytes of every tensor.
fn converted(source: &Path, target: &Path) -> BTreeMap<String, (Vec<u64>, Vec<u8>)> {
    let mut request = QuantizeRequest::new(source, target, PlanSource::Uniform(Uniform::F32));
    request.output_format = target.extension().is_none().then(|| "safetensors".to_owned());
    quantize(&request, &Quiet).unwrap();
    let model = open(&OpenRequest::new(target)).unwrap();
    let read = model.tensors.iter().map(|tensor| {
        let mut bytes = Vec::new();
        tensor.data.read_rows(0..tensor.shape.rows(), &mut bytes).unwrap();
        (tensor.name.clone(), (tensor.shape.dimensions().to_vec(), bytes))
    });
    read.collect()
}

/// In which order the columns of a matrix were quantized.
#[derive(Clone, Copy, PartialEq)]
enum Columns {
    InOrder,
    ByImportance,
}

/// GPT-2 stores its matrices with the inputs as rows, GPTQ packs them as those of linear maps.
#[test]
fn a_packed_gpt2_is_the_one_that_its_codes_mean() {
    [Columns::InOrder, Columns::ByImportance].into_iter().for_each(holds);
}

fn holds(columns: Columns) {
    let folder = tempfile::tempdir().unwrap();
    let (floats, codes) = (folder.path().join("floats"), folder.path().join("codes"));
    let scheme = json!({"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": columns == Columns::ByImportance, "checkpoint_format": "gptq_v2"});
    write("gpt2", &Options::default(), &floats).unwrap();
    write("gpt2", &Options { config: [("quantization_config".to_owned(), scheme)].into(), ..Options::default() }, &codes).unwrap();
    let bytes = std::fs::read(floats.join("model.safetensors")).unwrap();
    let (mut plain, mut quantized) = (Vec::new(), Vec::new());
    let mut matrices = 0;
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let mut tensor: Stored = (name.clone(), view.dtype(), view.shape().to_vec(), view.data().to_vec());
        if ["c_attn.weight", "c_proj.weight", "c_fc.weight"].iter().any(|end| name.ends_with(end)) {
            let values: Vec<f32> = tensor.3.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            let (stored, meant) = packed(&name, &values, tensor.2[0], tensor.2[1], columns);
            tensor.3 = meant.iter().flat_map(|v| v.to_le_bytes()).collect();
            quantized.extend(stored);
            matrices += 1;
        } else {
            quantized.push(tensor.clone());
        }
        plain.push(tensor);
    }
    assert_eq!(matrices, 8);
    store(&plain, &floats);
    store(&quantized, &codes);
    for target in ["x.gguf", "x"] {
        let expected = converted(&floats, &folder.path().join(format!("floats-{target}")));
        let found = converted(&codes, &folder.path().join(format!("codes-{target}")));
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (name, tensor) in &expected {
            assert!(found[name] == *tensor, "{target}: {name} {:?} instead of {:?}", found[name].0, tensor.0);
        }
    }
    // The engine multiplies the codes as they are, and what is exact is what the floats give.
    let (exact, in_codes) = (logits(&codes, Activations::F32), logits(&codes, Activations::Fast));
    assert_eq!(exact.1, logits(&floats, Activations::F32).1);
    assert!(in_codes.0.iter().any(|k| k.starts_with("4 bits in groups of 32: int8")), "{:?}", in_codes.0);
    assert!(in_codes.2 < exact.2 / 2, "{} bytes in memory, not fewer than half of {}", in_codes.2, exact.2);
    let distance = |values: &[f32]| values.iter().zip(&exact.1).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
    let off = distance(&in_codes.1) / distance(&vec![0.0; exact.1.len()]);
    assert!(off < 0.03, "off by {off}");
    let inspection = inspect(&OpenRequest::new(&codes)).unwrap();
    assert!(inspection.encodings.iter().any(|e| e.encoding == "4 bits in groups of 32"), "{:?}", inspection.encodings);
    assert!(inspection.tensor_bytes < exact.2);
}

/// Kernels, logits after some tokens, and bytes of weights in memory.
fn logits(folder: &Path, activations: Activations) -> (Vec<String>, Vec<f32>, u64) {
    let options = LoadOptions { threads: 2, positions: 32, activations, ..LoadOptions::new(folder) };
    let engine = load(&options, &Quiet).unwrap();
    let decoder = engine.decoder().unwrap();
    let chunks = [Chunk {
        sequence: decoder.open().unwrap(),
        tokens: &[1, 5, 9, 2, 7, 3, 11, 4, 8, 6],
        phase: Phase::Prefill,
        wanted: Wanted::From(0),
    }];
    let mut values = Vec::new();
    let mut keep = |row: LogitsRow<'_>| {
        values.extend_from_slice(row.values);
        Ok(())
    };
    decoder.step(Step::new(&chunks), &mut keep).unwrap();
    (engine.loaded.facts().kernels.clone(), values, engine.loaded.facts().weight_bytes)
}
