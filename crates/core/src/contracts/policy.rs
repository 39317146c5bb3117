//! Who decides which encoding each tensor gets.

use crate::{Catalog, ImportanceMatrix, Model, Plan, Result};

/// Chooses an encoding for every tensor.
pub trait Policy: Send + Sync + std::fmt::Debug {
    /// The plan for `model`, or the reason why there is none.
    fn plan(&self, model: &Model, catalog: &Catalog, importance: Option<&ImportanceMatrix>) -> Result<Plan>;
}
