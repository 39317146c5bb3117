//! A real file system that is full: too small from the start, or filled by another writer meanwhile.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use gravure::mixtures::{self, MixtureRequest};
use gravure::{ErrorKind, Observer, PlanSource, QuantizeRequest, Quiet, Split, quantize};
use gravure_testing::workspace_root;

/// Set in the process that has the small file system: its folder.
const FOLDER: &str = "GRAVURE_TEST_SMALL_DISK";
/// Its size: the output's 7.8 MB and some.
const SIZE: &str = "12m";
/// When the other writer comes, in parts of the work.
const TIMES: u64 = 20;

fn request(folder: &Path, split: Split) -> QuantizeRequest {
    let plan = PlanSource::Mixture(MixtureRequest::new(mixtures::find("q8_0").unwrap()));
    let mut request = QuantizeRequest::new(workspace_root().join("models/gravure-tiny"), folder.join("out.gguf"), plan);
    request.threads = 2;
    request.split = split;
    request
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Writes until no byte more has room; leaves `free` bytes.
fn fill(path: &Path, free: u64) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    let full = file.metadata().unwrap().len();
    file.set_len(full - free).unwrap();
}

/// Fills the disk once so many bytes of the source are done.
struct OtherWriter {
    after: u64,
    done: Mutex<u64>,
    path: PathBuf,
}

impl Observer for OtherWriter {
    fn advance(&self, _tensor: &str, bytes: u64) {
        let mut done = self.done.lock().unwrap();
        *done += bytes;
        if *done >= self.after && !self.path.exists() {
            fill(&self.path, 0);
        }
    }
}

/// What is checked on the small file system.
fn check(folder: &Path) {
    let (filler, target) = (folder.join("filler"), folder.join("out.gguf"));
    let source = std::fs::metadata(workspace_root().join("models/gravure-tiny/model.safetensors")).unwrap().len();

    // Too small from the start: no work is done.
    std::fs::write(&target, b"precious").unwrap();
    fill(&filler, 5_000_000);
    let begun = OtherWriter { after: 0, done: Mutex::new(0), path: folder.join("begun") };
    let error = quantize(&request(folder, Split::Single), &begun).expect_err("the disk is too small");
    assert!(error.kind() == ErrorKind::Environment && error.to_string().contains("are free"), "{error}");
    assert_eq!(*begun.done.lock().unwrap(), 0);
    assert_eq!(files(folder), ["filler", "out.gguf"]);
    assert_eq!(std::fs::read(&target).unwrap(), b"precious");
    std::fs::remove_file(&filler).unwrap();

    // Another writer takes the rest meanwhile.
    for time in 0..TIMES {
        for (split, before) in [(Split::Single, true), (Split::Single, false), (Split::MaxBytes(2_000_000), false)] {
            if before {
                std::fs::write(&target, b"precious").unwrap();
            }
            let other = OtherWriter { after: source * time / (TIMES + 1), done: Mutex::new(0), path: filler.clone() };
            let error = quantize(&request(folder, split), &other).expect_err("a full disk is an error");
            let text = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Environment, "{time}: {text}");
            assert!(text.contains("the disk is full") && text.contains("out"), "{time}: {text}");
            std::fs::remove_file(&filler).unwrap();
            let left = files(folder);
            assert_eq!(left, if before { vec!["out.gguf"] } else { vec![] }, "{time} {split:?}: {text}");
            if before {
                assert_eq!(std::fs::read(&target).unwrap(), b"precious", "{time}");
                std::fs::remove_file(&target).unwrap();
            }
        }
    }
    quantize(&request(folder, Split::Single), &Quiet).unwrap();
    assert_eq!(files(folder), ["out.gguf"]);
}

#[test]
fn a_disk_that_fills_up_leaves_nothing() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return check(Path::new(&folder));
    }
    // This test once more, where a user may mount: a namespace of its own.
    let folder = tempfile::tempdir().unwrap();
    let mount = format!(r#"mount -t tmpfs -o size={SIZE} tmpfs "$1""#);
    let within = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-ec", script, "sh"]).arg(folder.path());
        command.arg(std::env::current_exe().unwrap()).arg("a_disk_that_fills_up_leaves_nothing").env(FOLDER, folder.path());
        command.output()
    };
    if !within(&mount).is_ok_and(|output| output.status.success()) {
        // Past the capture of the test's output.
        std::io::stderr().write_all(b"SKIPPED: a full disk; no file system may be mounted here\n").unwrap();
        return;
    }
    let output = within(&format!(r#"{mount}; "$2" --exact "$3""#)).unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
