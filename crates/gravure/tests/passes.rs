//! Passes in front of rounding: artifacts that compute what the original does, plans that hold them, and refusals.

use std::path::Path;

use gravure::engine::{Activations, LoadOptions, load};
use gravure::mixtures::{self, MixtureRequest};
use gravure::{CalibrationText, EvaluateRequest, Order, PlanSource, QuantizeRequest, Quiet, evaluate_loaded, plan_quantize, quantize};
use gravure_testing::tiny_model::{Options, Size, write};

fn workshop(folder: &Path) {
    write("llama", &Options { size: Size::Wide, ..Options::default() }, &folder.join("model")).unwrap();
    let text: String = (0..4000).map(|i| if i % 7 == 0 { ' ' } else { char::from(b'a' + (i * i % 26) as u8) }).collect();
    std::fs::write(folder.join("text.txt"), text).unwrap();
}

fn request(folder: &Path, name: &str, encoding: &str, passes: &[&str]) -> QuantizeRequest {
    let plan = PlanSource::Mixture(MixtureRequest::new(mixtures::find(encoding).unwrap()));
    let mut request = QuantizeRequest::new(folder.join("model"), folder.join(name), plan);
    request.passes = (!passes.is_empty()).then(|| passes.iter().map(|id| (*id).to_owned()).collect());
    request.calibration = Some(CalibrationText { context: 32, windows: Some(4), ..CalibrationText::new(folder.join("text.txt")) });
    request
}

/// Mean divergence of an artifact from the original.
fn divergence(folder: &Path, name: &str) -> f64 {
    let (artifact, original) = (LoadOptions::new(folder.join(name)), LoadOptions::new(folder.join("model")));
    let exact =
        |options: &LoadOptions| load(&LoadOptions { activations: Activations::F32, positions: 32, ..options.clone() }, &Quiet).unwrap();
    let mut what = EvaluateRequest::new(artifact.clone(), folder.join("text.txt"));
    (what.context, what.windows) = (32, Some(4));
    evaluate_loaded(&what, &exact(&artifact), Some(&exact(&original)), &Quiet).unwrap().comparison.unwrap().kl_divergence.value
}

#[test]
fn changed_weights_make_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    workshop(folder);
    let written = |name: &str, encoding: &str, passes: &[&str]| {
        let outcome = quantize(&request(folder, name, encoding, passes), &Quiet).unwrap();
        assert_eq!(outcome.plan.plan.passes, passes);
        std::fs::read(folder.join(name)).unwrap()
    };
    let plain = written("plain.gguf", "q8_0", &[]);
    let lost = divergence(folder, "plain.gguf");
    for (name, passes) in [("awq.gguf", &["awq"][..]), ("rotate.gguf", &["rotate"]), ("both.gguf", &["rotate", "awq"])] {
        let passed = written(name, "q8_0", passes);
        assert!(passed.len() == plain.len() && passed != plain, "{name}");
        let found = divergence(folder, name);
        assert!(found < 2.0 * lost + 1e-6, "{name}: {found} after {lost}");
    }
    // In full precision there is nothing to round, and a rotation alone loses nothing.
    written("exact.gguf", "f32", &["rotate"]);
    assert!(divergence(folder, "exact.gguf") < 1e-7);
}

#[test]
fn bytes_are_the_plans_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    workshop(folder);
    let asked = |name: &str| QuantizeRequest { method: Some("gptq".to_owned()), ..request(folder, name, "q3_k_s", &["rotate", "awq"]) };
    let bytes = |request: QuantizeRequest| {
        quantize(&request, &Quiet).unwrap();
        std::fs::read(&request.output).unwrap()
    };
    let one = bytes(QuantizeRequest { threads: 1, ..asked("one.gguf") });
    let two = bytes(QuantizeRequest { threads: 2, ..asked("two.gguf") });
    assert!(one == two, "bytes depend on the number of threads");
    let plan = plan_quantize(&asked("three.gguf")).unwrap().plan;
    assert_eq!(plan.passes, ["rotate", "awq"]);
    let again = QuantizeRequest { plan: PlanSource::Given(plan), method: None, passes: None, ..asked("three.gguf") };
    assert!(bytes(again) == one, "the plan fed back gives another file");
    let in_turn = bytes(QuantizeRequest { order: Some(Order::InTurn), ..asked("turn.gguf") });
    assert!(in_turn.len() == one.len() && in_turn != one);
}

#[test]
fn what_does_not_fit_a_pass_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    workshop(folder);
    let refused = |request: QuantizeRequest| quantize(&request, &Quiet).unwrap_err().to_string();
    let passes = |name: &str| request(folder, name, "q4_0", &["awq"]);
    let unseen = refused(QuantizeRequest { calibration: None, ..passes("no.gguf") });
    assert!(unseen.contains("text"), "{unseen}");
    let matrix = refused(QuantizeRequest { importance: Some(folder.join("text.txt")), ..passes("no.gguf") });
    assert!(matrix.contains("importance matrix"), "{matrix}");
    let unknown = refused(request(folder, "no.gguf", "q4_0", &["polish"]));
    assert!(unknown.contains("unknown pass `polish`"), "{unknown}");
    let checkpoint =
        refused(QuantizeRequest { output_format: Some("safetensors".into()), ..request(folder, "folder", "f16", &["rotate"]) });
    assert!(checkpoint.contains("no pass runs"), "{checkpoint}");
    assert!(!folder.join("no.gguf").exists() && !folder.join("folder").exists());
}
