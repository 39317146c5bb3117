//! Search over settings that no formula ranks: methods, mixtures, budgets, types of caches. Pure and driven from
//! outside: a [`Study`] is asked for trials and told what became of them.
//!
//! ```text
//! Space + Settings -> Study -ask-> Trial (point, fidelity) -> somebody measures it -tell-> Study
//! ```
//! Any number of trials may be out at once, and may be told in any order: one process, or many machines. Nothing
//! here reads a clock, a file or a source of chance: the same seed, asked and told in the same order, gives the
//! same trials. So a [`State`] is no more than what was asked and told, and a study goes on from it anywhere.
//!
//! Samplers are members of a registry ([`SAMPLERS`]), one file each; objectives are all made small.

pub mod pareto;
pub mod space;

mod chance;
mod grid;
mod halving;
mod ledger;
mod nsga2;
mod random;
mod registry;
mod sampler;
mod study;
mod tpe;

pub use grid::Grid;
pub use halving::Halving;
pub use nsga2::Nsga2;
pub use random::Random;
pub use registry::{SAMPLERS, sampler};
pub use sampler::{Ask, Fidelity, Outcome, Sampler, SamplerKind, Settings, Trial};
pub use space::{Condition, Domain, Parameter, Point, Scale, Space, Value};
pub use study::{Event, State, Study};
pub use tpe::Tpe;

#[cfg(test)]
mod tests;
