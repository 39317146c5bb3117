//! Arrays of 8 rows, everywhere: the reference for the others.

use half::f16;

use super::{Rows, RowsKernel};

const N: usize = 8;

/// The portable token; always there.
#[derive(Debug, Clone, Copy)]
pub struct PortableRows;

impl Rows for PortableRows {
    type F32 = [f32; N];
    type Word = [u32; N];
    const NAME: &'static str = "portable";
    const ROWS: usize = N;
    const GROUPS: usize = 1;
    const SIGNED_OFFSET: i32 = 128;

    #[inline(always)]
    fn enter<K: RowsKernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn words(self, bytes: &[u8]) -> [u32; N] {
        let words = bytes[..4 * N].as_chunks::<4>().0;
        std::array::from_fn(|i| u32::from_le_bytes(words[i]))
    }

    #[inline(always)]
    fn halves(self, bytes: &[u8]) -> [f32; N] {
        let halves = bytes[..2 * N].as_chunks::<2>().0;
        std::array::from_fn(|i| f16::from_le_bytes(halves[i]).to_f32())
    }

    #[inline(always)]
    fn splat_word(self, value: u32) -> [u32; N] {
        [value; N]
    }

    #[inline(always)]
    fn and(self, a: [u32; N], b: [u32; N]) -> [u32; N] {
        std::array::from_fn(|i| a[i] & b[i])
    }

    #[inline(always)]
    fn or(self, a: [u32; N], b: [u32; N]) -> [u32; N] {
        std::array::from_fn(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn shr(self, a: [u32; N], count: u32) -> [u32; N] {
        a.map(|v| v >> count)
    }

    #[inline(always)]
    fn shl(self, a: [u32; N], count: u32) -> [u32; N] {
        a.map(|v| v << count)
    }

    #[inline(always)]
    fn sar(self, a: [u32; N], count: u32) -> [u32; N] {
        a.map(|v| (v as i32 >> count) as u32)
    }

    #[inline(always)]
    fn signed(self, a: [u32; N]) -> [u32; N] {
        a.map(|v| v ^ 0x8080_8080)
    }

    #[inline(always)]
    fn dot<const BITS: u32, const FIRST: usize, const COUNT: usize>(
        self,
        codes: &[[u32; N]; 8],
        activations: &[i8; 32],
        start: i32,
    ) -> [u32; N] {
        let mut sum = [start; N];
        for i in FIRST..FIRST + COUNT {
            for (sum, word) in sum.iter_mut().zip(codes[i]) {
                for (k, byte) in word.to_le_bytes().into_iter().enumerate() {
                    *sum += i32::from(byte) * i32::from(activations[4 * i + k]);
                }
            }
        }
        sum.map(|v| v as u32)
    }

    #[inline(always)]
    fn to_f32(self, a: [u32; N]) -> [f32; N] {
        a.map(|v| v as i32 as f32)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; N] {
        [value; N]
    }

    #[inline(always)]
    fn mul(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn mul_add(self, a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn store(self, a: [f32; N], out: &mut [f32]) {
        out[..N].copy_from_slice(&a);
    }
}
