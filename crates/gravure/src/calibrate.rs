//! Calibration: what the matrices of a model see on a text, as an importance matrix.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use gravure_base::{Disk, Result, ResultExt, Storage};
use gravure_core::values::ImportanceEntry;
use gravure_core::{ImportanceMatrix, Role, TensorId};
use gravure_eval::calibration::{InputSums, Watched};
use gravure_eval::{Collector, Windows, calibrate as run};

use crate::engine::{Engine, LoadOptions, load};
use crate::evaluate::{first_token, text_tokens, tokenizer};
use crate::{Observer, catalog};

/// Rows that a matrix should have seen for each of its input columns: below, its means are noise.
const ROWS_ENOUGH: f64 = 1.0;

/// What to calibrate, and on what.
#[derive(Debug, Clone)]
pub struct CalibrateRequest {
    /// The model.
    pub model: LoadOptions,
    /// The text.
    pub data: PathBuf,
    /// File of the importance matrix.
    pub output: PathBuf,
    /// Tokens in a window.
    pub context: usize,
    /// At most this many windows.
    pub windows: Option<usize>,
    /// Whether the output matrix is watched, too.
    pub watched: Watched,
    /// Where the output goes.
    pub storage: Arc<dyn Storage>,
}

impl CalibrateRequest {
    /// Windows of 512 tokens of all of `data`, the layers alone.
    pub fn new(model: LoadOptions, data: impl Into<PathBuf>, output: impl Into<PathBuf>) -> Self {
        Self {
            model,
            data: data.into(),
            output: output.into(),
            context: 512,
            windows: None,
            watched: Watched::Layers,
            storage: Arc::new(Disk),
        }
    }
}

/// A matrix that saw too little for its mean squares to be trusted.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Starved {
    /// The tensor.
    pub tensor: String,
    /// The expert, where the tensor holds several.
    pub expert: Option<usize>,
    /// Rows that it saw.
    pub rows: u64,
    /// Input columns that it has.
    pub columns: u64,
}

/// What a calibration left behind.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Calibrated {
    /// The importance matrix's file.
    pub output: PathBuf,
    /// Tensors in it.
    pub tensors: usize,
    /// Windows that were run.
    pub windows: usize,
    /// Tokens in a window.
    pub context: usize,
    /// Tokens that were run.
    pub tokens: u64,
    /// Matrices that saw too little.
    pub starved: Vec<Starved>,
    /// Seconds of calibration, without loading.
    pub seconds: f64,
}

/// Runs the windows of a text through a model and writes what its matrices saw.
///
/// # Errors
/// Those of loading; `Unsupported` where the model does not decode or has no tokenizer; `Request` where
/// the text is too short; `Input` where values are no numbers; `Environment` where the file cannot be
/// written; `Interrupted`.
pub fn calibrate(request: &CalibrateRequest, observer: &dyn Observer) -> Result<Calibrated> {
    let engine = load(&LoadOptions { positions: request.context, ..request.model.as_original() }, observer)?;
    calibrate_loaded(request, &engine, &|sums| sums(), observer).map(|seen| seen.report)
}

/// Sums of squares by weight.
pub(crate) type InputsByWeight = BTreeMap<TensorId, InputSums>;

/// Hands out sums: those that it is given the way to, or others that it kept of an earlier run.
pub(crate) type Keep<'a> = &'a dyn Fn(&mut dyn FnMut() -> Result<InputsByWeight>) -> Result<InputsByWeight>;

/// A report and what the matrices saw.
pub(crate) struct Seen {
    pub(crate) report: Calibrated,
    pub(crate) inputs: InputsByWeight,
    /// What was written to the file.
    pub(crate) matrix: ImportanceMatrix,
}

/// The same with a model that is loaded already, with room for a window; `keep` may know the sums from before.
///
/// # Errors
/// As [`calibrate`].
pub(crate) fn calibrate_loaded(request: &CalibrateRequest, engine: &Engine, keep: Keep<'_>, observer: &dyn Observer) -> Result<Seen> {
    let tokens = text_tokens(&engine.model, &request.data)?;
    let first = first_token(tokenizer(&engine.model)?);
    let windows = Windows::new(&tokens, request.context, first, request.windows).in_file(&request.data)?;
    let started = Instant::now();
    let inputs = keep(&mut || {
        let mut collector = Collector::new(request.watched);
        let bytes = std::fs::metadata(&request.data).map(|m| m.len()).unwrap_or_default();
        observer.begin("calibrate", 0, bytes);
        let share = bytes / windows.count() as u64;
        let ran = run(&windows, engine.decoder()?, &mut collector, &mut |_| {
            observer.advance("", share);
            observer.go_on()
        });
        observer.end();
        ran.map(|()| collector.into_sums())
    })?;
    let (matrix, starved) = importance(&inputs, &windows, request)?;
    gravure_formats::write_importance_matrix(&request.output, Arc::clone(&request.storage), catalog(), &matrix)?;
    let report = Calibrated {
        output: request.output.clone(),
        tensors: matrix.entries.len(),
        windows: windows.count(),
        context: request.context,
        tokens: (windows.count() * request.context) as u64,
        starved,
        seconds: started.elapsed().as_secs_f64(),
    };
    Ok(Seen { report, inputs, matrix })
}

fn importance(inputs: &InputsByWeight, windows: &Windows<'_>, request: &CalibrateRequest) -> Result<(ImportanceMatrix, Vec<Starved>)> {
    let mut matrix = ImportanceMatrix {
        datasets: vec![request.data.display().to_string()],
        chunk_count: windows.count() as u64,
        chunk_size: request.context as u64,
        ..ImportanceMatrix::default()
    };
    let mut starved = Vec::new();
    for (id, sums) in inputs {
        // A tied output matrix is the embedding's tensor, and tables have no inputs.
        let name = if id.role == Role::TokenEmbedding { None } else { gravure_formats::neutral_name(id) };
        let Some(name) = name else { continue };
        let values = sums.squares.iter().map(|s| (s / sums.rows.max(1) as f64) as f32).collect();
        if (sums.rows as f64) < ROWS_ENOUGH * sums.squares.len() as f64 {
            let columns = sums.squares.len() as u64;
            starved.push(Starved { tensor: name.clone(), expert: id.expert.map(|e| e as usize), rows: sums.rows, columns });
        }
        matrix.entries.insert(name, ImportanceEntry { values, counts: vec![sums.rows as f32] });
    }
    Ok((matrix, starved))
}
