//! CPU time of every encoder on every instruction set of this machine, one thread:
//!
//! ```text
//! cargo run --release -p gravure-encodings --example encode_speed [-- ENCODING...]
//! ```
//!
//! Prints nanoseconds a weight without and with importance, the scalar code first and how many times
//! faster each instruction set is. CPU time and the best of several runs, because other work on the
//! machine should not count. Each instruction set runs in a process of its own, told by the variable
//! `GRAVURE_ISA`, which is looked up once.
#![allow(clippy::print_stdout, reason = "a benchmark's result")]

use std::collections::BTreeMap;
use std::process::Command;

use gravure_core::ImportanceUse;
use gravure_encodings::ENCODINGS;
use gravure_simd::Isa;

/// Weights in a row.
const COLUMNS: usize = 2048;
/// Set in a child: measure and print raw figures.
const CHILD: &str = "GRAVURE_ENCODE_SPEED_CHILD";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if std::env::var_os(CHILD).is_some() {
        return measure_all(&wanted);
    }
    let mut sets = vec!["scalar"];
    sets.extend(Isa::available().into_iter().rev().map(Isa::name));
    let mut figures: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    for set in &sets {
        let child = Command::new(std::env::current_exe()?).args(&wanted).env(CHILD, "1").env("GRAVURE_ISA", set).output()?;
        for line in String::from_utf8(child.stdout)?.lines() {
            let [id, kind, value] = line.split(' ').collect::<Vec<_>>()[..] else { return Err(format!("{set}: {line}").into()) };
            figures.entry((id.to_owned(), kind.to_owned())).or_default().push(value.parse()?);
        }
    }
    print!("{:8} {:10}", "encoding", "importance");
    for set in &sets {
        print!(" {set:>17}");
    }
    println!("   (ns/weight, CPU time)");
    for encoding in ENCODINGS {
        for kind in ["without", "with"] {
            let Some(values) = figures.get(&(encoding.id().to_owned(), kind.to_owned())) else { continue };
            print!("{:8} {kind:10}", encoding.id());
            for value in values {
                print!(" {value:9.3} {:6.1}x", values[0] / value);
            }
            println!();
        }
    }
    Ok(())
}

/// Prints a line for each encoder: id, kind, nanoseconds a weight.
fn measure_all(wanted: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let importance: Vec<f32> = (0..COLUMNS).map(|_| uniform().powi(2) + 0.01).collect();
    let mut bell = || ((0..6).map(|_| uniform() - 0.5).sum::<f32>()) * 0.03;
    let source: Vec<f32> = (0..64 * COLUMNS).map(|_| bell()).collect();
    for encoding in ENCODINGS.iter().filter(|e| e.can_encode() && !e.is_integer()) {
        if !wanted.is_empty() && !wanted.iter().any(|id| id == encoding.id()) {
            continue;
        }
        let kinds: &[(&str, Option<&[f32]>)] = match encoding.importance() {
            ImportanceUse::Ignored => &[("without", None)],
            ImportanceUse::Required => &[("with", Some(&importance))],
            _ => &[("without", None), ("with", Some(&importance))],
        };
        for &(kind, importance) in kinds {
            // Tables that are made once do not count.
            let mut out = vec![0; usize::try_from(encoding.row_bytes(COLUMNS as u64)?)?];
            encoding.encode(&source[..COLUMNS], COLUMNS, importance, &mut out)?;
            let mut best = f64::INFINITY;
            let mut rows = 1;
            let mut spent = 0.0;
            // Few rows for what is slow, all of them for what is fast; a tenth of a second or so.
            while spent < 0.15 {
                let source = &source[..rows * COLUMNS];
                let mut out = vec![0; usize::try_from(encoding.row_bytes(source.len() as u64)?)?];
                let start = cpu_seconds();
                encoding.encode(source, COLUMNS, importance, &mut out)?;
                let seconds = cpu_seconds() - start;
                std::hint::black_box(&out);
                spent += seconds;
                if rows == 64 || seconds > 0.005 {
                    best = best.min(seconds / source.len() as f64);
                } else {
                    rows *= 2;
                }
            }
            println!("{} {kind} {:.4}", encoding.id(), best * 1e9);
        }
    }
    Ok(())
}

/// CPU time of this thread.
#[cfg(unix)]
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Time that passed, where CPU time is not to be had.
#[cfg(not(unix))]
fn cpu_seconds() -> f64 {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed().as_secs_f64()
}
