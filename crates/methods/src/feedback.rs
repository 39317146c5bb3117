//! Rounding with error feedback, and the search that goes on from there: what `gptq` and `descent` share.
//!
//! A matrix's rows are rounded apart from each other, sixteen side by side. The encoding's own search,
//! weighted by the mean squares of the inputs, gives the first scales. Then, group by group, those with
//! the largest inputs first:
//!
//! 1. *Feedback*: the error that the groups before have made in the outputs is carried into the aim of
//!    this one, and so from weight to weight (or from eight to eight where a code stands for several).
//! 2. *Descent*: each group again, given all others: the scales around its own and those refitted to its
//!    codes are tried, each with feedback within the group, and what lowers the error of the outputs stays.

use std::sync::Arc;

use gravure_core::contracts::{GridShape, Levels};
use gravure_core::{Encoding, Error, Grid, Hessian, Inputs, Result, Rounder};
use gravure_simd::{Kernel, Simd};

use crate::correction::solve;
use crate::factor::{Factor, damped, factor};
use crate::group::{Choice, Form, Reach, Scratch, search};
use crate::panel::{Lane, Panel, Places, ROWS, Scales, in_panels};

/// What is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// The scales that are tried while errors are carried.
    pub(crate) feedback: Reach,
    /// Times that all groups are gone through again.
    pub(crate) sweeps: usize,
    /// The scales that are tried then.
    pub(crate) descent: Reach,
}

/// The quadratic form within one group, all other groups given.
#[derive(Debug)]
struct Within {
    factor: Factor,
}

/// Rounds the rows of one matrix.
#[derive(Debug)]
pub(crate) struct Feedback {
    encoding: &'static dyn Encoding,
    grid: &'static dyn Grid,
    effort: Effort,
    importance: Vec<f32>,
    places: Places,
    moments: Arc<Moments>,
    within: Vec<Within>,
}

/// Second moments with their columns in the order of rounding.
#[derive(Debug)]
struct Moments {
    /// The damped Hessian.
    hessian: Vec<f32>,
    factor: Factor,
}

/// Prepares rounding; an encoding without a grid is left to its own search.
pub(crate) fn prepare(encoding: &'static dyn Encoding, row_length: usize, inputs: Inputs<'_>, effort: Effort) -> Result<Box<dyn Rounder>> {
    let hessian = inputs.hessian.ok_or_else(|| {
        Error::request("this method needs the second moments of the inputs").help("give a calibration text with --calibration-data")
    })?;
    if hessian.columns() != row_length {
        return Err(Error::input(format!("second moments of {} columns for rows of {row_length}", hessian.columns())));
    }
    encoding.row_bytes(row_length as u64)?;
    let Some(grid) = encoding.grid() else {
        return Ok(Box::new(crate::rtn::Search { encoding, row_length, importance: Some(hessian.diagonal()) }));
    };
    Ok(Box::new(Feedback::new(encoding, grid, hessian, effort)?))
}

impl Feedback {
    fn new(encoding: &'static dyn Encoding, grid: &'static dyn Grid, hessian: &Hessian, effort: Effort) -> Result<Self> {
        let shape = grid.shape();
        let importance = hessian.diagonal();
        let places = places(&shape, &importance);
        let moments = hessian.derived(&places.columns, || {
            let (hessian, factor) = damped(hessian.values(), &places.columns)?;
            Ok(Moments { hessian, factor })
        })?;
        let columns = importance.len();
        let within =
            (0..places.groups.len()).map(|g| within(&moments.hessian, columns, g * shape.group, shape.group)).collect::<Result<_>>()?;
        Ok(Self { encoding, grid, effort, importance, places, moments, within })
    }
}

/// Groups with the largest inputs first, and so the weights in them; eights stay together where a code
/// stands for several weights.
fn places(shape: &GridShape, importance: &[f32]) -> Places {
    let unit = if matches!(shape.levels, Levels::Points { .. }) { 8 } else { 1 };
    let total = |start: usize, len: usize| importance[start..start + len].iter().sum::<f32>();
    let sorted = |starts: Vec<usize>, len: usize| {
        let mut starts = starts;
        starts.sort_by(|&a, &b| total(b, len).total_cmp(&total(a, len)).then(a.cmp(&b)));
        starts
    };
    let groups = sorted((0..importance.len()).step_by(shape.group).collect(), shape.group);
    let mut columns = Vec::with_capacity(importance.len());
    for &group in &groups {
        for start in sorted((group..group + shape.group).step_by(unit).collect(), unit) {
            columns.extend(start..start + unit);
        }
    }
    Places { columns, groups: groups.into_iter().map(|start| start / shape.group).collect() }
}

fn within(hessian: &[f32], columns: usize, start: usize, size: usize) -> Result<Within> {
    let at = |i: usize, j: usize| f64::from(hessian[(start + i) * columns + start + j]);
    let matrix = (0..size * size).map(|k| at(k / size, k % size)).collect();
    let factor = factor(matrix, size).ok_or_else(|| Error::input("the second moments of the inputs are not positive definite"))?;
    Ok(Within { factor })
}

impl Rounder for Feedback {
    fn encode(&self, rows: &[f32], out: &mut [u8]) -> Result<()> {
        let importance = Some(&*self.importance);
        in_panels(self.grid, self.encoding, &self.places, importance, rows, out, |isa, panel| isa.vectorize(Run { work: self, panel }))
    }
}

struct Run<'a> {
    work: &'a Feedback,
    panel: &'a mut Panel,
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _isa: S) {
        let Self { work, panel } = self;
        let shape = work.grid.shape();
        let columns = panel.weights.len();
        let mut scratch = Scratch::new(shape.group, &shape);
        let mut best = Choice::new(shape.group, Scales::ZERO);
        let mut target = vec![[0.0; ROWS]; shape.group];
        for sweep in 0..=work.effort.sweeps {
            for g in 0..panel.scales.len() {
                let first = g * shape.group;
                best.scales = panel.scales[g];
                best.cost = [f32::INFINITY; ROWS];
                let (form, reach) = if sweep == 0 {
                    let diagonal = &work.moments.factor.diagonal[first..first + shape.group];
                    let form = Form { feedback: &work.moments.factor.feedback[first * columns..], stride: columns, first, diagonal };
                    carry(work, panel, first, &form, &mut target);
                    (form, work.effort.feedback)
                } else {
                    let factor = &work.within[g].factor;
                    let form = Form { feedback: &factor.feedback, stride: shape.group, first: 0, diagonal: &factor.diagonal };
                    pull(work, panel, first, &form, &mut target);
                    keep(panel, first, &form, &target, &mut best);
                    (form, work.effort.descent)
                };
                search(work.grid, &form, &target, reach, &mut scratch, &mut best);
                panel.scales[g] = best.scales;
                panel.codes[first..first + shape.group].copy_from_slice(&best.codes);
                panel.signs[first..first + shape.group].copy_from_slice(&best.signs);
                for j in 0..shape.group {
                    for l in 0..ROWS {
                        // What is stored is target + miss.
                        panel.change[first + j][l] = best.miss[j][l] + (target[j][l] - panel.weights[first + j][l]);
                    }
                }
            }
        }
    }
}

/// Products of `rows`, four at a time, with the lanes of `x`.
#[inline(always)]
pub(crate) fn products(matrix: &[f32], stride: usize, x: &[Lane], out: &mut [Lane]) {
    const AT_ONCE: usize = 4;
    for (k, out) in out.chunks_mut(AT_ONCE).enumerate() {
        let row = |r: usize| &matrix[(k * AT_ONCE + r.min(out.len() - 1)) * stride..][..x.len()];
        let rows: [&[f32]; AT_ONCE] = std::array::from_fn(row);
        let mut sums = [[0.0_f32; ROWS]; AT_ONCE];
        for (i, x) in x.iter().enumerate() {
            for r in 0..AT_ONCE {
                let c = rows[r][i];
                for l in 0..ROWS {
                    sums[r][l] += c * x[l];
                }
            }
        }
        out.copy_from_slice(&sums[..out.len()]);
    }
}

/// The target of a group before which others have been rounded: `t` with
/// `U^T (weights - t) = ` the error that they carry into this one.
#[inline(always)]
fn carry(work: &Feedback, panel: &Panel, first: usize, form: &Form<'_>, target: &mut [Lane]) {
    let columns = panel.weights.len();
    products(&work.moments.factor.feedback[first * columns..], columns, &panel.change[..first], target);
    for j in 0..target.len() {
        let carried = form.carried(j, target, j);
        for l in 0..ROWS {
            target[j][l] -= carried[l];
        }
    }
    for (target, weight) in target.iter_mut().zip(&panel.weights[first..]) {
        for l in 0..ROWS {
            target[l] = weight[l] - target[l];
        }
    }
}

/// The target of a group among others that are given: the weights that would leave the least error.
#[inline(always)]
fn pull(work: &Feedback, panel: &Panel, first: usize, form: &Form<'_>, target: &mut [Lane]) {
    let columns = panel.weights.len();
    products(&work.moments.hessian[first * columns..], columns, &panel.change, target);
    // H (d + z) = products within the group, so z = d' with H d' = all products, less the group's own change.
    solve(form.feedback, form.diagonal, form.stride, form.first, target);
    for (j, target) in target.iter_mut().enumerate() {
        let (weight, change) = (&panel.weights[first + j], &panel.change[first + j]);
        for l in 0..ROWS {
            target[l] = weight[l] + change[l] - target[l];
        }
    }
}

/// What is stored now, as a choice.
#[inline(always)]
fn keep(panel: &Panel, first: usize, form: &Form<'_>, target: &[Lane], best: &mut Choice) {
    let size = target.len();
    best.codes.copy_from_slice(&panel.codes[first..first + size]);
    best.signs.copy_from_slice(&panel.signs[first..first + size]);
    best.cost = [0.0; ROWS];
    for j in 0..size {
        for l in 0..ROWS {
            best.miss[j][l] = panel.change[first + j][l] + (panel.weights[first + j][l] - target[j][l]);
        }
        let carried = form.carried(j, &best.miss, j);
        for l in 0..ROWS {
            let error = best.miss[j][l] + carried[l];
            best.cost[l] += form.diagonal[j] * error * error;
        }
    }
}
