//! Points of a lattice as numbers, which are looked up by permutations of bytes.
//!
//! A block of 16 rows has the head that it has in planes ([`crate::form`]), and behind it four pairs of parts of 32 columns:
//!
//! ```text
//! lower eight bits of the numbers of points, of each part: 64 bytes for four pieces; a piece is a point of each row
//! four bits more: 64 bytes for both parts, in the halves of their bytes, of trits
//! a bit more: 8 bytes for the same 64 numbers
//! signs: 8 bytes a step of four columns, where there are any
//! ```
//! Numbers are those of the file where there are at most 512 points. Of more ([`Lattice::TRITS`]) the coordinates are told, in base
//! three: five in the eight bits, three in the five, so that tables stay short. Tables have the lower and the upper bytes
//! of points, whose coordinates share 16 bits. Of 8 bytes with the points of two rows a shift by another count for each byte makes the
//! four columns of both ([`fields`]), six bits each, the lowest of which are a coordinate: a table of 64 has its code. So 64
//! weights take six to nine operations, and little more memory than in the file.
//!
//! It takes permutations of bytes by bytes of two registers, and shifts of bits across bytes: AVX-512 VBMI.

use std::marker::PhantomData;

use super::layout::Layout;
use super::panel::{Panel, start};
use super::tile::Tile;
use crate::ahead::{ahead, ask};
use crate::dispatch::PointWork;
use crate::form::{PIECE, Parts, Shape};
use crate::forms::lattice::{Lattice, Numbers};
use crate::lanes::{Lanes, PointLanes, ROWS};

/// Columns of a part of a block.
const PART: usize = 32;
/// Steps of a part.
const STEPS: usize = PART / 4;
/// Numbers that are looked up at once.
const NUMBERS: usize = 64;
/// Bytes of the signs of a part.
const SIGNS: usize = PART * ROWS / 8;

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Points;

/// The byte of a row's point in piece `piece`, of four: rows and pieces lie so that two points of a row are in 8 bytes of
/// the words that are looked up, beside those of the next row.
const fn place(lane: usize, piece: usize) -> usize {
    16 * (lane / 4) + 8 * (piece / 2) + 4 * (lane / 2 % 2) + 2 * (piece % 2) + lane % 2
}

/// For each of 64 bytes the bit of its 8 bytes of words at which a coordinate begins: four coordinates from `first` on, of
/// `bits` each, of the even or the odd piece.
const fn fields(piece: usize, first: usize, bits: usize) -> [u8; PIECE] {
    let mut out = [0; PIECE];
    let mut i = 0;
    while i < PIECE {
        let row = i / 4 % 2;
        out[i] = (16 * (2 * piece + row) + bits * (first + i % 4)) as u8;
        i += 1;
    }
    out
}

/// [`fields`] of points of four weights: of an even piece, of an odd one.
static OF_FOUR: [[u8; PIECE]; 2] = [fields(0, 0, 3), fields(1, 0, 3)];
/// [`fields`] of points of eight weights: two steps of an even piece, two of an odd one.
static OF_EIGHT: [[u8; PIECE]; 4] = [fields(0, 0, 2), fields(0, 4, 2), fields(1, 0, 2), fields(1, 4, 2)];

/// What follows from a lattice's constants.
struct PointShape<F>(PhantomData<F>);

impl<F: Lattice> PointShape<F> {
    /// Steps of four columns of a point.
    const STEPS: usize = F::WEIGHTS / 4;
    /// Times that 64 numbers are looked up in a part.
    const TIMES: usize = PART * ROWS / F::WEIGHTS / NUMBERS;
    /// Whether numbers have a bit beyond the bytes that they begin with.
    const BIT: bool = F::TRITS || F::POINTS.len() > 256;
    const HALVES_AT: usize = 2 * Self::TIMES * NUMBERS;
    const BITS_AT: usize = Self::HALVES_AT + if F::TRITS { NUMBERS } else { 0 };
    const SIGNS_AT: usize = Self::BITS_AT + if Self::BIT { 2 * Self::TIMES * NUMBERS / 8 } else { 0 };
    /// Bytes of two parts.
    const PAIR: usize = Self::SIGNS_AT + if F::SIGNS { 2 * SIGNS } else { 0 };

    /// The codes of part `first + next`, where `first` is even and `next` below 2, and better a constant.
    ///
    /// # Safety
    /// The block and the part are there; see [`Lanes`].
    #[inline(always)]
    unsafe fn codes<L: PointLanes>(block: *const u8, first: usize, next: usize) -> [L::Int; STEPS] {
        // SAFETY: the caller's promise; tables are as long as numbers are wide.
        unsafe {
            let pair = block.add(Shape::<F>::HEAD + first / 2 * Self::PAIR);
            let signs = pair.add(Self::SIGNS_AT + next * SIGNS);
            let mut out = [L::zero(); STEPS];
            let mut step = 0;
            for time in 0..Self::TIMES {
                let time = next * Self::TIMES + time;
                let numbers = pair.add(time * NUMBERS);
                let bits = if Self::BIT { Some(pair.add(Self::BITS_AT + time * NUMBERS / 8)) } else { None };
                let table = F::PLANES.as_ptr();
                let words = match bits {
                    Some(bits) if F::TRITS => L::trits(table, numbers, pair.add(Self::HALVES_AT), next, bits),
                    bits => L::words(table, numbers, bits),
                };
                for piece in 0..NUMBERS / ROWS {
                    for half in 0..Self::STEPS {
                        let fields = if Self::STEPS == 1 { &OF_FOUR[piece % 2] } else { &OF_EIGHT[piece % 2 * 2 + half] };
                        let mut code = L::fields(words[piece / 2], fields.as_ptr(), F::VALUES.as_ptr());
                        if F::SIGNS {
                            code = L::mirrored(code, signs.add(step * PIECE / 8), (2 * F::OFFSET) as u8);
                        }
                        if F::SHIFTS {
                            let eight = ((first + next) * STEPS + step) / 2;
                            code = L::or(code, L::twos(L::load(block.add(Shape::<F>::SHIFTS_AT)), eight as i32));
                        }
                        out[step] = code;
                        step += 1;
                    }
                }
            }
            out
        }
    }
}

/// A point of eight coordinates in base three: its first five, and its last three.
fn trits(levels: u64) -> (u8, u8) {
    let [a, b, c, d, e, f, g, h] = levels.to_le_bytes();
    (a + 3 * (b + 3 * (c + 3 * (d + 3 * e))), f + 3 * (g + 3 * h))
}

impl<F: Lattice> Layout<F> for Points {
    type Parts = (Parts, Numbers);
    const BYTES: usize = Shape::<F>::HEAD + F::COLUMNS / PART / 2 * PointShape::<F>::PAIR;
    const NAME: &'static str = "int8 points";
    const LAID_OUT_FROM: usize = 8;

    #[inline(always)]
    fn split(row: &[u8], (parts, numbers): &mut Self::Parts) {
        F::numbers(row, parts, numbers);
    }

    fn pack(rows: &[Self::Parts; ROWS], out: &mut [u8]) {
        let of_a_part = PART / F::WEIGHTS;
        for (lane, (parts, numbers)) in rows.iter().enumerate() {
            Shape::<F>::pack_head(lane, parts, out);
            for (part, points) in numbers.points[..F::COLUMNS / F::WEIGHTS].chunks_exact(of_a_part).enumerate() {
                let out = &mut out[Shape::<F>::HEAD + part / 2 * PointShape::<F>::PAIR..][..PointShape::<F>::PAIR];
                for (index, number) in points.iter().enumerate() {
                    let (time, at) = (part % 2 * PointShape::<F>::TIMES + index / 4, place(lane, index % 4));
                    let (byte, mut bit) = if F::TRITS {
                        let (five, three) = trits(F::POINTS[usize::from(*number)]);
                        out[PointShape::<F>::HALVES_AT + at] |= (three & 15) << (4 * (part % 2));
                        (five, three >> 4)
                    } else {
                        (*number as u8, (number >> 8) as u8)
                    };
                    out[time * NUMBERS + at] = byte;
                    if PointShape::<F>::BIT {
                        bit <<= at % 8;
                        out[PointShape::<F>::BITS_AT + (time * NUMBERS + at) / 8] |= bit;
                    }
                }
                if F::SIGNS {
                    let signs = &numbers.signs[part * PART / 8..][..PART / 8];
                    for step in 0..STEPS {
                        let four = signs[step / 2] >> (4 * (step % 2)) & 15;
                        out[PointShape::<F>::SIGNS_AT + part % 2 * SIGNS + step * PIECE / 8 + lane / 2] |= four << (4 * (lane % 2));
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn direct<L: Lanes, const T: usize>(block: *const u8, blocks: usize, panel: Panel<T>, out: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { L::with_points(Direct::<F, T> { block, blocks, panel, out, form: PhantomData }) };
    }

    #[inline(always)]
    unsafe fn fill<L: Lanes, const R: usize>(tile: Tile, block: [*const u8; R], blocks: usize) {
        // SAFETY: the caller's promise.
        unsafe { L::with_points(Fill::<F, R> { tile, block, blocks, form: PhantomData }) };
    }

    unsafe fn row(block: *const u8, lane: usize, group: usize, codes: &mut [u8]) {
        // SAFETY: the caller's promise.
        let block = unsafe { std::slice::from_raw_parts(block, <Self as Layout<F>>::BYTES) };
        for (eight, codes) in codes.chunks_exact_mut(8).enumerate() {
            let column = group * F::GROUP + 8 * eight;
            let (part, within) = (column / PART, column % PART);
            let pair = &block[Shape::<F>::HEAD + part / 2 * PointShape::<F>::PAIR..][..PointShape::<F>::PAIR];
            let mut levels = [0; 8];
            for (k, levels) in levels.chunks_exact_mut(F::WEIGHTS).enumerate() {
                let index = within / F::WEIGHTS + k;
                let (time, at) = (part % 2 * PointShape::<F>::TIMES + index / 4, place(lane, index % 4));
                let number = usize::from(pair[time * NUMBERS + at]);
                let bit = || usize::from(pair[PointShape::<F>::BITS_AT + (time * NUMBERS + at) / 8] >> (at % 8) & 1);
                if F::TRITS {
                    let three = usize::from(pair[PointShape::<F>::HALVES_AT + at] >> (4 * (part % 2)) & 15) | bit() << 4;
                    for (i, level) in levels.iter_mut().enumerate() {
                        let (from, power) = if i < 5 { (number, i) } else { (three, i - 5) };
                        *level = (from / 3_usize.pow(power as u32) % 3) as u8;
                    }
                } else {
                    let point = F::POINTS[number | if PointShape::<F>::BIT { bit() << 8 } else { 0 }];
                    levels.copy_from_slice(&point.to_le_bytes()[..F::WEIGHTS]);
                }
            }
            let mut signs = 0;
            if F::SIGNS {
                let at = |step: usize| PointShape::<F>::SIGNS_AT + part % 2 * SIGNS + step * PIECE / 8 + lane / 2;
                let four = |step: usize| pair[at(step)] >> (4 * (lane % 2)) & 15;
                signs = four(within / 4) | four(within / 4 + 1) << 4;
            }
            let shift = if F::SHIFTS { (block[Shape::<F>::SHIFTS_AT + 4 * lane + column / 64] >> (column / 8 % 8) & 1) << 1 } else { 0 };
            for ((k, code), level) in codes.iter_mut().enumerate().zip(levels) {
                let value = F::VALUES[usize::from(level)];
                *code = if signs >> k & 1 == 1 { (2 * F::OFFSET) as u8 - value } else { value } | shift;
            }
        }
    }
}

/// 16 rows by `T` rows of activations.
struct Direct<F: Lattice, const T: usize> {
    block: *const u8,
    blocks: usize,
    panel: Panel<T>,
    /// 16 results of each row of activations.
    out: *mut f32,
    form: PhantomData<F>,
}

impl<F: Lattice, const T: usize> PointWork for Direct<F, T> {
    #[inline(always)]
    unsafe fn run<L: PointLanes>(self) {
        let Self { mut block, blocks, panel, out: results, .. } = self;
        // SAFETY: the group of rows has so many blocks and each row of activations as many columns.
        unsafe {
            let mut out = [L::float_zero(); T];
            let ahead = ahead();
            for index in 0..blocks {
                ask::<L>(ahead, block, <Points as Layout<F>>::BYTES);
                let d = Shape::<F>::d::<L>(block);
                let mut inner = [L::float_zero(); T];
                let mut first = 0;
                while first < F::COLUMNS / PART {
                    // Two parts at a time: scales of groups of 32 lie in halves of bytes.
                    written_out!(2, next, {
                        let part = first + next;
                        let codes = PointShape::<F>::codes::<L>(block, first, next);
                        for group in 0..PART / F::GROUP {
                            let group_of_block = part * (PART / F::GROUP) + group;
                            let place = index * Shape::<F>::GROUPS + group_of_block;
                            let mut sums = [L::zero(); T];
                            for t in 0..T {
                                sums[t] = start::<L, F, T>(panel, place, t);
                            }
                            for step in 0..Shape::<F>::STEPS {
                                for t in 0..T {
                                    let four = L::every(panel.step(place * Shape::<F>::STEPS + step, t));
                                    sums[t] = Shape::<F>::dot::<L>(sums[t], codes[group * Shape::<F>::STEPS + step], four);
                                }
                            }
                            let scale = Shape::<F>::scales::<L>(block, d, group_of_block);
                            for t in 0..T {
                                inner[t] = L::fma(L::float(sums[t]), scale, inner[t]);
                            }
                        }
                    });
                    first += 2;
                }
                for t in 0..T {
                    out[t] = L::fma(inner[t], L::float_every(panel.scales.add(index * T + t)), out[t]);
                }
                block = block.add(<Points as Layout<F>>::BYTES);
            }
            for t in 0..T {
                L::float_store(out[t], results.add(t * ROWS));
            }
        }
    }
}

/// `R` groups of rows are laid out in bytes.
struct Fill<F: Lattice, const R: usize> {
    tile: Tile,
    block: [*const u8; R],
    blocks: usize,
    form: PhantomData<F>,
}

impl<F: Lattice, const R: usize> PointWork for Fill<F, R> {
    #[inline(always)]
    unsafe fn run<L: PointLanes>(self) {
        let Self { tile, block, blocks, .. } = self;
        // SAFETY: every group of rows has so many blocks, and the tile has room for them.
        unsafe {
            for r in 0..R {
                for index in 0..blocks {
                    let block = block[r].add(index * <Points as Layout<F>>::BYTES);
                    let d = Shape::<F>::d::<L>(block);
                    let place = index * Shape::<F>::GROUPS;
                    for part in 0..F::COLUMNS / PART {
                        let codes = PointShape::<F>::codes::<L>(block, part / 2 * 2, part % 2);
                        for step in 0..STEPS {
                            let at = (((place * Shape::<F>::STEPS) + part * STEPS + step) * R + r) * PIECE;
                            L::store(codes[step], tile.codes.add(at));
                        }
                    }
                    for group in 0..Shape::<F>::GROUPS {
                        let scale = Shape::<F>::scales::<L>(block, d, group);
                        L::float_store(scale, tile.scales.add(((place + group) * R + r) * ROWS));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use gravure_core::contracts::{Activations, Phase};
    use gravure_encodings::ENCODINGS;
    use gravure_simd::Isa;

    use crate::dispatch::{Abilities, Level};
    use crate::forms::{LatticeVisitor, lattice::Lattice, visit_lattice};
    use crate::{Inputs, Matrix, MatrixSource, Pool, linear};

    struct BytesOfTwo;

    impl LatticeVisitor for BytesOfTwo {
        type Output = usize;

        fn visit<F: Lattice>(self) -> usize {
            2 * F::ENCODED
        }
    }

    struct ThreeLevels;

    impl LatticeVisitor for ThreeLevels {
        type Output = bool;

        fn visit<F: Lattice>(self) -> bool {
            !F::TRITS || F::POINTS.iter().all(|point| point.to_le_bytes().into_iter().all(|level| level < 3))
        }
    }

    #[test]
    fn coordinates_in_base_three_have_three_levels() {
        assert!(ENCODINGS.iter().filter_map(|encoding| visit_lattice(encoding.id(), ThreeLevels)).all(|three| three));
    }

    /// Blocks of any bits, looked up by every instruction set that can, and by arrays: products with few rows, with many, and
    /// decoded rows have the bits that those of codes have. Ends of rows, of groups of 16 rows and of tiles are among them.
    #[test]
    fn points_are_their_codes() {
        let pool = Pool::new(2);
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as u32
        };
        let sets: Vec<Level> = Isa::available().into_iter().map(Level::of).filter(|level| level.abilities().points).collect();
        if sets.is_empty() {
            eprintln!("SKIPPED: this machine does not permute bytes by bytes, points were looked up in arrays alone");
        }
        let mut tried = 0;
        for encoding in ENCODINGS {
            let Some(two) = visit_lattice(encoding.id(), BytesOfTwo) else { continue };
            for (rows, columns) in [(16, 256), (52, 768)] {
                let row_bytes = encoding.row_bytes(columns as u64).unwrap() as usize;
                assert_eq!(row_bytes * 512, two * columns, "{}", encoding.id());
                let mut bytes = Vec::new();
                for block in 0..rows * columns / 256 {
                    // Scales that are numbers; the first blocks have all bits or none.
                    loop {
                        let mut some: Vec<u8> = (0..two / 2).map(|_| [next() as u8, 0xff, 0][block.min(3) % 3]).collect();
                        if block < 3 {
                            some[..2].copy_from_slice(&[0x34, 0x12]);
                        }
                        if encoding.validate(&some).is_ok() {
                            bytes.extend_from_slice(&some);
                            break;
                        }
                        if block < 3 {
                            bytes.extend(std::iter::repeat_n(0, two / 2));
                            break;
                        }
                    }
                }
                let read = |range: Range<u64>, out: &mut Vec<u8>| {
                    out.clear();
                    out.extend_from_slice(&bytes[range.start as usize * row_bytes..range.end as usize * row_bytes]);
                    Ok(())
                };
                let load = |level: Level, points: bool| {
                    let source =
                        MatrixSource { name: "m", encoding: *encoding, rows, columns, rows_at_once: None, read: &read, grouped: None };
                    Matrix::laid_out(&pool, source, level, Abilities { points, pairs: false }, Activations::Fast).unwrap()
                };
                let lanes = Level::of(Isa::named("portable").unwrap());
                let codes = load(lanes, false);
                assert!(codes.kernel().starts_with("int8 p"), "{}", codes.kernel());
                for level in sets.iter().copied().chain([lanes, Level::software_tiles(false)]) {
                    let points = load(level, true);
                    assert!(points.kernel().starts_with("int8 points") && points.bytes() < codes.bytes(), "{}", points.kernel());
                    for count in [1, 3, 4, 37, 71] {
                        let values: Vec<f32> = (0..count * columns).map(|_| next() as f32 / 8_388_608.0 - 1.0).collect();
                        let product = |matrix: &Matrix| {
                            let mut out = vec![f32::NAN; count * rows];
                            linear(&pool, matrix, &mut Inputs::new(&values, columns), Phase::Decode, None, &mut out).unwrap();
                            out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                        };
                        assert_eq!(
                            product(&points),
                            product(&codes),
                            "{} [{rows}, {columns}] x {count} {}",
                            encoding.id(),
                            points.kernel()
                        );
                        tried += 1;
                    }
                    let (mut a, mut b) = (vec![0.0; columns], vec![1.0; columns]);
                    for row in 0..rows {
                        points.decode_row(row, &mut a).unwrap();
                        codes.decode_row(row, &mut b).unwrap();
                        assert_eq!(a, b, "{} row {row}", encoding.id());
                    }
                }
            }
        }
        assert!(tried >= 7 * 2 * 2 * 5);
    }
}
