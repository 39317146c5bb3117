//! What tests share: a disk that fails on demand, deterministic numbers, the place of test data.
#![forbid(unsafe_code)]

mod data;
mod faulty;
pub mod hostile;
pub mod interpreter;
pub mod tiny_model;

pub use data::{test_data, workspace_root};
pub use faulty::{Fault, FaultyDisk};
