//! Weights at the edge of what numbers can say: zeros, subnormals, and products that leave the range. The
//! fast kernels agree with those that keep activations in 32 bits, and what is no number is an error.

mod common;

use std::path::Path;

use common::engine;
use gravure::engine::{Activations, CacheType, LoadOptions};
use gravure::generate::{GenerateRequest, Generator, GeneratorRequest, Prompt, Sampling, Speculation};
use gravure::mixtures::{self, MixtureRequest};
use gravure::{ErrorKind, PlanSource, QuantizeRequest, Quiet, quantize};
use gravure_core::contracts::{Chunk, Phase, Step, Wanted};
use gravure_testing::tiny_model::{self, Options, Size};

/// Changes the 32-bit weights of every tensor whose name contains `part`.
fn change(folder: &Path, part: &str, by: impl Fn(usize, f32) -> f32) {
    let path = folder.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let tensors: serde_json::Value = serde_json::from_slice(&bytes[8..header]).unwrap();
    let mut changed = 0;
    for (_, entry) in tensors.as_object().unwrap().iter().filter(|(name, _)| name.contains(part)) {
        let offset = |i: usize| header + entry["data_offsets"][i].as_u64().unwrap() as usize;
        for (i, value) in bytes[offset(0)..offset(1)].chunks_exact_mut(4).enumerate() {
            let new = by(i, f32::from_le_bytes([value[0], value[1], value[2], value[3]]));
            value.copy_from_slice(&new.to_le_bytes());
            changed += 1;
        }
    }
    assert!(changed > 0, "{part} is in the model");
    std::fs::write(&path, bytes).unwrap();
}

fn logits(path: &Path, activations: Activations, phase: Phase) -> Vec<f32> {
    let engine = engine(path, |options| (options.activations, options.cache, options.positions) = (activations, CacheType::F32, 64));
    let decoder = engine.decoder().unwrap();
    let sequence = decoder.open().unwrap();
    let tokens: Vec<u32> = (0..24).map(|i| i * 13 % 300).collect();
    let chunks = [Chunk { sequence, tokens: &tokens, phase, wanted: Wanted::From(0) }];
    let mut out = Vec::new();
    decoder
        .step(Step::new(&chunks), &mut |row| {
            out.extend_from_slice(row.values);
            Ok(())
        })
        .unwrap();
    out
}

#[test]
fn the_fast_way_is_the_exact_one() {
    let subnormal = |i: usize, v: f32| if i.is_multiple_of(2) { v * 1e-38 } else { 0.0 };
    type Change<'a> = (&'a str, &'a dyn Fn(usize, f32) -> f32);
    let edges: &[(&str, &[Change<'_>])] = &[
        ("zero matrices", &[("o_proj", &|_, _| 0.0), ("down_proj", &|_, _| 0.0)]),
        (
            "zero rows of blocks",
            &[("down_proj", &|i, v| if i / 256 % 2 == 0 { 0.0 } else { v }), ("lm_head", &|i, v| if i / 32 % 2 == 0 { 0.0 } else { v })],
        ),
        ("zero activations", &[("post_attention_layernorm", &|_, _| 0.0)]),
        ("subnormal activations", &[("post_attention_layernorm", &|_, _| 1e-40), ("input_layernorm", &|_, _| 1e-44)]),
        ("subnormal matrices", &[("up_proj", &subnormal), ("q_proj", &subnormal)]),
        ("one activation that outweighs all others", &[("post_attention_layernorm", &|i, v| if i == 7 { 1e4 } else { v })]),
        ("weights whose scales are subnormal halves", &[("down_proj", &|_, v| v * 1e-6)]),
    ];
    let mut failures = Vec::new();
    for (name, changes) in edges {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        tiny_model::write("llama", &Options { size: Size::Wide, ..Options::default() }, &source).unwrap();
        changes.iter().for_each(|(part, by)| change(&source, part, by));
        for encoding in ["f32", "f16", "q8_0", "q4_0", "q5_1", "q4_k_m", "q6_k", "iq4_xs"] {
            let path = folder.path().join("model.gguf");
            let plan = PlanSource::Mixture(MixtureRequest::new(mixtures::find(encoding).unwrap()));
            quantize(&QuantizeRequest::new(&source, &path, plan), &Quiet).unwrap_or_else(|e| panic!("{name}, {encoding}: {e}"));
            let exact = logits(&path, Activations::F32, Phase::Prefill);
            let scale = exact.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            for phase in [Phase::Prefill, Phase::Decode] {
                let fast = logits(&path, Activations::Fast, phase);
                let worst = fast.iter().zip(&exact).fold(0.0_f32, |m, (a, b)| if (a - b).abs() <= m { m } else { (a - b).abs() });
                // Activations of 8 bits: half a step of 127, in a few places of the network.
                if worst.is_nan() || worst > 0.06 * scale {
                    failures.push(format!("{name}, {encoding}, {phase:?}: {worst} of {scale}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Finite weights whose products are not.
#[test]
fn logits_that_are_no_numbers_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("source");
    tiny_model::write("llama", &Options { size: Size::Wide, ..Options::default() }, &path).unwrap();
    change(&path, "post_attention_layernorm", |_, _| 1e30);
    for activations in [Activations::Fast, Activations::F32] {
        let model = LoadOptions { activations, ..LoadOptions::new(&path) };
        let generator = Generator::load(&GeneratorRequest { model, speculation: Speculation::Off, chat_template: None }, &Quiet).unwrap();
        for sampling in [Sampling::greedy(), Sampling::default()] {
            let mut conversation = generator.conversation(sampling).unwrap();
            let request = GenerateRequest { max_tokens: Some(4), ..GenerateRequest::new(Prompt::Text("the king".into())) };
            let error = conversation.reply(&request, &|| false, &mut |_| Ok(())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Input, "{error}");
        }
    }
}
