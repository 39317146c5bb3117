//! `awq`: inputs that matter are made small before a map and their weights large, where rounding costs less.
//!
//! ```text
//! outputs before / s -> inputs -> weights * s        s_i = rms(input i)^a / max |weights of column i|^b
//! ```
//! `a` and `b` are searched for each pair of neighbours: what rounding the maps behind costs is computed from the
//! second moments of their inputs, on evenly spaced rows. Activation-aware Weight Quantization, Lin et al. 2023
//! (arXiv:2306.00978); second moments of all pairs of inputs instead of the outputs of a sample.

use std::sync::Arc;

use gravure_core::contracts::{Changed, Surroundings};
use gravure_core::{Error, Hessian, Model, Needs, Note, Pass, Result};

use crate::changed::{Change, change, tensor};
use crate::neighbours::{Before, Map, Pair, View};

/// Rows of a map that a search rounds.
const ROWS: u64 = 128;
/// Powers that are tried are multiples of one by this.
const STEPS: u32 = 10;
/// Factors lie within this and its inverse.
const MOST: f32 = 64.0;

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub struct Awq;

impl Pass for Awq {
    fn id(&self) -> &'static str {
        "awq"
    }

    fn doc(&self) -> &'static str {
        "inputs that matter are scaled down, their weights up (Lin et al. 2023)"
    }

    fn needs(&self) -> Needs {
        Needs::Hessian
    }

    fn apply(&self, model: &Model, surroundings: &dyn Surroundings) -> Result<Changed> {
        let mut changed = model.clone();
        let mut notes = Vec::new();
        let pairs = View::new(model)?.pairs();
        if pairs.is_empty() {
            return Err(Error::unsupported("the graph has no neighbours whose scales could cancel out").in_file(&model.source.path));
        }
        for pair in pairs {
            // The original's inputs, and its weights: factors of other pairs are theirs alone.
            let Some(found) = search(model, &pair, surroundings)? else { continue };
            let gain = 100.0 * (1.0 - found.error);
            let text = match found.factors {
                None => "no scales lose less".to_owned(),
                Some(factors) => {
                    scale(&mut changed, &pair, &factors, surroundings)?;
                    format!(
                        "{gain:.1} % less error in the outputs behind (inputs to the power {:.1}, weights {:.1})",
                        found.powers.0, found.powers.1
                    )
                }
            };
            notes.push(Note { subject: pair.place, text });
        }
        Ok(Changed { model: changed, notes })
    }
}

/// The best scales of a pair.
struct Found {
    /// Of each output before; `None` where none are better than ones.
    factors: Option<Vec<f32>>,
    powers: (f32, f32),
    /// Error of a map behind as a share of what it is with ones, in the mean of the maps: how much each matters to the
    /// model is not known here.
    error: f64,
}

/// A map behind, as a search sees it.
struct Trial {
    map: Map,
    /// Some of its rows.
    rows: Vec<f32>,
}

fn search(model: &Model, pair: &Pair, surroundings: &dyn Surroundings) -> Result<Option<Found>> {
    let first = pair.behind.first().ok_or_else(|| Error::bug("a pair without a map behind"))?;
    let Some(hessian) = surroundings.hessian(&first.weight)? else { return Ok(None) };
    let columns = hessian.columns();
    let outputs = (0..columns).map(|i| pair.output_of(i)).max().map_or(0, |last| last + 1);
    let (mut scratch, mut row) = (Vec::new(), Vec::new());
    let mut trials = Vec::new();
    let mut largest = vec![0.0_f32; outputs];
    for &map in &pair.behind {
        let tensor = tensor(model, map.weight)?;
        if tensor.shape.row_length() != columns as u64 {
            return Err(Error::input(format!("rows of {} where inputs are {columns}", tensor.shape.row_length())).at_item(&*tensor.name));
        }
        let all = tensor.shape.rows();
        let count = all.min(ROWS);
        let mut rows = Vec::with_capacity(count as usize * columns);
        for sample in 0..count {
            let at = sample * all / count;
            tensor.decode_rows(at..at + 1, &mut scratch, &mut row)?;
            rows.extend_from_slice(&row);
            row.iter().enumerate().for_each(|(i, w)| largest[pair.output_of(i)] = largest[pair.output_of(i)].max(w.abs()));
        }
        trials.push(Trial { map, rows });
    }
    // Inputs that share an output share its factor.
    let mut squares = vec![(0.0_f64, 0_u32); outputs];
    for (i, square) in hessian.diagonal().into_iter().enumerate() {
        let (sum, count) = &mut squares[pair.output_of(i)];
        (*sum, *count) = (*sum + f64::from(square), *count + 1);
    }
    let strength: Vec<f32> = squares.iter().map(|(sum, count)| (sum / f64::from((*count).max(1))).sqrt() as f32).collect();
    let before = errors_of(model, pair, &trials, &hessian, &vec![1.0; outputs], surroundings)?;
    let mut best = Found { factors: None, powers: (0.0, 0.0), error: 1.0 };
    // With the weights' own size, as Lin et al.'s code does, and without it.
    for (a, b) in (1..=STEPS).flat_map(|a| [(a, 0), (a, STEPS - a)]).take(2 * STEPS as usize - 1) {
        let powers = (a as f32 / STEPS as f32, b as f32 / STEPS as f32);
        let factors = factors(&strength, &largest, powers);
        let errors = errors_of(model, pair, &trials, &hessian, &factors, surroundings)?;
        let shares = errors.iter().zip(&before).map(|(error, before)| if *before > 0.0 { error / before } else { 1.0 });
        let error = shares.sum::<f64>() / errors.len() as f64;
        if error < best.error {
            best = Found { factors: Some(factors), powers, error };
        }
    }
    Ok(Some(best))
}

/// `strength^a / largest^b`, with ones in their middle.
fn factors(strength: &[f32], largest: &[f32], (a, b): (f32, f32)) -> Vec<f32> {
    let raw = |(x, w): (&f32, &f32)| if *x > 0.0 && *w > 0.0 { x.powf(a) / w.powf(b) } else { 0.0 };
    let mut factors: Vec<f32> = strength.iter().zip(largest).map(raw).collect();
    let used: Vec<f64> = factors.iter().filter(|f| **f > 0.0 && f.is_finite()).map(|f| f64::from(f.ln())).collect();
    let middle = (used.iter().sum::<f64>() / used.len().max(1) as f64).exp() as f32;
    for factor in &mut factors {
        // What is never seen, or weighs nothing, stays.
        *factor = if *factor > 0.0 && factor.is_finite() { (*factor / middle).clamp(1.0 / MOST, MOST) } else { 1.0 };
    }
    factors
}

/// What rounding costs each of the maps behind.
fn errors_of(
    model: &Model,
    pair: &Pair,
    trials: &[Trial],
    hessian: &Hessian,
    factors: &[f32],
    surroundings: &dyn Surroundings,
) -> Result<Vec<f64>> {
    let columns = hessian.columns();
    let by_input: Vec<f32> = (0..columns).map(|i| factors[pair.output_of(i)]).collect();
    let mut values = hessian.values().to_vec();
    for (row, by_row) in values.chunks_exact_mut(columns.max(1)).zip(&by_input) {
        row.iter_mut().zip(&by_input).for_each(|(value, by_column)| *value /= by_row * by_column);
    }
    let scaled = Hessian::new(columns, values)?;
    let error = |trial: &Trial| {
        let mut rows = trial.rows.clone();
        rows.chunks_exact_mut(columns.max(1)).for_each(|row| row.iter_mut().zip(&by_input).for_each(|(w, f)| *w *= f));
        surroundings.error(tensor(model, trial.map.weight)?, &rows, &scaled)
    };
    trials.iter().map(error).collect()
}

/// Multiplies the maps behind by `factors`, and divides the outputs before.
fn scale(model: &mut Model, pair: &Pair, factors: &[f32], surroundings: &dyn Surroundings) -> Result<()> {
    let floats = surroundings.floats();
    let inverse: Arc<[f32]> = factors.iter().map(|f| 1.0 / f).collect();
    match &pair.before {
        Before::Norm { gain, bias } => {
            change(model, *gain, Change::Columns(Arc::clone(&inverse)), floats)?;
            if let Some(bias) = bias {
                change(model, *bias, Change::Columns(inverse), floats)?;
            }
        }
        Before::Rows { map, rows } => {
            if let Some(bias) = map.bias {
                let mut all = vec![1.0; tensor(model, bias)?.shape.row_length() as usize];
                let part = all.get_mut(rows.start as usize..rows.end as usize).filter(|part| part.len() == inverse.len());
                part.ok_or_else(|| Error::input("a bias does not fit its map"))?.copy_from_slice(&inverse);
                change(model, bias, Change::Columns(all.into()), floats)?;
            }
            change(model, map.weight, Change::Rows { first: rows.start, factors: inverse }, floats)?;
        }
    }
    for map in &pair.behind {
        let columns = tensor(model, map.weight)?.shape.row_length() as usize;
        let by_input: Arc<[f32]> = (0..columns).map(|i| factors[pair.output_of(i)]).collect();
        change(model, map.weight, Change::Columns(by_input), floats)?;
    }
    Ok(())
}
