//! A change of weights that leaves the computation as it is, so that they can be rounded better.

use std::sync::Arc;

use crate::values::Hessian;
use crate::{Encoding, Model, Needs, Note, Result, Tensor, TensorId};

/// What a pass asks of whoever runs it.
pub trait Surroundings: Sync {
    /// Floats of 32 bits: what changed weights are in.
    fn floats(&self) -> &'static dyn Encoding;

    /// Mean products of the inputs of a linear map; `None` where no input was seen.
    ///
    /// # Errors
    /// Those of running the model.
    fn hessian(&self, id: &TensorId) -> Result<Option<Arc<Hessian>>>;

    /// What rounding does to the outputs of `tensor`, changed to the weights `rows` (some whole rows) whose inputs
    /// have the second moments `hessian`: the sum of the mean squares of the outputs' changes. The encoding is the one
    /// that the tensor will be stored in.
    ///
    /// # Errors
    /// Those of the encoding.
    fn error(&self, tensor: &Tensor, rows: &[f32], hessian: &Hessian) -> Result<f64>;
}

/// A model whose weights were changed.
#[derive(Debug)]
pub struct Changed {
    /// The model; its graph computes what the original's does.
    pub model: Model,
    /// What was changed, and what could not be, by place.
    pub notes: Vec<Note>,
}

/// A change of weights and of their neighbours that cancel out.
pub trait Pass: Send + Sync + std::fmt::Debug {
    /// Lower-case name as plans spell it, for example `awq`.
    fn id(&self) -> &'static str;

    /// One line for tables.
    fn doc(&self) -> &'static str;

    /// What it has to be told.
    fn needs(&self) -> Needs;

    /// Changes a model that follows the neutral conventions. Weights are read when the changed ones are.
    ///
    /// # Errors
    /// `Unsupported` where the model has no graph, or the pass finds no place in it; those of the surroundings.
    fn apply(&self, model: &Model, surroundings: &dyn Surroundings) -> Result<Changed>;
}
