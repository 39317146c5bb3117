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

/// 50 kills: in each of ten folders five runs one after the other, each of which goes on from what the last one
/// left, so that early and late stages are hit alike; then one that ends.
#[test]
fn optimize_survives_kill_9() {
    const FOLDERS: usize = 10;
    const KILLS: usize = 5;
    let folder = tempfile::tempdir().unwrap();
    workshop(folder.path());
    let reference = folder.path().join("reference");
    let start = Instant::now();
    assert!(optimization(folder.path(), &reference).status().unwrap().success());
    // On a machine that is busy with other things, kills come early rather than never.
    let whole = start.elapsed().min(Duration::from_secs(2));
    let expected = lasting(&reference);
    let mut moments = Moments(11);
    let (mut killed, mut whole_before) = (0, 0);
    for round in 0..FOLDERS {
        let output = folder.path().join(format!("out-{round}"));
        for kill in 0..KILLS {
            let mut child = optimization(folder.path(), &output).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(moments.below(whole.as_micros() as u64)));
            child.kill().unwrap();
            killed += usize::from(!child.wait().unwrap().success());
            // The artifact is whole or not there, and what is there is what will be there in the end.
            if let Ok(bytes) = std::fs::read(output.join("model.gguf")) {
                assert!(bytes == expected[0], "round {round}, kill {kill}: an artifact that is not whole");
                whole_before += 1;
            }
        }
        assert!(optimization(folder.path(), &output).status().unwrap().success(), "round {round}: going on failed");
        for (name, (found, wanted)) in LASTING.iter().zip(lasting(&output).iter().zip(&expected)) {
            assert!(found == wanted, "round {round}: {name} differs after the kills");
        }
        let left: Vec<String> = names(&output).into_iter().filter(|n| n.contains(".partial") || n.contains(".journal")).collect();
        assert!(left.is_empty(), "round {round}: something was left: {left:?}");
    }
    assert!(killed > FOLDERS * KILLS / 2, "the moments were too late: {killed} of {}", FOLDERS * KILLS);
    assert!(whole_before < FOLDERS * KILLS, "nothing was killed before the end");
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
    let whole = start.elapsed();
    let mut moments = Moments(11);
    let mut killed = 0;
    for _ in 0..12 {
        let mut child = search("killed").spawn().unwrap();
        // What is kept makes every run shorter than the one before.
        std::thread::sleep(Duration::from_micros(moments.below(whole.as_micros() as u64 / 3)));
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
    }
    assert!(killed > 3, "the moments were too late: {killed}");
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
