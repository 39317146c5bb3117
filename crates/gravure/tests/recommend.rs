//! Predictions of size are what is written, limits are kept, and every target has an answer.

use std::path::{Path, PathBuf};

use gravure::engine::{LoadOptions, load};
use gravure::{
    Measuring, ModelKind, PlanSource, QuantizeRequest, Quiet, RecommendRequest, Recommendation, Target, find_target, mixtures, quantize,
    recommend, targets,
};
use gravure_testing::tiny_model::{self, Options, Size};

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/gravure-tiny")
}

fn target(id: &str) -> Target {
    find_target(id, Measuring::Estimate, 1).unwrap()
}

fn ask(model: &Path, id: &str, change: impl FnOnce(&mut RecommendRequest)) -> Recommendation {
    let mut request = RecommendRequest::new(model, target(id));
    change(&mut request);
    recommend(&request).unwrap()
}

#[test]
fn exact_sizes_are_those_of_the_written_files() {
    let folder = tempfile::tempdir().unwrap();
    let wide = folder.path().join("qwen2");
    tiny_model::write("qwen2", &Options { size: Size::Wide, ..Options::default() }, &wide).unwrap();
    for model in [tiny(), wide] {
        let answer = ask(&model, "x86-avx2", |_| {});
        let candidates: Vec<_> = answer.considered[0].candidates.iter().filter(|c| c.exact && !c.needs_importance).collect();
        assert!(candidates.len() > 20, "{} plans were sized", candidates.len());
        for candidate in candidates.iter().filter(|c| ["f16", "q8_0", "q6_k", "q4_k_m", "q3_k_s", "iq4_xs"].contains(&c.precision.as_str()))
        {
            let output = folder.path().join(format!("{}.gguf", candidate.precision));
            let mixture = mixtures::find(&candidate.precision).unwrap();
            let plan = PlanSource::Mixture(mixtures::MixtureRequest::new(mixture));
            let outcome = quantize(&QuantizeRequest::new(&model, &output, plan), &Quiet).unwrap();
            assert_eq!(candidate.file_bytes, std::fs::metadata(&output).unwrap().len(), "{}", candidate.precision);
            assert_eq!(candidate.weight_bytes, outcome.plan.plan.tensor_bytes, "{}", candidate.precision);
        }
    }
}

#[test]
fn the_cache_holds_keys_and_values_of_every_layer() {
    let folder = tempfile::tempdir().unwrap();
    // Layers x heads of keys and values x (length of a key + of a value) x two bytes, by hand; and what the
    // engine allocates.
    for (design, each) in [("llama", 2 * 2 * (16 + 16) * 2), ("qwen3", 2 * 2 * (32 + 32) * 2), ("gpt2", 2 * 4 * (16 + 16) * 2)] {
        let model = folder.path().join(design);
        tiny_model::write(design, &Options::default(), &model).unwrap();
        let answer = ask(&model, "x86-avx2", |r| r.context = Some(64));
        assert_eq!(answer.cache_bytes, 64 * each, "{design}");
        let engine = load(&LoadOptions { threads: 1, positions: 64, ..LoadOptions::new(&model) }, &Quiet).unwrap();
        assert_eq!(engine.loaded.facts().cache_bytes_per_position, each, "{design}");
    }
}

#[test]
fn every_target_answers_for_a_small_model() {
    for target in targets().unwrap() {
        let answer = recommend(&RecommendRequest::new(tiny(), target.clone())).unwrap();
        let choice = answer.choice.unwrap_or_else(|| panic!("{}: nothing fits 7 M weights", target.id));
        assert_eq!(choice.runtime, target.runtimes[0].runtime, "{}", target.id);
        assert!(choice.writable || choice.converter.is_some(), "{}: nobody says how to make it", target.id);
        for candidate in answer.considered.iter().flat_map(|c| &c.candidates) {
            let p = &candidate.prediction;
            let figures = [p.prefill_tokens_per_second, p.decode_tokens_per_second.unwrap(), p.joules_per_token, candidate.speedup];
            assert!(figures.iter().all(|f| f.is_finite() && *f > 0.0), "{}: {candidate:?}", target.id);
            assert!(candidate.memory_bytes > candidate.weight_bytes);
        }
        if let Some(meanwhile) = &answer.meanwhile {
            assert!(!choice.writable && meanwhile.writable, "{}", target.id);
        }
    }
}

#[test]
fn limits_are_kept_and_an_impossible_one_names_the_nearest() {
    let most = 5_000_000;
    let answer = ask(&tiny(), "raspberry-pi-5", |r| r.max_size = Some(most));
    let chosen = answer.choice.unwrap().candidate;
    assert!(chosen.file_bytes <= most);
    let better = answer.considered[0].candidates.iter().filter(|c| c.rung < chosen.rung && c.rung.is_some());
    for candidate in better {
        assert!(candidate.file_bytes > most || candidate.speedup < 2.0, "{} was passed over", candidate.precision);
    }
    let answer = ask(&tiny(), "raspberry-pi-5", |r| r.max_size = Some(1_000_000));
    assert!(answer.choice.is_none() && answer.runners_up.is_empty());
    let nearest = answer.nearest.unwrap();
    let smallest = answer.considered.iter().flat_map(|c| &c.candidates).filter(|c| c.rung.is_some()).map(|c| c.memory_bytes).min();
    assert_eq!(Some(nearest.memory_bytes), smallest);
    assert!(nearest.misses[0].starts_with("file ") && nearest.misses[0].ends_with("more than 1000000"), "{:?}", nearest.misses);
    // Quality alone: the best rung there is.
    let answer = ask(&tiny(), "raspberry-pi-5", |r| r.min_speedup = 0.0);
    assert_eq!(answer.choice.unwrap().candidate.rung, Some(0));
    // A speed that only few bits reach.
    let fast = |least| ask(&tiny(), "raspberry-pi-4", |r| r.min_tokens_per_second = Some(least)).choice.map(|c| c.candidate);
    let (slow, quick) = (fast(1.0).unwrap(), fast(500.0).unwrap());
    assert!(quick.prediction.decode_tokens_per_second.unwrap() >= 500.0 && quick.file_bytes < slow.file_bytes);
    assert!(fast(1e9).is_none());
}

#[test]
fn memory_counts_the_cache_and_a_smaller_one_frees_it() {
    let long = ask(&tiny(), "apple-m4", |r| r.context = Some(2048));
    let short = ask(&tiny(), "apple-m4", |r| r.context = Some(1024));
    assert_eq!(long.cache_bytes, 2 * short.cache_bytes);
    let memory = |answer: &Recommendation| answer.considered[0].candidates[0].memory_bytes;
    assert_eq!(memory(&long) - memory(&short), short.cache_bytes);
    let halved = ask(&tiny(), "apple-m4", |r| {
        r.context = Some(2048);
        r.cache = gravure::engine::CacheType::Q8;
    });
    assert!(halved.cache_bytes < long.cache_bytes * 6 / 10);
}

#[test]
fn a_quantized_source_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    let plan = PlanSource::Mixture(mixtures::MixtureRequest::new(mixtures::find("q4_k_m").unwrap()));
    quantize(&QuantizeRequest::new(tiny(), &path, plan), &Quiet).unwrap();
    let answer = ask(&path, "raspberry-pi-5", |_| {});
    let chosen = answer.choice.unwrap().candidate;
    assert_eq!((chosen.precision.as_str(), chosen.file_bytes), ("copy", std::fs::metadata(&path).unwrap().len()));
    assert!(answer.notes.iter().any(|n| n.contains("quantized already") && n.contains("of 36 mixtures")), "{:?}", answer.notes);
}

#[test]
fn an_embedding_model_is_predicted_without_decoding() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("bert");
    tiny_model::write("bert", &Options { size: Size::Wide, ..Options::default() }, &model).unwrap();
    let answer = ask(&model, "apple-m4", |_| {});
    assert_eq!((answer.kind, answer.cache_bytes), (ModelKind::Embedding, 0));
    let chosen = answer.choice.unwrap();
    assert_eq!(chosen.candidate.prediction.decode_tokens_per_second, None);
    assert!(answer.considered.iter().all(|c| c.refused.is_none()), "coreml serves embedding models too");
}

#[test]
fn what_a_unit_does_not_do_is_named() {
    let answer = ask(&tiny(), "apple-m4", |_| {});
    let metal = answer.runners_up.iter().find(|c| c.backend == "metal").unwrap();
    assert!(metal.fallbacks.iter().any(|f| f.subject == "embedding" && f.instead.contains("CPU")), "{:?}", metal.fallbacks);
    // The output matrix of this mixture is in an encoding that the unit has no fast kernels for.
    let answer = ask(&tiny(), "snapdragon-8-elite", |_| {});
    let adreno = answer.considered.iter().find(|c| c.backend == "opencl-adreno").unwrap();
    let mixed = adreno.candidates.iter().find(|c| !c.slow_encodings.is_empty() && c.rung.is_some()).unwrap();
    assert!(mixed.accelerated_share.unwrap() < 1.0);
}
