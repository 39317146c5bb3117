//! `optimize` from a folder to a certified artifact: the same inputs give the same digests on any number of
//! threads and in any folder, budgets are kept to the byte and used up, and what is promised is measured.

use std::path::{Path, PathBuf};

use gravure::engine::LoadOptions;
use gravure::{
    Budget, BuiltInText, CompareRequest, Gates, OptimizeRequest, Optimized, Quiet, Timing, VerifyRequest, compare, optimize, verify,
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
