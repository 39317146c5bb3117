//! What architectures are built of: hyperparameters, tensor rules, rotary factors, and pieces of
//! graph.

pub(crate) mod decoder;
pub(crate) mod graph;
pub(crate) mod pooling;
pub(crate) mod rope;
pub(crate) mod sizes;
pub(crate) mod tensors;
