//! Every hostile sample is refused with an error of the right kind, quickly and in little memory;
//! every honest one is accepted.
//!
//! The limits of time are far above what a sample takes (all of them together take seconds), so that
//! they find hangs and nothing else.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use gravure::mixtures::{self, MixtureRequest};
use gravure::{
    ErrorKind, Limits, Observer, OpenRequest, PlanSource, QuantizeRequest, Quiet, Result, inspect, open, plan_quantize, quantize, scan,
};
use gravure_testing::hostile::{self, Class, Expect, Sample, Verb};
use gravure_testing::workspace_root;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// A sample takes milliseconds; this is for a loaded machine with a debug build.
const PATIENCE: Duration = Duration::from_secs(60);
/// Memory that reading may take, beside twice the size of the files.
const MEMORY_BYTES: usize = 64 << 20;

fn mixture(source: &Path) -> QuantizeRequest {
    let plan = PlanSource::Mixture(MixtureRequest::new(mixtures::find("q8_0").expect("a mixture of that name")));
    QuantizeRequest::new(source, source.with_extension("out.gguf"), plan)
}

/// A conversion to floats.
fn uniform(source: &Path) -> QuantizeRequest {
    let plan = PlanSource::Uniform(gravure::Uniform::parse("f16").expect("a conversion of that name"));
    QuantizeRequest::new(source, source.with_extension("out"), plan)
}

/// Does what the sample is for. `Ok` with the complaints of a scan where it was opened.
fn perform(sample: &Sample, path: &Path) -> Result<Vec<String>> {
    let request = OpenRequest::new(path);
    match &sample.verb {
        Verb::Importance => {
            let model = path.with_file_name("target.gguf");
            let mut request = mixture(&model);
            request.importance = Some(path.to_owned());
            plan_quantize(&request).map(|_| Vec::new())
        }
        Verb::Plan(plan) => {
            let target = path.with_file_name("out.gguf");
            plan_quantize(&QuantizeRequest::new(path, target, PlanSource::Given((**plan).clone()))).map(|_| Vec::new())
        }
        Verb::Open | Verb::Validate | Verb::Convert => {
            let opened = inspect(&request);
            let report = scan(path, &Limits::default(), true)?;
            // A plan needs what opening needs, and never more luck; so does the way to the other naming.
            let planned = plan_quantize(&mixture(path));
            let folder = plan_quantize(&QuantizeRequest { output_format: Some("safetensors".into()), ..uniform(path) });
            // Whatever was planned is done or refused with an error, whatever the weights are.
            let done = if planned.is_ok() { quantize(&mixture(path), &Quiet).map(|_| ()) } else { Ok(()) };
            let errors = [opened.as_ref().err(), planned.as_ref().err(), folder.as_ref().err(), done.as_ref().err()];
            for error in errors.into_iter().flatten() {
                assert_ne!(error.kind(), ErrorKind::Bug, "{error}");
                let shown = error.to_string();
                assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "control characters in {shown:?}");
            }
            if sample.class == Class::Number && planned.is_ok() {
                assert!(done.is_err(), "numbers that are none were quantized without a word");
            }
            let inspection = opened?;
            assert!(inspection.tensors.len() as u64 <= Limits::default().tensors);
            if matches!(sample.verb, Verb::Convert) {
                planned?;
            }
            Ok(if report.safe { Vec::new() } else { report.findings.into_iter().map(|f| f.text).collect() })
        }
    }
}

/// What came of a sample, and what it took.
struct Outcome {
    result: std::thread::Result<Result<Vec<String>>>,
    peak: usize,
    elapsed: Duration,
}

fn run(sample: &Sample) -> std::result::Result<Outcome, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = sample.write(folder.path()).expect("a sample that can be written");
    std::fs::write(folder.path().join("target.gguf"), hostile::importance_target()).expect("a target");
    let (sender, receiver) = mpsc::channel();
    let moved = sample.clone();
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let start = Instant::now();
    let worker = std::thread::Builder::new().name(sample.name.clone()).spawn(move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| perform(&moved, &path)));
        let _ = sender.send(result);
    });
    worker.expect("a thread");
    match receiver.recv_timeout(PATIENCE) {
        Ok(result) => Ok(Outcome { result, peak: MEMORY.peak_usage().saturating_sub(before), elapsed: start.elapsed() }),
        Err(_) => Err(format!("did not end within {PATIENCE:?}")),
    }
}

/// What is wrong with the outcome of a sample, if anything.
fn judge(sample: &Sample) -> Option<String> {
    let outcome = match run(sample) {
        Ok(outcome) => outcome,
        Err(hang) => return Some(hang),
    };
    let allowed = MEMORY_BYTES + 2 * sample.bytes() as usize;
    if outcome.peak > allowed {
        return Some(format!("took {} MiB for a file of {} bytes", outcome.peak >> 20, sample.bytes()));
    }
    if outcome.elapsed > PATIENCE / 2 {
        return Some(format!("took {:?}", outcome.elapsed));
    }
    let Ok(result) = outcome.result else { return Some("panicked".to_owned()) };
    match (sample.expect, result) {
        (Expect::Accepted, Err(error)) => Some(format!("was refused: {error}")),
        (Expect::Accepted, Ok(complaints)) if !complaints.is_empty() => Some(format!("was called unsafe: {complaints:?}")),
        (Expect::Accepted, Ok(_)) => None,
        // Found when the weights are read: opening is fine, the scan is not.
        (Expect::Refused(_), Ok(complaints)) if matches!(sample.verb, Verb::Validate) => {
            complaints.is_empty().then(|| "was called safe".to_owned())
        }
        (Expect::Refused(kind), Ok(_)) => Some(format!("was accepted, and should be {}", kind.as_str())),
        (Expect::Refused(kind), Err(error)) if error.kind() != kind => {
            Some(format!("is {}, and should be {}: {error}", error.kind().as_str(), kind.as_str()))
        }
        (Expect::Refused(_), Err(_)) => None,
    }
}

/// Judges one sample after the other.
fn judge_all(samples: &[Sample]) {
    let failures: Vec<String> = samples.iter().filter_map(|s| judge(s).map(|what| format!("[{:?}] {}: {what}", s.class, s.name))).collect();
    assert!(failures.is_empty(), "{} of {} samples:\n{}", failures.len(), samples.len(), failures.join("\n"));
}

/// Held by every test here: memory is counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn hostile_files_are_refused_and_honest_ones_are_not() {
    let _alone = alone();
    judge_all(&hostile::valid_samples());
    judge_all(&hostile::samples());
}

/// The memory limit above means nothing unless the allocator counts.
#[test]
fn memory_is_counted() {
    let _alone = alone();
    let before = MEMORY.current_usage();
    let block = std::hint::black_box(vec![1u8; 32 << 20]);
    assert!(MEMORY.current_usage() >= before + (30 << 20));
    drop(block);
}

/// A scan finds what opening refuses: nothing that is malformed passes as safe.
#[test]
fn a_scan_calls_malformed_files_unsafe() {
    let _alone = alone();
    let opened = |s: &&Sample| matches!(s.verb, Verb::Open) && s.class != Class::Truncated;
    let malformed = |s: &&Sample| matches!(s.expect, Expect::Refused(ErrorKind::Input | ErrorKind::Limit));
    let mut safe = Vec::new();
    for sample in hostile::samples().iter().filter(opened).filter(malformed) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = sample.write(folder.path()).expect("a sample that can be written");
        if scan(&path, &Limits::default(), false).is_ok_and(|report| report.safe) && open(&OpenRequest::new(&path)).is_err() {
            safe.push(sample.name.clone());
        }
    }
    assert!(safe.is_empty(), "called safe:\n{}", safe.join("\n"));
}

/// Cuts a file as soon as some of it has been read.
struct Cutter(PathBuf);

impl Observer for Cutter {
    fn advance(&self, _tensor: &str, _bytes: u64) {
        let file = std::fs::OpenOptions::new().write(true).open(&self.0).expect("the file");
        file.set_len(1 << 20).expect("a cut");
    }
}

/// Another program truncates the source while it is quantized: no signal, no output.
#[test]
fn a_source_that_shrinks_is_an_error() {
    let _alone = alone();
    let (source, target) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let model = workspace_root().join("models/gravure-tiny");
    for entry in std::fs::read_dir(&model).expect("the bundled model").flatten().filter(|e| e.path().is_file()) {
        std::fs::copy(entry.path(), source.path().join(entry.file_name())).expect("a copy");
    }
    let plan = PlanSource::Mixture(MixtureRequest::new(mixtures::find("q8_0").expect("a mixture of that name")));
    let request = QuantizeRequest::new(source.path(), target.path().join("out.gguf"), plan);
    let error = quantize(&request, &Cutter(source.path().join("model.safetensors"))).expect_err("half of the weights are gone");
    assert_eq!(error.kind(), ErrorKind::Input, "{error}");
    assert!(error.item().is_some() && error.file().is_some(), "{error}");
    assert_eq!(std::fs::read_dir(target.path()).expect("the folder").count(), 0, "something was left behind");
}
