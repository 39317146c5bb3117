//! Functions of lanes that no instruction set has.

use crate::{F32s, I32s, Simd};

/// `e^x`, within 2 units in the last place of the exact value, the same bits on every instruction set.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`, a polynomial for `e^r` (coefficients of Cephes, Moshier
/// 1984), then two factors that make `2^n` together, so that results may be subnormal. NaN stays NaN.
#[inline(always)]
pub fn exp<S: Simd>(isa: S, x: F32s<S>) -> F32s<S> {
    let splat = |value| F32s::splat(isa, value);
    let ordered = x.eq(x);
    // Beyond these the result is infinite or zero, and `n` must stay where its halves are exponents.
    let clamped = ordered.select(x, splat(0.0)).max(splat(-105.0)).min(splat(89.0));
    let n = (clamped * splat(std::f32::consts::LOG2_E)).nearest();
    // ln 2 in two parts, the first of few bits: the products with `n` are exact.
    let r = clamped - n * splat(0.693_359_4) - n * splat(-2.121_944_4e-4);
    let mut p = splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + splat(c);
    }
    let y = p * r * r + r + splat(1.0);
    let n = n.to_i32();
    let half = n.shr::<1>();
    let scale = |n: I32s<S>| (n + I32s::splat(isa, 127)).shl::<23>().as_f32_bits();
    ordered.select(y * scale(half) * scale(n - half), x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Kernel};

    struct Exp<'a>(&'a [f32], &'a mut [f32]);

    impl Kernel for Exp<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, isa: S) {
            for (x, y) in self.0.chunks_exact(S::LANES).zip(self.1.chunks_exact_mut(S::LANES)) {
                exp(isa, F32s::load(isa, x)).store(y);
            }
        }
    }

    #[test]
    fn exp_is_close_and_the_same_everywhere() {
        let mut inputs: Vec<f32> = (0..64_000).map(|i| -110.0 + i as f32 * 0.003_125).collect();
        inputs.extend([0.0, -0.0, 1e-30, -1e-30, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY]);
        inputs.extend([f32::NAN; 8]);
        let mut first: Option<Vec<u32>> = None;
        for isa in Isa::available() {
            let mut got = vec![0.0; inputs.len()];
            isa.vectorize(Exp(&inputs, &mut got));
            for (x, y) in inputs.iter().zip(&got) {
                let exact = f64::from(*x).exp();
                let ulp = f64::from((exact as f32).abs().next_up()) - exact.abs();
                let near = (f64::from(*y) - exact).abs() <= 2.0 * ulp.abs().max(f64::from(f32::MIN_POSITIVE) * 1.2e-7);
                assert!(near || (x.is_nan() && y.is_nan()) || *y == exact as f32, "{}: e^{x} = {y}, not {exact}", isa.name());
            }
            let bits: Vec<u32> = got.iter().map(|y| y.to_bits()).collect();
            assert_eq!(*first.get_or_insert_with(|| bits.clone()), bits, "{}", isa.name());
        }
    }
}
