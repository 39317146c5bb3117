//! Every operation of every instruction set of this machine against the scalar expression, on edge
//! values in all pairs and on random ones.

use gravure_simd::{F32s, I32s, Isa, Kernel, MAX_LANES, Simd, Table};
use proptest::prelude::*;

/// What a result is compared as: numbers by their bits (any NaN equals any NaN), except where a
/// contract leaves the sign of zero open.
#[derive(Clone, Copy, PartialEq)]
enum Compare {
    Bits,
    Number,
}

struct Case {
    name: &'static str,
    compare: Compare,
    scalar: fn(f32, f32) -> f32,
}

fn whole(value: i32) -> f32 {
    f32::from_bits(value as u32)
}

fn int(value: f32) -> i32 {
    value.to_bits() as i32
}

fn truth(value: bool) -> f32 {
    if value { 1.0 } else { 0.0 }
}

/// A comparison that stays one of its own: LLVM makes `a < b || a < c` for AArch64 to `a < maxnum(b, c)`, which is false
/// where `b` is a signaling NaN.
fn lt(a: f32, b: f32) -> bool {
    std::hint::black_box(a < b)
}

/// Integer operations are tested on the bits of the same values, their results carried as bits.
const CASES: &[Case] = &[
    Case { name: "add", compare: Compare::Bits, scalar: |a, b| a + b },
    Case { name: "sub", compare: Compare::Bits, scalar: |a, b| a - b },
    Case { name: "mul", compare: Compare::Bits, scalar: |a, b| a * b },
    Case { name: "div", compare: Compare::Bits, scalar: |a, b| a / b },
    Case { name: "multiply and add, not fused", compare: Compare::Bits, scalar: |a, b| a * b + a },
    Case { name: "sqrt", compare: Compare::Bits, scalar: |a, _| a.sqrt() },
    Case { name: "abs", compare: Compare::Bits, scalar: |a, _| f32::from_bits(a.to_bits() & 0x7fff_ffff) },
    Case { name: "min", compare: Compare::Bits, scalar: |a, b| if a < b { a } else { b } },
    Case { name: "max", compare: Compare::Bits, scalar: |a, b| if a > b { a } else { b } },
    Case { name: "nearest", compare: Compare::Number, scalar: |a, _| if a.abs() <= 4_194_303.0 { a.round_ties_even() } else { 0.0 } },
    Case { name: "floor", compare: Compare::Number, scalar: |a, _| a.floor() },
    Case { name: "lt", compare: Compare::Bits, scalar: |a, b| truth(a < b) },
    Case { name: "le", compare: Compare::Bits, scalar: |a, b| truth(a <= b) },
    Case { name: "gt", compare: Compare::Bits, scalar: |a, b| truth(a > b) },
    Case { name: "eq", compare: Compare::Bits, scalar: |a, b| truth(a == b) },
    Case { name: "mask and", compare: Compare::Bits, scalar: |a, b| truth(lt(a, b) && lt(a, 1.0)) },
    Case { name: "mask or", compare: Compare::Bits, scalar: |a, b| truth(lt(a, b) || lt(a, 1.0)) },
    Case { name: "mask not", compare: Compare::Bits, scalar: |a, b| truth(a.partial_cmp(&b) != Some(std::cmp::Ordering::Less)) },
    Case { name: "select i32", compare: Compare::Bits, scalar: |a, b| if a < b { a } else { b } },
    Case { name: "add i32", compare: Compare::Bits, scalar: |a, b| whole(int(a).wrapping_add(int(b))) },
    Case { name: "sub i32", compare: Compare::Bits, scalar: |a, b| whole(int(a).wrapping_sub(int(b))) },
    Case { name: "mul i32", compare: Compare::Bits, scalar: |a, b| whole(int(a).wrapping_mul(int(b))) },
    Case { name: "min i32", compare: Compare::Bits, scalar: |a, b| whole(int(a).min(int(b))) },
    Case { name: "max i32", compare: Compare::Bits, scalar: |a, b| whole(int(a).max(int(b))) },
    Case { name: "and i32", compare: Compare::Bits, scalar: |a, b| whole(int(a) & int(b)) },
    Case { name: "or i32", compare: Compare::Bits, scalar: |a, b| whole(int(a) | int(b)) },
    Case { name: "xor i32", compare: Compare::Bits, scalar: |a, b| whole(int(a) ^ int(b)) },
    Case { name: "shl i32", compare: Compare::Bits, scalar: |a, _| whole(int(a) << 7) },
    Case { name: "shr i32", compare: Compare::Bits, scalar: |a, _| f32::from_bits(a.to_bits() >> 5) },
    Case { name: "eq i32", compare: Compare::Bits, scalar: |a, b| truth(int(a) == int(b)) },
    Case { name: "lt i32", compare: Compare::Bits, scalar: |a, b| truth(int(a) < int(b)) },
    Case { name: "to f32", compare: Compare::Bits, scalar: |a, _| int(a) as f32 },
    Case { name: "to i32", compare: Compare::Bits, scalar: |a, _| if a.abs() < 2e9 { whole(a as i32) } else { 0.0 } },
    Case {
        name: "to f16 bits",
        compare: Compare::Bits,
        scalar: |a, _| if a.is_nan() { 0.0 } else { whole(i32::from(half::f16::from_f32(a).to_bits())) },
    },
    Case { name: "from f16 bits", compare: Compare::Bits, scalar: |a, _| half::f16::from_bits(a.to_bits() as u16).to_f32() },
    Case { name: "look up", compare: Compare::Bits, scalar: |a, _| TABLE[(a.to_bits() & 7) as usize] },
];

const TABLE: [f32; 8] = [0.5, -3.0, f32::MAX, 7e-40, -0.0, 1e10, 3.25, f32::NEG_INFINITY];

/// Runs every operation on one vector of pairs; one row for each case.
struct All<'a> {
    a: &'a [f32; MAX_LANES],
    b: &'a [f32; MAX_LANES],
}

impl Kernel for All<'_> {
    type Output = (usize, Vec<Vec<f32>>);

    #[inline(always)]
    fn run<S: Simd>(self, isa: S) -> Self::Output {
        let (a, b) = (F32s::load(isa, self.a), F32s::load(isa, self.b));
        let (one, zero) = (F32s::splat(isa, 1.0), F32s::splat(isa, 0.0));
        let (ia, ib) = (a.bits(), b.bits());
        let small = a.abs().le(F32s::splat(isa, 4_194_303.0));
        let fits = a.abs().lt(F32s::splat(isa, 2e9));
        let number = a.eq(a);
        let nothing = I32s::splat(isa, 0);
        let lanes: Vec<F32s<S>> = vec![
            a + b,
            a - b,
            a * b,
            a / b,
            a * b + a,
            a.sqrt(),
            a.abs(),
            a.min(b),
            a.max(b),
            small.select(a.nearest(), zero),
            a.floor(),
            a.lt(b).select(one, zero),
            a.le(b).select(one, zero),
            a.gt(b).select(one, zero),
            a.eq(b).select(one, zero),
            (a.lt(b) & a.lt(one)).select(one, zero),
            (a.lt(b) | a.lt(one)).select(one, zero),
            (!a.lt(b)).select(one, zero),
            a.lt(b).select_i32(ia, ib).as_f32_bits(),
            (ia + ib).as_f32_bits(),
            (ia - ib).as_f32_bits(),
            (ia * ib).as_f32_bits(),
            ia.min(ib).as_f32_bits(),
            ia.max(ib).as_f32_bits(),
            (ia & ib).as_f32_bits(),
            (ia | ib).as_f32_bits(),
            (ia ^ ib).as_f32_bits(),
            ia.shl::<7>().as_f32_bits(),
            ia.shr::<5>().as_f32_bits(),
            ia.eq(ib).select(one, zero),
            ia.lt(ib).select(one, zero),
            ia.to_f32(),
            fits.select_i32(a.to_i32(), nothing).as_f32_bits(),
            number.select_i32(a.to_f16_bits(), nothing).as_f32_bits(),
            ia.as_f16_bits(),
            Table::new(isa, &TABLE).look_up(ia),
        ];
        (S::LANES, lanes.into_iter().map(|lanes| lanes.to_array().as_ref().to_vec()).collect())
    }
}

fn check(a: &[f32; MAX_LANES], b: &[f32; MAX_LANES]) {
    for isa in Isa::available() {
        let (lanes, results) = isa.vectorize(All { a, b });
        assert_eq!(results.len(), CASES.len());
        for (case, result) in CASES.iter().zip(&results) {
            for lane in 0..lanes {
                let expected = (case.scalar)(a[lane], b[lane]);
                let got = result[lane];
                let same = expected.to_bits() == got.to_bits()
                    || expected.is_nan() && got.is_nan()
                    || case.compare == Compare::Number && expected == got;
                let name = isa.name();
                assert!(same, "{name}: {} of {:e} and {:e} is {expected:e}, not {got:e} (lane {lane})", case.name, a[lane], b[lane]);
            }
        }
    }
}

#[test]
fn edge_values_in_all_pairs() {
    let edges = [
        0.0,
        -0.0,
        0.5,
        -0.5,
        1.0,
        -1.0,
        1.5,
        2.5,
        -2.5,
        0.499_999_97,
        3.999_999_8,
        255.5,
        -31.5,
        4_194_303.0,
        -4_194_302.5,
        1e-45,
        -1e-45,
        1.2e-38,
        f32::MIN_POSITIVE,
        3.4e38,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::from_bits(0x7f85_198c), // signaling
        65504.0,
        65519.9,
        65520.0,
        6e-8,
        2.98e-8,
        -5.9e-8,
        0.1,
        1.0 / 3.0,
        1e15,
        16_777_217.0,
        2.0e9,
        -1.9e9,
    ];
    for (i, &a) in edges.iter().enumerate() {
        for start in 0..edges.len() {
            let b = std::array::from_fn(|lane| edges[(start + lane) % edges.len()]);
            // The left value moves through the lanes, beside neighbours of its own.
            let left = std::array::from_fn(|lane| if lane % 3 == start % 3 { a } else { edges[(i + lane) % edges.len()] });
            check(&left, &b);
        }
    }
}

proptest! {
    #[test]
    fn random_bits(a in any::<[u32; MAX_LANES]>(), b in any::<[u32; MAX_LANES]>()) {
        check(&a.map(f32::from_bits), &b.map(f32::from_bits));
    }

    #[test]
    fn ordinary_values(a in prop::array::uniform16(-100f32..100.0), b in prop::array::uniform16(-1f32..1.0)) {
        check(&a, &b);
    }
}

/// Transposes and gives back the columns as rows of lanes.
struct Columns<'a, const N: usize> {
    source: &'a [f32],
    offsets: &'a [usize],
}

impl<const N: usize> Kernel for Columns<'_, N> {
    type Output = Vec<Vec<f32>>;

    #[inline(always)]
    fn run<S: Simd>(self, isa: S) -> Self::Output {
        let mut columns = [F32s::splat(isa, 0.0); N];
        F32s::columns(isa, self.source, self.offsets, &mut columns);
        columns.iter().map(|column| column.to_array().as_ref().to_vec()).collect()
    }
}

fn check_columns<const N: usize>() {
    let source: Vec<f32> = (0..2000).map(|i| i as f32).collect();
    let offsets: Vec<usize> = (0..MAX_LANES).map(|k| (k * 97 + 13) % (2000 - N + 1)).chain([2000 - N]).collect();
    for isa in Isa::available() {
        // Shifted by one, so that the last allowed offset is met too.
        for offsets in [&offsets[..MAX_LANES], &offsets[1..]] {
            for (i, column) in isa.vectorize(Columns::<N> { source: &source, offsets }).iter().enumerate() {
                for (k, value) in column.iter().enumerate() {
                    assert_eq!(*value, source[offsets[k] + i], "{}: column {i}, lane {k} of {N}", isa.name());
                }
            }
        }
    }
}

#[test]
fn columns_are_transposed_rows() {
    check_columns::<1>();
    check_columns::<16>();
    check_columns::<32>();
    check_columns::<45>();
    check_columns::<256>();
}

#[test]
fn columns_outside_of_the_source_are_refused() {
    let source = [0.0; 64];
    for isa in Isa::available() {
        for offsets in [[49; MAX_LANES], [usize::MAX; MAX_LANES]] {
            let result = std::panic::catch_unwind(|| isa.vectorize(Columns::<16> { source: &source, offsets: &offsets }));
            assert!(result.is_err(), "{}", isa.name());
        }
        let short = [0; 3];
        let result = std::panic::catch_unwind(|| isa.vectorize(Columns::<16> { source: &source, offsets: &short }));
        assert!(result.is_err(), "{}", isa.name());
    }
}

/// The least lane, as numbers and as integers.
struct Least<'a>(&'a [f32; MAX_LANES]);

impl Kernel for Least<'_> {
    type Output = (f32, i32, usize);

    #[inline(always)]
    fn run<S: Simd>(self, isa: S) -> Self::Output {
        let lanes = F32s::load(isa, self.0);
        (lanes.least(), lanes.bits().least(), S::LANES)
    }
}

proptest! {
    #[test]
    fn the_least_lane(values in prop::array::uniform16(-1e3f32..1e3)) {
        for isa in Isa::available() {
            let (least, least_bits, lanes) = isa.vectorize(Least(&values));
            prop_assert_eq!(least, values[..lanes].iter().copied().fold(f32::MAX, f32::min), "{}", isa.name());
            prop_assert_eq!(Some(least_bits), values[..lanes].iter().map(|v| v.to_bits() as i32).min(), "{}", isa.name());
        }
    }
}

/// Loads from a slice that is one value short.
struct ShortLoad;

impl Kernel for ShortLoad {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, isa: S) -> f32 {
        let values = vec![1.0; S::LANES - 1];
        F32s::load(isa, &values).to_array().as_ref()[0]
    }
}

#[test]
fn short_slices_are_refused() {
    for isa in Isa::available() {
        assert!(std::panic::catch_unwind(|| isa.vectorize(ShortLoad)).is_err(), "{}", isa.name());
    }
}
