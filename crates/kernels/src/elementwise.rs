//! Functions of single elements: activations, sums, products, soft bounds.
//!
//! Each value is computed in `f32` from its inputs alone, the same bits on every instruction set,
//! whatever its place in a vector.

use gravure_simd::{F32s, Isa, Kernel, MAX_LANES, Simd, math};

use crate::Pool;
use crate::parallel::pieces;

/// Elements that one task changes.
const TASK: usize = 8 << 10;

/// A function of one element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    /// `x / (1 + e^-x)`.
    Silu,
    /// `x * (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
    GeluTanh,
    /// Times a constant.
    Scale(f32),
    /// `limit * tanh(x / limit)`.
    Softcap(f32),
}

/// A function of two elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Binary {
    /// The sum.
    Add,
    /// The product.
    Mul,
}

/// Replaces each value by the function of it.
pub fn unary(pool: &Pool, function: Unary, values: &mut [f32]) {
    let isa = Isa::detect();
    pieces(pool, values, TASK, &|_, part| isa.vectorize(Each { function, values: part }));
}

/// Replaces each value `a` by the function of `a` and the value `b` at the same place of `other`.
///
/// # Panics
/// Where `other` is shorter.
pub fn binary(pool: &Pool, function: Binary, values: &mut [f32], other: &[f32]) {
    let isa = Isa::detect();
    pieces(pool, values, TASK, &|i, part| {
        let other = &other[i * TASK..][..part.len()];
        isa.vectorize(Both { function, values: part, other });
    });
}

/// Replaces each value by the product of its function and the value at the same place of `other`:
/// the gate of a feed-forward block.
///
/// # Panics
/// Where `other` is shorter.
pub fn gated(pool: &Pool, function: Unary, values: &mut [f32], other: &[f32]) {
    let isa = Isa::detect();
    pieces(pool, values, TASK, &|i, part| {
        let other = &other[i * TASK..][..part.len()];
        isa.vectorize(Each { function, values: part });
        isa.vectorize(Both { function: Binary::Mul, values: part, other });
    });
}

/// Adds `factor` times each value of `other`.
///
/// # Panics
/// Where `other` is shorter.
pub fn add_scaled(pool: &Pool, values: &mut [f32], factor: f32, other: &[f32]) {
    pieces(pool, values, TASK, &|i, part| {
        let other = &other[i * TASK..][..part.len()];
        part.iter_mut().zip(other).for_each(|(v, o)| *v += factor * o);
    });
}

struct Each<'a> {
    function: Unary,
    values: &'a mut [f32],
}

impl Kernel for Each<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, isa: S) {
        match self.function {
            Unary::Silu => each(isa, self.values, Silu),
            Unary::Gelu => each(isa, self.values, Gelu),
            Unary::GeluTanh => each(isa, self.values, GeluTanh),
            Unary::Scale(factor) => self.values.iter_mut().for_each(|v| *v *= factor),
            Unary::Softcap(limit) => each(isa, self.values, Softcap(limit)),
        }
    }
}

/// A function of lanes. A trait of our own and not `Fn`: the call of a function that is passed as a value is no
/// part of the vectorized code, and each of its instructions becomes a call.
trait OfLanes: Copy {
    fn at<S: Simd>(self, isa: S, x: F32s<S>) -> F32s<S>;
}

#[derive(Clone, Copy)]
struct Silu;
#[derive(Clone, Copy)]
struct Gelu;
#[derive(Clone, Copy)]
struct GeluTanh;
#[derive(Clone, Copy)]
struct Softcap(f32);

#[inline(always)]
fn each<S: Simd>(isa: S, values: &mut [f32], function: impl OfLanes) {
    let mut parts = values.chunks_exact_mut(S::LANES);
    for part in &mut parts {
        function.at(isa, F32s::load(isa, part)).store(part);
    }
    let rest = parts.into_remainder();
    let mut padded = [0.0; MAX_LANES];
    padded[..rest.len()].copy_from_slice(rest);
    function.at(isa, F32s::load(isa, &padded)).store(&mut padded);
    rest.copy_from_slice(&padded[..rest.len()]);
}

struct Both<'a> {
    function: Binary,
    values: &'a mut [f32],
    other: &'a [f32],
}

impl Kernel for Both<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _isa: S) {
        // Plain loops: the compiler uses the instruction set's vectors here.
        match self.function {
            Binary::Add => self.values.iter_mut().zip(self.other).for_each(|(a, b)| *a += b),
            Binary::Mul => self.values.iter_mut().zip(self.other).for_each(|(a, b)| *a *= b),
        }
    }
}

impl OfLanes for Silu {
    #[inline(always)]
    fn at<S: Simd>(self, isa: S, x: F32s<S>) -> F32s<S> {
        let one = F32s::splat(isa, 1.0);
        x / (one + math::exp(isa, F32s::splat(isa, 0.0) - x))
    }
}

/// `x sigmoid(2 u)`, which is `x (1 + tanh u) / 2` without its cancellation.
impl OfLanes for GeluTanh {
    #[inline(always)]
    fn at<S: Simd>(self, isa: S, x: F32s<S>) -> F32s<S> {
        let splat = |v| F32s::splat(isa, v);
        // 2 sqrt(2 / pi), and 0.044715 of it.
        let u = x * (splat(1.595_769) + splat(0.071_354_81) * x * x);
        x / (splat(1.0) + math::exp(isa, splat(0.0) - u))
    }
}

/// With the complement of the error function by formula 7.1.26 of Abramowitz and Stegun (1964),
/// `(a1 t + .. + a5 t^5) e^(-z^2)`, whose error is below 1.5e-7.
impl OfLanes for Gelu {
    #[inline(always)]
    fn at<S: Simd>(self, isa: S, x: F32s<S>) -> F32s<S> {
        let splat = |v| F32s::splat(isa, v);
        let z = x.abs() * splat(std::f32::consts::FRAC_1_SQRT_2);
        let t = splat(1.0) / (splat(1.0) + splat(0.327_591_1) * z);
        let mut p = splat(1.061_405_4);
        for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
            p = p * t + splat(c);
        }
        let half = splat(0.5) * x * (p * t * math::exp(isa, splat(0.0) - z * z));
        x.lt(splat(0.0)).select(half, x - half)
    }
}

/// `limit * tanh(x / limit)`: near zero by the polynomial of Cephes (Moshier 1984), else by the
/// exponential.
#[inline(always)]
pub(crate) fn softcap<S: Simd>(isa: S, x: F32s<S>, limit: f32) -> F32s<S> {
    let splat = |v| F32s::splat(isa, v);
    let u = x / splat(limit);
    let a = u.abs();
    let z = u * u;
    let mut p = splat(-5.704_988_7e-3);
    for c in [2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1] {
        p = p * z + splat(c);
    }
    let near = p * z * u + u;
    let far = splat(1.0) - splat(2.0) / (math::exp(isa, a + a) + splat(1.0));
    let far = u.lt(splat(0.0)).select(splat(0.0) - far, far);
    splat(limit) * a.lt(splat(0.625)).select(near, far)
}

impl OfLanes for Softcap {
    #[inline(always)]
    fn at<S: Simd>(self, isa: S, x: F32s<S>) -> F32s<S> {
        softcap(isa, x, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn erfc(x: f64) -> f64 {
        // Simpson's rule on the defining integral.
        let (a, b, n) = (x, x + 8.0, 4000);
        let h = (b - a) / f64::from(n);
        let f = |t: f64| (-t * t).exp();
        let inner: f64 = (1..n).map(|i| f(a + f64::from(i) * h) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        2.0 / std::f64::consts::PI.sqrt() * h / 3.0 * (f(a) + inner + f(b))
    }

    fn exact(function: Unary, x: f64) -> f64 {
        match function {
            Unary::Silu => x / (1.0 + (-x).exp()),
            Unary::Gelu if x < 0.0 => x * 0.5 * erfc(-x / std::f64::consts::SQRT_2),
            Unary::Gelu => x - x * 0.5 * erfc(x / std::f64::consts::SQRT_2),
            Unary::GeluTanh => 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh()),
            Unary::Scale(factor) => x * f64::from(factor),
            Unary::Softcap(limit) => f64::from(limit) * (x / f64::from(limit)).tanh(),
        }
    }

    #[test]
    fn functions_are_exact_enough() {
        let inputs: Vec<f32> = (-4000..=4000).map(|i| i as f32 * 0.005).chain([1e-4, -1e-4, 300.0, -300.0]).collect();
        let pool = Pool::new(2);
        for function in [Unary::Silu, Unary::Gelu, Unary::GeluTanh, Unary::Scale(1.5), Unary::Softcap(30.0), Unary::Softcap(2.0)] {
            let mut got = inputs.clone();
            unary(&pool, function, &mut got);
            for (x, y) in inputs.iter().zip(&got) {
                let exact = exact(function, f64::from(*x));
                let bound = 3e-7 * exact.abs().max(f64::from(x.abs())).max(1e-3);
                assert!((f64::from(*y) - exact).abs() <= bound, "{function:?} of {x} is {y}, not {exact}");
            }
        }
    }

    #[test]
    fn places_do_not_matter() {
        let pool = Pool::new(2);
        let inputs: Vec<f32> = (0..40_000).map(|i| (i as f32 * 0.37).sin() * 9.0).collect();
        for function in [Unary::Silu, Unary::Gelu, Unary::GeluTanh, Unary::Softcap(3.0)] {
            let mut whole = inputs.clone();
            unary(&pool, function, &mut whole);
            for start in [1, 5, 17, 8191, 39_998] {
                let mut part = inputs[start..].to_vec();
                unary(&pool, function, &mut part);
                assert_eq!(part, whole[start..], "{function:?} from {start}");
            }
            let mut product = inputs.clone();
            gated(&pool, function, &mut product, &inputs);
            binary(&pool, Binary::Mul, &mut whole, &inputs);
            assert_eq!(product, whole, "{function:?}");
        }
        let mut sum = inputs.clone();
        binary(&pool, Binary::Add, &mut sum, &inputs);
        let mut scaled = inputs.clone();
        add_scaled(&pool, &mut scaled, 1.0, &inputs);
        assert!(sum.iter().zip(&inputs).all(|(s, x)| *s == x + x));
        assert_eq!(sum, scaled);
    }
}
