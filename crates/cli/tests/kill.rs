//! kill -9 at random points: nothing incomplete under a final name, an old output intact, and the next
//! run goes on to the same bytes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/gravure-tiny")
}

fn command(verb: &str, target: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gravure"));
    command.args(["-q", "-t", "2", verb]).arg(model()).arg("-o").arg(target);
    match verb {
        "quantize" => command.args(["--type", "q4_k_m"]),
        _ => command.args(["--dtype", "f32"]),
    };
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A small generator is enough: only the spread of the moments matters.
struct Moments(u64);

impl Moments {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit.max(1)
    }
}

fn kill_at_random_points(verb: &str, rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let reference = folder.path().join("reference.gguf");
    let start = Instant::now();
    assert!(command(verb, &reference).status().unwrap().success());
    let whole = start.elapsed();
    let expected = std::fs::read(&reference).unwrap();
    let target = folder.path().join("out.gguf");
    let old = b"an older output".to_vec();
    let mut moments = Moments(7);
    let mut killed = 0;
    for round in 0..rounds {
        if round % 2 == 0 {
            std::fs::write(&target, &old).unwrap();
        } else {
            let _ = std::fs::remove_file(&target);
        }
        let mut child = command(verb, &target).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(moments.below(whole.as_micros() as u64)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        killed += usize::from(!status.success());
        match std::fs::read(&target) {
            Ok(bytes) => {
                assert!(bytes == expected || (round % 2 == 0 && bytes == old), "round {round}: a file that is neither old nor whole")
            }
            Err(_) => assert_eq!(round % 2, 1, "round {round}: the old output is gone"),
        }
        // Every few rounds the interrupted work is taken up where it was left.
        if round % 4 == 3 {
            assert!(command(verb, &target).status().unwrap().success(), "round {round}: going on failed");
            assert!(std::fs::read(&target).unwrap() == expected, "round {round}: the resumed output differs");
            let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(left.len(), 2, "something was left: {left:?}");
        }
    }
    assert!(killed > rounds / 4, "the moments were too late: {killed} of {rounds}");
}

#[test]
fn quantize_survives_kill_9() {
    kill_at_random_points("quantize", 100);
}

#[test]
fn convert_survives_kill_9() {
    kill_at_random_points("convert", 100);
}
