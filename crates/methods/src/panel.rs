//! Sixteen rows of a matrix side by side: everything that is done to one is done to all, in lanes.

use gravure_core::contracts::{GridShape, Levels, Parts, Steps};
use gravure_core::{Encoding, Grid, Importance, Result};
use gravure_simd::Isa;

/// Rows in a panel.
pub(crate) const ROWS: usize = 16;

/// One value of each row.
pub(crate) type Lane = [f32; ROWS];

/// Scale and offset of one group, of each row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scales {
    /// The blocks' factors of scale and offset.
    pub(crate) factors: [Lane; 2],
    /// Codes of scale and offset.
    pub(crate) codes: [[i32; ROWS]; 2],
}

impl Scales {
    pub(crate) const ZERO: Self = Self { factors: [[0.0; ROWS]; 2], codes: [[0; ROWS]; 2] };

    /// Scale and offset of each row.
    #[inline(always)]
    pub(crate) fn values(&self, shape: &GridShape) -> (Lane, Lane) {
        let scale = std::array::from_fn(|l| shape.scale.value(self.factors[0][l], self.codes[0][l]));
        let offset = std::array::from_fn(|l| shape.offset.map_or(0.0, |o| o.value(self.factors[1][l], self.codes[1][l])));
        (scale, offset)
    }

    /// Those some steps away.
    #[inline(always)]
    pub(crate) fn moved(&self, grid: &dyn Grid, shape: &GridShape, steps: (i32, i32)) -> Self {
        let mut out = *self;
        if steps.0 != 0 {
            match shape.scale {
                Steps::Factor => out.factors[0] = self.factors[0].map(|f| step(grid, f, steps.0, shape)),
                Steps::Codes { range, .. } => out.codes[0] = self.codes[0].map(|c| (c + steps.0).clamp(range.0, range.1)),
            }
        }
        match shape.offset {
            Some(Steps::Factor) if steps.1 != 0 => {
                let quarter = self.factors[0].map(|s| s * 0.25 * steps.1 as f32);
                out.factors[1] = std::array::from_fn(|l| grid.nearest_factor(self.factors[1][l] + quarter[l]));
            }
            Some(Steps::Codes { range, .. }) => out.codes[1] = self.codes[1].map(|c| (c + steps.1).clamp(range.0, range.1)),
            _ => {}
        }
        out
    }

    /// Those nearest to wanted values; a factor that groups share stays as it is.
    #[inline(always)]
    pub(crate) fn nearest(&self, grid: &dyn Grid, shape: &GridShape, scale: &Lane, offset: &Lane) -> Self {
        let mut out = *self;
        nearest(grid, shape.scale, scale, &mut out.factors[0], &mut out.codes[0]);
        if let Some(steps) = shape.offset {
            nearest(grid, steps, offset, &mut out.factors[1], &mut out.codes[1]);
        }
        out
    }

    /// Takes the rows of `other` that `mask` has set.
    #[inline(always)]
    pub(crate) fn take(&mut self, other: &Self, mask: &[bool; ROWS]) {
        for k in 0..2 {
            for l in 0..ROWS {
                self.factors[k][l] = if mask[l] { other.factors[k][l] } else { self.factors[k][l] };
                self.codes[k][l] = if mask[l] { other.codes[k][l] } else { self.codes[k][l] };
            }
        }
    }
}

/// A factor some steps away: of a size that moves the outermost level by half a level.
fn step(grid: &dyn Grid, factor: f32, steps: i32, shape: &GridShape) -> f32 {
    let levels = match shape.levels {
        Levels::Even { count, .. } => count,
        _ => ROWS,
    };
    let moved = grid.nearest_factor(factor * (1.0 + steps as f32 / levels as f32));
    // Powers of two have no neighbour so near.
    if moved == factor { grid.nearest_factor(factor * 2.0_f32.powi(steps)) } else { moved }
}

#[inline(always)]
fn nearest(grid: &dyn Grid, steps: Steps, wanted: &Lane, factors: &mut Lane, codes: &mut [i32; ROWS]) {
    for l in 0..ROWS {
        if !wanted[l].is_finite() {
            continue;
        }
        match steps {
            Steps::Factor => factors[l] = grid.nearest_factor(wanted[l]),
            Steps::Codes { range, first, step, multiplier } => {
                let unit = factors[l] * multiplier;
                if unit != 0.0 {
                    codes[l] = (((wanted[l] / unit - first) / step).round() as i32).clamp(range.0, range.1);
                }
            }
        }
    }
}

/// Sixteen rows, columns in the order of rounding.
#[derive(Debug)]
pub(crate) struct Panel {
    /// The weights.
    pub(crate) weights: Vec<Lane>,
    /// What is stored less the weights.
    pub(crate) change: Vec<Lane>,
    /// The code of each weight, or of each point at the place of its first weight.
    pub(crate) codes: Vec<Lane>,
    /// 1 or -1 for each weight, where levels are points.
    pub(crate) signs: Vec<Lane>,
    /// Scales of each group.
    pub(crate) scales: Vec<Scales>,
}

/// Where the columns of an encoding's blocks lie in a panel.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// Column at each place.
    pub(crate) columns: Vec<usize>,
    /// Group at each place of a group.
    pub(crate) groups: Vec<usize>,
}

impl Panel {
    /// At most sixteen rows of weights, and the blocks that an encoder made of them.
    pub(crate) fn new(grid: &dyn Grid, encoding: &dyn Encoding, places: &Places, rows: &[f32], blocks: &[u8]) -> Self {
        let columns = places.columns.len();
        let zeros = || vec![[0.0; ROWS]; columns];
        let mut panel = Self {
            weights: zeros(),
            change: zeros(),
            codes: zeros(),
            signs: vec![[1.0; ROWS]; columns],
            scales: vec![Scales::ZERO; places.groups.len()],
        };
        let (shape, layout) = (grid.shape(), encoding.layout());
        let groups_in_block = layout.block_elements / shape.group;
        let row_bytes = columns / layout.block_elements * layout.block_bytes;
        let mut parts = Parts::new(&shape, layout.block_elements);
        for (l, (row, blocks)) in rows.chunks_exact(columns).zip(blocks.chunks_exact(row_bytes)).enumerate() {
            for (lane, &column) in panel.weights.iter_mut().zip(&places.columns) {
                lane[l] = row[column];
            }
            let mut of_group = vec![([0.0; 2], [0; 2]); places.groups.len()];
            for (b, block) in blocks.chunks_exact(layout.block_bytes).enumerate() {
                grid.unpack(block, &mut parts);
                for g in 0..groups_in_block {
                    of_group[b * groups_in_block + g] = (parts.factors, [parts.scales[g], parts.offsets[g]]);
                }
            }
            for (scales, &group) in panel.scales.iter_mut().zip(&places.groups) {
                for k in 0..2 {
                    scales.factors[k][l] = of_group[group].0[k];
                    scales.codes[k][l] = of_group[group].1[k];
                }
            }
        }
        panel
    }

    /// Writes the rows as blocks.
    pub(crate) fn write(&self, grid: &dyn Grid, encoding: &dyn Encoding, places: &Places, out: &mut [u8]) -> Result<()> {
        let columns = places.columns.len();
        let (shape, layout) = (grid.shape(), encoding.layout());
        let groups_in_block = layout.block_elements / shape.group;
        let row_bytes = encoding.row_bytes(columns as u64)? as usize;
        let mut place_of_group = vec![0; places.groups.len()];
        places.groups.iter().enumerate().for_each(|(at, &g)| place_of_group[g] = at);
        let mut place_of_column = vec![0; columns];
        places.columns.iter().enumerate().for_each(|(at, &c)| place_of_column[c] = at);
        let coordinates = match shape.levels {
            Levels::Points { coordinates, .. } => coordinates,
            _ => 1,
        };
        let mut parts = Parts::new(&shape, layout.block_elements);
        for (l, blocks) in out.chunks_exact_mut(row_bytes).enumerate() {
            for (b, block) in blocks.chunks_exact_mut(layout.block_bytes).enumerate() {
                for g in 0..groups_in_block {
                    let scales = &self.scales[place_of_group[b * groups_in_block + g]];
                    parts.factors = [scales.factors[0][l], scales.factors[1][l]];
                    parts.scales[g] = scales.codes[0][l];
                    parts.offsets[g] = scales.codes[1][l];
                }
                let first = b * layout.block_elements;
                for (i, code) in parts.codes.iter_mut().enumerate() {
                    *code = self.codes[place_of_column[first + i * coordinates]][l] as u16;
                }
                for (e, signs) in parts.signs.iter_mut().enumerate() {
                    *signs = (0..8).fold(0, |s, i| s | u8::from(self.signs[place_of_column[first + 8 * e + i]][l] < 0.0) << i);
                }
                grid.pack(&parts, block);
            }
        }
        Ok(())
    }
}

/// Encodes whole rows by the encoding's own search, has `improve` change them panel by panel, and writes what it
/// made of them.
pub(crate) fn in_panels(
    grid: &dyn Grid,
    encoding: &dyn Encoding,
    places: &Places,
    importance: Importance<'_>,
    rows: &[f32],
    out: &mut [u8],
    improve: impl Fn(Isa, &mut Panel),
) -> Result<()> {
    let columns = places.columns.len();
    encoding.encode(rows, columns, importance, out)?;
    let row_bytes = encoding.row_bytes(columns as u64)? as usize;
    let isa = Isa::detect();
    for (rows, out) in rows.chunks(ROWS * columns).zip(out.chunks_mut(ROWS * row_bytes)) {
        let mut panel = Panel::new(grid, encoding, places, rows, out);
        improve(isa, &mut panel);
        panel.write(grid, encoding, places, out)?;
    }
    Ok(())
}
