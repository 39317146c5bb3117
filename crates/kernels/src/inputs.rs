//! Rows of activations that several matrices are multiplied with.

use crate::Pool;
use crate::bf16::{Bf16Rows, Bf16Tiles};
use crate::dispatch::Level;
use crate::rounded::{Groups, Order, Rounded};

/// Activations, and their rounded forms where a kernel has asked for them.
#[derive(Debug)]
pub struct Inputs<'a> {
    values: &'a [f32],
    columns: usize,
    rounded: Vec<Form>,
    bf16: Option<Bf16Rows>,
    tiles: Option<Bf16Tiles>,
}

#[derive(Debug)]
struct Form {
    rounded: Rounded,
    /// By columns of a group, offset, and whether there are minima.
    groups: Vec<((usize, i32, bool), Groups)>,
}

impl<'a> Inputs<'a> {
    /// `values` as rows of `columns`.
    pub fn new(values: &'a [f32], columns: usize) -> Self {
        Self { values, columns, rounded: Vec::new(), bf16: None, tiles: None }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.columns).unwrap_or(0)
    }

    /// Length of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All rows.
    pub(crate) fn values(&self) -> &'a [f32] {
        self.values
    }

    /// The values rounded in blocks of `block` columns, for a kernel that lays weights out from `laid_out_from` rows on, and what it
    /// reads of its groups.
    pub(crate) fn rounded(
        &mut self,
        pool: &Pool,
        level: Level,
        block: usize,
        laid_out_from: usize,
        groups: (usize, i32, bool),
    ) -> (&Rounded, &Groups) {
        let order = Order::of(level, self.rows(), laid_out_from);
        let index = match self.rounded.iter().position(|form| form.rounded.block == block && form.rounded.order == order) {
            Some(index) => index,
            None => {
                let rounded = Rounded::new(pool, level, self.values, self.columns, block, order);
                self.rounded.push(Form { rounded, groups: Vec::new() });
                self.rounded.len() - 1
            }
        };
        let form = &mut self.rounded[index];
        let place = match form.groups.iter().position(|(key, _)| *key == groups) {
            Some(place) => place,
            None => {
                form.groups.push((groups, Groups::new(&form.rounded, groups.0, groups.1, groups.2)));
                form.groups.len() - 1
            }
        };
        (&form.rounded, &form.groups[place].1)
    }

    /// The values as bf16.
    pub(crate) fn bf16(&mut self, pool: &Pool, level: Level) -> &Bf16Rows {
        let (values, columns) = (self.values, self.columns);
        self.bf16.get_or_insert_with(|| Bf16Rows::new(pool, level, values, columns))
    }

    /// The values as tiles of bf16.
    pub(crate) fn bf16_tiles(&mut self, pool: &Pool, level: Level) -> &Bf16Tiles {
        let (values, columns) = (self.values, self.columns);
        self.tiles.get_or_insert_with(|| Bf16Tiles::new(pool, level, values, columns))
    }
}
