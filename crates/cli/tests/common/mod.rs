//! What several tests of the program share.
#![allow(dead_code)] // each test uses a part

pub(crate) mod schema;

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The program with these arguments in `folder`. Whatever this machine has, no other runtime is at hand.
pub(crate) fn program(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gravure"));
    command.args(args).current_dir(folder).env_remove("RUST_BACKTRACE").env("GRAVURE_PYTHON", "/nowhere/python3");
    command
}

/// Runs the program in `folder` and shows exit code and both outputs with places and times taken out.
pub(crate) fn say(folder: &Path, args: &[&str]) -> String {
    let output = program(folder, args).output().unwrap();
    let mut text = format!("exit {}\n", output.status.code().unwrap_or(-1));
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !bytes.is_empty() {
            text += &format!("--- {name}\n{}\n", String::from_utf8_lossy(bytes).trim_end());
        }
    }
    let text = text.replace(&root().display().to_string(), "[ROOT]").replace(&folder.display().to_string(), "[FOLDER]");
    // How far a slow machine has come is said every few seconds.
    let is_progress = |line: &&str| line.starts_with("note: ") && line.contains(" % done, ");
    text.lines().filter(|line| !is_progress(line)).map(steady).collect::<Vec<_>>().join("\n")
}

/// Takes times, rates and digests out of a line.
fn steady(line: &str) -> String {
    if line.starts_with("done in ") {
        return "done in [TIME]".to_owned();
    }
    match line.split_once("sha256 ") {
        Some((head, _)) => format!("{head}sha256 [DIGEST]"),
        None => line.to_owned(),
    }
}

/// Takes the digits out of what was measured: of numbers with a point, of those with five digits and more, and of
/// digests. Instruction sets add in other orders.
pub(crate) fn measured(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_part) {
        out += &rest[..at];
        let end = rest[at..].find(|c| !is_part(c)).map_or(rest.len(), |n| at + n);
        let word = &rest[at..end];
        let number = word.trim_end_matches('.');
        let digits = number.chars().filter(char::is_ascii_digit).count();
        let is_number = number.chars().all(|c| c.is_ascii_digit() || c == '.') && digits > 0;
        if word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit()) {
            out += "[DIGEST]";
        } else if is_number && !number.contains('.') && digits >= 5 {
            out += "[N]";
        } else if is_number && number.contains('.') {
            out.extend(word.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }));
        } else {
            out += word;
        }
        rest = &rest[end..];
    }
    out + rest
}

#[test]
fn digits_of_measurements_are_taken_out() {
    let text = format!("q4_k.gguf 4 windows: 0.125 ±0.01, 12345 bytes, 95.00 %. {}", "a0".repeat(32));
    assert_eq!(measured(&text), "q4_k.gguf 4 windows: #.### ±#.##, [N] bytes, ##.## %. [DIGEST]");
}
