//! Normalization of rows.

use gravure_simd::{F32s, Isa, Kernel, Simd};

use crate::Pool;
use crate::parallel::pieces;

/// Elements that one task normalizes, at least a row.
const TASK: usize = 8 << 10;

/// `x / sqrt(mean(x^2) + epsilon) * gain` for each piece of the gain's length of `x`, to `out`; in
/// place where `x` is `None`.
///
/// # Panics
/// Where `out` is no whole number of pieces, or `x` has another length.
pub fn rms_norm(pool: &Pool, x: Option<&[f32]>, gain: &[f32], epsilon: f32, out: &mut [f32]) {
    norm(pool, x, Norm { gain, bias: None, epsilon, centered: false }, out);
}

/// `(x - mean) / sqrt(variance + epsilon) * gain + bias` for each row of `x`, to `out`; in place where
/// `x` is `None`.
///
/// # Panics
/// As [`rms_norm`].
pub fn layer_norm(pool: &Pool, x: Option<&[f32]>, gain: &[f32], bias: Option<&[f32]>, epsilon: f32, out: &mut [f32]) {
    norm(pool, x, Norm { gain, bias, epsilon, centered: true }, out);
}

#[derive(Clone, Copy)]
struct Norm<'a> {
    gain: &'a [f32],
    bias: Option<&'a [f32]>,
    epsilon: f32,
    centered: bool,
}

fn norm(pool: &Pool, x: Option<&[f32]>, norm: Norm<'_>, out: &mut [f32]) {
    let length = norm.gain.len().max(1);
    assert!(out.len().is_multiple_of(length) && x.is_none_or(|x| x.len() == out.len()), "rows that do not fit their gain");
    assert!(norm.bias.is_none_or(|bias| bias.len() == norm.gain.len()), "a bias that does not fit its gain");
    let isa = Isa::detect();
    let task = (TASK / length).max(1) * length;
    pieces(pool, out, task, &|i, part| {
        let x = x.map(|x| &x[i * task..][..part.len()]);
        isa.vectorize(Rows { x, norm, out: part });
    });
}

struct Rows<'a> {
    x: Option<&'a [f32]>,
    norm: Norm<'a>,
    out: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, isa: S) {
        let length = self.norm.gain.len();
        for (i, out) in self.out.chunks_exact_mut(length).enumerate() {
            if let Some(x) = self.x {
                out.copy_from_slice(&x[i * length..][..length]);
            }
            let norm = self.norm;
            let n = length as f32;
            let mean = if norm.centered { sum::<S, false>(isa, out, 0.0) / n } else { 0.0 };
            let square = sum::<S, true>(isa, out, mean) / n;
            let factor = 1.0 / (square + norm.epsilon).sqrt();
            // Plain loops: the compiler uses the instruction set's vectors here.
            match (norm.centered, norm.bias) {
                (false, _) => out.iter_mut().zip(norm.gain).for_each(|(v, g)| *v = *v * factor * g),
                (true, None) => out.iter_mut().zip(norm.gain).for_each(|(v, g)| *v = (*v - mean) * factor * g),
                (true, Some(bias)) => {
                    out.iter_mut().zip(norm.gain).zip(bias).for_each(|((v, g), b)| *v = (*v - mean) * factor * g + b);
                }
            }
        }
    }
}

/// The sum of `row - mean`, or of its squares.
#[inline(always)]
fn sum<S: Simd, const SQUARE: bool>(isa: S, row: &[f32], mean: f32) -> f32 {
    let means = F32s::splat(isa, mean);
    let mut sums = [F32s::splat(isa, 0.0); 4];
    let mut blocks = row.chunks_exact(4 * S::LANES);
    for block in &mut blocks {
        for (k, sum) in sums.iter_mut().enumerate() {
            let d = F32s::load(isa, &block[k * S::LANES..]) - means;
            *sum = *sum + if SQUARE { d * d } else { d };
        }
    }
    let total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    let mut out: f32 = total.to_array().as_ref().iter().sum();
    for v in blocks.remainder() {
        let d = v - mean;
        out += if SQUARE { d * d } else { d };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_are_those_of_double_precision() {
        let pool = Pool::new(2);
        for (rows, length) in [(1, 1), (3, 7), (5, 64), (40, 2048), (2, 4097)] {
            let x: Vec<f32> = (0..rows * length).map(|i| (i as f32 * 0.7).sin() * 3.0 + 0.5).collect();
            let gain: Vec<f32> = (0..length).map(|i| 0.5 + (i % 5) as f32).collect();
            let bias: Vec<f32> = (0..length).map(|i| (i % 3) as f32).collect();
            let (mut rms, mut layer) = (vec![0.0; x.len()], x.clone());
            rms_norm(&pool, Some(&x), &gain, 1e-5, &mut rms);
            layer_norm(&pool, None, &gain, Some(&bias), 1e-5, &mut layer);
            for (r, row) in x.chunks_exact(length).enumerate() {
                let n = length as f64;
                let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
                let square = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n;
                let variance = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
                for (i, &v) in row.iter().enumerate() {
                    let (g, b) = (f64::from(gain[i]), f64::from(bias[i]));
                    let a = f64::from(v) / (square + 1e-5).sqrt() * g;
                    let c = (f64::from(v) - mean) / (variance + 1e-5).sqrt() * g + b;
                    let (got_a, got_c) = (f64::from(rms[r * length + i]), f64::from(layer[r * length + i]));
                    assert!((got_a - a).abs() < 1e-5 * a.abs().max(1.0), "{rows} x {length}: {got_a} {a}");
                    // One element: its variance is zero but for rounding of the mean.
                    assert!((got_c - c).abs() < 1e-4 * c.abs().max(1.0), "{rows} x {length}: {got_c} {c}");
                }
            }
            let mut in_place = x.clone();
            rms_norm(&pool, None, &gain, 1e-5, &mut in_place);
            assert_eq!(in_place, rms);
        }
    }
}
