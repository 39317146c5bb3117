//! Second moments of the inputs of linear maps: the mean of `x x^T` over a text.
//!
//! Sums are kept in `f64`; the products of one step are summed in `f32` first, some hundred at a time.
//! Linear maps with the same input (queries, keys and values; gate and up) share one matrix.

use std::collections::BTreeMap;

use gravure_core::contracts::{Tap, Taps};
use gravure_core::{Error, Hessian, Result, TensorId};
use gravure_simd::{Isa, Kernel, Simd};

/// Rows of a tile of products.
const TALL: usize = 4;
/// Columns of a tile.
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

#[derive(Debug)]
struct Sums {
    columns: usize,
    /// Rows of tiles on and below the diagonal, of a matrix with rows padded to whole tiles.
    values: Vec<f64>,
    rows: u64,
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

impl Sums {
    fn new(columns: usize) -> Self {
        let side = columns.next_multiple_of(WIDE);
        Self { columns, values: vec![0.0; side * side], rows: 0 }
    }

    fn add(&mut self, inputs: &[f32], threads: usize) {
        let side = self.columns.next_multiple_of(WIDE);
        self.rows += (inputs.len() / self.columns) as u64;
        let isa = Isa::detect();
        let mut padded = Vec::new();
        for inputs in inputs.chunks(DEEP * self.columns) {
            padded.clear();
            padded.resize(inputs.len() / self.columns * side, 0.0);
            for (to, from) in padded.chunks_exact_mut(side).zip(inputs.chunks_exact(self.columns)) {
                to[..self.columns].copy_from_slice(from);
            }
            // Later rows have more tiles: who takes every n-th run of rows has his share.
            let mut shares: Vec<Vec<(usize, &mut [f64])>> = (0..threads).map(|_| Vec::new()).collect();
            for (i, rows) in self.values.chunks_exact_mut(TALL * side).enumerate() {
                shares[i % threads].push((i * TALL, rows));
            }
            let inputs = &padded;
            std::thread::scope(|scope| {
                let last = shares.pop();
                for share in shares {
                    scope.spawn(move || isa.vectorize(Add { inputs, side, share }));
                }
                if let Some(share) = last {
                    isa.vectorize(Add { inputs, side, share });
                }
            });
        }
    }

    fn mean(self) -> Result<Hessian> {
        let side = self.columns.next_multiple_of(WIDE);
        let mut values = vec![0.0; self.columns * self.columns];
        let scale = 1.0 / self.rows.max(1) as f64;
        for i in 0..self.columns {
            for j in 0..=i {
                let mean = (self.values[i * side + j] * scale) as f32;
                values[i * self.columns + j] = mean;
                values[j * self.columns + i] = mean;
            }
        }
        Hessian::new(self.columns, values)
    }
}

struct Add<'a> {
    /// Rows of `side` values.
    inputs: &'a [f32],
    side: usize,
    /// Runs of rows of the sums, with the first row's index.
    share: Vec<(usize, &'a mut [f64])>,
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _isa: S) {
        for (first, rows) in self.share {
            for column in (0..=first).step_by(WIDE) {
                let mut tile = [[0.0_f32; WIDE]; TALL];
                for input in self.inputs.chunks_exact(self.side) {
                    let wide = &input[column..column + WIDE];
                    let tall = &input[first..first + TALL];
                    for r in 0..TALL {
                        for c in 0..WIDE {
                            tile[r][c] += tall[r] * wide[c];
                        }
                    }
                }
                for (r, tile) in tile.iter().enumerate() {
                    for (sum, value) in rows[r * self.side + column..][..WIDE].iter_mut().zip(tile) {
                        *sum += f64::from(*value);
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
