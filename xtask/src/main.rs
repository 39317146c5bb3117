//! Chores of the workspace: `cargo xtask test` is what must pass before a commit.
#![forbid(unsafe_code)]

mod laws;
mod sources;

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    match command.as_str() {
        "laws" => laws::run(),
        "test" => test(),
        _ => {
            eprintln!("usage: cargo xtask test    format, lints, laws, and all tests that need Rust alone");
            eprintln!("       cargo xtask laws    check the laws of ARCHITECTURE.md");
            ExitCode::from(64)
        }
    }
}

/// Every check that needs nothing but Rust, in the order of their speed.
fn test() -> ExitCode {
    let steps: [&[&str]; 3] = [
        &["fmt", "--all", "--check"],
        &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"],
        &["test", "--workspace"],
    ];
    for step in steps {
        eprintln!("==> cargo {}", step.join(" "));
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        match Command::new(cargo).args(step).current_dir(sources::root()).status() {
            Ok(status) if status.success() => {}
            Ok(status) => return ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)),
            Err(e) => {
                eprintln!("cannot run cargo: {e}");
                return ExitCode::FAILURE;
            }
        }
        if step[0] == "clippy" && laws::run() != ExitCode::SUCCESS {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
