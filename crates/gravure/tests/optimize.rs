//! `optimize` from a folder to a certified artifact: the same inputs give the same digests on any number of
//! threads and in any folder, budgets are kept to the byte and used up, and what is promised is measured; as a file and as
//! a folder.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use gravure::engine::LoadOptions;
use gravure::{
    Budget, BuiltInText, CompareRequest, ErrorKind, Gates, Observer, OptimizeRequest, Optimized, Order, PlanSource, ProofOutcome,
    QuantizeRequest, Quiet, Timing, Uniform, VerifyRequest, compare, optimize, quantize, verify,
};
use gravure_testing::tiny_model::{Options, Size, write};

struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    /// A random model whose rows every block encoding fits, and two texts.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write("llama", &Options { size: Size::Wide, ..Options::default() }, &folder.path().join("model")).unwrap();
        let text = BuiltInText::Calibration.text();
        std::fs::write(folder.path().join("seen.txt"), &text[..6_000]).unwrap();
        std::fs::write(folder.path().join("unseen.txt"), &text[60_000..64_000]).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn request(&self, output: &str, threads: usize, budget: Budget) -> OptimizeRequest {
        let source = LoadOptions { threads, ..LoadOptions::new(self.path("model")) };
        OptimizeRequest {
            budget,
            context: 32,
            calibration_windows: Some(3),
            sensitivity_windows: Some(1),
            evaluation_windows: Some(3),
            gates: Gates::Off,
            candidates: ["q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "q8_0", "f16"].map(str::to_owned).to_vec(),
            ..OptimizeRequest::new(source, self.path(output), self.path("seen.txt"), self.path("unseen.txt"))
        }
    }

    /// For a Hugging Face folder: all encodings that it holds.
    fn folder_request(&self, output: &str, budget: Budget) -> OptimizeRequest {
        OptimizeRequest { format: Some("safetensors".into()), candidates: Vec::new(), ..self.request(output, 2, budget) }
    }

    /// What of an artifact's certificate holds.
    fn proofs(&self, artifact: &str) -> Vec<(&'static str, ProofOutcome)> {
        let artifact = LoadOptions::new(self.path(artifact));
        let request = VerifyRequest { artifact, reference: None, data: None, calibration_data: None };
        verify(&request, &Quiet).unwrap().proofs.into_iter().map(|p| (p.subject, p.outcome)).collect()
    }

    fn run(&self, output: &str, threads: usize, budget: Budget) -> Optimized {
        optimize(&self.request(output, threads, budget), &Quiet).unwrap()
    }
}

fn size(bytes: u64) -> Budget {
    Budget { max_size: Some(bytes), ..Budget::default() }
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let workshop = Workshop::new();
    let budget = Budget { bits_per_weight: Some(4.5), ..Budget::default() };
    let one = workshop.run("one", 1, budget);
    let two = workshop.run("two/deeper", 2, budget);
    for name in ["model.gguf", "plan.toml", "imatrix.gguf"] {
        assert!(bytes(&workshop.path("one").join(name)) == bytes(&workshop.path("two/deeper").join(name)), "{name}");
    }
    assert_eq!(one.artifact.files[0].sha256, two.artifact.files[0].sha256);
    assert_eq!(one.certificate, two.certificate);
    assert_eq!((one.encodings, one.frontier), (two.encodings, two.frontier));
}

#[test]
fn sizes_are_never_above_and_hardly_below() {
    let workshop = Workshop::new();
    let least = workshop.run("least", 2, Budget { bits_per_weight: Some(3.5), ..Budget::default() }).file_bytes;
    for (index, share) in [1.1, 1.37, 1.8].into_iter().enumerate() {
        let most = (least as f64 * share) as u64;
        // One folder: measurements of the first run serve the others.
        let done = workshop.run("least", 2, size(most));
        let file = std::fs::metadata(&done.artifact.files[0].path).unwrap().len();
        assert_eq!(file, done.file_bytes);
        assert!(file <= most, "{file} of {most}");
        assert!(file as f64 >= most as f64 * 0.995, "{index}: {file} of {most}: {:.2} % below", 100.0 - file as f64 * 100.0 / most as f64);
        assert!(done.promises.iter().all(|p| p.met), "{:?}", done.promises);
    }
    let tensors = Budget { max_tensor_bytes: Some(least), ..Budget::default() };
    let done = workshop.run("least", 2, tensors);
    assert!(done.evaluation.tensor_bytes <= least && done.evaluation.tensor_bytes as f64 >= least as f64 * 0.995);
    // The stricter of two limits holds.
    let both = Budget { max_size: Some(least * 2), bits_per_weight: Some(4.0), ..Budget::default() };
    let done = workshop.run("least", 2, both);
    assert!(done.evaluation.bits_per_weight <= 4.0 && done.promises.iter().all(|p| p.met), "{:?}", done.promises);
}

#[test]
fn a_certified_artifact_is_verified_and_compared() {
    let workshop = Workshop::new();
    let done = workshop.run("out", 2, Budget { bits_per_weight: Some(4.5), ..Budget::default() });
    let request = VerifyRequest {
        artifact: LoadOptions::new(workshop.path("out/model.gguf")),
        reference: Some(LoadOptions::new(workshop.path("model"))),
        data: Some(workshop.path("unseen.txt")),
        calibration_data: Some(workshop.path("seen.txt")),
    };
    let found = verify(&request, &Quiet).unwrap();
    assert!(found.holds, "{:?}", found.proofs);
    // A comparison in the same windows measures the same.
    let models = ["out/model.gguf", "model"].map(|m| LoadOptions::new(workshop.path(m))).to_vec();
    let data = workshop.path("unseen.txt");
    let compared =
        compare(&CompareRequest { context: 32, windows: Some(3), timing: Timing::Off, ..CompareRequest::new(models, data) }, &Quiet)
            .unwrap();
    assert_eq!(compared.reference.artifact.name, "model", "the one with more bits");
    let artifact = &compared.artifacts[0];
    let measured = done.evaluation.comparison.as_ref().unwrap();
    assert_eq!(artifact.kl_divergence().unwrap(), measured.kl_divergence);
    assert_eq!(artifact.tensors_sha256, done.certificate.tensors_sha256);
    assert_eq!((artifact.certificate_holds, artifact.on_front, compared.reference.artifact.on_front), (Some(true), true, true));
    let layers: Vec<_> = artifact.tensors.iter().filter(|t| t.matrix && t.layer == Some(1)).collect();
    assert_eq!(layers.len(), 7, "{layers:?}");
}

#[test]
fn a_promise_that_does_not_hold_is_said_and_kept() {
    let workshop = Workshop::new();
    let budget = Budget { bits_per_weight: Some(3.5), max_kl_divergence: Some(1e-9), ..Budget::default() };
    let done = workshop.run("out", 2, budget);
    let failure = gravure::failure(&done.promises).unwrap();
    assert_eq!(failure.kind(), gravure::ErrorKind::Gate);
    assert!(failure.message().contains("KL divergence"), "{failure}");
    assert!(workshop.path("out/model.gguf").exists() && workshop.path("out/report.json").exists());
}

#[test]
fn a_pass_comes_before_rounding_and_is_in_the_plan() {
    let workshop = Workshop::new();
    let budget = Budget { bits_per_weight: Some(4.5), ..Budget::default() };
    let plain = workshop.run("plain", 2, budget);
    let request = OptimizeRequest { passes: vec!["rotate".into(), "awq".into()], ..workshop.request("passed", 2, budget) };
    let passed = optimize(&request, &Quiet).unwrap();
    // The plan is made for the weights as they were.
    assert_eq!(passed.encodings, plain.encodings);
    assert!(std::fs::read_to_string(&passed.plan).unwrap().contains("passes = [\"rotate\", \"awq\"]"));
    assert_ne!(passed.artifact.files[0].sha256, plain.artifact.files[0].sha256);
    let divergence = |done: &Optimized| done.evaluation.comparison.as_ref().unwrap().kl_divergence.value;
    assert!(divergence(&passed) < 3.0 * divergence(&plain), "{} after {}", divergence(&passed), divergence(&plain));
    let unknown = OptimizeRequest { passes: vec!["polish".into()], ..workshop.request("no", 2, budget) };
    assert!(optimize(&unknown, &Quiet).unwrap_err().to_string().contains("unknown pass"));
}

#[test]
fn a_folder_is_optimized_as_a_file_is() {
    let workshop = Workshop::new();
    let request = workshop.folder_request("out", Budget { bits_per_weight: Some(13.0), ..Budget::default() });
    let done = optimize(&request, &Quiet).unwrap();
    let bits = done.evaluation.bits_per_weight;
    assert!(bits <= 13.0 && bits > 12.5 && done.encodings.len() > 2, "{bits}: {:?}", done.encodings);
    assert!(done.promises.iter().all(|p| p.met), "{:?}", done.promises);
    for file in &done.artifact.files {
        assert_eq!(std::fs::metadata(&file.path).unwrap().len(), file.bytes, "{}", file.path.display());
    }
    assert_eq!(done.predicted.weight_bytes, done.evaluation.tensor_bytes);
    assert!(workshop.path("out/model/config.json").exists() && !workshop.path("out/.work/model").exists());
    // By the folder and by the file alone; with everything that can be computed again.
    let request = VerifyRequest {
        artifact: LoadOptions::new(workshop.path("out/model")),
        reference: Some(LoadOptions::new(workshop.path("model"))),
        data: Some(workshop.path("unseen.txt")),
        calibration_data: Some(workshop.path("seen.txt")),
    };
    let found = verify(&request, &Quiet).unwrap();
    assert!(found.holds && found.proofs.iter().all(|p| p.outcome == ProofOutcome::Holds), "{:?}", found.proofs);
    assert!(workshop.proofs("out/model/model.safetensors").iter().all(|(_, p)| *p != ProofOutcome::Broken));
    // A limit on all files together is kept to the byte, over the folder of the run before.
    let most = done.file_bytes - 4000;
    let done = optimize(&workshop.folder_request("out", size(most)), &Quiet).unwrap();
    // Whole tensors change by eight bits a weight: the smallest by 32 KiB.
    assert!(done.file_bytes <= most && done.file_bytes > most - (1 << 15), "{} of {most}", done.file_bytes);
    assert_eq!(done.file_bytes, done.artifact.files.iter().map(|f| f.bytes).sum::<u64>());
}

/// Stops after some steps.
struct Impatient(AtomicUsize);

impl Observer for Impatient {
    fn begin(&self, _: &str, _: usize, _: u64) {}
    fn note(&self, _: &str) {}
    fn end(&self) {}

    fn advance(&self, _: &str, _: u64) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    }

    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn a_folder_that_was_interrupted_ends_with_the_same_bytes() {
    let workshop = Workshop::new();
    let budget = Budget { bits_per_weight: Some(12.0), ..Budget::default() };
    let whole = optimize(&workshop.folder_request("whole", budget), &Quiet).unwrap();
    let mut interrupted = 0;
    let done = loop {
        // Every run takes more steps than the one before, and what was measured is not measured again.
        match optimize(&workshop.folder_request("parts", budget), &Impatient(AtomicUsize::new(5 + interrupted * 13))) {
            Ok(done) => break done,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}"),
        }
        assert!(!workshop.path("parts/model").exists());
        interrupted += 1;
    };
    assert!(interrupted > 3, "{interrupted}");
    for (a, b) in whole.artifact.files.iter().zip(&done.artifact.files) {
        assert_eq!((a.path.file_name(), &a.sha256), (b.path.file_name(), &b.sha256));
    }
    assert_eq!(whole.certificate, done.certificate);
}

#[test]
fn what_was_altered_shows_in_every_format() {
    let workshop = Workshop::new();
    let budget = Budget { bits_per_weight: Some(13.0), ..Budget::default() };
    let eight = ["q8_0", "f16"].map(str::to_owned).to_vec();
    let cases = [
        (OptimizeRequest { candidates: eight, ..workshop.request("file", 2, budget) }, "file/model.gguf"),
        (workshop.folder_request("folder", budget), "folder/model/model.safetensors"),
    ];
    for (request, artifact) in cases {
        optimize(&request, &Quiet).unwrap();
        assert!(workshop.proofs(artifact).iter().all(|(_, p)| *p != ProofOutcome::Broken), "{artifact}");
        let good = bytes(&workshop.path(artifact));
        let after = |key: &[u8]| good.windows(key.len()).position(|w| w == key).unwrap() + key.len();
        let key = after(b"gravure.certificate");
        // The first digits behind some statements, wherever the format puts its quotes.
        let digit = |name: &[u8]| (after(name)..good.len()).find(|at| good[*at].is_ascii_digit()).unwrap();
        for name in [&b"kl_divergence"[..], b"top1_agreement", b"parameters", b"tensor_bytes", b"plan_sha256", b"seal"] {
            let (at, mut altered) = (digit(name), good.clone());
            assert!(at > key && at < key + 4000);
            altered[at] = if altered[at] == b'9' { b'1' } else { altered[at] + 1 };
            std::fs::write(workshop.path(artifact), &altered).unwrap();
            let broken = workshop.proofs(artifact);
            assert!(broken.contains(&("seal", ProofOutcome::Broken)), "{artifact}, {}: {broken:?}", String::from_utf8_lossy(name));
        }
        let mut altered = good.clone();
        let last = altered.len() - 100;
        altered[last] ^= 1;
        std::fs::write(workshop.path(artifact), &altered).unwrap();
        assert!(workshop.proofs(artifact).contains(&("tensors", ProofOutcome::Broken)), "{artifact}");
    }
}

#[test]
fn what_a_format_cannot_hold_is_refused_before_anything_is_measured() {
    let workshop = Workshop::new();
    let convert = |output: &str| QuantizeRequest::new(workshop.path("model"), workshop.path(output), PlanSource::Uniform(Uniform::F16));
    quantize(&convert("source.gguf"), &Quiet).unwrap();
    std::fs::create_dir(workshop.path("taken")).unwrap();
    quantize(&QuantizeRequest { output_format: Some("safetensors".into()), ..convert("taken/model") }, &Quiet).unwrap();
    let bits = |bits| Budget { bits_per_weight: Some(bits), ..Budget::default() };
    let from = |path: &str, request: OptimizeRequest| OptimizeRequest {
        source: LoadOptions { path: workshop.path(path), ..request.source.clone() },
        ..request
    };
    let request = || workshop.folder_request("out", bits(12.0));
    let named = |format: &str| OptimizeRequest { format: Some(format.into()), ..request() };
    let cases = [
        ("too few bits", workshop.folder_request("out", bits(4.0)), "4 bits for each weight cannot be met"),
        ("too small a file", workshop.folder_request("out", size(100_000)), "a file of 100000 bytes cannot be met"),
        ("its encoding", OptimizeRequest { candidates: vec!["q4_0".into()], ..request() }, "safetensors cannot hold tensors in q4_0"),
        ("in turn", OptimizeRequest { order: Order::InTurn, ..request() }, "written as safetensors, are not rounded in turn"),
        ("its method", OptimizeRequest { method: Some("gptq".into()), ..request() }, "the method gptq has nothing to do"),
        ("only read", named("pytorch"), "pytorch can only be read"),
        ("unknown", named("tapestry"), "tapestry"),
        ("from a file", from("source.gguf", request()), "config.json cannot be rebuilt"),
        ("the source", from("taken/model", workshop.folder_request("taken", bits(12.0))), "the output is the source itself"),
    ];
    for (name, request, message) in cases {
        let error = optimize(&request, &Quiet).unwrap_err();
        assert!(error.to_string().contains(message), "{name}: {error}");
        assert!(!request.output.join(".work").exists(), "{name}");
    }
}
