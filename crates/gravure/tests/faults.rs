//! Disks that fail at every operation, and runs that must not depend on the number of threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gravure::mixtures::{self, MixtureRequest};
use gravure::{ErrorKind, PlanSource, QuantizeRequest, Quiet, Split, quantize};
use gravure_testing::{Fault, FaultyDisk, workspace_root};

fn request(output: PathBuf, mixture: &str) -> QuantizeRequest {
    let plan = PlanSource::Mixture(MixtureRequest::new(mixtures::find(mixture).unwrap()));
    let mut request = QuantizeRequest::new(workspace_root().join("models/gravure-tiny"), output, plan);
    request.threads = 2;
    request
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Fails operation k for every k, once and for good; nothing may be left, an old output stays as it was.
fn every_fault(split: Split) {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out.gguf");
    let count = FaultyDisk::new(Fault::None);
    let mut counting = request(target.clone(), "q8_0");
    counting.split = split;
    counting.storage = Arc::new(count.clone());
    let whole = quantize(&counting, &Quiet).unwrap();
    let complete = files(folder.path());
    let digests: Vec<_> = whole.artifact.files.iter().map(|f| f.sha256.clone()).collect();
    let operations = count.operations();
    assert!(operations > 20, "only {operations} operations");
    // Every operation near both ends, where opens, syncs and renames are; every third write between.
    let interesting = (0..operations).filter(|k| *k < 12 || *k + 24 > operations || k % 3 == 0);
    for k in interesting {
        for fault in [Fault::Once(k), Fault::From(k)] {
            for name in files(folder.path()) {
                std::fs::remove_file(folder.path().join(name)).unwrap();
            }
            let mut failing = request(target.clone(), "q8_0");
            failing.split = split;
            failing.storage = Arc::new(FaultyDisk::new(fault));
            let error = quantize(&failing, &Quiet).expect_err("a failing disk is an error");
            assert_eq!(error.kind(), ErrorKind::Environment, "{fault:?}: {error}");
            assert!(error.message().contains("injected fault"), "{fault:?}: {error}");
            let left = files(folder.path());
            assert!(left.iter().all(|n| complete.contains(n)), "{fault:?} left {left:?}");
            if split == Split::Single && !left.is_empty() {
                // Only the sync of the folder can fail after the rename: the file is whole then.
                let mut again = gravure_base::Sha256::new();
                again.update(&std::fs::read(&target).unwrap());
                assert_eq!(again.finish(), digests[0], "{fault:?}");
            }
        }
    }
}

#[test]
fn a_failing_disk_leaves_nothing() {
    every_fault(Split::Single);
}

#[test]
fn a_failing_disk_leaves_no_first_shard_without_the_others() {
    every_fault(Split::MaxBytes(2_000_000));
}

#[test]
fn an_existing_output_survives_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out.gguf");
    for k in [0, 1, 2, 9, 40] {
        std::fs::write(&target, b"precious").unwrap();
        let mut failing = request(target.clone(), "q8_0");
        failing.storage = Arc::new(FaultyDisk::new(Fault::From(k)));
        quantize(&failing, &Quiet).expect_err("a failing disk is an error");
        assert_eq!(std::fs::read(&target).unwrap(), b"precious");
        assert_eq!(files(folder.path()), ["out.gguf"]);
    }
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let folder = tempfile::tempdir().unwrap();
    let mut digests = Vec::new();
    for threads in [1, 2, 8] {
        let mut request = request(folder.path().join(format!("{threads}.gguf")), "q4_k_m");
        request.threads = threads;
        digests.push(quantize(&request, &Quiet).unwrap().artifact.files[0].sha256.clone());
    }
    assert!(digests.iter().all(|d| *d == digests[0]), "{digests:?}");
}

#[test]
fn a_disk_that_is_too_small_is_refused_before_work_starts() {
    #[derive(Debug)]
    struct Full;
    impl gravure_base::Storage for Full {
        fn open(&self, _: &Path, _: u64) -> gravure::Result<Box<dyn gravure_base::OutputHandle>> {
            panic!("work started")
        }
        fn rename(&self, _: &Path, _: &Path) -> gravure::Result<()> {
            panic!("work started")
        }
        fn remove(&self, _: &Path) -> gravure::Result<()> {
            Ok(())
        }
        fn sync_folder(&self, _: &Path) -> gravure::Result<()> {
            panic!("work started")
        }
        fn create_folder(&self, _: &Path) -> gravure::Result<()> {
            panic!("work started")
        }
        fn remove_folder(&self, _: &Path) -> gravure::Result<()> {
            panic!("work started")
        }
        fn exchange(&self, _: &Path, _: &Path) -> gravure::Result<()> {
            panic!("work started")
        }
        fn free_space(&self, _: &Path) -> gravure::Result<u64> {
            Ok(5_000_000)
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mut request = request(folder.path().join("out.gguf"), "q8_0");
    request.storage = Arc::new(Full);
    let error = quantize(&request, &Quiet).expect_err("the disk is too small");
    assert_eq!(error.kind(), ErrorKind::Environment);
    assert!(error.message().contains("5000000 are free"), "{error}");
}

#[test]
fn a_plan_that_is_fed_back_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let first = quantize(&request(folder.path().join("a.gguf"), "q4_k_m"), &Quiet).unwrap();
    let text = toml::to_string(&first.plan.plan).unwrap();
    let mut again = request(folder.path().join("b.gguf"), "q4_k_m");
    again.plan = PlanSource::Given(toml::from_str(&text).unwrap());
    let second = quantize(&again, &Quiet).unwrap();
    assert_eq!(first.artifact.files[0].sha256, second.artifact.files[0].sha256);
    let dry = gravure::plan_quantize(&again).unwrap();
    assert_eq!(dry.output_bytes, second.artifact.files[0].bytes, "the announced size is exact");
}
