//! From logits to text: sampling, stop strings, speculative decoding, the loop of a conversation, over any
//! runtime that can decode.
#![forbid(unsafe_code)]

mod constraint;
mod math;
mod random;
pub mod sampling;
mod session;
pub mod speculation;
mod stops;
mod text_stream;

pub use constraint::Constraint;
pub use random::Random;
pub use sampling::{Sampler, Sampling};
pub use session::{Event, Overflow, Reply, Session, StopReason, Timings, Turn};
pub use speculation::Speculator;
pub use stops::{Passed, Stops};
pub use text_stream::TextStream;
