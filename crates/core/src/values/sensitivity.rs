//! What it costs to store a tensor in an encoding.

use serde::{Deserialize, Serialize};

/// One encoding of one tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateError {
    /// Encoding id.
    pub encoding: String,
    /// Exact bytes of the tensor.
    pub bytes: u64,
    /// Squared error of the weights, each column weighted by the mean square of its input: the error of
    /// the tensor's output for each position, summed over rows.
    pub error: f64,
    /// Standard error of `error`, where it was estimated from some of the rows; 0 otherwise.
    pub error_stderr: f64,
}

/// All candidates of one tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorSensitivity {
    /// The tensor's neutral name.
    pub tensor: String,
    /// Divergence of the whole model, in nats, for each unit of error.
    pub constant: f64,
    /// Whether the constant was measured on this tensor; interpolated from its neighbours otherwise.
    pub measured: bool,
    /// The candidates.
    pub candidates: Vec<CandidateError>,
}

/// What a model loses where, in divergence from its original.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// One entry for each tensor that may be quantized.
    pub tensors: Vec<TensorSensitivity>,
    /// Divergence of any choice of packed encodings, in nats: that of rounding the inputs of matrices at work.
    pub floor: f64,
}
