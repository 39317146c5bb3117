//! Lanes against the scalar code: the same bytes on every instruction set of this machine, for
//! ordinary and for odd weights, for any number of blocks.

use std::marker::PhantomData;

use gravure_simd::{Isa, Kernel, Simd};
use proptest::prelude::*;

use super::batch::{BatchEncoder, encode_all};
use super::small::{SmallSearch, encode_rows_weighted};
use crate::iq_blocks::EncodeWeighted;
use crate::iq_lattice::Lattice;
use crate::iq_search::{Candidates, Fit, Group, Refit};
use crate::iq1_m::Iq1M;
use crate::iq1_s::Iq1S;
use crate::{q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k};

/// Encodes blocks on every instruction set and by the scalar code.
fn compare<const N: usize, const B: usize>(
    name: &str,
    x: &[f32],
    importance: Option<&[f32]>,
    encoder: impl BatchEncoder<N, B>,
    scalar: impl Fn(&[f32; N], Option<&[f32; N]>, &mut [u8; B]) + Copy,
) {
    let blocks = x.as_chunks::<N>().0;
    let columns = importance.map(|values| values.as_chunks::<N>().0);
    let mut expected = vec![[0; B]; blocks.len()];
    encode_all(None, blocks, columns, &mut expected, encoder, |_, x, importance, y| scalar(x, importance, y));
    for isa in Isa::available() {
        let mut bytes = vec![[0xaa; B]; blocks.len()];
        encode_all(Some(isa), blocks, columns, &mut bytes, encoder, |_, x, importance, y| scalar(x, importance, y));
        for (i, (got, expected)) in bytes.iter().zip(&expected).enumerate() {
            let weighted = importance.is_some();
            assert_eq!(got, expected, "{name} on {}, block {i} of {}, importance: {weighted}, {:?}", isa.name(), blocks.len(), blocks[i]);
        }
    }
}

/// Every encoder that works on lanes. Rows of importance are as long as `x` where it is given.
fn compare_all(x: &[f32], importance: Option<&[f32]>) {
    compare("q2_k", x, importance, super::q2_k::Q2KLanes, q2_k::encode_block);
    compare("q3_k", x, importance, super::q3_k::Q3KLanes, q3_k::encode_block);
    compare("q4_k", x, importance, q4_k::LANES, q4_k::encode_block);
    compare("q5_k", x, importance, q5_k::LANES, q5_k::encode_block);
    compare("q6_k", x, importance, super::q6_k::Q6KLanes, q6_k::encode_block);
    if let Some(importance) = importance {
        compare_small(q4_0::SEARCH, x, importance);
        compare_small(q5_0::SEARCH, x, importance);
        compare_small(q4_1::SEARCH, x, importance);
        compare_small(q5_1::SEARCH, x, importance);
        compare_weighted::<Iq1S, _, _>("iq1_s", x, Some(importance));
    }
    compare_weighted::<Iq1M, _, _>("iq1_m", x, importance);
}

/// Blocks whose searches are on lanes within the block, accepted or given up alike.
fn compare_weighted<E: EncodeWeighted<N, B>, const N: usize, const B: usize>(name: &str, x: &[f32], importance: Option<&[f32]>) {
    struct Block<'a, E, const N: usize, const B: usize> {
        lanes: bool,
        x: &'a [f32; N],
        importance: Option<&'a [f32; N]>,
        code: PhantomData<E>,
    }
    impl<E: EncodeWeighted<N, B>, const N: usize, const B: usize> Kernel for Block<'_, E, N, B> {
        type Output = Option<[u8; B]>;
        #[inline(always)]
        fn run<S: Simd>(self, isa: S) -> Option<[u8; B]> {
            let mut bytes = [0xaa; B];
            E::encode_block(self.lanes.then_some(isa), self.x, self.importance, &mut bytes).map(|()| bytes)
        }
    }
    for (i, x) in x.as_chunks::<N>().0.iter().enumerate() {
        let importance = importance.map(|values| &values.as_chunks::<N>().0[i % (values.len() / N)]);
        let encode = |isa: Isa, lanes| isa.vectorize(Block::<E, N, B> { lanes, x, importance, code: PhantomData });
        let expected = encode(Isa::detect(), false);
        for isa in Isa::available() {
            assert_eq!(encode(isa, true), expected, "{name} on {}, block {i}, {x:?}, {importance:?}", isa.name());
        }
    }
}

/// Blocks of 32 under importance; what was found is compared as it is, not packed.
fn compare_small(search: SmallSearch, x: &[f32], importance: &[f32]) {
    let store = |scale: f32, minimum: f32, codes: &[u8; 32], y: &mut [u8; 40]| {
        y[..32].copy_from_slice(codes);
        y[32..36].copy_from_slice(&scale.to_le_bytes());
        y[36..].copy_from_slice(&minimum.to_le_bytes());
    };
    let mut expected = vec![[0; 40]; x.len() / 32];
    encode_rows_weighted(None, x, importance, &mut expected, search, store);
    for isa in Isa::available() {
        let mut bytes = vec![[0xaa; 40]; expected.len()];
        encode_rows_weighted(Some(isa), x, importance, &mut bytes, search, store);
        for (i, (got, expected)) in bytes.iter().zip(&expected).enumerate() {
            let weights = &x[32 * i..][..32];
            assert!(same_floats(got, expected), "{search:?} on {}, block {i}: {got:?}, not {expected:?}, {weights:?}", isa.name());
        }
    }
}

/// Codes are the same and numbers are, any NaN being like any other.
fn same_floats(a: &[u8; 40], b: &[u8; 40]) -> bool {
    let float = |block: &[u8; 40], at: usize| f32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let same = |at| float(a, at).to_bits() == float(b, at).to_bits() || float(a, at).is_nan() && float(b, at).is_nan();
    a[..32] == b[..32] && same(32) && same(36)
}

/// A small generator: reproducible, and independent of the test framework's.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Roughly normal, deviation one.
    fn normal(&mut self) -> f32 {
        let sum: f32 = (0..6).map(|_| (self.bits() >> 40) as f32 / (1 << 24) as f32 - 0.5).sum();
        sum * 1.414
    }
}

const BLOCK: usize = 256;

/// Blocks of every odd kind that the scalar code has a branch for, and ordinary ones.
fn odd_blocks() -> Vec<f32> {
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut blocks: Vec<Vec<f32>> = Vec::new();
    let mut push = |values: &mut dyn FnMut(usize) -> f32| blocks.push((0..BLOCK).map(|i| values(i).clamp(f32::MIN, f32::MAX)).collect());
    push(&mut |_| 0.0);
    push(&mut |_| -0.0);
    for scale in [1.0, 0.02, 1e-3, 1e-8, 1e-14, 1e-15, 1e-16, 1e-20, 1e-30, 1e-37, 1e-40, 1e-44, 1e4, 1e8, 1e15, 1e19, 1e25, 1e30, 1e37] {
        let mut more = Random(random.bits());
        push(&mut |_| more.normal() * scale);
        push(&mut |_| more.normal().abs() * scale);
        push(&mut |_| -more.normal().abs() * scale);
        push(&mut |_| scale);
        push(&mut |_| -scale);
        push(&mut |i| if i % 2 == 0 { scale } else { -scale });
        push(&mut |i| if i == 100 { scale } else { 0.0 });
        push(&mut |i| if i == 3 { -scale } else { 0.0 });
        // One outlier, one group that is zero, one that is constant.
        push(&mut |i| if i == 77 { 1000.0 * scale } else { more.normal() * scale });
        push(&mut |i| if (64..96).contains(&i) { 0.0 } else { more.normal() * scale });
        push(&mut |i| if i < 48 { scale } else { more.normal() * scale });
        // Groups of very different size, so that scales round to nothing.
        push(&mut |i| more.normal() * scale * 10f32.powi((i / 16) as i32 - 8));
        push(&mut |i| (more.normal().abs() + 100.0) * scale * if i / 32 % 2 == 0 { 1.0 } else { 0.01 });
        // Ties: few distinct values, halves of a step.
        push(&mut |_| (more.bits() % 16) as f32 * scale);
        push(&mut |_| ((more.bits() % 33) as f32 - 16.0) * 0.5 * scale);
        push(&mut |_| if more.bits().is_multiple_of(2) { scale } else { scale * 1.000_000_1 });
    }
    // The largest and the smallest values that there are, and anything at all in between.
    push(&mut |i| if i % 3 == 0 { f32::MAX } else { f32::MIN });
    push(&mut |i| if i % 5 == 0 { f32::from_bits(1) } else { 0.0 });
    for _ in 0..16 {
        let mut more = Random(random.bits());
        push(&mut |_| Some(f32::from_bits(more.bits() as u32)).filter(|v| v.is_finite()).unwrap_or(1.0));
    }
    blocks.concat()
}

/// Importance of several kinds, as long as `length`.
fn importances(length: usize) -> Vec<Vec<f32>> {
    let mut random = Random(0xfeed_beef_dead_cafe);
    let mut normal = || random.normal();
    vec![
        (0..length).map(|_| normal() * normal()).map(f32::abs).collect(),
        vec![1.0; length],
        vec![0.0; length],
        // Mostly zero: what an expert looks like that hardly any token met.
        (0..length).map(|i| if i % 7 == 0 { normal().abs() } else { 0.0 }).collect(),
        (0..length).map(|i| 10f32.powi((i % 41) as i32 - 20)).collect(),
        vec![1e-30; length],
        vec![1e30; length],
        // What no measurement gives.
        (0..length).map(|i| if i % 50 == 0 { -1.0 } else { normal().abs() }).collect(),
    ]
}

#[test]
fn odd_blocks_have_the_scalar_bytes() {
    let x = odd_blocks();
    compare_all(&x, None);
    for importance in importances(x.len()) {
        compare_all(&x, Some(&importance));
    }
}

#[test]
fn any_number_of_blocks_and_any_row() {
    let mut random = Random(77);
    for count in 1..=35 {
        let x: Vec<f32> = (0..count * BLOCK).map(|_| random.normal() * 0.02).collect();
        compare_all(&x, None);
        for blocks_per_row in (1..=count).filter(|n| count % n == 0) {
            let importance: Vec<f32> = (0..blocks_per_row * BLOCK).map(|_| random.normal().abs()).collect();
            compare_all(&x, Some(&importance));
        }
    }
}

#[test]
fn many_ordinary_blocks() {
    let mut random = Random(99);
    let x: Vec<f32> = (0..600 * BLOCK).map(|_| random.normal().powi(3) * 0.02).collect();
    let importance: Vec<f32> = (0..4 * BLOCK).map(|_| random.normal().powi(2)).collect();
    compare_all(&x, None);
    compare_all(&x, Some(&importance));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Finite values of any size and any bits.
    #[test]
    fn any_bits(bits in prop::collection::vec(any::<u32>(), 2 * BLOCK), weights in prop::collection::vec(0f32..10.0, BLOCK)) {
        let x: Vec<f32> = bits.iter().map(|&bits| Some(f32::from_bits(bits)).filter(|v| v.is_finite()).unwrap_or(0.0)).collect();
        compare_all(&x, None);
        compare_all(&x, Some(&weights));
    }

    /// Values of one sign or around an offset, small integers among them.
    #[test]
    fn offsets_and_steps(offset in -4f32..4.0, step in prop::sample::select(vec![0.0f32, 0.125, 1.0, 3e-5]), codes in prop::collection::vec(-9i8..9, BLOCK)) {
        let x: Vec<f32> = codes.iter().map(|&code| offset + step * f32::from(code)).collect();
        compare_all(&x, None);
        compare_all(&x, Some(&vec![0.5; BLOCK]));
    }
}

/// Random groups of one shape, fitted by the scalar code and on lanes.
fn compare_lattice<const N: usize, const V: usize, const D: usize, const BITS: u32, const LEVELS: usize>(
    lattice: &Lattice<D, BITS, LEVELS>,
    around: i32,
) {
    struct OnLanes<'a, const N: usize, const D: usize, const BITS: u32, const LEVELS: usize, const V: usize> {
        lattice: &'a Lattice<D, BITS, LEVELS>,
        group: &'a Group<N>,
        candidates: Candidates,
        start: f32,
        range: f32,
    }
    impl<const N: usize, const D: usize, const BITS: u32, const LEVELS: usize, const V: usize> Kernel for OnLanes<'_, N, D, BITS, LEVELS, V> {
        type Output = Option<Fit<V>>;
        #[inline(always)]
        fn run<S: Simd>(self, isa: S) -> Option<Fit<V>> {
            super::lattice::fit(isa, self.lattice, self.group, self.candidates, self.start, self.range)
        }
    }

    let mut random = Random(N as u64 * 1000 + u64::from(BITS));
    for round in 0..400 {
        let mut x: [f32; N] = std::array::from_fn(|_| random.normal().abs() * 0.02);
        let mut weights: [f32; N] = std::array::from_fn(|_| random.normal().powi(2));
        match round % 10 {
            0 => x[round % N] *= -1.0,
            1 => x = x.map(|v| v * 1e-18),
            2 => x = x.map(|v| v * 1e16),
            3 => weights = [0.0; N],
            4 => weights = weights.map(|w| if w < 0.5 { 0.0 } else { w }),
            5 => x = x.map(|v| (v * 200.0).round()),
            6 => weights = weights.map(|w| w * 1e30),
            7 => (x[round % N], weights[round % N]) = (-30.0, 0.0),
            8 => weights[round % N] = -1.0,
            _ => {}
        }
        let largest = x.iter().copied().fold(x[0], f32::max);
        let group = Group { x, weights, roots: weights.map(f32::sqrt) };
        for refit in [Refit::Moved, Refit::AllWhereMoved, Refit::All] {
            let candidates = Candidates { around, step: 0.15, refit };
            let (start, range) = (largest / 5.0, largest);
            let expected = crate::iq_search::fit_scalar::<N, V, D, BITS, LEVELS>(lattice, &group, candidates, start, range);
            for isa in Isa::available() {
                let got = isa.vectorize(OnLanes::<N, D, BITS, LEVELS, V> { lattice, group: &group, candidates, start, range });
                let same = match (&got, &expected) {
                    (Some(got), Some(expected)) => got.points == expected.points && got.scale.to_bits() == expected.scale.to_bits(),
                    (None, None) => true,
                    _ => false,
                };
                assert!(same, "{} finds {got:?}, not {expected:?}, round {round}, {candidates:?}, {group:?}", isa.name());
            }
        }
    }
}

#[test]
fn lattices_are_searched_alike() {
    // Points spread over all levels, few enough that most vectors are none of them.
    let points = |bits: u32, levels: u16, coordinates: u32, count: u64| -> Vec<u16> {
        let mut random = Random(u64::from(levels) + count);
        let mut packed: Vec<u16> =
            (0..count).map(|_| (0..coordinates).fold(0, |packed, _| packed << bits | (random.bits() % u64::from(levels)) as u16)).collect();
        packed.sort_unstable();
        packed.dedup();
        packed
    };
    compare_lattice::<32, 4, 8, 2, 3>(&Lattice::new(&points(2, 3, 8, 256), 2), 6);
    compare_lattice::<16, 2, 8, 2, 3>(&Lattice::new(&points(2, 3, 8, 512), 1), 9);
    compare_lattice::<32, 8, 4, 3, 8>(&Lattice::new(&points(3, 8, 4, 300), 3), 15);
    compare_lattice::<16, 4, 4, 3, 8>(&Lattice::new(&points(3, 8, 4, 40), 2), 9);
}
