//! What a model is worth: perplexity and divergence from a reference, speed, memory, energy; and what
//! its matrices see while it runs (calibration).
//!
//! Everything here works over any runtime that can decode ([`gravure_core::contracts::Decoder`]).
#![forbid(unsafe_code)]

pub mod bandwidth;
pub mod calibration;
pub mod energy;
pub mod memory;
pub mod moments;
pub mod pairs;
pub mod quality;
pub mod speed;
pub mod statistics;
pub mod windows;

mod opened;
mod rows;

pub use calibration::{Collector, calibrate};
pub use moments::Moments;
pub use pairs::{Pair, pair};
pub use quality::{Quality, QualityRequest, Subject, quality};
pub use speed::{Speed, SpeedRequest, speed};
pub use statistics::{Measurement, Spread};
pub use windows::Windows;
