//! Searches of a tiny model from end to end: the front, its files, going on after a stop, limits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use gravure::engine::LoadOptions;
use gravure::samplers::{Outcome, Point, SAMPLERS, State, Study, Trial, Value};
use gravure::{
    ErrorKind, Figures, Keep, Objective, Observer, Quiet, SearchRequest, Searched, Stopped, VerifyRequest, measure_trials, plan_search,
    search, verify,
};
use gravure_testing::tiny_model::{self, Dtype, Options, Size};
use gravure_testing::workspace_root;

struct Lab {
    folder: tempfile::TempDir,
    model: PathBuf,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("llama");
        // 16 bits, as checkpoints have: what becomes of their vectors counts.
        let options = Options { size: Size::Wide, layers: 1, dtype: Dtype::BF16, ..Options::default() };
        tiny_model::write("llama", &options, &model).unwrap();
        let text = std::fs::read_to_string(workspace_root().join("models/gravure-tiny/eval.txt")).unwrap();
        let text: String = text.chars().filter(char::is_ascii).collect();
        std::fs::write(folder.path().join("seen.txt"), &text[..3000]).unwrap();
        std::fs::write(folder.path().join("unseen.txt"), &text[3000..8000]).unwrap();
        Self { folder, model }
    }

    fn request(&self, output: &str) -> SearchRequest {
        let path = |name: &str| self.folder.path().join(name);
        SearchRequest {
            trials: 8,
            seed: 3,
            objectives: vec![Objective::Kld, Objective::Size, Objective::Memory],
            context: 32,
            positions: Some(64),
            calibration_windows: Some(4),
            sensitivity_windows: Some(1),
            trial_windows: 3,
            evaluation_windows: Some(6),
            candidates: ["q2_k", "q4_0", "q5_k", "q8_0"].map(str::to_owned).to_vec(),
            methods: ["rtn", "gptq"].map(str::to_owned).to_vec(),
            sampler: "random".into(),
            ..SearchRequest::new(
                LoadOptions { threads: 2, ..LoadOptions::new(&self.model) },
                path(output),
                path("seen.txt"),
                path("unseen.txt"),
            )
        }
    }
}

/// All that must not depend on how often a search was stopped.
fn lasting(done: &Searched) -> Vec<(u64, String, Figures)> {
    let steady = |f: &Figures| Figures { seconds: 0.0, ..f.clone() };
    done.front.iter().map(|m| (m.trial, m.point.to_string(), steady(m.proof.as_ref().unwrap_or(&m.figures)))).collect()
}

fn files(folder: &Path) -> BTreeSet<String> {
    std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn nothing_beats_the_front_and_its_artifacts_are_certified() {
    let lab = Lab::new();
    let request = SearchRequest { keep: Keep::Front, ..lab.request("out") };
    let done = search(&request, &Quiet).unwrap();
    assert_eq!((done.stopped, done.trials.len()), (Stopped::Done, 8));
    let figures = |f: &Figures| [f.kl_divergence, f.file_bytes as f64, f.memory_bytes as f64];
    let measured: Vec<_> = done.trials.iter().filter_map(|t| Some((t, figures(t.figures.as_ref()?)))).collect();
    assert!(measured.len() >= 4, "{:?}", done.trials);
    for (trial, mine) in &measured {
        let beaten = measured.iter().any(|(_, other)| gravure::samplers::pareto::dominates(other, mine));
        assert_eq!(trial.on_front, !beaten, "{trial}");
        assert_eq!(trial.figures.as_ref().unwrap().windows, 3);
    }
    assert!(!done.front.is_empty() && done.front.windows(2).all(|pair| pair[0].figures.file_bytes <= pair[1].figures.file_bytes));
    for member in &done.front {
        let proof = member.proof.as_ref().unwrap();
        assert!(proof.windows == 6 && proof.file_bytes == member.figures.file_bytes, "{member:?}");
        let file = &member.files[0];
        assert_eq!(file.bytes, proof.file_bytes, "the size is exact");
        let artifact = LoadOptions::new(request.output.join("front").join(&file.name));
        let verified = verify(&VerifyRequest { artifact, reference: None, data: None, calibration_data: None }, &Quiet).unwrap();
        assert!(verified.holds, "{verified:?}");
        assert!(std::fs::read_to_string(member.plan.as_ref().unwrap()).unwrap().contains("searched"));
        // As a conversion leaves them: llama.cpp multiplies by vectors of 32 bits alone.
        let made = gravure::open(&gravure::OpenRequest::new(&request.output.join("front").join(&file.name))).unwrap();
        let vectors: Vec<_> = made.tensors.iter().filter(|t| t.shape.dimensions().len() == 1).collect();
        assert!(!vectors.is_empty() && vectors.iter().all(|t| t.encoding.id() == "f32"), "{:?}", member.point);
    }
    let page = std::fs::read_to_string(request.output.join("report.html")).unwrap();
    for forbidden in ["http://", "https://", "<script", "src="] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("least divergence of each size") && !page.contains("NaN"));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(request.output.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["schema"], "gravure.search/1");
    assert_eq!(report["front"].as_array().unwrap().len(), done.front.len());
    // The study goes on elsewhere from its file.
    let state: State = serde_json::from_slice(&std::fs::read(request.output.join("study.json")).unwrap()).unwrap();
    let study = Study::restore(state).unwrap();
    let mut front: Vec<u64> = study.front().iter().map(|t| t.id).collect();
    front.sort_unstable();
    let mut expected: Vec<u64> = done.front.iter().map(|m| m.trial).collect();
    expected.sort_unstable();
    assert_eq!(front, expected);
    // An artifact that somebody altered is made again, and nothing else is run twice.
    let damaged = request.output.join("front").join(&done.front[0].files[0].name);
    let whole = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, b"cut").unwrap();
    let again = search(&request, &Quiet).unwrap();
    assert!(std::fs::read(&damaged).unwrap() == whole);
    assert_eq!(again.trials, done.trials, "to the second: all are kept");
}

/// Says stop after some trials.
struct StopAfter {
    trials: usize,
    seen: AtomicUsize,
}

impl Observer for StopAfter {
    fn begin(&self, _: &str, _: usize, _: u64) {}
    fn advance(&self, _: &str, _: u64) {}
    fn end(&self) {}

    fn note(&self, text: &str) {
        self.seen.fetch_add(usize::from(text.starts_with("trial ")), Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.seen.load(Ordering::Relaxed) >= self.trials
    }
}

#[test]
fn a_search_that_was_stopped_ends_with_the_same_front() {
    let lab = Lab::new();
    let request = |output: &str| SearchRequest { sampler: "nsga2".into(), trials: 12, ..lab.request(output) };
    let whole = search(&request("whole"), &Quiet).unwrap();
    for trials in [0, 3, 7] {
        let stopped = search(&request("stopped"), &StopAfter { trials, seen: AtomicUsize::new(0) }).unwrap_err();
        assert_eq!(stopped.kind(), ErrorKind::Interrupted);
    }
    let folder = request("stopped").output;
    assert!(!folder.join("report.json").exists());
    let kept = files(&folder.join(".trials")).len();
    assert!((7..12).contains(&kept), "{kept}");
    // What a kill leaves in the middle of a trial is in nobody's way.
    std::fs::write(folder.join(".trials/trial.gguf"), b"half of it").unwrap();
    let resumed = search(&request("stopped"), &Quiet).unwrap();
    assert_eq!(lasting(&resumed), lasting(&whole));
    assert_eq!(resumed.trials.iter().map(|t| &t.sha256).collect::<Vec<_>>(), whole.trials.iter().map(|t| &t.sha256).collect::<Vec<_>>());
    assert!(files(&folder.join(".trials")).iter().all(|name| name.ends_with(".json")), "{:?}", files(&folder.join(".trials")));
}

#[test]
fn limits_hold_and_every_sampler_runs() {
    let lab = Lab::new();
    let free = plan_search(&lab.request("out"), &Quiet).unwrap();
    assert!(free.points.is_some_and(|n| n > 100), "{free:?}");
    let smallest = search(&SearchRequest { trials: 4, ..lab.request("out") }, &Quiet).unwrap().front[0].figures.file_bytes;
    let most = smallest + smallest / 4;
    for kind in SAMPLERS {
        let request = SearchRequest { sampler: kind.id().into(), max_size: Some(most), trials: 6, ..lab.request("limited") };
        let done = search(&request, &Quiet).unwrap_or_else(|e| panic!("{}: {e}", kind.id()));
        assert!(done.front.iter().all(|m| m.figures.file_bytes <= most), "{}", kind.id());
        assert_eq!(files(&request.output.join("front")), done.front.iter().map(|m| format!("{}.toml", m.name)).collect());
    }
    let impossible = SearchRequest { max_size: Some(1000), ..lab.request("out") };
    let error = search(&impossible, &Quiet).unwrap_err();
    assert!(error.kind() == ErrorKind::Request && error.help_text().is_some_and(|h| h.contains("ask for")), "{error}");
    let over = SearchRequest { time_limit: Some(std::time::Duration::ZERO), ..lab.request("over") };
    assert_eq!(search(&over, &Quiet).unwrap_err().kind(), ErrorKind::Limit);
    for wrong in [
        SearchRequest { objectives: Vec::new(), ..lab.request("out") },
        SearchRequest { objectives: vec![Objective::Kld, Objective::Kld], ..lab.request("out") },
        SearchRequest { trials: 0, ..lab.request("out") },
        SearchRequest { sampler: "luck".into(), ..lab.request("out") },
        SearchRequest { methods: vec!["magic".into()], ..lab.request("out") },
        SearchRequest { evaluation_data: lab.request("out").calibration_data, ..lab.request("out") },
    ] {
        assert_eq!(plan_search(&wrong, &Quiet).unwrap_err().kind(), ErrorKind::Request, "{wrong:?}");
    }
}

#[test]
fn trials_of_somebody_else_are_measured_and_kept() {
    let lab = Lab::new();
    let request = SearchRequest { trials: 3, ..lab.request("shared") };
    let plan = plan_search(&request, &Quiet).unwrap();
    let mut study = Study::new(plan.sampler, plan.space, plan.settings).unwrap();
    let mut trials: Vec<Trial> = Vec::new();
    while let gravure::samplers::Ask::Trial(trial) = study.ask() {
        trials.push(trial);
    }
    let bad = |change: &dyn Fn(&mut Point)| {
        let mut trial = trials[0].clone();
        change(&mut trial.point);
        trial
    };
    let choice = |name: &str| Value::Choice(name.into());
    let impossible = bad(&|p| {
        p.0 =
            [("method", "rtn"), ("layout", "mixture"), ("mixture", "none"), ("cache", "f16")].map(|(k, v)| (k.to_owned(), choice(v))).into()
    });
    let foreign = bad(&|p| p.0.clear());
    let mut asked = trials.clone();
    asked.extend([impossible, foreign]);
    let found = measure_trials(&request, &asked, &Quiet).unwrap();
    assert!(found[3..].iter().all(|(outcome, figures)| matches!(outcome, Outcome::Failed { .. }) && figures.is_none()), "{found:?}");
    // The one that collects finds them: to the second.
    let done = search(&request, &Quiet).unwrap();
    let theirs: Vec<_> = done.trials.iter().map(|t| t.figures.clone()).collect();
    assert_eq!(theirs, found[..3].iter().map(|(_, figures)| figures.clone()).collect::<Vec<_>>());
    for (trial, (outcome, _)) in trials.iter().zip(&found) {
        study.tell(trial.id, outcome.clone()).unwrap();
    }
    let mut front: Vec<u64> = study.front().iter().map(|t| t.id).collect();
    let mut expected: Vec<u64> = done.front.iter().map(|m| m.trial).collect();
    front.sort_unstable();
    expected.sort_unstable();
    assert_eq!(front, expected);
}

#[test]
fn passes_are_searched_where_they_are_asked_for() {
    let lab = Lab::new();
    let request = SearchRequest {
        passes: ["none", "rotate", "rotate+awq"].map(str::to_owned).to_vec(),
        methods: vec!["rtn".into()],
        trials: 6,
        ..lab.request("out")
    };
    let done = search(&request, &Quiet).unwrap();
    let tried: BTreeSet<&str> = done.trials.iter().filter_map(|t| t.point.choice("pass")).collect();
    assert!(tried.len() > 1 && done.trials.iter().all(|t| t.figures.is_some() || t.why.is_some()), "{tried:?}");
    assert!(done.trials.iter().any(|t| t.point.choice("pass") != Some("none") && t.figures.is_some()), "{:?}", done.trials);
    let unknown = SearchRequest { passes: vec!["none".into(), "rotate+polish".into()], ..request };
    assert!(search(&unknown, &Quiet).unwrap_err().to_string().contains("unknown pass"));
}
