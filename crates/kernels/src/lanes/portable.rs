//! Arrays: the reference, and what runs where nothing better is known.

use half::f16;

use super::{Lanes, PairLanes, PointLanes, ROWS};
use crate::bf16::nearest;
use crate::dispatch::{PairWork, PointWork, Work};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

const BYTES: usize = 4 * ROWS;

#[inline(always)]
fn shorts(value: [u8; BYTES], change: impl Fn(u16) -> u16) -> [u8; BYTES] {
    let mut out = value;
    for (out, part) in out.chunks_exact_mut(2).zip(value.chunks_exact(2)) {
        out.copy_from_slice(&change(u16::from_le_bytes([part[0], part[1]])).to_le_bytes());
    }
    out
}

#[inline(always)]
fn integers(value: &[u8; BYTES]) -> [i32; ROWS] {
    std::array::from_fn(|i| i32::from_le_bytes([value[4 * i], value[4 * i + 1], value[4 * i + 2], value[4 * i + 3]]))
}

// SAFETY (of all blocks): callers promise that pointers are good for what is read and written; arrays of
// bytes and unaligned reads need no alignment.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Portable {
    type Int = [u8; BYTES];
    type Float = [f32; ROWS];
    const TILES: bool = cfg!(test);
    const REGISTERS: usize = 8;

    #[inline(never)]
    unsafe fn apart<W: Work>(work: W) {
        unsafe { work.run::<Self>() }
    }

    #[inline(never)]
    unsafe fn with_points<W: PointWork>(work: W) {
        unsafe { work.run::<Self>() }
    }

    #[inline(never)]
    unsafe fn with_pairs<W: PairWork>(work: W) {
        unsafe { work.run::<Self>() }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> [u8; BYTES] {
        unsafe { from.cast::<[u8; BYTES]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(value: [u8; BYTES], to: *mut u8) {
        unsafe { to.cast::<[u8; BYTES]>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn every(from: *const i32) -> [u8; BYTES] {
        let bytes = unsafe { from.read_unaligned() }.to_ne_bytes();
        std::array::from_fn(|i| bytes[i % 4])
    }
    #[inline(always)]
    unsafe fn zero() -> [u8; BYTES] {
        [0; BYTES]
    }
    #[inline(always)]
    unsafe fn and(value: [u8; BYTES], byte: u8) -> [u8; BYTES] {
        value.map(|b| b & byte)
    }
    #[inline(always)]
    unsafe fn or(a: [u8; BYTES], b: [u8; BYTES]) -> [u8; BYTES] {
        std::array::from_fn(|i| a[i] | b[i])
    }
    #[inline(always)]
    unsafe fn shr(value: [u8; BYTES], count: i32) -> [u8; BYTES] {
        shorts(value, |s| s >> count)
    }
    #[inline(always)]
    unsafe fn shl(value: [u8; BYTES], count: i32) -> [u8; BYTES] {
        shorts(value, |s| s << count)
    }
    #[inline(always)]
    unsafe fn twos(value: [u8; BYTES], bit: i32) -> [u8; BYTES] {
        let lanes = integers(&value);
        std::array::from_fn(|i| ((lanes[i / 4] >> bit & 1) << 1) as u8)
    }
    #[inline(always)]
    unsafe fn look_up(table: *const u8, index: [u8; BYTES]) -> [u8; BYTES] {
        let table = unsafe { table.cast::<[u8; 16]>().read_unaligned() };
        index.map(|i| table[usize::from(i & 15)])
    }
    #[inline(always)]
    unsafe fn dot(sum: [u8; BYTES], unsigned: [u8; BYTES], signed: [u8; BYTES]) -> [u8; BYTES] {
        let sums = integers(&sum);
        let mut out = [0; BYTES];
        for (i, out) in out.chunks_exact_mut(4).enumerate() {
            let products: i32 = (4 * i..4 * i + 4).map(|j| i32::from(unsigned[j]) * i32::from(signed[j] as i8)).sum();
            out.copy_from_slice(&(sums[i].wrapping_add(products)).to_le_bytes());
        }
        out
    }
    #[inline(always)]
    unsafe fn by_64(value: [u8; BYTES]) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        for (out, value) in out.chunks_exact_mut(4).zip(integers(&value)) {
            out.copy_from_slice(&value.wrapping_mul(64).to_le_bytes());
        }
        out
    }
    #[inline(always)]
    unsafe fn plus(a: [u8; BYTES], b: [u8; BYTES]) -> [u8; BYTES] {
        let (a, b) = (integers(&a), integers(&b));
        let mut out = [0; BYTES];
        for (i, out) in out.chunks_exact_mut(4).enumerate() {
            out.copy_from_slice(&a[i].wrapping_add(b[i]).to_le_bytes());
        }
        out
    }
    #[inline(always)]
    unsafe fn float(value: [u8; BYTES]) -> [f32; ROWS] {
        integers(&value).map(|i| i as f32)
    }
    #[inline(always)]
    unsafe fn float_zero() -> [f32; ROWS] {
        [0.0; ROWS]
    }
    #[inline(always)]
    unsafe fn float_load(from: *const f32) -> [f32; ROWS] {
        unsafe { from.cast::<[f32; ROWS]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn float_store(value: [f32; ROWS], to: *mut f32) {
        unsafe { to.cast::<[f32; ROWS]>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn float_every(from: *const f32) -> [f32; ROWS] {
        [unsafe { from.read_unaligned() }; ROWS]
    }
    #[inline(always)]
    unsafe fn halves(from: *const u8) -> [f32; ROWS] {
        let bytes = unsafe { from.cast::<[u8; 2 * ROWS]>().read_unaligned() };
        std::array::from_fn(|i| f16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]).to_f32())
    }
    #[inline(always)]
    unsafe fn brains(from: *const u8) -> [f32; ROWS] {
        let bytes = unsafe { from.cast::<[u8; 2 * ROWS]>().read_unaligned() };
        std::array::from_fn(|i| f32::from_le_bytes([0, 0, bytes[2 * i], bytes[2 * i + 1]]))
    }
    #[inline(always)]
    unsafe fn signed(from: *const u8) -> [f32; ROWS] {
        unsafe { from.cast::<[i8; ROWS]>().read_unaligned() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn unsigned(from: *const u8) -> [f32; ROWS] {
        unsafe { from.cast::<[u8; ROWS]>().read_unaligned() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn low_halves(from: *const u8) -> [f32; ROWS] {
        unsafe { from.cast::<[u8; ROWS]>().read_unaligned() }.map(|b| f32::from(b & 15))
    }
    #[inline(always)]
    unsafe fn high_halves(from: *const u8) -> [f32; ROWS] {
        unsafe { from.cast::<[u8; ROWS]>().read_unaligned() }.map(|b| f32::from(b >> 4))
    }
    #[inline(always)]
    unsafe fn eighths(from: *const u8) -> [f32; ROWS] {
        unsafe { from.cast::<[u8; ROWS]>().read_unaligned() }.map(|b| f16::from_bits(u16::from(b) << 7).to_f32())
    }
    #[inline(always)]
    unsafe fn add(a: [f32; ROWS], b: [f32; ROWS]) -> [f32; ROWS] {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; ROWS], b: [f32; ROWS]) -> [f32; ROWS] {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; ROWS], b: [f32; ROWS], c: [f32; ROWS]) -> [f32; ROWS] {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
}

/// Bit `i` from an address on.
unsafe fn bit(bits: *const u8, i: usize) -> usize {
    // SAFETY: the caller's promise.
    usize::from(unsafe { *bits.add(i / 8) } >> (i % 8) & 1)
}

/// Words in the order of [`PointLanes::words`].
fn words(word: impl Fn(usize) -> [u8; 2]) -> [[u8; BYTES]; 2] {
    [0, 1].map(|half| std::array::from_fn(|i| word(i / 16 * 16 + 8 * half + i % 16 / 2)[i % 2]))
}

#[allow(clippy::undocumented_unsafe_blocks, reason = "as above")]
impl PairLanes for Portable {
    #[inline(always)]
    unsafe fn dot_pairs(sum: [f32; ROWS], a: [u8; BYTES], b: [u8; BYTES]) -> [f32; ROWS] {
        let [(a, c), (b, d)] = unsafe { [(Self::lower(a), Self::upper(a)), (Self::lower(b), Self::upper(b))] };
        std::array::from_fn(|i| sum[i] + c[i] * d[i] + a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn lower(pairs: [u8; BYTES]) -> [f32; ROWS] {
        integers(&pairs).map(|pair| f32::from_bits((pair as u32) << 16))
    }
    #[inline(always)]
    unsafe fn upper(pairs: [u8; BYTES]) -> [f32; ROWS] {
        integers(&pairs).map(|pair| f32::from_bits(pair as u32 & 0xffff_0000))
    }
    #[inline(always)]
    unsafe fn pairs(lower: [f32; ROWS], upper: [f32; ROWS]) -> [u8; BYTES] {
        std::array::from_fn(|i| (nearest(lower[i / 4]) | nearest(upper[i / 4]) << 16).to_le_bytes()[i % 4])
    }
    #[inline(always)]
    unsafe fn byte<const K: u32>(four: [u8; BYTES]) -> [f32; ROWS] {
        std::array::from_fn(|i| f32::from(four[4 * i + K as usize]))
    }
}

#[allow(clippy::undocumented_unsafe_blocks, reason = "as above")]
impl PointLanes for Portable {
    unsafe fn words(table: *const u8, numbers: *const u8, bits: Option<*const u8>) -> [[u8; BYTES]; 2] {
        let count = if bits.is_some() { 512 } else { 256 };
        words(|i| unsafe {
            let number = usize::from(*numbers.add(i)) | bits.map_or(0, |bits| bit(bits, i) << 8);
            [*table.add(number), *table.add(count + number)]
        })
    }
    unsafe fn trits(table: *const u8, numbers: *const u8, halves: *const u8, half: usize, bits: *const u8) -> [[u8; BYTES]; 2] {
        words(|i| unsafe {
            let number = usize::from(*numbers.add(i));
            let few = usize::from(*halves.add(i) >> (4 * half) & 15) | bit(bits, i) << 4;
            [*table.add(number), *table.add(256 + number) | *table.add(512 + few)]
        })
    }
    unsafe fn fields(words: [u8; BYTES], fields: *const u8, table: *const u8) -> [u8; BYTES] {
        std::array::from_fn(|i| unsafe {
            let eight = u64::from_le_bytes(words.as_chunks::<8>().0[i / 8]);
            *table.add((eight.rotate_right(u32::from(*fields.add(i))) & 63) as usize)
        })
    }
    unsafe fn mirrored(value: [u8; BYTES], bits: *const u8, twice: u8) -> [u8; BYTES] {
        std::array::from_fn(|i| unsafe { if *bits.add(i / 8) >> (i % 8) & 1 == 1 { twice - value[i] } else { value[i] } })
    }
}
