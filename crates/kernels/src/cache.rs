//! Keys and values of earlier positions, in pages.
//!
//! A page holds [`PAGE`] positions of every layer; who owns which page is the caller's business. A page has,
//! layer by layer, for each key-value head, a tile of keys, and then for each a tile of values:
//!
//! ```text
//! keys   [key length][PAGE]      a position is a column: scores of many positions are lanes
//! values [PAGE][value length']   rows padded to whole vectors
//! ```
//! Elements are `f32`, `f16`, or 8-bit codes with an `f16` scale for each 32 elements of a row.

use gravure_base::{Error, Result};
use gravure_core::contracts::CacheType;
use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

use crate::zeros::Zeros;

/// Positions of a page.
pub const PAGE: usize = 64;

/// Elements that share a scale.
const BLOCK: usize = 32;

/// Rows of values are multiples of this.
const PAD: usize = gravure_simd::MAX_LANES;

/// What a layer keeps for each position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheShape {
    /// Key-value heads.
    pub kv_heads: usize,
    /// Elements of a head's key.
    pub key_length: usize,
    /// Elements of a head's value.
    pub value_length: usize,
}

impl CacheShape {
    fn padded(&self) -> usize {
        self.value_length.next_multiple_of(PAD)
    }
}

/// Where a layer's tiles begin within a page, in elements and in scales.
#[derive(Debug, Clone, Copy)]
struct Layer {
    shape: CacheShape,
    keys: Place,
    values: Place,
}

/// The first tile of keys or of values.
#[derive(Debug, Clone, Copy)]
struct Place {
    elements: usize,
    scales: usize,
}

impl Place {
    /// The same of a page, given the length of one.
    fn on(self, page: usize, length: Self) -> Self {
        Self { elements: page * length.elements + self.elements, scales: page * length.scales + self.scales }
    }
}

/// The elements of all pages.
#[derive(Debug)]
enum Store {
    F32(Zeros<f32>),
    F16(Zeros<u16>),
    Q8 { codes: Zeros<i8>, scales: Zeros<u16> },
}

/// The pages. All layers of a page lie together, so that of positions that were never used no memory is taken.
#[derive(Debug)]
pub struct Cache {
    kind: CacheType,
    layers: Vec<Layer>,
    store: Store,
    /// Elements and scales of a page.
    page: Place,
    pages: usize,
    scratch: Vec<u16>,
}

/// The scale of a block of elements, as it is stored, and its inverse.
fn scale_of(block: &[f32]) -> (f16, f32) {
    let most = block.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let scale = f16::from_f32(most / 127.0);
    let stored = scale.to_f32();
    (scale, if stored > 0.0 { 1.0 / stored } else { 0.0 })
}

fn code(value: f32, inverse: f32) -> i8 {
    (value * inverse).round_ties_even().clamp(-127.0, 127.0) as i8
}

impl Cache {
    /// Empty pages for these layers.
    ///
    /// # Errors
    /// `Limit` where memory does not suffice.
    pub fn new(kind: CacheType, shapes: &[CacheShape], pages: usize) -> Result<Self> {
        let too_large = || Error::limit("the cache of keys and values does not fit in memory").help("ask for fewer positions");
        let mut page = Place { elements: 0, scales: 0 };
        let mut put = |tiles: usize, elements: usize, blocks: usize| {
            let start = page;
            let after =
                |from: usize, each: usize| tiles.checked_mul(each).and_then(|n| n.checked_mul(PAGE)).and_then(|n| n.checked_add(from));
            page = Place { elements: after(page.elements, elements)?, scales: after(page.scales, blocks)? };
            Some(start)
        };
        let mut layers = Vec::with_capacity(shapes.len());
        for &shape in shapes {
            let keys = put(shape.kv_heads, shape.key_length, shape.key_length.div_ceil(BLOCK)).ok_or_else(too_large)?;
            let values = put(shape.kv_heads, shape.padded(), shape.value_length.div_ceil(BLOCK)).ok_or_else(too_large)?;
            layers.push(Layer { shape, keys, values });
        }
        let elements = pages.checked_mul(page.elements).ok_or_else(too_large)?;
        let store = match kind {
            CacheType::F32 => Zeros::new(elements).map(Store::F32),
            CacheType::F16 => Zeros::new(elements).map(Store::F16),
            CacheType::Q8 => Zeros::new(elements)
                .and_then(|codes| Ok(Store::Q8 { codes, scales: Zeros::new(pages.checked_mul(page.scales).ok_or_else(too_large)?)? })),
        };
        Ok(Self { kind, layers, store: store.map_err(|_| too_large())?, page, pages, scratch: Vec::new() })
    }

    /// Number of pages.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// How elements are kept.
    pub fn kind(&self) -> CacheType {
        self.kind
    }

    /// What each layer keeps.
    pub fn shapes(&self) -> impl Iterator<Item = CacheShape> {
        self.layers.iter().map(|l| l.shape)
    }

    /// What one layer keeps.
    pub fn shape(&self, layer: usize) -> Option<CacheShape> {
        self.layers.get(layer).map(|l| l.shape)
    }

    /// Bytes of one position in all layers.
    pub fn bytes_per_position(&self) -> u64 {
        let bytes = |elements: usize, blocks: usize| match self.kind {
            CacheType::F32 => elements * 4,
            CacheType::F16 => elements * 2,
            CacheType::Q8 => elements + blocks * 2,
        };
        let layer = |s: CacheShape| {
            let keys = bytes(s.key_length, s.key_length.div_ceil(BLOCK));
            (s.kv_heads * (keys + bytes(s.padded(), s.value_length.div_ceil(BLOCK)))) as u64
        };
        self.shapes().map(layer).sum()
    }

    /// Makes page `to` equal to page `from`.
    ///
    /// # Panics
    /// Where there are no such pages.
    pub fn copy_page(&mut self, from: usize, to: usize) {
        let range = |size: usize| (from * size..(from + 1) * size, to * size);
        let (source, target) = range(self.page.elements);
        match &mut self.store {
            Store::F32(values) => values.copy_within(source, target),
            Store::F16(values) => values.copy_within(source, target),
            Store::Q8 { codes, scales } => {
                codes.copy_within(source, target);
                let (source, target) = range(self.page.scales);
                scales.copy_within(source, target);
            }
        }
    }

    /// Keeps the key and the value of one position: slot `slot` of page `page`. `key` and `value` have
    /// all key-value heads, one after the other.
    ///
    /// # Panics
    /// Where there is no such slot, or the lengths are not those of the layer's shape.
    pub fn write(&mut self, layer: usize, page: usize, slot: usize, key: &[f32], value: &[f32]) {
        assert!(page < self.pages && slot < PAGE, "a slot outside the cache");
        let Layer { shape, keys, values } = self.layers[layer];
        let (length, value_length, padded) = (shape.key_length, shape.value_length, shape.padded());
        assert!(key.len() == shape.kv_heads * length && value.len() == shape.kv_heads * value_length, "rows that the cache does not hold");
        let (keys, values) = (keys.on(page, self.page), values.on(page, self.page));
        match &mut self.store {
            Store::F32(store) => {
                for (head, key) in key.chunks_exact(length).enumerate() {
                    let tile = &mut store[keys.elements + head * length * PAGE..][..length * PAGE];
                    tile.iter_mut().skip(slot).step_by(PAGE).zip(key).for_each(|(to, from)| *to = *from);
                }
            }
            Store::F16(store) => {
                self.scratch.resize(key.len(), 0);
                self.scratch.reinterpret_cast_mut::<f16>().convert_from_f32_slice(key);
                for (head, key) in self.scratch.chunks_exact(length).enumerate() {
                    let tile = &mut store[keys.elements + head * length * PAGE..][..length * PAGE];
                    tile.iter_mut().skip(slot).step_by(PAGE).zip(key).for_each(|(to, from)| *to = *from);
                }
            }
            Store::Q8 { codes, scales } => {
                let blocks = length.div_ceil(BLOCK);
                for (head, key) in key.chunks_exact(length).enumerate() {
                    let tile = &mut codes[keys.elements + head * length * PAGE..][..length * PAGE];
                    let scales = &mut scales[keys.scales + head * blocks * PAGE..][..blocks * PAGE];
                    for (b, block) in key.chunks(BLOCK).enumerate() {
                        let (scale, inverse) = scale_of(block);
                        scales[b * PAGE + slot] = scale.to_bits();
                        for (i, v) in block.iter().enumerate() {
                            tile[(b * BLOCK + i) * PAGE + slot] = code(*v, inverse);
                        }
                    }
                }
            }
        }
        for (head, value) in value.chunks_exact(value_length).enumerate() {
            let at = values.elements + (head * PAGE + slot) * padded;
            match &mut self.store {
                Store::F32(store) => store[at..at + value_length].copy_from_slice(value),
                Store::F16(store) => {
                    store[at..at + value_length].reinterpret_cast_mut::<f16>().convert_from_f32_slice(value);
                }
                Store::Q8 { codes, scales } => {
                    let blocks = value_length.div_ceil(BLOCK);
                    for (b, block) in value.chunks(BLOCK).enumerate() {
                        let (scale, inverse) = scale_of(block);
                        scales[values.scales + (head * PAGE + slot) * blocks + b] = scale.to_bits();
                        for (i, v) in block.iter().enumerate() {
                            codes[at + b * BLOCK + i] = code(*v, inverse);
                        }
                    }
                }
            }
        }
    }

    /// A tile of keys as `f32`, `[key length][PAGE]`; `room` is as long.
    pub(crate) fn keys<'a>(&'a self, layer: usize, page: usize, head: usize, room: &'a mut [f32]) -> &'a [f32] {
        let Layer { shape, keys, .. } = self.layers[layer];
        let (keys, length) = (keys.on(page, self.page), shape.key_length);
        let start = keys.elements + head * length * PAGE;
        let range = start..start + length * PAGE;
        match &self.store {
            Store::F32(store) => &store[range],
            Store::F16(store) => {
                store[range].reinterpret_cast::<f16>().convert_to_f32_slice(room);
                room
            }
            Store::Q8 { codes, scales } => {
                let blocks = length.div_ceil(BLOCK);
                let mut factors = [0.0_f32; PAGE];
                let codes = codes[range].chunks(BLOCK * PAGE);
                let scales = scales[keys.scales + head * blocks * PAGE..][..blocks * PAGE].chunks_exact(PAGE);
                for ((codes, scales), room) in codes.zip(scales).zip(room.chunks_mut(BLOCK * PAGE)) {
                    scales.reinterpret_cast::<f16>().convert_to_f32_slice(&mut factors);
                    for (codes, room) in codes.chunks_exact(PAGE).zip(room.chunks_exact_mut(PAGE)) {
                        room.iter_mut().zip(codes).zip(&factors).for_each(|((v, c), f)| *v = f32::from(*c) * f);
                    }
                }
                room
            }
        }
    }

    /// The first `count` rows of a tile of values as `f32`, `[count][padded]`; `room` holds a tile.
    pub(crate) fn values<'a>(&'a self, layer: usize, page: usize, head: usize, count: usize, room: &'a mut [f32]) -> &'a [f32] {
        let Layer { shape, values, .. } = self.layers[layer];
        let (values, padded) = (values.on(page, self.page), shape.padded());
        let start = values.elements + head * padded * PAGE;
        let range = start..start + count * padded;
        let room = &mut room[..count * padded];
        match &self.store {
            Store::F32(store) => &store[range],
            Store::F16(store) => {
                store[range].reinterpret_cast::<f16>().convert_to_f32_slice(room);
                room
            }
            Store::Q8 { codes, scales } => {
                let blocks = shape.value_length.div_ceil(BLOCK);
                let scales = scales[values.scales + head * blocks * PAGE..][..count * blocks].chunks_exact(blocks);
                for ((codes, scales), room) in codes[range].chunks_exact(padded).zip(scales).zip(room.chunks_exact_mut(padded)) {
                    for ((codes, scale), room) in codes.chunks(BLOCK).zip(scales).zip(room.chunks_mut(BLOCK)) {
                        let factor = f16::from_bits(*scale).to_f32();
                        room.iter_mut().zip(codes).for_each(|(v, c)| *v = f32::from(*c) * factor);
                    }
                }
                room
            }
        }
    }

    /// Appends the bytes of the first `count` positions of a page of a layer, as they are kept.
    ///
    /// # Panics
    /// Where there is no such page.
    pub fn export(&self, layer: usize, page: usize, count: usize, out: &mut Vec<u8>) {
        let Layer { shape, keys, values } = self.layers[layer];
        let (keys, values) = (keys.on(page, self.page), values.on(page, self.page));
        for head in 0..shape.kv_heads {
            for part in [shape.key_part(keys, head, count), shape.value_part(values, head, count)] {
                match &self.store {
                    Store::F32(v) => part.elements().for_each(|i| out.extend_from_slice(&v[i].to_le_bytes())),
                    Store::F16(v) => part.elements().for_each(|i| out.extend_from_slice(&v[i].to_le_bytes())),
                    Store::Q8 { codes, scales } => {
                        part.elements().for_each(|i| out.extend_from_slice(&codes[i].to_le_bytes()));
                        part.scales().for_each(|i| out.extend_from_slice(&scales[i].to_le_bytes()));
                    }
                }
            }
        }
    }

    /// Bytes that [`Cache::export`] appends.
    pub fn export_bytes(&self, layer: usize, count: usize) -> usize {
        let shape = self.layers[layer].shape;
        let bytes = |elements: usize, blocks: usize| match self.kind {
            CacheType::F32 => elements * 4,
            CacheType::F16 => elements * 2,
            CacheType::Q8 => elements + blocks * 2,
        };
        let each = |length: usize| bytes(length, length.div_ceil(BLOCK));
        count * shape.kv_heads * (each(shape.key_length) + each(shape.value_length))
    }

    /// Takes in what [`Cache::export`] has appended for as many positions.
    ///
    /// # Errors
    /// `Input` where the bytes are too few, or a value is no number.
    pub fn import(&mut self, layer: usize, page: usize, count: usize, mut bytes: &[u8]) -> Result<()> {
        let Layer { shape, keys, values } = self.layers[layer];
        let (keys, values) = (keys.on(page, self.page), values.on(page, self.page));
        for head in 0..shape.kv_heads {
            for part in [shape.key_part(keys, head, count), shape.value_part(values, head, count)] {
                match &mut self.store {
                    Store::F32(v) => {
                        for i in part.elements() {
                            v[i] = finite(f32::from_le_bytes(take(&mut bytes)?), f32::is_finite)?;
                        }
                    }
                    Store::F16(v) => {
                        for i in part.elements() {
                            v[i] = finite(f16::from_le_bytes(take(&mut bytes)?), f16::is_finite)?.to_bits();
                        }
                    }
                    Store::Q8 { codes, scales } => {
                        for i in part.elements() {
                            codes[i] = i8::from_le_bytes(take(&mut bytes)?);
                        }
                        for i in part.scales() {
                            scales[i] = finite(f16::from_le_bytes(take(&mut bytes)?), f16::is_finite)?.to_bits();
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>().ok_or_else(|| Error::input("keys and values end early"))?;
    *bytes = rest;
    Ok(*first)
}

fn finite<T: Copy>(value: T, is_finite: fn(T) -> bool) -> Result<T> {
    if is_finite(value) { Ok(value) } else { Err(Error::input("a key or value is no number")) }
}

/// Where the first positions of a tile lie.
struct Part {
    /// First element and scale of the tile.
    start: usize,
    scale_start: usize,
    count: usize,
    length: usize,
    /// Steps from position to position and from element to element, and the same of scales.
    steps: (usize, usize),
    scale_steps: (usize, usize),
}

impl Part {
    fn elements(&self) -> impl Iterator<Item = usize> {
        let (start, steps, length) = (self.start, self.steps, self.length);
        (0..self.count).flat_map(move |p| (0..length).map(move |i| start + p * steps.0 + i * steps.1))
    }

    fn scales(&self) -> impl Iterator<Item = usize> {
        let (start, steps, blocks) = (self.scale_start, self.scale_steps, self.length.div_ceil(BLOCK));
        (0..self.count).flat_map(move |p| (0..blocks).map(move |i| start + p * steps.0 + i * steps.1))
    }
}

impl CacheShape {
    fn key_part(&self, keys: Place, head: usize, count: usize) -> Part {
        let (length, blocks) = (self.key_length, self.key_length.div_ceil(BLOCK));
        let (start, scale_start) = (keys.elements + head * length * PAGE, keys.scales + head * blocks * PAGE);
        Part { start, scale_start, count, length, steps: (1, PAGE), scale_steps: (1, PAGE) }
    }

    fn value_part(&self, values: Place, head: usize, count: usize) -> Part {
        let (length, blocks) = (self.value_length, self.value_length.div_ceil(BLOCK));
        let (start, scale_start) = (values.elements + head * self.padded() * PAGE, values.scales + head * blocks * PAGE);
        Part { start, scale_start, count, length, steps: (self.padded(), 1), scale_steps: (blocks, 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: CacheShape = CacheShape { kv_heads: 2, key_length: 40, value_length: 24 };

    fn row(seed: usize, length: usize) -> Vec<f32> {
        (0..length).map(|i| ((seed * 131 + i) as f32 * 0.37).sin()).collect()
    }

    fn filled(kind: CacheType) -> Cache {
        let mut cache = Cache::new(kind, &[SHAPE, SHAPE], 3).unwrap();
        for (page, slot) in [(0, 0), (1, 5), (1, 63), (2, 1)] {
            cache.write(1, page, slot, &row(page * PAGE + slot, 80), &row(page * PAGE + slot + 1000, 48));
        }
        cache
    }

    fn read(cache: &Cache, layer: usize, page: usize, head: usize) -> (Vec<f32>, Vec<f32>) {
        let (mut keys, mut values) = (vec![0.0; 40 * PAGE], vec![0.0; 32 * PAGE]);
        (cache.keys(layer, page, head, &mut keys).to_vec(), cache.values(layer, page, head, PAGE, &mut values).to_vec())
    }

    #[test]
    fn what_is_written_is_read() {
        for (kind, tolerance) in [(CacheType::F32, 0.0), (CacheType::F16, 5e-4), (CacheType::Q8, 5e-3)] {
            let cache = filled(kind);
            for (page, slot) in [(0, 0), (1, 5), (1, 63), (2, 1)] {
                let (key, value) = (row(page * PAGE + slot, 80), row(page * PAGE + slot + 1000, 48));
                for head in 0..2 {
                    let (keys, values) = read(&cache, 1, page, head);
                    for i in 0..40 {
                        assert!((keys[i * PAGE + slot] - key[head * 40 + i]).abs() <= tolerance, "{kind:?}");
                    }
                    for i in 0..24 {
                        assert!((values[slot * 32 + i] - value[head * 24 + i]).abs() <= tolerance, "{kind:?}");
                    }
                }
            }
            assert!(read(&cache, 0, 1, 0).0.iter().all(|v| *v == 0.0));
        }
    }

    #[test]
    fn pages_are_copied_and_carried() {
        for kind in [CacheType::F32, CacheType::F16, CacheType::Q8] {
            let mut cache = filled(kind);
            let before = read(&cache, 1, 1, 1);
            cache.copy_page(1, 0);
            assert_eq!(read(&cache, 1, 0, 1), before);
            let mut bytes = Vec::new();
            cache.export(1, 1, PAGE, &mut bytes);
            assert_eq!(bytes.len(), cache.export_bytes(1, PAGE));
            let mut other = Cache::new(kind, &[SHAPE, SHAPE], 3).unwrap();
            other.import(1, 2, PAGE, &bytes).unwrap();
            assert_eq!(read(&other, 1, 2, 1), before);
            assert!(other.import(1, 2, PAGE, &bytes[..bytes.len() - 1]).is_err());
            if kind == CacheType::F32 {
                bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
                assert!(other.import(1, 2, PAGE, &bytes).is_err());
            }
        }
        let huge = CacheShape { kv_heads: usize::MAX / 2, key_length: 4, value_length: 4 };
        assert!(Cache::new(CacheType::F16, &[huge], 8).is_err());
    }
}
