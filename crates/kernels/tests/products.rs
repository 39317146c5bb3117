//! Every fast product against decoded rows and exact sums, on every instruction set of the machine.

use gravure_core::Encoding;
use gravure_core::contracts::Phase;
use gravure_encodings::ENCODINGS;
use gravure_kernels::{Inputs, Matrix, MatrixSource, Pool, Precision, linear};
use gravure_simd::Isa;

const NAMES: [&str; 4] = ["q4_0", "q8_0", "q4_k", "q6_k"];

fn encoding(name: &str) -> &'static dyn Encoding {
    *ENCODINGS.iter().find(|encoding| encoding.id() == name).unwrap()
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

fn normal(state: &mut u64) -> f32 {
    (0..4).map(|_| random(state) as f32 / (1u64 << 31) as f32 - 0.5).sum()
}

fn load(name: &str, bytes: &[u8], rows: usize, columns: usize, isa: Isa) -> Matrix {
    let row_bytes = bytes.len() / rows;
    let mut read = |range: std::ops::Range<u64>, out: &mut Vec<u8>| {
        out.clear();
        out.extend_from_slice(&bytes[range.start as usize * row_bytes..range.end as usize * row_bytes]);
        Ok(())
    };
    Matrix::load(MatrixSource { name: "m", encoding: encoding(name), rows, columns, read: &mut read }, isa, Precision::Fast).unwrap()
}

/// Random bytes with finite scales: every code, every scale, subnormal and negative ones among them.
fn any_bytes(name: &str, rows: usize, columns: usize, state: &mut u64) -> Vec<u8> {
    let layout = encoding(name).layout();
    let mut bytes: Vec<u8> = (0..rows * columns / layout.block_elements * layout.block_bytes).map(|_| random(state) as u8).collect();
    for block in bytes.chunks_exact_mut(layout.block_bytes) {
        let halves: &[usize] = match name {
            "q4_k" => &[0, 2],
            "q6_k" => &[208],
            _ => &[0],
        };
        for &at in halves {
            // Exponents from subnormal to about 2.
            block[at + 1] &= 0xbf;
        }
    }
    bytes
}

#[test]
fn products_are_those_of_the_decoded_rows() {
    let pool = Pool::new(2);
    let mut state = 1;
    for isa in Isa::available() {
        for name in NAMES {
            for (rows, columns) in [(1, 256), (3, 512), (16, 256), (17, 1024), (33, 768), (70, 256)] {
                let bytes = any_bytes(name, rows, columns, &mut state);
                let matrix = load(name, &bytes, rows, columns, isa);
                assert_ne!(matrix.kernel(), "decoded");
                let mut weights = vec![0.0; rows * columns];
                encoding(name).decode(&bytes, &mut weights).unwrap();
                for (j, row) in weights.chunks_exact(columns).enumerate() {
                    let mut back = vec![0.0; columns];
                    matrix.decode_row(j, &mut back).unwrap();
                    assert_eq!(row, back, "{name} on {isa:?}: row {j} comes back");
                }
                for inputs in [1, 2, 5, 16, 70] {
                    // Integers of which each 32 hold 127: rounding them to bytes is exact.
                    let mut x: Vec<f32> = (0..inputs * columns).map(|_| (random(&mut state) % 255) as f32 - 127.0).collect();
                    x.iter_mut().step_by(32).for_each(|v| *v = v.signum() * 127.0);
                    if inputs > 1 {
                        x[columns..columns + 32].fill(0.0);
                    }
                    x.iter_mut().filter(|v| **v == 0.0).step_by(2).for_each(|v| *v = -0.0);
                    let bias: Vec<f32> = (0..rows).map(|_| normal(&mut state)).collect();
                    let mut out = vec![f32::NAN; inputs * rows];
                    linear(&pool, &matrix, &mut Inputs::new(&x, columns), Phase::Prefill, Some(&bias), &mut out).unwrap();
                    for i in 0..inputs {
                        for j in 0..rows {
                            let products = || {
                                x[i * columns..(i + 1) * columns]
                                    .iter()
                                    .zip(&weights[j * columns..])
                                    .map(|(a, b)| f64::from(*a) * f64::from(*b))
                            };
                            let (sum, size): (f64, f64) = (products().sum::<f64>() + f64::from(bias[j]), products().map(f64::abs).sum());
                            let got = f64::from(out[i * rows + j]);
                            assert!((got - sum).abs() <= 3e-6 * size + 1e-6, "{name} {isa:?} {rows}x{columns} [{i}, {j}]: {got} for {sum}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_whatever_its_company_and_the_threads() {
    let mut state = 2;
    let (rows, columns, inputs) = (147, 512, 140);
    let x: Vec<f32> = (0..inputs * columns).map(|_| normal(&mut state)).collect();
    let pools = [1, 2, 3, 8].map(Pool::new);
    for isa in Isa::available() {
        for name in NAMES {
            let bytes = any_bytes(name, rows, columns, &mut state);
            let matrix = load(name, &bytes, rows, columns, isa);
            let product = |pool: &Pool, x: &[f32]| {
                let mut out = vec![0.0; x.len() / columns * rows];
                linear(pool, &matrix, &mut Inputs::new(x, columns), Phase::Decode, None, &mut out).unwrap();
                out.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
            };
            let all = product(&pools[0], &x);
            for pool in &pools {
                assert_eq!(product(pool, &x), all, "{name} on {isa:?} with {} threads", pool.threads());
                for (start, count) in [(0, 1), (139, 1), (5, 2), (60, 5), (3, 64), (1, 65)] {
                    let part = product(pool, &x[start * columns..(start + count) * columns]);
                    assert_eq!(part, all[start * rows..(start + count) * rows], "{name} on {isa:?}: {count} rows from {start}");
                }
            }
        }
    }
}

#[test]
fn inputs_that_are_no_numbers_do_not_pass_for_numbers() {
    let pool = Pool::new(1);
    let mut state = 3;
    for name in NAMES {
        let bytes = any_bytes(name, 5, 256, &mut state);
        let matrix = load(name, &bytes, 5, 256, Isa::detect());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = vec![1.0; 512];
            x[300] = bad;
            let mut out = vec![0.0; 10];
            linear(&pool, &matrix, &mut Inputs::new(&x, 256), Phase::Decode, None, &mut out).unwrap();
            assert!(out[..5].iter().all(|v| v.is_finite()) && out[5..].iter().all(|v| v.is_nan()), "{name}: {out:?}");
        }
        let (tiny, mut out) = (vec![1e-40; 256], vec![1.0; 5]);
        linear(&pool, &matrix, &mut Inputs::new(&tiny, 256), Phase::Decode, None, &mut out).unwrap();
        assert_eq!(out, [0.0; 5]);
        linear(&pool, &matrix, &mut Inputs::new(&[], 256), Phase::Decode, None, &mut []).unwrap();
    }
}
