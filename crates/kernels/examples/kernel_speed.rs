//! Speed of the products on this machine, for each encoding and instruction set: bytes of weights per
//! second of one row of activations against a plain read of the same memory, and multiplications of
//! 512 rows per second.
//!
//! `cargo run --release -p gravure-kernels --example kernel_speed [THREADS [ENCODING...]] [--best]`, which leaves away all but the best instruction set
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Instant;

use gravure_core::contracts::{Activations, Phase};
use gravure_encodings::ENCODINGS;
use gravure_kernels::{Inputs, Matrix, MatrixSource, Pool, linear};
use gravure_simd::Isa;

fn best(times: usize, mut body: impl FnMut()) -> f64 {
    (0..times)
        .map(|_| {
            let start = Instant::now();
            body();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), Box<dyn Error>> {
    let threads = std::env::args().nth(1).map_or(Ok(2), |text| text.parse())?;
    let pool = Pool::new(threads);
    let (rows, columns, inputs) = (65_536, 2048, 512);
    println!("{:8} {:12} {:>12} {:>12} {:>12}", "encoding", "kernel", "read GB/s", "decode GB/s", "GMAC/s");
    let best_only = std::env::args().any(|text| text == "--best");
    let scale: f32 = std::env::var("SCALE").map_or(0.05, |s| s.parse().unwrap_or(0.05));
    let mut names: Vec<String> = std::env::args().skip(2).filter(|text| !text.starts_with("--")).collect();
    if names.is_empty() {
        names = ["q4_0", "q8_0", "q4_k", "q6_k"].map(str::to_owned).to_vec();
    }
    for name in &names {
        let encoding = *ENCODINGS.iter().find(|encoding| encoding.id() == name.as_str()).ok_or("no such encoding")?;
        let source: Vec<f32> = (0..columns).map(|i| ((i * 7919 % 1013) as f32 / 506.0 - 1.0) * scale).collect();
        let mut row = vec![0; usize::try_from(encoding.row_bytes(columns as u64)?)?];
        encoding.encode(&source, columns, None, &mut row)?;
        for isa in Isa::available().into_iter().take(if best_only { 1 } else { usize::MAX }) {
            let mut read = |range: std::ops::Range<u64>, out: &mut Vec<u8>| {
                out.clear();
                range.for_each(|_| out.extend_from_slice(&row));
                Ok(())
            };
            let matrix = Matrix::load(MatrixSource { name, encoding, rows, columns, read: &mut read }, isa, Activations::Fast)?;
            let words: Vec<u64> = vec![1; row.len() * rows / 8];
            let plain = best(5, || {
                pool.run(words.len().div_ceil(8192), &|task| {
                    let sum: u64 = words[task * 8192..((task + 1) * 8192).min(words.len())].iter().fold(0, |sum, v| sum ^ v);
                    std::hint::black_box(sum);
                });
            });
            let x: Vec<f32> = (0..inputs * columns).map(|i| (i * 7907 % 1009) as f32 / 504.0 - 1.0).collect();
            let mut out = vec![0.0; inputs * rows];
            let mut error = None;
            let decode = best(5, || {
                error = linear(&pool, &matrix, &mut Inputs::new(&x[..columns], columns), Phase::Decode, None, &mut out[..rows]).err();
            });
            let small = 256;
            let prefill = best(1, || {
                let x = &x[..small * columns];
                error = linear(&pool, &matrix, &mut Inputs::new(x, columns), Phase::Prefill, None, &mut out[..small * rows]).err();
            });
            if let Some(error) = error {
                return Err(Box::new(error));
            }
            let bytes = (row.len() * rows) as f64 / 1e9;
            let macs = (small * rows * columns) as f64 / 1e9;
            println!("{name:8} {:12} {:12.1} {:12.1} {:12.1}", matrix.kernel(), bytes / plain, bytes / decode, macs / prefill);
        }
    }
    Ok(())
}
