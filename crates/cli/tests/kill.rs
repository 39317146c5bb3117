//! kill -9 at random points: nothing incomplete under a final name, an old output intact, and the next
//! run goes on to the same bytes; of an optimization, to the same plan and the same bytes.

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

/// Moments between a start and an end that is not known in advance: runs that ended before their kill bring it nearer,
/// so that nothing here depends on how fast or busy the machine is.
struct Moments {
    state: u64,
    limit: Duration,
    too_late: usize,
}

impl Moments {
    /// The first moments lie within `limit`.
    fn new(seed: u64, limit: Duration) -> Moments {
        Moments { state: seed, limit, too_late: 0 }
    }

    /// A small generator is enough: only the spread of the moments matters.
    fn next(&mut self) -> Duration {
        self.state = self.state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.limit.mul_f64((self.state >> 33) as f64 / (1u64 << 31) as f64)
    }

    /// Runs `command` and kills it at the next moment. False where it ended before that, as it must have: well.
    fn kill(&mut self, command: &mut Command) -> bool {
        let moment = self.next();
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        while start.elapsed() < moment {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "a run failed by itself");
                self.limit = start.elapsed();
                self.too_late += 1;
                assert!(self.too_late < 1000, "every moment is too late");
                return false;
            }
            std::thread::sleep(Duration::from_micros(200).min(moment.saturating_sub(start.elapsed())));
        }
        child.kill().unwrap();
        // It can have ended in between.
        !child.wait().unwrap().success()
    }
}

fn kill_at_random_points(verb: &str, kills: usize) {
    let folder = tempfile::tempdir().unwrap();
    let reference = folder.path().join("reference.gguf");
    let start = Instant::now();
    assert!(command(verb, &reference).status().unwrap().success());
    let mut moments = Moments::new(7, start.elapsed());
    let expected = std::fs::read(&reference).unwrap();
    let target = folder.path().join("out.gguf");
    let old = b"an older output".to_vec();
    let (mut killed, mut round) = (0, 0);
    while killed < kills {
        if round % 2 == 0 {
            std::fs::write(&target, &old).unwrap();
        } else {
            let _ = std::fs::remove_file(&target);
        }
        killed += usize::from(moments.kill(&mut command(verb, &target)));
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
        round += 1;
    }
}

#[test]
fn quantize_survives_kill_9() {
    kill_at_random_points("quantize", 100);
}

#[test]
fn convert_survives_kill_9() {
    kill_at_random_points("convert", 100);
}

/// A tiny model with random weights and two texts.
fn workshop(folder: &Path) {
    use gravure_testing::tiny_model::{Options, write};
    write("llama", &Options { layers: 3, ..Options::default() }, &folder.join("model")).unwrap();
    let text = std::fs::read_to_string(model().join("eval.txt")).unwrap();
    std::fs::write(folder.join("seen.txt"), &text[..8_000]).unwrap();
    std::fs::write(folder.join("unseen.txt"), &text[60_000..66_000]).unwrap();
}

fn optimization(folder: &Path, output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gravure"));
    command.args(["-q", "-t", "2", "optimize", "model", "--bits-per-weight", "6", "--encodings", "q4_0,q5_0,q8_0,iq4_nl,f16"]);
    command.args(["--calibration-data", "seen.txt", "--eval-data", "unseen.txt", "-c", "64", "--calibration-chunks", "4"]);
    command.args(["--sensitivity-chunks", "1", "--eval-chunks", "4", "-o"]).arg(output).current_dir(folder);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The files whose bytes depend on nothing but what was asked.
const LASTING: [&str; 3] = ["model.gguf", "plan.toml", "imatrix.gguf"];

fn lasting(output: &Path) -> Vec<Vec<u8>> {
    LASTING.iter().map(|name| std::fs::read(output.join(name)).unwrap()).collect()
}

/// 50 kills: up to five in one folder, each of a run that goes on from what the last one left, so that early and late
/// stages are hit alike; then a run that ends.
#[test]
fn optimize_survives_kill_9() {
    const KILLS: usize = 50;
    const KILLS_IN_A_FOLDER: usize = 5;
    let folder = tempfile::tempdir().unwrap();
    workshop(folder.path());
    let reference = folder.path().join("reference");
    let start = Instant::now();
    assert!(optimization(folder.path(), &reference).status().unwrap().success());
    let mut whole = start.elapsed();
    let expected = lasting(&reference);
    let mut moments = Moments::new(11, whole);
    let (mut killed, mut round) = (0, 0);
    while killed < KILLS {
        let output = folder.path().join(format!("out-{round}"));
        for kill in 0..KILLS_IN_A_FOLDER {
            let in_time = moments.kill(&mut optimization(folder.path(), &output));
            // The artifact is whole or not there, and what is there is what will be there in the end.
            if let Ok(bytes) = std::fs::read(output.join("model.gguf")) {
                assert!(bytes == expected[0], "round {round}, kill {kill}: an artifact that is not whole");
            }
            if !in_time {
                if kill == 0 {
                    whole = moments.limit;
                }
                break;
            }
            killed += 1;
        }
        assert!(optimization(folder.path(), &output).status().unwrap().success(), "round {round}: going on failed");
        for (name, (found, wanted)) in LASTING.iter().zip(lasting(&output).iter().zip(&expected)) {
            assert!(found == wanted, "round {round}: {name} differs after the kills");
        }
        let left: Vec<String> = names(&output).into_iter().filter(|n| n.contains(".partial") || n.contains(".journal")).collect();
        assert!(left.is_empty(), "round {round}: something was left: {left:?}");
        // In a new folder a run takes the whole time again.
        moments.limit = whole;
        round += 1;
    }
}

fn names(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// What a search reports of its front, without times.
fn front(folder: &Path) -> Vec<serde_json::Value> {
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap();
    let member = |m: &serde_json::Value| {
        let mut member = m.clone();
        for figures in ["figures", "proof"] {
            member[figures].as_object_mut().unwrap().remove("seconds");
        }
        member.as_object_mut().unwrap().remove("plan");
        member
    };
    report["front"].as_array().unwrap().iter().map(member).collect()
}

#[test]
fn a_search_that_is_killed_again_and_again_ends_with_the_same_front() {
    use gravure_testing::tiny_model::{self, Options, Size};
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    tiny_model::write("llama", &Options { size: Size::Wide, layers: 1, ..Options::default() }, &path("model")).unwrap();
    let text = |seed: usize| (0..900).map(|i| format!("{} ", i * i * seed % 977)).collect::<String>();
    std::fs::write(path("seen.txt"), text(7)).unwrap();
    std::fs::write(path("unseen.txt"), text(11)).unwrap();
    let search = |output: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gravure"));
        command.args(["-q", "-t", "2", "search"]).arg(path("model")).arg("-o").arg(path(output));
        command.arg("--calibration-data").arg(path("seen.txt")).arg("--eval-data").arg(path("unseen.txt"));
        command.args(["-c", "32", "--calibration-chunks", "2", "--sensitivity-chunks", "1", "--trial-chunks", "2", "--eval-chunks", "3"]);
        command.args(["--encodings", "q2_k,q4_0,q8_0", "--methods", "rtn", "--objectives", "kld,size,memory", "--trials", "10"]);
        command.args(["--keep", "front", "--seed", "5"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let start = Instant::now();
    assert!(search("whole").status().unwrap().success());
    // What is kept makes every run shorter than the one before.
    let mut moments = Moments::new(11, start.elapsed() / 3);
    let mut killed = 0;
    while killed < 12 {
        killed += usize::from(moments.kill(&mut search("killed")));
    }
    assert!(search("killed").status().unwrap().success());
    assert_eq!(front(&path("killed")), front(&path("whole")));
    let names = |folder: &str| {
        let mut names: Vec<_> = std::fs::read_dir(path(folder)).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("killed/front"), names("whole/front"));
    for name in names("whole/front") {
        let bytes = |output: &str| std::fs::read(path(output).join("front").join(&name)).unwrap();
        assert!(bytes("killed") == bytes("whole"), "{name:?}");
    }
}
