//! The values that travel through Gravure and the contracts of those who handle them.
//!
//! Stages take the last value and return the next; no value knows who made it:
//!
//! `Source` -Format::read-> [`Model`] -Policy-> [`Plan`] -Encoding-> [`Package`] -Format::write-> [`Artifact`]
//! -Runtime-> measurements
#![forbid(unsafe_code)]

mod catalog;
pub mod contracts;
pub mod values;

pub use catalog::Catalog;
pub use contracts::{
    Architecture, Confidence, Encoding, Format, Grid, Importance, ImportanceUse, Inputs, Layout, Method, Needs, Pass, PlaneAxis,
    PlaneEncoding, PlaneLayout, PlaneParameters, PlaneRole, Policy, ReadRequest, Rounder, Runtime, WriteRequest,
};
pub use gravure_base::{Error, ErrorKind, Limits, Result, ResultExt};
pub use values::{
    Artifact, ArtifactFile, ChunkStream, Graph, GroupedRows, Grouping, Hessian, HyperKey, Hyperparameters, ImportanceMatrix, Metadata,
    Model, Naming, Note, Order, Package, PackageTensor, Part, Plan, PlanEntry, Role, Shape, Tensor, TensorData, TensorId, TensorMap,
    TensorRule, Transform, Value,
};
