//! Products of every encoding on every instruction set, against decoded weights in 64 bits; and that
//! results do not depend on how many rows there are, nor on the threads.

use gravure_core::contracts::{Activations, Phase};
use gravure_core::{Encoding, GroupedRows, Grouping};
use gravure_encodings::ENCODINGS;
use gravure_kernels::{GroupedSource, Inputs, Matrix, MatrixSource, Pool, linear};
use gravure_simd::Isa;

/// Rows of activations, so many that every kernel lays weights out.
const MANY: usize = 71;

/// A generator of even numbers between -1 and 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / 8_388_608.0) - 1.0
    }
}

fn load(encoding: &'static dyn Encoding, bytes: &[u8], rows: usize, columns: usize, isa: Isa, activations: Activations) -> Matrix {
    let row_bytes = encoding.row_bytes(columns as u64).unwrap() as usize;
    let source = MatrixSource {
        grouped: None,
        name: "m",
        encoding,
        rows,
        columns,
        rows_at_once: None,
        read: &|range: std::ops::Range<u64>, out: &mut Vec<u8>| {
            out.clear();
            out.extend_from_slice(&bytes[range.start as usize * row_bytes..range.end as usize * row_bytes]);
            Ok(())
        },
    };
    Matrix::load(&Pool::new(2), source, isa, activations).unwrap()
}

const PHASES: [Phase; 2] = [Phase::Prefill, Phase::Decode];

fn product(pool: &Pool, matrix: &Matrix, phase: Phase, values: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let mut out = vec![f32::NAN; values.len() / matrix.columns() * matrix.rows()];
    linear(pool, matrix, &mut Inputs::new(values, matrix.columns()), phase, bias, &mut out).unwrap();
    out
}

/// By how much a product may be wrong, for each of what is summed in it, beside errors of sums: half a step of bf16 where weights
/// become such.
fn rounding(matrix: &Matrix, phase: Phase) -> f64 {
    if phase == Phase::Prefill && matrix.kernel().contains("bf16 for prompts") { 1.0 / 512.0 } else { 0.0 }
}

/// Activations that rounding to 8 bits leaves as they are: whole numbers, 127 in every 32 of them.
fn whole(random: &mut Random, count: usize) -> Vec<f32> {
    (0..count).map(|i| if i % 32 == 7 { 127.0 } else { (random.next() * 127.0).round() }).collect()
}

fn weights(random: &mut Random, rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns)
        .map(|i| match i / columns % 5 {
            // Blocks of zeros, large scales, small ones.
            0 if i % columns < columns / 2 => 0.0,
            1 => random.next() * 100.0,
            2 => random.next() * 1e-5,
            _ => random.next(),
        })
        .collect()
}

fn encodings() -> impl Iterator<Item = &'static dyn Encoding> {
    ENCODINGS.iter().copied().filter(|e| e.can_encode() && !e.is_integer())
}

#[test]
fn every_block_has_an_integer_kernel() {
    for encoding in encodings().filter(|e| e.layout().block_elements > 1) {
        let bytes = vec![0; encoding.row_bytes(256).unwrap() as usize];
        let matrix = load(encoding, &bytes, 1, 256, Isa::detect(), Activations::Fast);
        assert!(matrix.kernel().starts_with("int8"), "{} is {}", encoding.id(), matrix.kernel());
    }
}

#[test]
fn products_are_those_of_decoded_weights() {
    let pool = Pool::new(2);
    let mut random = Random(1);
    for encoding in encodings() {
        for (rows, columns, count) in [(1, 256, 1), (33, 512, 3), (50, 768, 9), (16, 256, 33), (50, 768, MANY)] {
            let weights = weights(&mut random, rows, columns);
            let importance = vec![1.0; columns];
            let mut bytes = vec![0; encoding.row_bytes(columns as u64).unwrap() as usize * rows];
            encoding.encode(&weights, columns, Some(&importance), &mut bytes).unwrap();
            let mut decoded = vec![0.0; rows * columns];
            encoding.decode(&bytes, &mut decoded).unwrap();
            let values = whole(&mut random, count * columns);
            let bias: Vec<f32> = (0..rows).map(|_| random.next()).collect();
            for isa in Isa::available() {
                for activations in [Activations::Fast, Activations::F32] {
                    let matrix = load(encoding, &bytes, rows, columns, isa, activations);
                    let check = |phase: Phase, i: usize, j: usize, out: f32| {
                        let (x, w) = (&values[i * columns..][..columns], &decoded[j * columns..][..columns]);
                        let terms = || x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w));
                        let exact = terms().sum::<f64>() + f64::from(bias[j]);
                        let size = terms().map(f64::abs).sum::<f64>() + 1.0;
                        let error = (f64::from(out) - exact).abs();
                        assert!(
                            error <= (2e-6 + rounding(&matrix, phase)) * size,
                            "{} {} {activations:?} {phase:?} [{rows}, {columns}] x {count} at {i}, {j}: {out}, not {exact}",
                            encoding.id(),
                            matrix.kernel()
                        );
                    };
                    for phase in PHASES {
                        let out = product(&pool, &matrix, phase, &values, Some(&bias));
                        out.iter().enumerate().for_each(|(at, out)| check(phase, at / rows, at % rows, *out));
                    }
                    let mut row = vec![0.0; columns];
                    for j in [0, rows - 1] {
                        matrix.decode_row(j, &mut row).unwrap();
                        for (got, wanted) in row.iter().zip(&decoded[j * columns..]) {
                            assert!((got - wanted).abs() <= wanted.abs() * 1e-5 + 1e-9, "{}: {got}, not {wanted}", encoding.id());
                        }
                    }
                }
            }
        }
    }
}

/// Blocks that no encoder writes: all codes, scales from subnormal to large, either sign.
#[test]
fn blocks_of_any_bits_are_what_they_decode_to() {
    let pool = Pool::new(2);
    let mut random = Random(4);
    let (rows, columns, count) = (20, 512, MANY);
    for encoding in encodings() {
        let layout = encoding.layout();
        let mut bytes = vec![0; encoding.row_bytes(columns as u64).unwrap() as usize * rows];
        let mut weights = vec![0.0; layout.block_elements];
        for block in bytes.chunks_exact_mut(layout.block_bytes) {
            loop {
                block.iter_mut().for_each(|byte| *byte = (random.next() * 128.0).floor() as i32 as u8);
                if encoding.validate(block).is_err() {
                    continue;
                }
                encoding.decode(block, &mut weights).unwrap();
                if weights.iter().all(|w| w.abs() < 1e9) {
                    break;
                }
            }
        }
        let mut decoded = vec![0.0; rows * columns];
        encoding.decode(&bytes, &mut decoded).unwrap();
        let values = whole(&mut random, count * columns);
        for isa in Isa::available() {
            let matrix = load(encoding, &bytes, rows, columns, isa, Activations::Fast);
            for phase in PHASES {
                let out = product(&pool, &matrix, phase, &values, None);
                for (at, out) in out.iter().enumerate() {
                    let (i, j) = (at / rows, at % rows);
                    let terms = || {
                        let (x, w) = (&values[i * columns..][..columns], &decoded[j * columns..][..columns]);
                        x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w))
                    };
                    let (exact, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                    // Minima cancel: their part of the sum is not in the terms.
                    let (error, bound) = ((f64::from(*out) - exact).abs(), (1e-5 + rounding(&matrix, phase)) * size);
                    assert!(error <= bound, "{} {} {phase:?} at {i}, {j}: {out}, not {exact}", encoding.id(), matrix.kernel());
                }
            }
        }
    }
}

/// Rounding of activations costs half a step of the block's largest magnitude by 127 for each weight.
#[test]
fn rounding_costs_no_more_than_its_steps() {
    let pool = Pool::new(2);
    let mut random = Random(3);
    let (rows, columns, count) = (32, 512, MANY);
    for encoding in encodings() {
        let weights = weights(&mut random, rows, columns);
        let mut bytes = vec![0; encoding.row_bytes(columns as u64).unwrap() as usize * rows];
        encoding.encode(&weights, columns, Some(&vec![1.0; columns]), &mut bytes).unwrap();
        let mut decoded = vec![0.0; rows * columns];
        encoding.decode(&bytes, &mut decoded).unwrap();
        let values: Vec<f32> = (0..count * columns).map(|i| random.next() * if i % 61 == 0 { 40.0 } else { 1.7 }).collect();
        for isa in Isa::available() {
            let matrix = load(encoding, &bytes, rows, columns, isa, Activations::Fast);
            for phase in PHASES {
                for (at, out) in product(&pool, &matrix, phase, &values, None).iter().enumerate() {
                    let (i, j) = (at / rows, at % rows);
                    let (x, w) = (&values[i * columns..][..columns], &decoded[j * columns..][..columns]);
                    let exact: f64 = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                    let most = |x: &[f32]| f64::from(x.iter().fold(0.0_f32, |m, v| m.max(v.abs())));
                    let steps =
                        x.chunks(256).zip(w.chunks(256)).map(|(x, w)| w.iter().map(|w| f64::from(w.abs())).sum::<f64>() * most(x) / 254.0);
                    let error = (f64::from(*out) - exact).abs();
                    assert!(error <= steps.sum::<f64>() * 1.001 + 1e-3, "{}: {out}, not {exact}", encoding.id());
                }
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_company() {
    let pools = [Pool::new(1), Pool::new(2), Pool::new(3), Pool::new(8)];
    let mut random = Random(2);
    let (rows, columns, count) = (70, 1024, MANY);
    for encoding in encodings() {
        let weights = weights(&mut random, rows, columns);
        let mut bytes = vec![0; encoding.row_bytes(columns as u64).unwrap() as usize * rows];
        encoding.encode(&weights, columns, Some(&vec![1.0; columns]), &mut bytes).unwrap();
        let values: Vec<f32> = (0..count * columns).map(|_| random.next() * 3.0).collect();
        for isa in Isa::available() {
            let matrix = load(encoding, &bytes, rows, columns, isa, Activations::Fast);
            // Kernels that know phases do not do the same in both.
            for phase in PHASES.into_iter().take(if rounding(&matrix, Phase::Prefill) > 0.0 { 2 } else { 1 }) {
                let all = product(&pools[0], &matrix, phase, &values, None);
                for pool in &pools[1..] {
                    assert_eq!(product(pool, &matrix, phase, &values, None), all, "{} threads", pool.threads());
                }
                for size in [1, 2, 3, 4, 5, 7, 8, 11, 16, 64, 68, 69] {
                    for (i, part) in values.chunks(size * columns).enumerate() {
                        let out = product(&pools[1], &matrix, phase, part, None);
                        assert_eq!(out, all[i * size * rows..][..out.len()], "{} {}: rows of {size}", encoding.id(), matrix.kernel());
                    }
                }
            }
        }
    }
}

/// Integers in groups: every number of bits, groups shorter and longer than blocks, and a row that ends within one.
#[test]
fn integers_in_groups_are_multiplied_as_they_are() {
    let pools = [Pool::new(1), Pool::new(2)];
    let mut random = Random(5);
    let f32 = ENCODINGS.iter().copied().find(|e| e.id() == "f32").unwrap();
    for (group, columns) in [(32, 96), (64, 256), (128, 576), (192, 384), (1024, 640)] {
        for bits in [2, 3, 4, 5, 6, 7, 8] {
            let (rows, groups) = (37, groups_in(columns, group));
            let codes: Vec<u8> = (0..rows * columns).map(|_| ((random.next() + 1.0) * 127.99) as u8 >> (8 - bits)).collect();
            let scales: Vec<f32> = (0..rows * groups).map(|i| random.next() * if i % 7 == 0 { 1e-6 } else { 0.1 }).collect();
            let minima: Vec<f32> = (0..rows * groups).map(|_| random.next()).collect();
            // Columns in the order of the codes, for some: 101 is prime to all numbers of columns.
            let order: Option<Vec<u32>> = (bits % 2 == 0).then(|| (0..columns).map(|place| (place * 101 % columns) as u32).collect());
            let mut place_of: Vec<usize> = (0..columns).collect();
            order.iter().flatten().enumerate().for_each(|(place, column)| place_of[*column as usize] = place);
            let weight = |row: usize, column: usize| {
                let (place, at) = (place_of[column], row * groups + place_of[column] / group);
                f64::from(scales[at]) * f64::from(codes[row * columns + place]) - f64::from(minima[at])
            };
            let read = |range: std::ops::Range<u64>, out: &mut GroupedRows| {
                let part = |each: usize| range.start as usize * each..range.end as usize * each;
                out.codes = codes[part(columns)].to_vec();
                (out.scales, out.minima) = (scales[part(groups)].to_vec(), minima[part(groups)].to_vec());
                Ok(())
            };
            let decoded = |range: std::ops::Range<u64>, out: &mut Vec<u8>| {
                let all = (range.start as usize..range.end as usize).flat_map(|r| (0..columns).map(move |c| (r, c)));
                *out = all.flat_map(|(r, c)| (weight(r, c) as f32).to_le_bytes()).collect();
                Ok(())
            };
            for isa in Isa::available() {
                let load = |activations| {
                    let grouping = Grouping { bits, columns: group as u64 };
                    let source = MatrixSource {
                        name: "m",
                        encoding: f32,
                        rows,
                        columns,
                        rows_at_once: Some(5),
                        read: &decoded,
                        grouped: Some(GroupedSource { grouping, order: order.as_deref(), read: &read }),
                    };
                    Matrix::load(&pools[1], source, isa, activations).unwrap()
                };
                let matrix = load(Activations::Fast);
                assert!(matrix.kernel().starts_with("int8") && matrix.bytes() < (rows.next_multiple_of(16) * columns * 2) as u64);
                assert!(load(Activations::F32).kernel().starts_with("float"));
                let values = whole(&mut random, MANY * columns);
                let phase = if group == 64 { Phase::Decode } else { Phase::Prefill };
                let out = product(&pools[1], &matrix, phase, &values, None);
                assert_eq!(out, product(&pools[0], &matrix, phase, &values, None));
                for (i, x) in values.chunks_exact(columns).enumerate() {
                    assert_eq!(product(&pools[1], &matrix, phase, x, None), out[i * rows..(i + 1) * rows], "a row by itself");
                    for j in 0..rows {
                        let terms = || x.iter().enumerate().map(|(c, x)| f64::from(*x) * weight(j, c));
                        let minima =
                            x.iter().enumerate().map(|(c, x)| f64::from(*x * minima[j * groups + place_of[c] / group]).abs()).sum::<f64>();
                        let (exact, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>() + minima);
                        let error = (f64::from(out[i * rows + j]) - exact).abs();
                        let bound = (1e-5 + rounding(&matrix, phase)) * size;
                        assert!(error <= bound, "{bits} bits, groups of {group}, {} at {i}, {j}: {error} of {size}", matrix.kernel());
                    }
                }
                let mut row = vec![0.0; columns];
                for j in [0, 15, 16, rows - 1] {
                    matrix.decode_row(j, &mut row).unwrap();
                    assert!(row.iter().enumerate().all(|(c, v)| (f64::from(*v) - weight(j, c)).abs() < 1e-5));
                }
            }
        }
    }
}

fn groups_in(columns: usize, group: usize) -> usize {
    columns.div_ceil(group)
}

/// Groups that no block fits into are decoded; a scale that is no number is refused by its rows.
#[test]
fn groups_that_do_not_fit_are_decoded_and_bad_ones_refused() {
    let f32 = ENCODINGS.iter().copied().find(|e| e.id() == "f32").unwrap();
    let (rows, columns) = (40, 128);
    let load = |group: u64, scale: f32| {
        let read = |range: std::ops::Range<u64>, out: &mut GroupedRows| {
            let count = (range.end - range.start) as usize;
            let groups = groups_in(columns, group as usize);
            *out = GroupedRows { codes: vec![1; count * columns], scales: vec![scale; count * groups], minima: vec![0.0; count * groups] };
            Ok(())
        };
        let decoded = |range: std::ops::Range<u64>, out: &mut Vec<u8>| {
            *out = 1.0_f32.to_le_bytes().repeat((range.end - range.start) as usize * columns);
            Ok(())
        };
        let grouped = Some(GroupedSource { grouping: Grouping { bits: 4, columns: group }, order: None, read: &read });
        let source = MatrixSource { name: "m", encoding: f32, rows, columns, rows_at_once: None, read: &decoded, grouped };
        Matrix::load(&Pool::new(1), source, Isa::detect(), Activations::Fast)
    };
    for odd in [16, 24, 48, 127] {
        assert!(load(odd, 1.0).unwrap().kernel().starts_with("float"), "groups of {odd}");
    }
    let error = load(64, f32::NAN).unwrap_err();
    assert!(error.to_string().contains("is NaN") && error.to_string().contains("of m"), "{error}");
}

#[test]
fn what_is_no_number_stays_none() {
    let pool = Pool::new(2);
    let encoding = encodings().find(|e| e.id() == "q4_0").unwrap();
    let mut bytes = vec![0; encoding.row_bytes(64).unwrap() as usize * 16];
    encoding.encode(&[0.5; 1024], 64, None, &mut bytes).unwrap();
    for isa in Isa::available() {
        let matrix = load(encoding, &bytes, 16, 64, isa, Activations::Fast);
        for bad in [f32::NAN, f32::INFINITY] {
            let mut values = vec![1.0; 128];
            values[70] = bad;
            for phase in PHASES {
                let out = product(&pool, &matrix, phase, &values, None);
                assert!(out[..16].iter().all(|v| v.is_finite()) && out[16..].iter().all(|v| !v.is_finite()), "{bad}: {out:?}");
            }
        }
    }
}
