//! Encodings whose weights are small integers times scales, in the order in which kernels read them.
//!
//! Sixteen rows lie together, so that a lane of a vector is a row and nothing is summed across lanes. A
//! block of 16 rows and [`Form::COLUMNS`] columns takes as many bytes as in its file, or few more:
//!
//! ```text
//! d: 16 halves (or floats) | m: the same, where there are minima
//! scales of groups: 16 bytes a group, or two groups
//! minima of groups: pieces of 64 bytes, of four groups in bytes or of eight in their halves
//! shifts of eight columns: 64 bytes, where there are any
//! for every TOGETHER groups codes: planes of 1, 2, and 8 or 4 bits in pieces of 64 bytes
//! ```
//! A block is read from its first byte to its last: processors fetch one stream ahead, but not two that
//! take turns (planes as long as blocks halve the speed of reading from memory).
//!
//! A piece of 64 bytes holds four columns of each row in a lane of four bytes, which is what the dot
//! product of bytes wants; a plane of 4 bits holds two such steps in each piece, one in the low halves of
//! the bytes and one in the high halves, and so on.
//!
//! `weight = d * UNIT * scale * (code - OFFSET) - m * minimum`.
//!
//! Minima of four groups lie as codes of four columns do: they are multiplied as codes are, with the sums of the
//! activations' codes, whose upper and lower bits make two bytes ([`halved`]).

use crate::lanes::{Lanes, ROWS};

/// Bytes of a piece: a step of four columns in 16 rows.
pub(crate) const PIECE: usize = 4 * ROWS;
/// Most columns of a block.
pub(crate) const MOST_COLUMNS: usize = 256;
/// Most groups of a block.
pub(crate) const MOST_GROUPS: usize = 16;

/// How scales of groups are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scales {
    /// There is one group.
    None,
    /// Signed bytes.
    Signed,
    /// Unsigned bytes, with unsigned minima behind them where there are any.
    Unsigned,
    /// Four bits of scale, those of an even group in the low half of a byte and those of the next one in the high half,
    /// and minima of four bits.
    Halves,
    /// Four bits that stand for odd numbers, `2 * bits + 1`: those of an even group in the low half of a byte, those
    /// of the next one in the high half.
    Odd,
    /// Floats of 8 bits (E4M3), and no `d`.
    Floats,
}

/// The parts of one row of a block, as its encoding stores them.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// Bits of the factor of scales: of a half, or of a float where [`Form::WIDE`].
    pub(crate) d: u32,
    /// Bits of the factor of minima: of a half, or of a float where [`Form::WIDE`].
    pub(crate) m: u32,
    /// Scales of groups.
    pub(crate) scales: [u8; MOST_GROUPS],
    /// Minima of groups.
    pub(crate) minima: [u8; MOST_GROUPS],
    /// A bit for eight columns, where the form has [`Form::SHIFTS`].
    pub(crate) shifts: u32,
    /// Codes, one a column.
    pub(crate) codes: [u8; MOST_COLUMNS],
}

impl Default for Parts {
    fn default() -> Self {
        Self { d: 0, m: 0, scales: [0; MOST_GROUPS], minima: [0; MOST_GROUPS], shifts: 0, codes: [0; MOST_COLUMNS] }
    }
}

/// One encoding.
pub(crate) trait Form: Copy + Send + Sync + std::fmt::Debug + 'static {
    /// The form whose functions multiply this one's codes, once these are laid out in bytes: itself, or one with
    /// blocks, groups, minima and sizes of codes alike. To compile each takes seconds.
    type Like: Form;
    /// Id of the encoding.
    const ID: &'static str;
    /// Columns of a block: 32, 64, 128, or 256.
    const COLUMNS: usize;
    /// Columns of a group: 16 or 32, or those of the block.
    const GROUP: usize;
    /// Bits of a code: 1, 2, 3, 4, 5, 6 or 8.
    const BITS: usize;
    /// What `d` is multiplied with, a power of two.
    const UNIT: f32 = 1.0;
    /// The bit that is a code's lowest, of codes of 1, 2 or 4 bits without a table: what is stored is multiplied
    /// with a power of two.
    const LOWEST: usize = 0;
    /// Whether eight columns at a time may have 2 added to their codes, whose second bits are zero.
    const SHIFTS: bool = false;
    /// What is subtracted from codes.
    const OFFSET: i32 = 0;
    /// How scales of groups are stored.
    const SCALES: Scales = Scales::None;
    /// Whether there are minima.
    const MINIMA: bool = false;
    /// Whether `d`, and `m`, are floats of 32 bits.
    const WIDE: bool = false;
    /// Bytes that codes of three or four bits stand for.
    const TABLE: Option<&'static [u8; 16]> = None;
    /// Bytes of a row of a block in the encoding.
    const ENCODED: usize;

    /// Takes a row of a block apart.
    fn split(row: &[u8], parts: &mut Parts);
}

/// What follows from a form's constants.
pub(crate) struct Shape<F: Form>(std::marker::PhantomData<F>);

impl<F: Form> Shape<F> {
    pub(crate) const GROUPS: usize = F::COLUMNS / F::GROUP;
    /// Steps of four columns in a group.
    pub(crate) const STEPS: usize = F::GROUP / 4;
    const D: usize = match F::SCALES {
        Scales::Floats => 0,
        _ if F::WIDE => 4 * ROWS,
        _ => 2 * ROWS,
    };
    const M_AT: usize = Self::D;
    const M: usize = match F::MINIMA {
        false => 0,
        true if F::WIDE => 4 * ROWS,
        true => 2 * ROWS,
    };
    const SCALES_AT: usize = Self::D + Self::M;
    const SCALES: usize = match F::SCALES {
        Scales::None => 0,
        Scales::Odd | Scales::Halves => Self::GROUPS / 2 * ROWS,
        _ => Self::GROUPS * ROWS,
    };
    const MINIMA_AT: usize = Self::SCALES_AT + Self::SCALES;
    const MINIMA: usize = match F::SCALES {
        Scales::Unsigned if F::MINIMA => Self::GROUPS * ROWS,
        Scales::Halves => Self::GROUPS / 2 * ROWS,
        _ => 0,
    };
    /// Steps of minima: of four groups each.
    pub(crate) const LEAST: usize = if F::MINIMA && Self::GROUPS > 1 { Self::GROUPS / 4 } else { 0 };
    /// Groups whose codes lie in the same pieces: a loop over so many, written out, has constant shifts. Two
    /// read memory faster than four or eight, whose planes are longer.
    pub(crate) const TOGETHER: usize = if Self::GROUPS == 1 { 1 } else { 2 };
    pub(crate) const SHIFTS_AT: usize = Self::MINIMA_AT + Self::MINIMA;
    /// Bytes before codes.
    pub(crate) const HEAD: usize = Self::SHIFTS_AT + if F::SHIFTS { PIECE } else { 0 };
    /// Steps of groups that lie together.
    const STEPS_TOGETHER: usize = Self::TOGETHER * Self::STEPS;
    const ONE: usize = if matches!(F::BITS, 1 | 3 | 5) { Self::STEPS_TOGETHER * PIECE / 8 } else { 0 };
    const TWO: usize = if matches!(F::BITS, 2 | 3 | 6) { Self::STEPS_TOGETHER * PIECE / 4 } else { 0 };
    /// The plane of 8 or 4 bits, where there is one.
    const WIDE: usize = match F::BITS {
        8 => Self::STEPS_TOGETHER * PIECE,
        4..=6 => Self::STEPS_TOGETHER * PIECE / 2,
        _ => 0,
    };
    const TWO_AT: usize = Self::ONE;
    const WIDE_AT: usize = Self::TWO_AT + Self::TWO;
    /// Bytes of the codes of groups that lie together.
    const CODES: usize = Self::WIDE_AT + Self::WIDE;
    /// Bytes of 16 rows of a block.
    pub(crate) const BYTES: usize = Self::HEAD + Self::GROUPS / Self::TOGETHER * Self::CODES;

    /// Whether all codes are below 128.
    const SMALL: bool = match F::TABLE {
        None => F::BITS < 8,
        Some(table) => {
            let mut i = 0;
            while i < table.len() && table[i] < 128 {
                i += 1;
            }
            i == table.len()
        }
    };

    /// Whether [`Form::Like`] is alike: evaluated where it stands in for the form.
    pub(crate) const ALIKE: () = assert!(
        F::COLUMNS == <F::Like as Form>::COLUMNS
            && F::GROUP == <F::Like as Form>::GROUP
            && F::MINIMA == <F::Like as Form>::MINIMA
            && (F::OFFSET == 0) == (<F::Like as Form>::OFFSET == 0)
            && Self::SMALL == Shape::<F::Like>::SMALL
    );

    /// In each lane `sum` plus the products of four codes with four activations.
    ///
    /// # Safety
    /// See [`Lanes`].
    #[inline(always)]
    pub(crate) unsafe fn dot<L: Lanes>(sum: L::Int, codes: L::Int, activations: L::Int) -> L::Int {
        // SAFETY: the caller's promise.
        unsafe { if Self::SMALL { L::dot_of_small(sum, codes, activations) } else { L::dot(sum, codes, activations) } }
    }

    /// Piece and field of a step of a group, in a plane with `fields` steps to a piece.
    #[inline(always)]
    const fn place(fields: usize, next: usize, step: usize) -> (usize, usize) {
        let run = Self::STEPS_TOGETHER / fields;
        if run < Self::STEPS {
            (step % run, next * (Self::STEPS / run) + step / run)
        } else {
            (next / fields * Self::STEPS + step, next % fields)
        }
    }

    /// The step, counted through groups that lie together, of a field of a piece: what [`Self::place`] turns around.
    #[inline(always)]
    const fn step(fields: usize, piece: usize, field: usize) -> usize {
        let run = Self::STEPS_TOGETHER / fields;
        if run < Self::STEPS { field * run + piece } else { (piece / Self::STEPS * fields + field) * Self::STEPS + piece % Self::STEPS }
    }

    /// Puts what one of 16 rows of a block has beside its codes in order. `out` is zeros.
    pub(crate) fn pack_head(lane: usize, parts: &Parts, out: &mut [u8]) {
        let each = Self::D / ROWS;
        out[each * lane..each * (lane + 1)].copy_from_slice(&parts.d.to_le_bytes()[..each]);
        if F::MINIMA {
            let each = Self::M / ROWS;
            out[Self::M_AT + each * lane..][..each].copy_from_slice(&parts.m.to_le_bytes()[..each]);
        }
        if Self::SCALES > 0 {
            for group in 0..Self::GROUPS {
                if matches!(F::SCALES, Scales::Odd | Scales::Halves) {
                    out[Self::SCALES_AT + group / 2 * ROWS + lane] |= parts.scales[group] << (4 * (group % 2));
                } else {
                    out[Self::SCALES_AT + group * ROWS + lane] = parts.scales[group];
                }
                if Self::MINIMA > 0 {
                    let (step, at) = (group / 4, 4 * lane + group % 4);
                    let (piece, half) = if matches!(F::SCALES, Scales::Halves) { (step / 2, step % 2) } else { (step, 0) };
                    out[Self::MINIMA_AT + piece * PIECE + at] |= parts.minima[group] << (4 * half);
                }
            }
        }
        if F::SHIFTS {
            out[Self::SHIFTS_AT + 4 * lane..Self::SHIFTS_AT + 4 * lane + 4].copy_from_slice(&parts.shifts.to_le_bytes());
        }
    }

    /// Puts 16 rows of a block in order. `out` is [`Self::BYTES`] long, and zeros.
    pub(crate) fn pack(rows: &[Parts; ROWS], out: &mut [u8]) {
        for (lane, parts) in rows.iter().enumerate() {
            Self::pack_head(lane, parts, out);
        }
        for (first, out) in out[Self::HEAD..].chunks_exact_mut(Self::CODES).enumerate() {
            let at = first * Self::STEPS_TOGETHER;
            match F::BITS {
                8 => Self::plane::<1>(rows, at, 0, &mut out[Self::WIDE_AT..]),
                4..=6 => Self::plane::<2>(rows, at, 0, &mut out[Self::WIDE_AT..]),
                1 => Self::plane::<8>(rows, at, 0, out),
                _ => Self::plane::<4>(rows, at, 0, &mut out[Self::TWO_AT..]),
            }
            match F::BITS {
                6 => Self::plane::<4>(rows, at, 4, &mut out[Self::TWO_AT..]),
                5 => Self::plane::<8>(rows, at, 4, out),
                3 => Self::plane::<8>(rows, at, 2, out),
                _ => {}
            }
        }
    }

    /// Puts the bits from `bit` on of the codes of groups that lie together, the first of whose steps is `start`,
    /// into a plane with `FIELDS` steps to a piece.
    #[inline(always)]
    fn plane<const FIELDS: usize>(rows: &[Parts; ROWS], start: usize, bit: usize, out: &mut [u8]) {
        let mask = u32::from_le_bytes([((1_u32 << (8 / FIELDS)) - 1) as u8; 4]);
        for (piece, out) in out.as_chunks_mut::<PIECE>().0.iter_mut().enumerate().take(Self::STEPS_TOGETHER / FIELDS) {
            for (out, parts) in out.as_chunks_mut::<4>().0.iter_mut().zip(rows) {
                let codes = parts.codes.as_chunks::<4>().0;
                let mut word = 0;
                for field in 0..FIELDS {
                    let step = Self::step(FIELDS, piece, field);
                    word |= (u32::from_le_bytes(codes[start + step]) >> bit & mask) << (field * 8 / FIELDS);
                }
                *out = word.to_le_bytes();
            }
        }
    }

    /// The codes of a step of group `first + next`, where `first` is a multiple of [`Self::TOGETHER`] and `next`
    /// below it, and better a constant.
    ///
    /// # Safety
    /// `block` is good for [`Self::BYTES`], group and step are within the block; see [`Lanes`].
    #[inline(always)]
    pub(crate) unsafe fn codes<L: Lanes>(block: *const u8, first: usize, next: usize, step: usize) -> L::Int {
        // SAFETY: places are within their planes, which are within the block.
        unsafe {
            let planes = block.add(Self::HEAD + first / Self::TOGETHER * Self::CODES);
            let code = match F::BITS {
                8 => L::load(planes.add(step * PIECE)),
                4..=6 => Self::field::<L>(planes.add(Self::WIDE_AT), 2, next, step, F::LOWEST),
                1 => Self::field::<L>(planes, 8, next, step, F::LOWEST),
                _ => Self::field::<L>(planes.add(Self::TWO_AT), 4, next, step, F::LOWEST),
            };
            let code = match F::BITS {
                6 => L::or(code, Self::field::<L>(planes.add(Self::TWO_AT), 4, next, step, 4)),
                5 => L::or(code, Self::field::<L>(planes, 8, next, step, 4)),
                3 => L::or(code, Self::field::<L>(planes, 8, next, step, 2)),
                _ => code,
            };
            let code = match F::TABLE {
                Some(table) => L::look_up(table.as_ptr(), code),
                None => code,
            };
            if F::SHIFTS {
                let eight = ((first + next) * Self::STEPS + step) / 2;
                L::or(code, L::twos(L::load(block.add(Self::SHIFTS_AT)), eight as i32))
            } else {
                code
            }
        }
    }

    /// The bits of one step in a plane with `fields` steps to a piece, moved to bit `to` of their bytes.
    ///
    /// # Safety
    /// As [`Self::codes`].
    #[inline(always)]
    unsafe fn field<L: Lanes>(plane: *const u8, fields: usize, next: usize, step: usize, to: usize) -> L::Int {
        let (piece, field) = Self::place(fields, next, step);
        let bits = 8 / fields;
        let from = field * bits;
        // SAFETY: the caller's promise.
        unsafe {
            let bytes = L::load(plane.add(piece * PIECE));
            let bytes = if from >= to { L::shr(bytes, (from - to) as i32) } else { L::shl(bytes, (to - from) as i32) };
            L::and(bytes, (((1_u32 << bits) - 1) << to) as u8)
        }
    }

    /// The factors of scales.
    ///
    /// # Safety
    /// As [`Self::codes`].
    #[inline(always)]
    pub(crate) unsafe fn d<L: Lanes>(block: *const u8) -> L::Float {
        // SAFETY: the caller's promise.
        unsafe {
            let d = match F::SCALES {
                Scales::Floats => return L::float_every(&F::UNIT),
                _ if F::WIDE => L::float_load(block.cast()),
                _ => L::halves(block),
            };
            if F::UNIT == 1.0 { d } else { L::mul(d, L::float_every(&F::UNIT)) }
        }
    }

    /// The factors of minima.
    ///
    /// # Safety
    /// As [`Self::codes`]; there are minima.
    #[inline(always)]
    pub(crate) unsafe fn m<L: Lanes>(block: *const u8) -> L::Float {
        // SAFETY: the caller's promise.
        unsafe {
            let at = block.add(Self::M_AT);
            if F::WIDE { L::float_load(at.cast()) } else { L::halves(at) }
        }
    }

    /// The scales of a group, with their factors.
    ///
    /// # Safety
    /// As [`Self::codes`].
    #[inline(always)]
    pub(crate) unsafe fn scales<L: Lanes>(block: *const u8, d: L::Float, group: usize) -> L::Float {
        // SAFETY: the caller's promise.
        unsafe {
            let at = block.add(Self::SCALES_AT + group * ROWS);
            match F::SCALES {
                Scales::None => d,
                Scales::Signed => L::mul(d, L::signed(at)),
                Scales::Unsigned => L::mul(d, L::unsigned(at)),
                Scales::Halves => L::mul(d, Self::halves::<L>(block, group)),
                // Exact: 11 bits by 5.
                Scales::Odd => L::fma(L::add(d, d), Self::halves::<L>(block, group), d),
                Scales::Floats => L::mul(d, L::eighths(at)),
            }
        }
    }

    /// The scales of a group that has half a byte for each.
    ///
    /// # Safety
    /// As [`Self::codes`].
    #[inline(always)]
    unsafe fn halves<L: Lanes>(block: *const u8, group: usize) -> L::Float {
        // SAFETY: the caller's promise.
        unsafe {
            let at = block.add(Self::SCALES_AT + group / 2 * ROWS);
            if group.is_multiple_of(2) { L::low_halves(at) } else { L::high_halves(at) }
        }
    }

    /// The minima of four groups, as codes of four columns; `step` is below [`Self::LEAST`].
    ///
    /// # Safety
    /// As [`Self::codes`].
    #[inline(always)]
    pub(crate) unsafe fn least<L: Lanes>(block: *const u8, step: usize) -> L::Int {
        // SAFETY: the caller's promise.
        unsafe {
            let minima = block.add(Self::MINIMA_AT);
            match F::SCALES {
                Scales::Halves => {
                    let both = L::load(minima.add(step / 2 * PIECE));
                    L::and(if step.is_multiple_of(2) { both } else { L::shr(both, 4) }, 15)
                }
                _ => L::load(minima.add(step * PIECE)),
            }
        }
    }
}

/// Bits of the lower part of a sum of codes that is multiplied with minima.
const LOW_BITS: u32 = 6;

/// A sum of at most 32 codes in two bytes: `64 * upper + lower`.
pub(crate) fn halved(sum: i32) -> [i8; 2] {
    let upper = (sum + (1 << (LOW_BITS - 1))) >> LOW_BITS;
    [upper as i8, (sum - (upper << LOW_BITS)) as i8]
}

/// In each lane the products of minima with sums of codes, as a float: `least` gives the minima of four groups,
/// and `sums` the words of their sums' upper bytes and of the lower ones.
///
/// # Safety
/// See [`Lanes`]; the words are there.
#[inline(always)]
pub(crate) unsafe fn by_minima<L: Lanes>(
    steps: usize,
    least: impl Fn(usize) -> L::Int,
    sums: impl Fn(usize, usize) -> *const i32,
) -> L::Float {
    // SAFETY: the caller's promise. Minima have six bits.
    unsafe {
        let mut total = L::zero();
        for step in 0..steps {
            total = L::dot_of_small(total, least(step), L::every(sums(step, 0)));
        }
        total = L::by_64(total);
        for step in 0..steps {
            total = L::dot_of_small(total, least(step), L::every(sums(step, 1)));
        }
        L::float(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bytes_hold_every_sum_of_codes() {
        for sum in -32 * 127..=32 * 127 {
            let [upper, lower] = halved(sum);
            assert_eq!(i32::from(upper) * 64 + i32::from(lower), sum);
        }
    }
}
