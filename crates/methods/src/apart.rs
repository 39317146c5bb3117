//! Groups rounded apart from each other, under the mean squares of the inputs alone or under none: what
//! `scale-estimation` and `hqq` share. The encoding's own search gives the first scales.

use gravure_core::contracts::{GridShape, ImportanceUse};
use gravure_core::{Encoding, Grid, Hessian, Inputs, Result, Rounder};
use gravure_simd::{Kernel, Simd};

use crate::group::{Choice, Form, Reach, Scratch, refit, round, search, weigh_points};
use crate::panel::{Lane, Panel, Places, ROWS, Scales, in_panels};

/// How the scales of a group are improved.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Improve {
    /// The scales around the best ones, and those refitted to their codes, some times.
    Search {
        /// How far.
        reach: Reach,
        /// How often.
        rounds: usize,
    },
    /// Half-quadratic splitting, see [`Hqq`](crate::Hqq).
    HalfQuadratic {
        /// The power of the norm.
        power: f32,
        /// First strength of the splitting, in squares of a step.
        strength: f32,
        /// By which it grows each time.
        growth: f32,
        /// How often.
        rounds: usize,
    },
}

/// Rounds the rows of one matrix.
#[derive(Debug)]
pub(crate) struct Apart {
    encoding: &'static dyn Encoding,
    grid: &'static dyn Grid,
    improve: Improve,
    /// Of each column, where somebody knows it.
    importance: Option<Vec<f32>>,
    places: Places,
}

/// Prepares rounding; an encoding without a grid is left to its own search.
pub(crate) fn prepare(
    encoding: &'static dyn Encoding,
    row_length: usize,
    inputs: Inputs<'_>,
    improve: Improve,
) -> Result<Box<dyn Rounder>> {
    encoding.row_bytes(row_length as u64)?;
    let importance = inputs.importance.map(<[f32]>::to_vec).or_else(|| inputs.hessian.map(Hessian::diagonal));
    let Some(grid) = encoding.grid() else {
        return Ok(Box::new(crate::rtn::Search { encoding, row_length, importance }));
    };
    let groups = row_length / grid.shape().group;
    let places = Places { columns: (0..row_length).collect(), groups: (0..groups).collect() };
    Ok(Box::new(Apart { encoding, grid, improve, importance, places }))
}

impl Rounder for Apart {
    fn encode(&self, rows: &[f32], out: &mut [u8]) -> Result<()> {
        let blind = matches!(self.improve, Improve::HalfQuadratic { .. }) && self.encoding.importance() != ImportanceUse::Required;
        let importance = self.importance.as_deref().filter(|_| !blind);
        in_panels(self.grid, self.encoding, &self.places, importance, rows, out, |isa, panel| isa.vectorize(Run { work: self, panel }))
    }
}

struct Run<'a> {
    work: &'a Apart,
    panel: &'a mut Panel,
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _isa: S) {
        let Self { work, panel } = self;
        let shape = work.grid.shape();
        let size = shape.group;
        let alone = vec![0.0; size * size];
        let mut diagonal = vec![1.0; size];
        let mut scratch = Scratch::new(size, &shape);
        let mut best = Choice::new(size, Scales::ZERO);
        for g in 0..panel.scales.len() {
            let span = g * size..(g + 1) * size;
            let seen = matches!(work.improve, Improve::Search { .. });
            if let Some(importance) = work.importance.as_ref().filter(|_| seen) {
                diagonal.copy_from_slice(&importance[span.clone()]);
                // A column that was never seen still has a nearest code.
                let least = diagonal.iter().sum::<f32>().max(f32::MIN_POSITIVE) * 1e-6;
                diagonal.iter_mut().for_each(|d| *d = d.max(least));
            }
            let form = Form { feedback: &alone, stride: size, first: 0, diagonal: &diagonal };
            let target = &panel.weights[span.clone()];
            best.scales = panel.scales[g];
            best.cost = [f32::INFINITY; ROWS];
            match work.improve {
                Improve::Search { reach, rounds } => {
                    for _ in 0..rounds {
                        search(work.grid, &form, target, reach, &mut scratch, &mut best);
                    }
                }
                Improve::HalfQuadratic { power, strength, growth, rounds } => {
                    weigh_points(&shape, &form, &mut scratch.squares);
                    let mut strength = strength;
                    for _ in 0..rounds {
                        half_quadratic(work.grid, &shape, &form, target, (power, strength), &mut scratch, &mut best);
                        strength *= growth;
                    }
                }
            }
            panel.scales[g] = best.scales;
            panel.codes[span.clone()].copy_from_slice(&best.codes);
            panel.signs[span].copy_from_slice(&best.signs);
        }
    }
}

/// One round: codes under the trial's scales, which stay where the norm of what is missed gets smaller; then
/// the offset, or the scale where there is none, that fits the weights less their outliers best.
#[inline(always)]
fn half_quadratic(
    grid: &dyn Grid,
    shape: &GridShape,
    form: &Form<'_>,
    target: &[Lane],
    (power, strength): (f32, f32),
    scratch: &mut Scratch,
    best: &mut Choice,
) {
    let first = best.cost[0].is_infinite();
    if first {
        scratch.trial.scales = best.scales;
    }
    round(shape, form, target, &scratch.squares, &mut scratch.trial);
    let (scale, offset) = scratch.trial.scales.values(shape);
    let steps = scale.map(f32::abs);
    let mut without = target.to_vec();
    let mut cost = [0.0_f32; ROWS];
    for (without, miss) in without.iter_mut().zip(&scratch.trial.miss) {
        for l in 0..ROWS {
            let far = miss[l].abs();
            let in_steps = if steps[l] > 0.0 { far / steps[l] } else { 0.0 };
            cost[l] += far.powf(power);
            let outlying = if in_steps > 0.0 { (in_steps - in_steps.powf(power - 1.0) / strength).max(0.0) * steps[l] } else { 0.0 };
            without[l] += outlying.copysign(miss[l]);
        }
    }
    scratch.trial.cost = cost;
    best.improve(&scratch.trial);
    let (fitted_scale, fitted_offset) = refit(shape, form, &without, &scratch.trial);
    let (wanted_scale, wanted_offset) = match shape.offset {
        None => (fitted_scale, offset),
        Some(_) => (scale, fitted_offset),
    };
    scratch.trial.scales = scratch.trial.scales.nearest(grid, shape, &wanted_scale, &wanted_offset);
}
