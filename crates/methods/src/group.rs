//! One group of weights: the scale, offset and codes that fit a target best under a quadratic form.

use gravure_core::Grid;
use gravure_core::contracts::{GridShape, Levels, Signs};

use crate::panel::{Lane, ROWS, Scales};

/// Adding and taking away rounds to an integer, ties to even, up to 2^22.
const ROUNDING: f32 = 12_582_912.0;

/// The quadratic form within a group, see [`Factor`](crate::factor::Factor).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form<'a> {
    /// `U_ij` for `i < j` at `stride * j + first + i`.
    pub(crate) feedback: &'a [f32],
    /// Length of a row of `feedback`.
    pub(crate) stride: usize,
    /// Where the group starts in a row of `feedback`.
    pub(crate) first: usize,
    /// `D`.
    pub(crate) diagonal: &'a [f32],
}

impl Form<'_> {
    /// `sum over i < j of U_ij x_i`, `i` up to `end`.
    #[inline(always)]
    pub(crate) fn carried(&self, j: usize, x: &[Lane], end: usize) -> Lane {
        let row = &self.feedback[j * self.stride + self.first..][..end];
        let mut sums = [[0.0_f32; ROWS]; 2];
        for (i, (u, x)) in row.iter().zip(&x[..end]).enumerate() {
            let sum = &mut sums[i % 2];
            for l in 0..ROWS {
                sum[l] += u * x[l];
            }
        }
        std::array::from_fn(|l| sums[0][l] + sums[1][l])
    }
}

/// What was chosen for a group.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) scales: Scales,
    pub(crate) codes: Vec<Lane>,
    pub(crate) signs: Vec<Lane>,
    /// What is stored less the target.
    pub(crate) miss: Vec<Lane>,
    /// The form of that.
    pub(crate) cost: Lane,
}

impl Choice {
    /// Room for a group of `size` weights.
    pub(crate) fn new(size: usize, scales: Scales) -> Self {
        let zeros = vec![[0.0; ROWS]; size];
        Self { scales, codes: zeros.clone(), signs: vec![[1.0; ROWS]; size], miss: zeros, cost: [f32::INFINITY; ROWS] }
    }

    /// Takes the rows of `other` that cost less.
    #[inline(always)]
    pub(crate) fn improve(&mut self, other: &Self) {
        let mask: [bool; ROWS] = std::array::from_fn(|l| other.cost[l] < self.cost[l]);
        if !mask.contains(&true) {
            return;
        }
        let take = |to: &mut [Lane], from: &[Lane]| {
            for (to, from) in to.iter_mut().zip(from) {
                for l in 0..ROWS {
                    to[l] = if mask[l] { from[l] } else { to[l] };
                }
            }
        };
        self.scales.take(&other.scales, &mask);
        take(&mut self.codes, &other.codes);
        take(&mut self.signs, &other.signs);
        take(&mut self.miss, &other.miss);
        for l in 0..ROWS {
            self.cost[l] = self.cost[l].min(other.cost[l]);
        }
    }
}

/// Buffers.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) trial: Choice,
    /// Weighted squares of each point, for each place of a point in the group.
    pub(crate) squares: Vec<f32>,
}

impl Scratch {
    pub(crate) fn new(size: usize, shape: &GridShape) -> Self {
        let squares = match shape.levels {
            Levels::Points { coordinates, table, .. } => vec![0.0; table.len() / coordinates * (size / coordinates)],
            _ => Vec::new(),
        };
        Self { trial: Choice::new(size, Scales::ZERO), squares }
    }
}

/// How far scales are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Steps of the scale to each side.
    pub(crate) scale: i32,
    /// Steps of the offset to each side.
    pub(crate) offset: i32,
    /// Whether scales are refitted to the codes, too.
    pub(crate) refit: bool,
}

impl Reach {
    /// Scales stay as they are.
    pub(crate) const NONE: Self = Self { scale: 0, offset: 0, refit: false };
}

/// Improves `best` by the choices around its scales.
#[inline(always)]
pub(crate) fn search(grid: &dyn Grid, form: &Form<'_>, target: &[Lane], reach: Reach, scratch: &mut Scratch, best: &mut Choice) {
    let shape = grid.shape();
    weigh_points(&shape, form, &mut scratch.squares);
    let start = best.scales;
    let offsets = if shape.offset.is_some() { reach.offset } else { 0 };
    for scale in -reach.scale..=reach.scale {
        for offset in -offsets..=offsets {
            scratch.trial.scales = start.moved(grid, &shape, (scale, offset));
            round(&shape, form, target, &scratch.squares, &mut scratch.trial);
            best.improve(&scratch.trial);
        }
    }
    if reach.refit {
        for _ in 0..2 {
            let (scale, offset) = refit(&shape, form, target, best);
            scratch.trial.scales = best.scales.nearest(grid, &shape, &scale, &offset);
            round(&shape, form, target, &scratch.squares, &mut scratch.trial);
            best.improve(&scratch.trial);
        }
    }
}

/// Rounds in order under the scales of `trial`.
#[inline(always)]
pub(crate) fn round(shape: &GridShape, form: &Form<'_>, target: &[Lane], squares: &[f32], trial: &mut Choice) {
    let (scale, offset) = trial.scales.values(shape);
    trial.cost = [0.0; ROWS];
    match shape.levels {
        Levels::Even { lowest, count } => {
            let (lowest, highest) = (lowest as f32, (count - 1) as f32);
            let inverse = scale.map(|s| if s == 0.0 { 0.0 } else { 1.0 / s });
            in_order(form, target, trial, |aim, code, value| {
                for l in 0..ROWS {
                    let wanted = ((aim[l] - offset[l]) * inverse[l] - lowest).max(0.0).min(highest);
                    code[l] = (wanted + ROUNDING) - ROUNDING;
                    value[l] = scale[l] * (lowest + code[l]) + offset[l];
                }
            });
        }
        Levels::Table(table) => in_order(form, target, trial, |aim, code, value| {
            let mut nearest = [f32::INFINITY; ROWS];
            for (c, level) in table.iter().enumerate() {
                for l in 0..ROWS {
                    let v = scale[l] * level + offset[l];
                    let distance = (aim[l] - v).abs();
                    let nearer = distance < nearest[l];
                    nearest[l] = if nearer { distance } else { nearest[l] };
                    code[l] = if nearer { c as f32 } else { code[l] };
                    value[l] = if nearer { v } else { value[l] };
                }
            }
        }),
        Levels::Points { coordinates, table, signs } => {
            for first in (0..target.len()).step_by(8) {
                points(form, target, first, (coordinates, table, signs), squares, &scale, trial);
            }
        }
    }
}

/// Chooses code and value of each weight by `nearest`, which is told where to aim.
#[inline(always)]
fn in_order(form: &Form<'_>, target: &[Lane], trial: &mut Choice, nearest: impl Fn(&Lane, &mut Lane, &mut Lane)) {
    for (j, target) in target.iter().enumerate() {
        let carried = form.carried(j, &trial.miss, j);
        let aim = std::array::from_fn(|l| target[l] - carried[l]);
        let mut value = [0.0; ROWS];
        nearest(&aim, &mut trial.codes[j], &mut value);
        for l in 0..ROWS {
            trial.miss[j][l] = value[l] - target[l];
            let error = value[l] - aim[l];
            trial.cost[l] += form.diagonal[j] * error * error;
        }
    }
}

/// The weighted squares of all points at all their places.
#[inline(always)]
pub(crate) fn weigh_points(shape: &GridShape, form: &Form<'_>, squares: &mut [f32]) {
    let Levels::Points { coordinates, table, .. } = shape.levels else { return };
    let count = table.len() / coordinates;
    for (place, squares) in squares.chunks_exact_mut(count).enumerate() {
        let weights = &form.diagonal[place * coordinates..][..coordinates];
        for (square, point) in squares.iter_mut().zip(table.chunks_exact(coordinates)) {
            *square = point.iter().zip(weights).map(|(p, w)| w * p * p).sum();
        }
    }
}

/// Eight weights as points: the nearest under the diagonal, given the error of the eights before.
#[inline(always)]
fn points(
    form: &Form<'_>,
    target: &[Lane],
    first: usize,
    (coordinates, table, rule): (usize, &[f32], Signs),
    squares: &[f32],
    scale: &Lane,
    trial: &mut Choice,
) {
    let mut aims = [[0.0_f32; ROWS]; 8];
    let mut pulls = [[0.0_f32; ROWS]; 8];
    for i in 0..8 {
        let carried = form.carried(first + i, &trial.miss, first);
        for l in 0..ROWS {
            aims[i][l] = (target[first + i][l] - carried[l]) * if scale[l] < 0.0 { -1.0 } else { 1.0 };
            pulls[i][l] = form.diagonal[first + i] * aims[i][l].abs();
            trial.signs[first + i][l] = if aims[i][l] < 0.0 { -1.0 } else { 1.0 };
        }
    }
    if rule == Signs::Even {
        even(&aims, &mut pulls, &mut trial.signs[first..first + 8]);
    }
    let magnitude = scale.map(f32::abs);
    let count = table.len() / coordinates;
    for part in 0..8 / coordinates {
        let place = first / coordinates + part;
        let pulls = &pulls[part * coordinates..][..coordinates];
        let found = best_point(table, coordinates, &squares[place * count..][..count], pulls, &magnitude);
        trial.codes[first + part * coordinates] = found;
    }
    for i in 0..8 {
        let j = first + i;
        let carried = form.carried(j, &trial.miss, j);
        let code = trial.codes[first + i / coordinates * coordinates];
        for l in 0..ROWS {
            let level = table[code[l] as usize * coordinates + i % coordinates];
            let value = scale[l] * level * trial.signs[j][l];
            trial.miss[j][l] = value - target[j][l];
            let error = trial.miss[j][l] + carried[l];
            trial.cost[l] += form.diagonal[j] * error * error;
        }
    }
}

/// Makes the number of negative signs even: where it is odd, the weight whose wrong sign costs least has it.
#[inline(always)]
fn even(aims: &[Lane; 8], pulls: &mut [Lane; 8], signs: &mut [Lane]) {
    for l in 0..ROWS {
        let product: f32 = (0..8).map(|i| signs[i][l]).product();
        if product < 0.0 {
            let cost = |i: usize| pulls[i][l] * aims[i][l].abs();
            let cheapest = (1..8).fold(0, |cheapest, i| if cost(i) < cost(cheapest) { i } else { cheapest });
            pulls[cheapest][l] = -pulls[cheapest][l];
            signs[cheapest][l] = -signs[cheapest][l];
        }
    }
}

/// The point with the least `sum of w (scale p - aim)^2`, where `pulls` are `w aim`.
#[inline(always)]
fn best_point(table: &[f32], coordinates: usize, squares: &[f32], pulls: &[Lane], scale: &Lane) -> Lane {
    let mut best = [f32::NEG_INFINITY; ROWS];
    let mut found = [0.0; ROWS];
    for (c, (point, square)) in table.chunks_exact(coordinates).zip(squares).enumerate() {
        let mut product = [0.0_f32; ROWS];
        for (p, pull) in point.iter().zip(pulls) {
            for l in 0..ROWS {
                product[l] += p * pull[l];
            }
        }
        for l in 0..ROWS {
            let score = 2.0 * product[l] - scale[l] * square;
            let better = score > best[l];
            best[l] = if better { score } else { best[l] };
            found[l] = if better { c as f32 } else { found[l] };
        }
    }
    found
}

/// The scale and offset with the least cost for the codes of `choice`.
#[inline(always)]
pub(crate) fn refit(shape: &GridShape, form: &Form<'_>, target: &[Lane], choice: &Choice) -> (Lane, Lane) {
    let size = target.len();
    let levels: Vec<Lane> = (0..size).map(|j| std::array::from_fn(|l| level(shape, choice, j, l))).collect();
    let (mut ll, mut lo, mut la) = ([0.0_f32; ROWS], [0.0_f32; ROWS], [0.0_f32; ROWS]);
    let (mut oo, mut oa) = (0.0_f32, [0.0_f32; ROWS]);
    for j in 0..size {
        let row = &form.feedback[j * form.stride + form.first..][..j];
        let one = 1.0 + row.iter().sum::<f32>();
        let of_levels = form.carried(j, &levels, j);
        let of_target = form.carried(j, target, j);
        let w = form.diagonal[j];
        oo += w * one * one;
        for l in 0..ROWS {
            let (level, aim) = (levels[j][l] + of_levels[l], target[j][l] + of_target[l]);
            ll[l] += w * level * level;
            lo[l] += w * level * one;
            la[l] += w * level * aim;
            oa[l] += w * one * aim;
        }
    }
    let (scale, offset) = choice.scales.values(shape);
    if shape.offset.is_none() {
        return (std::array::from_fn(|l| if ll[l] > 0.0 { la[l] / ll[l] } else { scale[l] }), offset);
    }
    let both = |l: usize| {
        let determinant = ll[l] * oo - lo[l] * lo[l];
        if determinant > 1e-6 * ll[l] * oo {
            ((la[l] * oo - oa[l] * lo[l]) / determinant, (oa[l] * ll[l] - la[l] * lo[l]) / determinant)
        } else {
            (scale[l], offset[l])
        }
    };
    let found: [(f32, f32); ROWS] = std::array::from_fn(both);
    (found.map(|f| f.0), found.map(|f| f.1))
}

#[inline(always)]
fn level(shape: &GridShape, choice: &Choice, j: usize, l: usize) -> f32 {
    match shape.levels {
        Levels::Even { lowest, .. } => lowest as f32 + choice.codes[j][l],
        Levels::Table(table) => table[choice.codes[j][l] as usize],
        Levels::Points { coordinates, table, .. } => {
            let code = choice.codes[j / coordinates * coordinates][l] as usize;
            table[code * coordinates + j % coordinates] * choice.signs[j][l]
        }
    }
}
