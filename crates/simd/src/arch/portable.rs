//! Plain arrays of eight: what every processor can do, and the model that the other files are
//! tested against. The compiler maps the loops to the baseline's vectors (SSE2, NEON, SIMD128).
//! Eight and not four: two independent halves hide the latency of an addition.

use half::f16;

use crate::token::{Kernel, Simd};

const N: usize = 8;

/// The portable token; always there.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

/// 1.5 * 2^23: adding and subtracting it rounds small values to integers, ties to even. (SSE2 has
/// no rounding instruction; `round_ties_even` would be a call for each lane.)
const MAGIC: f32 = 12_582_912.0;

macro_rules! lanewise {
    ($($name:ident($a:ident: $ta:ty $(, $b:ident: $tb:ty)?) -> $tr:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, left: [$ta; N] $(, $b: [$tb; N])?) -> [$tr; N] {
            let mut out = [<$tr>::default(); N];
            for i in 0..N {
                let $a = left[i];
                $(let $b = $b[i];)?
                out[i] = $body;
            }
            out
        }
    )*};
}

#[inline(always)]
fn truth(value: bool) -> u32 {
    0u32.wrapping_sub(u32::from(value))
}

impl Simd for Portable {
    type F32 = [f32; N];
    type I32 = [i32; N];
    type Mask = [u32; N];
    type Table = [f32; 8];
    type F32Array = [f32; N];
    type I32Array = [i32; N];
    const LANES: usize = N;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; N] {
        [value; N]
    }

    #[inline(always)]
    fn load(self, values: &[f32]) -> [f32; N] {
        let mut out = [0.0; N];
        out.copy_from_slice(&values[..N]);
        out
    }

    #[inline(always)]
    fn store(self, a: [f32; N], values: &mut [f32]) {
        values[..N].copy_from_slice(&a);
    }

    #[inline(always)]
    fn to_array(self, a: [f32; N]) -> [f32; N] {
        a
    }

    #[inline(always)]
    fn columns(self, source: &[f32], offsets: &[usize], out: &mut [[f32; N]]) {
        super::check_columns(source, offsets, N, out.len());
        for (k, &offset) in offsets[..N].iter().enumerate() {
            let row = &source[offset..offset + out.len()];
            for (column, &value) in out.iter_mut().zip(row) {
                column[k] = value;
            }
        }
    }

    #[inline(always)]
    fn table(self, values: &[f32; 8]) -> [f32; 8] {
        *values
    }

    #[inline(always)]
    fn look_up(self, table: [f32; 8], index: [i32; N]) -> [f32; N] {
        index.map(|i| table[(i & 7) as usize])
    }

    #[inline(always)]
    fn least(self, a: [f32; N]) -> f32 {
        let mut least = a[0];
        for v in a {
            least = if v < least { v } else { least };
        }
        least
    }

    #[inline(always)]
    fn least_i32(self, a: [i32; N]) -> i32 {
        let mut least = a[0];
        for v in a {
            least = if v < least { v } else { least };
        }
        least
    }

    lanewise! {
        add(a: f32, b: f32) -> f32 = a + b;
        sub(a: f32, b: f32) -> f32 = a - b;
        mul(a: f32, b: f32) -> f32 = a * b;
        div(a: f32, b: f32) -> f32 = a / b;
        sqrt(a: f32) -> f32 = a.sqrt();
        abs(a: f32) -> f32 = a.abs();
        min(a: f32, b: f32) -> f32 = if a < b { a } else { b };
        max(a: f32, b: f32) -> f32 = if a > b { a } else { b };
        nearest(a: f32) -> f32 = (a + MAGIC) - MAGIC;
        floor(a: f32) -> f32 = a.floor();
        lt(a: f32, b: f32) -> u32 = truth(a < b);
        le(a: f32, b: f32) -> u32 = truth(a <= b);
        eq(a: f32, b: f32) -> u32 = truth(a == b);
        mask_and(a: u32, b: u32) -> u32 = a & b;
        mask_or(a: u32, b: u32) -> u32 = a | b;
        mask_not(a: u32) -> u32 = !a;
        add_i32(a: i32, b: i32) -> i32 = a.wrapping_add(b);
        sub_i32(a: i32, b: i32) -> i32 = a.wrapping_sub(b);
        mul_i32(a: i32, b: i32) -> i32 = a.wrapping_mul(b);
        min_i32(a: i32, b: i32) -> i32 = if a < b { a } else { b };
        max_i32(a: i32, b: i32) -> i32 = if a > b { a } else { b };
        and_i32(a: i32, b: i32) -> i32 = a & b;
        or_i32(a: i32, b: i32) -> i32 = a | b;
        xor_i32(a: i32, b: i32) -> i32 = a ^ b;
        eq_i32(a: i32, b: i32) -> u32 = truth(a == b);
        lt_i32(a: i32, b: i32) -> u32 = truth(a < b);
        to_f32(a: i32) -> f32 = a as f32;
        to_i32(a: f32) -> i32 = a as i32;
        bits(a: f32) -> i32 = a.to_bits() as i32;
        with_bits(a: i32) -> f32 = f32::from_bits(a as u32);
        to_f16_bits(a: f32) -> i32 = i32::from(f16::from_f32(a).to_bits());
        with_f16_bits(a: i32) -> f32 = f16::from_bits(a as u16).to_f32();
    }

    #[inline(always)]
    fn select(self, mask: [u32; N], a: [f32; N], b: [f32; N]) -> [f32; N] {
        let mut out = [0.0; N];
        for i in 0..N {
            out[i] = f32::from_bits((mask[i] & a[i].to_bits()) | (!mask[i] & b[i].to_bits()));
        }
        out
    }

    #[inline(always)]
    fn mask_bits(self, a: [u32; N]) -> u32 {
        let mut bits = 0;
        for (i, lane) in a.iter().enumerate() {
            bits |= (lane & 1) << i;
        }
        bits
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> [i32; N] {
        [value; N]
    }

    #[inline(always)]
    fn load_i32(self, values: &[i32]) -> [i32; N] {
        let mut out = [0; N];
        out.copy_from_slice(&values[..N]);
        out
    }

    #[inline(always)]
    fn to_array_i32(self, a: [i32; N]) -> [i32; N] {
        a
    }

    #[inline(always)]
    fn shl_i32<const B: u32>(self, a: [i32; N]) -> [i32; N] {
        a.map(|a| a << B)
    }

    #[inline(always)]
    fn shr_i32<const B: u32>(self, a: [i32; N]) -> [i32; N] {
        a.map(|a| ((a as u32) >> B) as i32)
    }

    #[inline(always)]
    fn select_i32(self, mask: [u32; N], a: [i32; N], b: [i32; N]) -> [i32; N] {
        let mut out = [0; N];
        for i in 0..N {
            out[i] = ((mask[i] & a[i] as u32) | (!mask[i] & b[i] as u32)) as i32;
        }
        out
    }
}
