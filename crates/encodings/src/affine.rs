//! Integers in groups that share a scale, spread over several tensors: the layouts of MLX, GPTQ,
//! AWQ and compressed-tensors. One decoder; a layout is data ([`Affine`]).
//!
//! A weight in row `n` (output) and column `k` (input), in group `g = k / group_size` (or
//! `g = index[k]`), is `scale[n, g] * (code[n, k] - zero[n, g])`, or `scale * code + bias`.
//!
//! ```text
//! layout              codes                                scales   zero points
//! mlx_affine          [N, K*b/32] u32, stream along K      [N, K/g] biases [N, K/g]
//! gptq                [K*b/32, N] i32, stream along K      [K/g, N] [K/g, N*b/32], stream, less one
//! gptq_v2             as gptq                              as gptq  as gptq, as they are
//! awq                 [K, N*b/32] i32, interleaved         [K/g, N] [K/g, N*b/32], interleaved
//! compressed_packed   [N, K/(32/b)] i32, words along K     [N, K/g] [N/(32/b), K/g], words along N
//! compressed_int8     [N, K] i8                            [N, K/g] [N, K/g] i8
//! ```
//! A *stream* goes from the lowest bit of the first 32-bit word to the highest of the last, codes
//! may lie across two words. *Words* hold `32 / b` codes each from the lowest bit, further bits are
//! unused. *Interleaved* words hold eight: `0 2 4 6 1 3 5 7` from the lowest bit.
//!
//! Specs: `mlx.core.quantize`; AutoGPTQ's and GPTQModel's `QuantLinear.pack`; AutoAWQ's `WQLinear`;
//! compressed-tensors' `pack_to_int32`.

use gravure_core::values::order_of_groups;
use gravure_core::{Error, GroupedRows, PlaneAxis, PlaneEncoding, PlaneLayout, PlaneParameters, PlaneRole, Result};

/// How codes lie in the elements of a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    /// In 32-bit words, bit after bit.
    Stream,
    /// In 32-bit words, whole codes from the lowest bit.
    Words,
    /// In 32-bit words of eight codes; the codes from the lowest bit.
    Interleaved(&'static [u8; 8]),
    /// A byte each.
    Bytes,
}

/// Where the integers of a plane lie: `[rows, across]` in whichever order.
#[derive(Debug, Clone, Copy)]
struct Integers {
    /// Whether the rows of the matrix are the first axis.
    rows_first: bool,
    /// Whether codes of neighbouring rows (not columns or groups) share a word.
    rows_packed: bool,
    packing: Packing,
}

/// What is subtracted from a code.
#[derive(Debug, Clone, Copy)]
struct ZeroPoints {
    integers: Integers,
    /// Added to what is stored.
    offset: i32,
}

/// A layout.
#[derive(Debug)]
pub(crate) struct Affine {
    id: &'static str,
    doc: &'static str,
    /// Bit widths that exist.
    bits: &'static [u32],
    codes: Integers,
    /// Codes and zero points are two's complement.
    signed: bool,
    /// Whether scales (and biases) are `[rows, groups]`, not `[groups, rows]`.
    scales_rows_first: bool,
    /// Biases instead of zero points.
    biases: bool,
    zero_points: Option<ZeroPoints>,
}

/// MLX's affine mode.
pub(crate) static MLX_AFFINE: Affine = Affine {
    id: "mlx_affine",
    doc: "MLX: 2 to 8 bits, a scale and a bias for each group",
    bits: &[2, 3, 4, 5, 6, 8],
    codes: Integers { rows_first: true, rows_packed: false, packing: Packing::Stream },
    signed: false,
    scales_rows_first: true,
    biases: true,
    zero_points: None,
};

const GPTQ_CODES: Integers = Integers { rows_first: false, rows_packed: false, packing: Packing::Stream };
const GPTQ_ZERO_POINTS: Integers = Integers { rows_first: false, rows_packed: true, packing: Packing::Stream };

/// The first format of GPTQ checkpoints, which stores zero points less one.
pub(crate) static GPTQ: Affine = Affine {
    id: "gptq",
    doc: "GPTQ: 2, 3, 4 or 8 bits along the inputs, zero points stored less one",
    bits: &[2, 3, 4, 8],
    codes: GPTQ_CODES,
    signed: false,
    scales_rows_first: false,
    biases: false,
    zero_points: Some(ZeroPoints { integers: GPTQ_ZERO_POINTS, offset: 1 }),
};

/// The second format of GPTQ checkpoints.
pub(crate) static GPTQ_V2: Affine = Affine {
    id: "gptq_v2",
    doc: "GPTQ: 2, 3, 4 or 8 bits along the inputs, zero points as they are",
    bits: &[2, 3, 4, 8],
    codes: GPTQ_CODES,
    signed: false,
    scales_rows_first: false,
    biases: false,
    zero_points: Some(ZeroPoints { integers: GPTQ_ZERO_POINTS, offset: 0 }),
};

const AWQ_INTEGERS: Integers = Integers { rows_first: false, rows_packed: true, packing: Packing::Interleaved(&[0, 2, 4, 6, 1, 3, 5, 7]) };

/// AWQ's layout for matrix products (`gemm`).
pub(crate) static AWQ: Affine = Affine {
    id: "awq",
    doc: "AWQ: 4 bits, eight interleaved outputs to a word",
    bits: &[4],
    codes: AWQ_INTEGERS,
    signed: false,
    scales_rows_first: false,
    biases: false,
    zero_points: Some(ZeroPoints { integers: AWQ_INTEGERS, offset: 0 }),
};

/// The `pack-quantized` format of compressed-tensors.
pub(crate) static COMPRESSED_PACKED: Affine = Affine {
    id: "compressed_packed",
    doc: "compressed-tensors: 2 to 8 bits in words along the inputs",
    bits: &[2, 3, 4, 5, 6, 7, 8],
    codes: Integers { rows_first: true, rows_packed: false, packing: Packing::Words },
    signed: false,
    scales_rows_first: true,
    biases: false,
    zero_points: Some(ZeroPoints { integers: Integers { rows_first: true, rows_packed: true, packing: Packing::Words }, offset: 0 }),
};

const BYTES: Integers = Integers { rows_first: true, rows_packed: false, packing: Packing::Bytes };

/// The `int-quantized` and `naive-quantized` formats of compressed-tensors with eight bits.
pub(crate) static COMPRESSED_INT8: Affine = Affine {
    id: "compressed_int8",
    doc: "compressed-tensors: signed bytes, a scale for each row or group",
    bits: &[8],
    codes: BYTES,
    signed: true,
    scales_rows_first: true,
    biases: false,
    zero_points: Some(ZeroPoints { integers: BYTES, offset: 0 }),
};

impl Packing {
    /// Codes and elements of the smallest run that ends where an element does.
    fn step(self, bits: u32) -> (u64, u64) {
        match self {
            Self::Stream => {
                let shared = 1 << bits.trailing_zeros().min(5);
                (u64::from(32 / shared), u64::from(bits / shared))
            }
            Self::Words | Self::Interleaved(_) => (u64::from(32 / bits), 1),
            Self::Bytes => (1, 1),
        }
    }

    /// Elements that hold `count` codes.
    fn elements(self, bits: u32, count: u64) -> Result<u64> {
        match self {
            Self::Stream => count.checked_mul(bits.into()).map(|n| n.div_ceil(32)).ok_or_else(|| Error::input("a row is impossibly long")),
            _ => Ok(count.div_ceil(self.step(bits).0)),
        }
    }

    fn element_bytes(self) -> u64 {
        if self == Self::Bytes { 1 } else { 4 }
    }

    /// Code `i` of a line whose elements `element` reads.
    #[inline(always)]
    fn code(self, bits: u32, i: usize, element: impl Fn(usize) -> u32) -> u8 {
        let mask = (1u64 << bits) - 1;
        match self {
            Self::Stream => {
                let at = i * bits as usize;
                let (word, shift) = (at / 32, at as u32 % 32);
                let mut value = u64::from(element(word)) >> shift;
                if shift + bits > 32 {
                    value |= u64::from(element(word + 1)) << (32 - shift);
                }
                (value & mask) as u8
            }
            Self::Words => {
                let each = (32 / bits) as usize;
                (u64::from(element(i / each) >> (bits * (i % each) as u32)) & mask) as u8
            }
            Self::Interleaved(order) => {
                let place = order.iter().position(|&o| usize::from(o) == i % 8).unwrap_or(0) as u32;
                (u64::from(element(i / 8) >> (bits * place)) & mask) as u8
            }
            Self::Bytes => element(i) as u8,
        }
    }
}

impl Integers {
    /// The plane of `rows` times `across` codes.
    fn layout(self, role: PlaneRole, bits: u32, rows: u64, across: u64) -> Result<PlaneLayout> {
        let (step_rows, step_elements) = if self.rows_packed { self.packing.step(bits) } else { (1, 1) };
        let row_elements = if self.rows_packed { self.packing.elements(bits, rows)? } else { rows };
        let across_elements = if self.rows_packed { across } else { self.packing.elements(bits, across)? };
        let (outer, inner) = if self.rows_first { (row_elements, across_elements) } else { (across_elements, row_elements) };
        let axis = if self.rows_first { PlaneAxis::Outer } else { PlaneAxis::Inner };
        Ok(PlaneLayout { role, outer, inner, element_bytes: self.packing.element_bytes(), axis, step_rows, step_elements })
    }

    /// Unpacks the codes, row after row, into `out`. `bytes` has the length that the layout says.
    fn unpack(self, bytes: &[u8], bits: u32, across: usize, layout: &PlaneLayout, out: &mut [u8]) {
        // Lines run along the packed axis; this is the distance of two elements of a line, and of
        // two lines.
        let inner = layout.inner as usize;
        let along_inner = self.rows_packed != self.rows_first;
        let (element_step, line_step) = if along_inner { (1, inner) } else { (inner, 1) };
        let words = bytes.as_chunks::<4>().0;
        let read = |at: usize| match self.packing {
            Packing::Bytes => bytes.get(at).copied().map_or(0, u32::from),
            _ => words.get(at).map_or(0, |w| u32::from_le_bytes(*w)),
        };
        let whole = 32_u32.is_multiple_of(bits) && matches!(self.packing, Packing::Stream | Packing::Words) && !self.rows_packed;
        match (whole, self.rows_first) {
            (true, true) => {
                for (out, words) in out.chunks_exact_mut(across).zip(words.chunks_exact(inner.max(1))) {
                    let each = out.chunks_mut((32 / bits) as usize).zip(words);
                    each.for_each(|(out, word)| spread(u32::from_le_bytes(*word), bits, out));
                }
            }
            (true, false) => {
                let each = (32 / bits) as usize;
                for (index, words) in words.chunks_exact(inner.max(1)).enumerate() {
                    for (row, word) in words.iter().enumerate() {
                        let start = row * across + index * each;
                        let end = (start + each).min((row + 1) * across);
                        out.get_mut(start..end).into_iter().for_each(|out| spread(u32::from_le_bytes(*word), bits, out));
                    }
                }
            }
            (false, true) if self.packing == Packing::Stream && !self.rows_packed => {
                for (out, words) in out.chunks_exact_mut(across).zip(words.chunks_exact(inner.max(1))) {
                    stream(words, bits, out);
                }
            }
            _ => {
                for (row, out) in out.chunks_exact_mut(across).enumerate() {
                    for (column, out) in out.iter_mut().enumerate() {
                        let (line, place) = if self.rows_packed { (column, row) } else { (row, column) };
                        *out = self.packing.code(bits, place, |e| read(line * line_step + e * element_step));
                    }
                }
            }
        }
    }
}

/// The codes of a word, from its lowest bit on.
#[inline(always)]
fn spread(word: u32, bits: u32, out: &mut [u8]) {
    let mask = ((1_u64 << bits) - 1) as u32;
    out.iter_mut().zip((0..32).step_by(bits as usize)).for_each(|(out, at)| *out = (word >> at & mask) as u8);
}

/// Codes that lie bit after bit in words.
fn stream(words: &[[u8; 4]], bits: u32, out: &mut [u8]) {
    let mask = (1_u64 << bits) - 1;
    let (mut held, mut count, mut words) = (0_u64, 0, words.iter());
    for out in out {
        if count < bits {
            held |= u64::from(words.next().copied().map_or(0, u32::from_le_bytes)) << count;
            count += 32;
        }
        *out = (held & mask) as u8;
        held >>= bits;
        count -= bits;
    }
}

impl Affine {
    fn check(&self, parameters: &PlaneParameters) -> Result<()> {
        let unsupported = |what: String| Err(Error::unsupported(format!("{what} in {}", self.id)));
        if !self.bits.contains(&parameters.bits) {
            return unsupported(format!("codes of {} bits", parameters.bits));
        }
        if parameters.numbers.layout().block_elements != 1 || parameters.numbers.is_integer() {
            return unsupported(format!("scales stored as {}", parameters.numbers.id()));
        }
        if parameters.zero_points && self.zero_points.is_none() {
            return unsupported("zero points".into());
        }
        if parameters.rows == 0 {
            return Err(Error::input("a quantized matrix has no rows"));
        }
        parameters.shape()?;
        if let Packing::Interleaved(order) = self.codes.packing
            && !parameters.rows.is_multiple_of(order.len() as u64)
        {
            return Err(Error::input(format!("{} outputs are not whole words of {}", parameters.rows, order.len())));
        }
        Ok(())
    }

    /// The value that a code has when it means zero and no plane says otherwise.
    fn default_zero(&self, bits: u32) -> i32 {
        if self.signed { 0 } else { 1 << (bits - 1) }
    }

    fn integer(&self, code: u8) -> i32 {
        if self.signed { i32::from(code as i8) } else { i32::from(code) }
    }

    /// The numbers of `rows` rows.
    fn read(&self, parameters: &PlaneParameters, planes: &[&[u8]], rows: u64) -> Result<Read> {
        let layouts = self.planes(&PlaneParameters { rows, ..*parameters })?;
        let size = |n: u64| usize::try_from(n).map_err(|_| Error::limit("too many rows at once"));
        let (columns, groups) = (size(parameters.columns)?, size(parameters.groups()?)?);
        let rows = size(rows)?;
        if planes.len() != layouts.len() {
            return Err(Error::bug(format!("{} planes for the {} of {}", planes.len(), layouts.len(), self.id)));
        }
        for (layout, plane) in layouts.iter().zip(planes) {
            if plane.len() as u64 != layout.bytes()? {
                let message = format!("{} bytes of {:?} where {rows} rows have {}", plane.len(), layout.role, layout.bytes()?);
                return Err(Error::input(message));
            }
        }
        let plane = |role| layouts.iter().position(|layout| layout.role == role).map(|i| (planes[i], &layouts[i]));
        let numbers = |role| -> Result<Option<Vec<f32>>> {
            let Some((bytes, _)) = plane(role) else { return Ok(None) };
            let mut values = vec![0.0; rows * groups];
            parameters.numbers.decode(bytes, &mut values)?;
            if !self.scales_rows_first {
                values = (0..rows).flat_map(|n| (0..groups).map(move |g| g * rows + n)).map(|at| values[at]).collect();
            }
            Ok(Some(values))
        };
        let scales = numbers(PlaneRole::Scales)?.ok_or_else(|| Error::bug("no scales"))?;
        let addends = match (numbers(PlaneRole::Biases)?, plane(PlaneRole::ZeroPoints), self.zero_points) {
            (Some(biases), ..) => Addends::Biases(biases),
            (None, Some((bytes, layout)), Some(zero_points)) => {
                let mut stored = vec![0; rows * groups];
                zero_points.integers.unpack(bytes, parameters.bits, groups, layout, &mut stored);
                Addends::Zeros(stored.into_iter().map(|zero| self.integer(zero) + zero_points.offset).collect())
            }
            _ => Addends::Zeros(vec![self.default_zero(parameters.bits); rows * groups]),
        };
        let group_of: Vec<usize> = match plane(PlaneRole::GroupIndex) {
            None => (0..parameters.columns).map(|k| (k / parameters.group_size) as usize).collect(),
            Some((bytes, _)) => {
                bytes.as_chunks::<4>().0.iter().map(|b| check_group(i32::from_le_bytes(*b), groups)).collect::<Result<_>>()?
            }
        };
        let mut codes = vec![0; rows * columns];
        if let Some((bytes, layout)) = plane(PlaneRole::Codes) {
            self.codes.unpack(bytes, parameters.bits, columns, layout, &mut codes);
        }
        Ok(Read { columns, groups, codes, scales, addends, group_of })
    }
}

impl PlaneEncoding for Affine {
    fn id(&self) -> &'static str {
        self.id
    }

    fn doc(&self) -> &'static str {
        self.doc
    }

    fn planes(&self, parameters: &PlaneParameters) -> Result<Vec<PlaneLayout>> {
        self.check(parameters)?;
        let &PlaneParameters { rows, columns, bits, .. } = parameters;
        let groups = parameters.groups()?;
        let mut planes = vec![self.codes.layout(PlaneRole::Codes, bits, rows, columns)?];
        let (outer, inner, axis) = if self.scales_rows_first { (rows, groups, PlaneAxis::Outer) } else { (groups, rows, PlaneAxis::Inner) };
        let element_bytes = parameters.numbers.layout().block_bytes as u64;
        let scales = PlaneLayout { role: PlaneRole::Scales, outer, inner, element_bytes, axis, step_rows: 1, step_elements: 1 };
        planes.push(scales.clone());
        if self.biases {
            planes.push(PlaneLayout { role: PlaneRole::Biases, ..scales });
        }
        if let Some(zero_points) = self.zero_points.filter(|_| parameters.zero_points) {
            planes.push(zero_points.integers.layout(PlaneRole::ZeroPoints, bits, rows, groups)?);
        }
        if parameters.group_index {
            planes.push(PlaneLayout {
                role: PlaneRole::GroupIndex,
                outer: 1,
                inner: columns,
                element_bytes: 4,
                axis: PlaneAxis::None,
                step_rows: 1,
                step_elements: 1,
            });
        }
        for plane in &planes {
            plane.bytes()?;
        }
        Ok(planes)
    }

    fn row_step(&self, parameters: &PlaneParameters) -> Result<u64> {
        // Steps of the planes of one encoding divide each other.
        Ok(self.planes(parameters)?.iter().map(|plane| plane.step_rows).max().unwrap_or(1))
    }

    fn decode(&self, parameters: &PlaneParameters, planes: &[&[u8]], rows: u64, out: &mut [f32]) -> Result<()> {
        let Read { columns, groups, codes, scales, addends, group_of } = self.read(parameters, planes, rows)?;
        if out.len() != codes.len() {
            return Err(Error::bug(format!("room for {} weights, not for {rows} rows of {columns}", out.len())));
        }
        for (n, (out, codes)) in out.chunks_exact_mut(columns).zip(codes.chunks_exact(columns)).enumerate() {
            for ((out, &code), &g) in out.iter_mut().zip(codes).zip(&group_of) {
                let at = n * groups + g;
                *out = match &addends {
                    Addends::Biases(biases) => scales[at] * self.integer(code) as f32 + biases[at],
                    Addends::Zeros(zeros) => scales[at] * (self.integer(code) - zeros[at]) as f32,
                };
            }
        }
        Ok(())
    }

    fn unpack(&self, parameters: &PlaneParameters, planes: &[&[u8]], rows: u64, out: &mut GroupedRows) -> Result<()> {
        let Read { columns, mut codes, scales, addends, group_of, .. } = self.read(parameters, planes, rows)?;
        let order = order_of_groups(&group_of, parameters.group_size).ok_or_else(|| Error::bug("groups of different lengths"))?;
        if !order.is_sorted() {
            let mut row = vec![0; columns];
            for codes in codes.chunks_exact_mut(columns) {
                row.copy_from_slice(codes);
                codes.iter_mut().zip(&order).for_each(|(code, column)| *code = row[*column as usize]);
            }
        }
        // Two's complement by its distance from the least number.
        let least = if self.signed { 128 } else { 0 };
        out.codes = codes;
        out.codes.iter_mut().for_each(|code| *code ^= least);
        out.minima = match addends {
            Addends::Biases(biases) => scales.iter().zip(biases).map(|(s, b)| s * f32::from(least) - b).collect(),
            Addends::Zeros(zeros) => scales.iter().zip(zeros).map(|(s, z)| s * (z + i32::from(least)) as f32).collect(),
        };
        out.scales = scales;
        Ok(())
    }
}

/// What is added to codes times scales, for each group.
enum Addends {
    Biases(Vec<f32>),
    /// Taken from the codes first.
    Zeros(Vec<i32>),
}

/// The planes of some rows as numbers, row after row.
struct Read {
    columns: usize,
    groups: usize,
    codes: Vec<u8>,
    scales: Vec<f32>,
    addends: Addends,
    /// The group of each column.
    group_of: Vec<usize>,
}

fn check_group(group: i32, groups: usize) -> Result<usize> {
    usize::try_from(group)
        .ok()
        .filter(|&g| g < groups)
        .ok_or_else(|| Error::input(format!("a column belongs to group {group} of {groups}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floats::F32;
    use crate::registry::PLANE_ENCODINGS;

    /// A matrix in integers, and its planes as the specs describe them, bit by bit.
    struct Sample {
        parameters: PlaneParameters,
        planes: Vec<Vec<u8>>,
        expected: Vec<f32>,
    }

    struct Random(u32);

    impl Random {
        fn below(&mut self, n: u32) -> u32 {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 8) % n
        }
    }

    fn floats(values: impl Iterator<Item = f32>) -> Vec<u8> {
        values.flat_map(f32::to_le_bytes).collect()
    }

    /// Little-endian words from a list of bits, lowest first.
    fn words(bits: &[bool]) -> Vec<u32> {
        bits.chunks(32).map(|chunk| chunk.iter().enumerate().fold(0, |word, (i, &bit)| word | u32::from(bit) << i)).collect()
    }

    fn line(packing: Packing, bits: u32, codes: &[u32]) -> Vec<u32> {
        let spread = |codes: &[u32]| codes.iter().flat_map(|&c| (0..bits).map(move |b| c >> b & 1 == 1)).collect::<Vec<bool>>();
        match packing {
            Packing::Stream => words(&spread(codes)),
            Packing::Words => codes.chunks((32 / bits) as usize).flat_map(|c| words(&spread(c))).collect(),
            Packing::Interleaved(order) => codes.chunks(8).flat_map(|c| words(&spread(&order.map(|o| c[usize::from(o)])))).collect(),
            Packing::Bytes => codes.to_vec(),
        }
    }

    /// The plane of a matrix of codes given by a function.
    fn plane(integers: Integers, bits: u32, rows: usize, across: usize, code: impl Fn(usize, usize) -> u32) -> Vec<u8> {
        // Lines run along the packed axis.
        let lines: Vec<Vec<u32>> = if integers.rows_packed {
            (0..across).map(|c| line(integers.packing, bits, &(0..rows).map(|r| code(r, c)).collect::<Vec<_>>())).collect()
        } else {
            (0..rows).map(|r| line(integers.packing, bits, &(0..across).map(|c| code(r, c)).collect::<Vec<_>>())).collect()
        };
        let elements: Vec<u32> = if integers.rows_packed == integers.rows_first {
            (0..lines[0].len()).flat_map(|e| lines.iter().map(move |l| l[e])).collect()
        } else {
            lines.concat()
        };
        match integers.packing {
            Packing::Bytes => elements.iter().map(|&e| e as u8).collect(),
            _ => elements.iter().flat_map(|e| e.to_le_bytes()).collect(),
        }
    }

    fn sample(affine: &Affine, bits: u32, group_size: u64, zero_points: bool, group_index: bool) -> Sample {
        let (rows, columns) = (64usize, 192usize);
        let parameters =
            PlaneParameters { rows: rows as u64, columns: columns as u64, bits, group_size, numbers: &F32, zero_points, group_index };
        let groups = parameters.groups().unwrap() as usize;
        let mut random = Random(bits + 17 * group_size as u32);
        let mut table = |r: usize, c: usize, n: u32| (0..r * c).map(|_| random.below(n)).collect::<Vec<u32>>();
        let codes = table(rows, columns, 1 << bits);
        let zeros = table(rows, groups, 1 << bits);
        let scales: Vec<f32> = table(rows, groups, 1000).iter().map(|&s| s as f32 * 0.001 - 0.4).collect();
        let biases: Vec<f32> = table(rows, groups, 1000).iter().map(|&s| s as f32 * 0.01 - 5.0).collect();
        let index: Vec<usize> = if group_index {
            // Each group has its columns, in no order.
            (0..columns).map(|k| k * 101 % columns / group_size as usize).collect()
        } else {
            (0..columns).map(|k| k / group_size as usize).collect()
        };
        let numbers = |values: &[f32]| {
            if affine.scales_rows_first {
                floats(values.iter().copied())
            } else {
                floats((0..groups).flat_map(|g| (0..rows).map(move |n| values[n * groups + g])))
            }
        };
        let signed = |code: u32| if affine.signed { code as u8 as i8 as f32 } else { code as f32 };
        let expected = (0..rows * columns)
            .map(|i| {
                let at = i / columns * groups + index[i % columns];
                let zero = match (zero_points, affine.zero_points) {
                    (true, Some(z)) => signed(zeros[at]) + z.offset as f32,
                    _ if affine.signed => 0.0,
                    _ => 2f32.powi(bits as i32 - 1),
                };
                if affine.biases { scales[at] * signed(codes[i]) + biases[at] } else { scales[at] * (signed(codes[i]) - zero) }
            })
            .collect();
        let mut planes = vec![plane(affine.codes, bits, rows, columns, |n, k| codes[n * columns + k]), numbers(&scales)];
        if affine.biases {
            planes.push(numbers(&biases));
        }
        if zero_points {
            let z = affine.zero_points.unwrap();
            planes.push(plane(z.integers, bits, rows, groups, |n, g| zeros[n * groups + g]));
        }
        if group_index {
            planes.push(index.iter().flat_map(|&g| (g as i32).to_le_bytes()).collect());
        }
        Sample { parameters, planes, expected }
    }

    /// What a reader does: cut the planes to some rows and decode those.
    fn read(affine: &Affine, sample: &Sample, start: u64, end: u64) -> Vec<f32> {
        let layouts = affine.planes(&sample.parameters).unwrap();
        let cut: Vec<Vec<u8>> = layouts
            .iter()
            .zip(&sample.planes)
            .map(|(layout, plane)| {
                assert_eq!(layout.bytes().unwrap(), plane.len() as u64, "{layout:?}");
                layout.pieces(start..end).unwrap().flat_map(|piece| plane[piece.start as usize..piece.end as usize].to_vec()).collect()
            })
            .collect();
        let cut: Vec<&[u8]> = cut.iter().map(Vec::as_slice).collect();
        let mut out = vec![f32::NAN; ((end - start) * sample.parameters.columns) as usize];
        affine.decode(&sample.parameters, &cut, end - start, &mut out).unwrap();
        let mut grouped = GroupedRows::default();
        let unpacked = affine.unpack(&sample.parameters, &cut, end - start, &mut grouped);
        unpacked.unwrap();
        let (columns, groups) = (sample.parameters.columns as usize, sample.parameters.groups().unwrap() as usize);
        let index = layouts.iter().position(|layout| layout.role == PlaneRole::GroupIndex);
        let group_of: Vec<usize> = match index {
            Some(at) => sample.planes[at].as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b) as usize).collect(),
            None => (0..columns).map(|k| k / sample.parameters.group_size as usize).collect(),
        };
        let order = order_of_groups(&group_of, sample.parameters.group_size).unwrap();
        for (i, code) in grouped.codes.iter().enumerate() {
            let (row, place) = (i / columns, i % columns);
            let weight = out[row * columns + order[place] as usize];
            let at = row * groups + place / sample.parameters.group_size as usize;
            let (scaled, minimum) = (grouped.scales[at] * f32::from(*code), grouped.minima[at]);
            let size = scaled.abs().max(minimum.abs());
            assert!((scaled - minimum - weight).abs() <= size * 1e-6, "{}: {scaled} - {minimum}, not {weight}", affine.id);
        }
        out
    }

    const ALL: [&Affine; 6] = [&MLX_AFFINE, &GPTQ, &GPTQ_V2, &AWQ, &COMPRESSED_PACKED, &COMPRESSED_INT8];

    #[test]
    fn every_layout_is_read_whole_and_in_parts() {
        let mut tried = 0;
        for affine in ALL {
            for &bits in affine.bits {
                for group_size in [32, 64, 128, 192] {
                    for (zero_points, group_index) in [(false, false), (true, false), (false, true), (true, true)] {
                        if zero_points && affine.zero_points.is_none() {
                            continue;
                        }
                        let sample = sample(affine, bits, group_size, zero_points, group_index);
                        let step = affine.row_step(&sample.parameters).unwrap();
                        assert_eq!(read(affine, &sample, 0, 64), sample.expected, "{} {bits} bits", affine.id);
                        let columns = sample.parameters.columns as usize;
                        for start in (0..64).step_by(step as usize) {
                            let end = (start + step).min(64);
                            let part = &sample.expected[start as usize * columns..end as usize * columns];
                            assert_eq!(read(affine, &sample, start, end), part, "{} {bits} bits, rows {start}..{end}", affine.id);
                        }
                        tried += 1;
                    }
                }
            }
        }
        assert_eq!(tried, 6 * 4 * 2 + (4 + 4 + 1 + 7 + 1) * 4 * 4);
    }

    #[test]
    fn the_registry_holds_them_all() {
        let ids: Vec<_> = PLANE_ENCODINGS.iter().map(|e| e.id()).collect();
        assert_eq!(ids, ALL.map(|a| a.id));
        assert!(PLANE_ENCODINGS.iter().all(|e| !e.doc().is_empty()));
    }

    #[test]
    fn a_known_word() {
        // 0x76543210 by AWQ's order: outputs 0 2 4 6 1 3 5 7 from the lowest nibble.
        let parameters =
            PlaneParameters { rows: 8, columns: 1, bits: 4, group_size: 1, numbers: &F32, zero_points: true, group_index: false };
        let scales = floats([1.0; 8].into_iter());
        let mut out = [0.0; 8];
        AWQ.decode(&parameters, &[&0x7654_3210u32.to_le_bytes(), &scales, &[0; 4]], 8, &mut out).unwrap();
        assert_eq!(out, [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut sample = sample(&GPTQ, 4, 64, true, true);
        let mut out = vec![0.0; 64 * 192];
        let decode = |sample: &Sample, out: &mut [f32]| {
            let planes: Vec<&[u8]> = sample.planes.iter().map(Vec::as_slice).collect();
            GPTQ.decode(&sample.parameters, &planes, 64, out)
        };
        sample.planes[3][..4].copy_from_slice(&3i32.to_le_bytes());
        assert!(decode(&sample, &mut out).unwrap_err().message().contains("group 3 of 3"));
        sample.planes[3][..4].copy_from_slice(&(-1i32).to_le_bytes());
        assert!(decode(&sample, &mut out).is_err());
        sample.planes[3][..4].fill(0);
        assert!(decode(&sample, &mut out).is_ok());
        assert!(decode(&sample, &mut out[1..]).is_err());
        sample.planes[0].pop();
        assert!(decode(&sample, &mut out).is_err());

        let parameters = sample.parameters;
        let bad = [
            PlaneParameters { bits: 5, ..parameters },
            PlaneParameters { bits: 0, ..parameters },
            PlaneParameters { group_size: 0, ..parameters },
            PlaneParameters { columns: 0, ..parameters },
            PlaneParameters { rows: 0, ..parameters },
            PlaneParameters { rows: u64::MAX, ..parameters },
            PlaneParameters { rows: 1 << 40, columns: 1 << 40, ..parameters },
            PlaneParameters { numbers: &crate::q8_0::Q8_0, ..parameters },
        ];
        for parameters in bad {
            assert!(GPTQ.planes(&parameters).is_err(), "{parameters:?}");
        }
        assert!(AWQ.planes(&PlaneParameters { rows: 12, ..parameters }).is_err());
        assert!(MLX_AFFINE.planes(&parameters).is_err());
    }
}
