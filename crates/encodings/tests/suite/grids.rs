//! Grids hold the values that the decoder gives, and lose nothing of a block.

use gravure_core::contracts::{Levels, Parts, Signs};
use gravure_core::{Encoding, Grid};
use gravure_encodings::ENCODINGS;

use crate::inputs::{EXTREME, Random, importance, row};

/// The values of a block by the formula of the contract.
fn values(grid: &dyn Grid, parts: &Parts, elements: usize) -> Vec<f32> {
    let shape = grid.shape();
    (0..elements)
        .map(|i| {
            let group = i / shape.group;
            let scale = shape.scale.value(parts.factors[0], parts.scales[group]);
            let offset = shape.offset.map_or(0.0, |o| o.value(parts.factors[1], parts.offsets[group]));
            let level = match shape.levels {
                Levels::Even { lowest, .. } => (lowest + i32::from(parts.codes[i])) as f32,
                Levels::Table(table) => table[usize::from(parts.codes[i])],
                Levels::Points { coordinates, table, .. } => {
                    let magnitude = table[usize::from(parts.codes[i / coordinates]) * coordinates + i % coordinates];
                    if parts.signs[i / 8] >> (i % 8) & 1 == 1 { -magnitude } else { magnitude }
                }
            };
            scale * level + offset
        })
        .collect()
}

fn decoded(encoding: &dyn Encoding, block: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; encoding.layout().block_elements];
    encoding.decode(block, &mut out).unwrap();
    out
}

fn with_grids() -> impl Iterator<Item = (&'static dyn Encoding, &'static dyn Grid)> {
    ENCODINGS.iter().filter_map(|e| Some((*e, e.grid()?)))
}

#[test]
fn eighteen_encodings_have_grids() {
    assert_eq!(with_grids().count(), 18);
}

#[test]
fn encoded_blocks_are_taken_apart_and_put_together() {
    for (encoding, grid) in with_grids() {
        let layout = encoding.layout();
        let importance = importance();
        let mut parts = Parts::new(&grid.shape(), layout.block_elements);
        for kind in (0..16).filter(|k| EXTREME >> k & 1 == 0) {
            let row = row(kind);
            let mut bytes = vec![0; row.len() / layout.block_elements * layout.block_bytes];
            encoding.encode(&row, row.len(), Some(&importance), &mut bytes).unwrap();
            for block in bytes.chunks_exact(layout.block_bytes) {
                grid.unpack(block, &mut parts);
                let mut again = vec![0xaa; layout.block_bytes];
                grid.pack(&parts, &mut again);
                assert_eq!(again, block, "{} kind {kind}", encoding.id());
                assert_eq!(values(grid, &parts, layout.block_elements), decoded(encoding, block), "{} kind {kind}", encoding.id());
            }
        }
    }
}

#[test]
fn every_part_is_stored() {
    let mut random = Random::new(5);
    let mut between = |low: i32, high: i32| low + (random.bits() % (high - low + 1) as u64) as i32;
    for (encoding, grid) in with_grids() {
        let (layout, shape) = (encoding.layout(), grid.shape());
        let mut parts = Parts::new(&shape, layout.block_elements);
        for _ in 0..50 {
            let mut factor = || grid.nearest_factor(between(1, 4000) as f32 * 1e-5);
            parts.factors = [factor(), if shape.offset.is_some() { factor() } else { 0.0 }];
            let (low, high) = shape.scale.range();
            parts.scales.iter_mut().for_each(|s| *s = between(low, high));
            let (low, high) = shape.offset.map_or((0, 0), |o| o.range());
            parts.offsets.iter_mut().for_each(|s| *s = between(low, high));
            let count = match shape.levels {
                Levels::Even { count, .. } => count,
                Levels::Table(table) => table.len(),
                Levels::Points { coordinates, table, signs } => {
                    parts.signs.iter_mut().for_each(|s| *s = between(0, 255) as u8);
                    if signs == Signs::Even {
                        parts.signs.iter_mut().for_each(|s| *s ^= (s.count_ones() as u8 & 1) << 3);
                    }
                    table.len() / coordinates
                }
            };
            parts.codes.iter_mut().for_each(|c| *c = between(0, count as i32 - 1) as u16);
            let mut block = vec![0x55; layout.block_bytes];
            grid.pack(&parts, &mut block);
            assert_eq!(values(grid, &parts, layout.block_elements), decoded(encoding, &block), "{}", encoding.id());
            let mut again = Parts::new(&shape, layout.block_elements);
            grid.unpack(&block, &mut again);
            assert_eq!(again, parts, "{}", encoding.id());
        }
    }
}

#[test]
fn factors_are_the_nearest_that_a_block_stores() {
    for (encoding, grid) in with_grids() {
        for value in [0.37f32, 1e-3, 3.0e-5, 2.0] {
            let nearest = grid.nearest_factor(value);
            assert_eq!(grid.nearest_factor(nearest), nearest, "{}", encoding.id());
            assert!((nearest / value).log2().abs() <= 0.51, "{}: {value} {nearest}", encoding.id());
        }
        assert!(grid.nearest_factor(f32::NAN).is_finite() && grid.nearest_factor(f32::INFINITY).is_finite(), "{}", encoding.id());
    }
}
