//! Who decides which encoding each tensor gets: policies, each from model, request and calibration to
//! a [`gravure_core::Plan`].
//!
//! [`budget`] finds what loses least under a limit, [`two_budgets`] under two, [`mixtures`] are the named
//! types of the GGUF world, [`uniform`] is one plain type for a whole model. [`roofline`] predicts what a
//! plan costs on a device; [`search`] tries out what no formula ranks.
#![forbid(unsafe_code)]

pub mod budget;
pub mod mixtures;
pub mod roofline;
pub mod search;
pub mod two_budgets;
pub mod uniform;
