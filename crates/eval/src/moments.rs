//! Second moments of the inputs of linear maps: the mean of `x x^T` over a text.
//!
//! Sums are kept in `f64`; the products of one step are summed in `f32` first, some hundred at a time.
//! Linear maps with the same input (queries, keys and values; gate and up) share one matrix.

use std::collections::BTreeMap;

use gravure_core::contracts::{Tap, Taps};
use gravure_core::{Error, Hessian, Result, TensorId};
use gravure_simd::{F32s, Isa, Kernel, Simd};

/// Rows of a tile of products.
const TALL: usize = 4;
/// What rows are padded to: two vectors of the widest kind.
const WIDE: usize = 32;
/// Inputs whose products are summed in `f32`.
const DEEP: usize = 256;

/// Sums of products of the inputs of some linear maps.
#[derive(Debug)]
pub struct Moments {
    /// The map whose sums stand for each.
    shared: BTreeMap<TensorId, TensorId>,
    sums: BTreeMap<TensorId, Sums>,
    threads: usize,
}

impl Moments {
    /// Nothing seen yet. `shared` has every map that is wanted, with the one whose sums stand for it:
    /// itself, or one with the same input.
    pub fn new(shared: BTreeMap<TensorId, TensorId>, threads: usize) -> Self {
        Self { shared, sums: BTreeMap::new(), threads: threads.max(1) }
    }

    /// The means, by the map that stands for those with the same input.
    ///
    /// # Errors
    /// `Input` where inputs were no numbers.
    pub fn finish(self) -> Result<BTreeMap<TensorId, Hessian>> {
        self.sums.into_iter().map(|(id, sums)| Ok((id, sums.mean()?))).collect()
    }

    /// Bytes that the sums for inputs of `columns` values take.
    pub fn bytes(columns: u64) -> u64 {
        columns.next_multiple_of(WIDE as u64).pow(2).saturating_mul(8)
    }
}

impl Taps for Moments {
    fn wants(&self, _node: &str, weight: Option<TensorId>) -> bool {
        weight.is_some_and(|id| self.shared.get(&id) == Some(&id))
    }

    fn see(&mut self, tap: &Tap<'_>) -> Result<()> {
        let Some(id) = tap.weight else { return Ok(()) };
        if tap.width == 0 {
            return Ok(());
        }
        let sums = self.sums.entry(id).or_insert_with(|| Sums::new(tap.width));
        if sums.columns != tap.width {
            return Err(Error::bug(format!("rows of {} and of {}", sums.columns, tap.width)).at_item(tap.node));
        }
        sums.add(tap.values, self.threads);
        Ok(())
    }
}

/// Sums of products of two rows of inputs, which may be the same.
#[derive(Debug)]
pub(crate) struct Sums {
    columns: usize,
    /// Whether all products are summed, and not those on and below the diagonal alone.
    whole: bool,
    /// Rows of tiles, of a matrix with rows padded to whole tiles.
    values: Vec<f64>,
    rows: u64,
}

impl Sums {
    /// Of inputs with themselves.
    pub(crate) fn new(columns: usize) -> Self {
        let side = columns.next_multiple_of(WIDE);
        Self { columns, whole: false, values: vec![0.0; side * side], rows: 0 }
    }

    /// Of two inputs.
    pub(crate) fn whole(columns: usize) -> Self {
        Self { whole: true, ..Self::new(columns) }
    }

    /// Adds the products of inputs with themselves.
    pub(crate) fn add(&mut self, inputs: &[f32], threads: usize) {
        self.add_products(inputs, inputs, threads);
    }

    /// Adds the products of each value of `tall` with all of `wide` in the same row.
    pub(crate) fn add_products(&mut self, tall: &[f32], wide: &[f32], threads: usize) {
        let side = self.columns.next_multiple_of(WIDE);
        self.rows += (tall.len() / self.columns) as u64;
        let isa = Isa::detect();
        let (whole, columns) = (self.whole, self.columns);
        let pad = |inputs: &[f32], padded: &mut Vec<f32>| {
            padded.clear();
            padded.resize(inputs.len() / columns * side, 0.0);
            for (to, from) in padded.chunks_exact_mut(side).zip(inputs.chunks_exact(columns)) {
                to[..columns].copy_from_slice(from);
            }
        };
        let (mut padded_tall, mut padded_wide) = (Vec::new(), Vec::new());
        for (tall, wide) in tall.chunks(DEEP * columns).zip(wide.chunks(DEEP * columns)) {
            pad(tall, &mut padded_tall);
            pad(wide, &mut padded_wide);
            // Later rows have more tiles: who takes every n-th run of rows has his share.
            let mut shares: Vec<Vec<(usize, &mut [f64])>> = (0..threads.max(1)).map(|_| Vec::new()).collect();
            let count = shares.len();
            for (i, rows) in self.values.chunks_exact_mut(TALL * side).enumerate() {
                shares[i % count].push((i * TALL, rows));
            }
            let (tall, wide) = (&padded_tall, &padded_wide);
            std::thread::scope(|scope| {
                let last = shares.pop();
                for share in shares {
                    scope.spawn(move || isa.vectorize(Add { tall, wide, side, whole, share }));
                }
                if let Some(share) = last {
                    isa.vectorize(Add { tall, wide, side, whole, share });
                }
            });
        }
    }

    /// The means of products of inputs with themselves.
    pub(crate) fn mean(self) -> Result<Hessian> {
        let mut values = self.means();
        for i in 0..self.columns {
            for j in 0..i {
                values[j * self.columns + i] = values[i * self.columns + j];
            }
        }
        Hessian::new(self.columns, values)
    }

    /// The means of all products, row by row.
    pub(crate) fn mean_products(self) -> Result<Vec<f32>> {
        let values = self.means();
        if values.iter().any(|v| !v.is_finite()) {
            return Err(Error::input("the inputs of a linear map are no numbers"));
        }
        Ok(values)
    }

    fn means(&self) -> Vec<f32> {
        let side = self.columns.next_multiple_of(WIDE);
        let scale = 1.0 / self.rows.max(1) as f64;
        let row = |i: usize| self.values[i * side..][..self.columns].iter().map(|v| (v * scale) as f32);
        (0..self.columns).flat_map(row).collect()
    }
}

struct Add<'a> {
    /// Rows of `side` values.
    tall: &'a [f32],
    /// As many.
    wide: &'a [f32],
    side: usize,
    whole: bool,
    /// Runs of rows of the sums, with the first row's index.
    share: Vec<(usize, &'a mut [f64])>,
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, isa: S) {
        // Two vectors wide: enough sums to hide the latency of adding, few enough for sixteen registers.
        let step = 2 * S::LANES;
        let zero = F32s::splat(isa, 0.0);
        for (first, rows) in self.share {
            let end = if self.whole { self.side } else { first + 1 };
            for column in (0..end).step_by(step) {
                let mut tile = [[zero; 2]; TALL];
                for (tall, wide) in self.tall.chunks_exact(self.side).zip(self.wide.chunks_exact(self.side)) {
                    let [left, right] = [0, S::LANES].map(|at| F32s::load(isa, &wide[column + at..]));
                    for (sums, factor) in tile.iter_mut().zip(&tall[first..first + TALL]) {
                        let factor = F32s::splat(isa, *factor);
                        sums[0] = sums[0] + factor * left;
                        sums[1] = sums[1] + factor * right;
                    }
                }
                for (r, sums) in tile.iter().enumerate() {
                    let row = &mut rows[r * self.side + column..][..step];
                    for (row, sums) in row.chunks_exact_mut(S::LANES).zip(sums) {
                        for (sum, value) in row.iter_mut().zip(sums.to_array().as_ref()) {
                            *sum += f64::from(*value);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gravure_core::{Part, Role};

    #[test]
    fn means_of_products_are_those_of_the_definition() {
        let id = TensorId::layer(Role::AttentionQuery, 0, Part::Weight);
        for columns in [1, 5, 32, 70] {
            let rows = 300;
            let inputs: Vec<f32> = (0..rows * columns).map(|i| ((i * 7919 % 1009) as f32 - 500.0) * 0.01).collect();
            for threads in [1, 3] {
                let mut moments = Moments::new([(id, id)].into(), threads);
                for values in inputs.chunks(101 * columns) {
                    moments.see(&Tap { node: "x", weight: Some(id), values, width: columns }).unwrap();
                }
                let hessian = moments.finish().unwrap().remove(&id).unwrap();
                for i in 0..columns {
                    for j in 0..columns {
                        let product = |row: &[f32]| f64::from(row[i]) * f64::from(row[j]);
                        let exact = inputs.chunks_exact(columns).map(product).sum::<f64>() / rows as f64;
                        let found = f64::from(hessian.values()[i * columns + j]);
                        assert!((found - exact).abs() < 1e-4, "{columns} {i} {j}: {found} {exact}");
                    }
                }
            }
        }
    }
}
