//! Nanoseconds a weight of every encoder and decoder, on one thread:
//! `cargo test --release -p gravure-encodings --test suite -- --ignored --nocapture speed`
//!
//! The environment variable `GRAVURE_ENCODINGS` holds the ids to measure, separated by commas; all
//! where it is absent.

use std::time::Instant;

use gravure_core::ImportanceUse;
use gravure_encodings::ENCODINGS;

use crate::inputs::{COLUMNS, Random};

/// The fastest of several runs, so that other work on the machine matters little.
fn nanoseconds(weights: usize, mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < 0.4 {
        let run_start = Instant::now();
        run();
        best = best.min(run_start.elapsed().as_secs_f64());
    }
    best * 1e9 / weights as f64
}

#[test]
#[ignore = "prints figures, checks nothing"]
fn speed() {
    let mut random = Random::new(1);
    let source: Vec<f32> = (0..64 * COLUMNS).map(|_| random.bell() * 0.02).collect();
    let columns: Vec<f32> = (0..COLUMNS).map(|_| random.uniform()).collect();
    let mut copy = vec![0.0; source.len()];
    println!(
        "copy of f32: {:.3} ns/weight",
        nanoseconds(source.len(), || std::hint::black_box(&mut copy).copy_from_slice(std::hint::black_box(&source)))
    );
    println!("{:10} {:>10} {:>10} {:>10}", "encoding", "encode", "important", "decode");
    let wanted = std::env::var("GRAVURE_ENCODINGS").ok();
    let wanted = |id: &str| wanted.as_ref().is_none_or(|ids| ids.split(',').any(|wanted| wanted == id));
    for encoding in ENCODINGS.iter().filter(|e| e.can_encode() && !e.is_integer() && wanted(e.id())) {
        let mut bytes = vec![0; encoding.row_bytes(source.len() as u64).unwrap() as usize];
        let mut time =
            |columns: Option<&[f32]>| nanoseconds(source.len(), || encoding.encode(&source, COLUMNS, columns, &mut bytes).unwrap());
        let encode = if encoding.importance() == ImportanceUse::Required { f64::NAN } else { time(None) };
        let important = if encoding.importance() == ImportanceUse::Ignored { f64::NAN } else { time(Some(&columns)) };
        let mut out = vec![0.0; source.len()];
        let decode = nanoseconds(source.len(), || encoding.decode(&bytes, &mut out).unwrap());
        println!("{:10} {encode:10.3} {important:10.3} {decode:10.3}", encoding.id());
    }
}
