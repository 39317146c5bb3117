//! One row of logits: its normalizer, and its divergence from another.

use gravure_simd::math::exp;
use gravure_simd::{F32s, Isa, Kernel, Simd};

/// What softmax needs to know of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Normalizer {
    /// Logarithm of the sum of exponentials.
    pub(crate) log_sum: f64,
    /// Index of the largest value, the first of equals.
    pub(crate) top: usize,
}

/// Lane groups that are summed in 32 bits before they join the sum in 64.
const RUN: usize = 32;

struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, isa: S) -> f32 {
        let mut most = F32s::splat(isa, f32::NEG_INFINITY);
        let chunks = self.0.chunks_exact(S::LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            most = most.max(F32s::load(isa, chunk));
        }
        let lanes = most.to_array();
        let mut largest = f32::NEG_INFINITY;
        for value in lanes.as_ref().iter().chain(rest) {
            if *value > largest {
                largest = *value;
            }
        }
        largest
    }
}

struct SumOfExponentials<'a>(&'a [f32], f32);

impl Kernel for SumOfExponentials<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, isa: S) -> f64 {
        let shift = F32s::splat(isa, self.1);
        let mut sum = 0.0;
        for run in self.0.chunks(S::LANES * RUN) {
            let mut lanes = F32s::splat(isa, 0.0);
            let chunks = run.chunks_exact(S::LANES);
            for value in chunks.remainder() {
                sum += f64::from(*value - self.1).exp();
            }
            for chunk in chunks {
                lanes = lanes + exp(isa, F32s::load(isa, chunk) - shift);
            }
            for lane in lanes.to_array().as_ref() {
                sum += f64::from(*lane);
            }
        }
        sum
    }
}

/// The normalizer of a row; NaN where the row holds one.
pub(crate) fn normalizer(logits: &[f32]) -> Normalizer {
    let isa = Isa::detect();
    let largest = isa.vectorize(Largest(logits));
    let top = logits.iter().position(|v| *v == largest).unwrap_or(0);
    let log_sum = f64::from(largest) + isa.vectorize(SumOfExponentials(logits, largest)).ln();
    Normalizer { log_sum, top }
}

struct WeightedDifferences<'a> {
    reference: &'a [f32],
    logits: &'a [f32],
    shift: f32,
}

impl Kernel for WeightedDifferences<'_> {
    type Output = (f64, f64);
    #[inline(always)]
    fn run<S: Simd>(self, isa: S) -> (f64, f64) {
        let shift = F32s::splat(isa, self.shift);
        let (mut total, mut weights) = (0.0, 0.0);
        for (reference, logits) in self.reference.chunks(S::LANES * RUN).zip(self.logits.chunks(S::LANES * RUN)) {
            let (mut products, mut masses) = (F32s::splat(isa, 0.0), F32s::splat(isa, 0.0));
            let (r, l) = (reference.chunks_exact(S::LANES), logits.chunks_exact(S::LANES));
            for (r, l) in r.remainder().iter().zip(l.remainder()) {
                let p = f64::from(*r - self.shift).exp();
                total += p * f64::from(*r - *l);
                weights += p;
            }
            for (r, l) in r.zip(l) {
                let (r, l) = (F32s::load(isa, r), F32s::load(isa, l));
                let p = exp(isa, r - shift);
                products = products + p * (r - l);
                masses = masses + p;
            }
            let (products, masses) = (products.to_array(), masses.to_array());
            for (p, m) in products.as_ref().iter().zip(masses.as_ref()) {
                total += f64::from(*p);
                weights += f64::from(*m);
            }
        }
        (total, weights)
    }
}

/// Kullback-Leibler divergence of a row's distribution from the reference's, in nats.
///
/// With `p` the reference's probabilities: `sum p (r - l) - (log_sum_r - log_sum_l)`: differences of
/// logits, which are small and exact where the rows are close, instead of differences of logarithms.
pub(crate) fn divergence(reference: (&[f32], Normalizer), row: (&[f32], Normalizer)) -> f64 {
    let kernel = WeightedDifferences { reference: reference.0, logits: row.0, shift: reference.1.log_sum as f32 };
    let (total, weights) = Isa::detect().vectorize(kernel);
    // Weights sum to one but for the roundings of their exponentials.
    (total / weights - (reference.1.log_sum - row.1.log_sum)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(reference: &[f32], logits: &[f32]) -> f64 {
        let log_sum = |v: &[f32]| v.iter().map(|v| f64::from(*v).exp()).sum::<f64>().ln();
        let (a, b) = (log_sum(reference), log_sum(logits));
        reference.iter().zip(logits).map(|(r, l)| (f64::from(*r) - a).exp() * ((f64::from(*r) - a) - (f64::from(*l) - b))).sum()
    }

    #[test]
    fn divergence_is_that_of_64_bit_arithmetic() {
        for (n, noise) in [(1, 1.0), (5, 1.0), (257, 0.3), (4099, 0.01), (50_000, 0.001)] {
            let value = |i: usize| ((i as f32 * 12.9898).sin() * 43_758.547).fract() * 12.0;
            let reference: Vec<f32> = (0..n).map(value).collect();
            let logits: Vec<f32> = (0..n).map(|i| value(i) + noise * value(i + 77_777)).collect();
            let (a, b) = (normalizer(&reference), normalizer(&logits));
            let (got, wanted) = (divergence((&reference, a), (&logits, b)), exact(&reference, &logits));
            assert!((got - wanted).abs() <= 1e-3 * wanted + 2e-7, "{n}: {got}, not {wanted}");
            assert!(divergence((&reference, a), (&reference, a)) < 1e-7);
        }
    }

    #[test]
    fn the_first_of_equal_values_is_the_top() {
        assert_eq!(normalizer(&[1.0, 3.0, 3.0]).top, 1);
        assert!((normalizer(&[0.0, 0.0]).log_sum - 2.0_f64.ln()).abs() < 1e-7);
        assert!(normalizer(&[0.0, f32::NAN]).log_sum.is_nan());
    }
}
