//! The traits, one file each.

mod architecture;
mod encoding;
mod format;
mod grid;
mod method;
mod pass;
mod plane_encoding;
mod policy;
mod runtime;

pub use architecture::{Architecture, POOLING_KEY};
pub use encoding::{Encoding, Importance, ImportanceUse, Layout};
pub use format::{Confidence, Format, ReadRequest, WriteRequest};
pub use grid::{Grid, GridShape, Levels, Parts, Signs, Steps};
pub use method::{Inputs, Method, Needs, Rounder};
pub use pass::{Changed, Pass, Surroundings};
pub use plane_encoding::{PlaneAxis, PlaneEncoding, PlaneLayout, PlaneParameters, PlaneRole};
pub use policy::Policy;
pub use runtime::{
    Activations, Adapter, CacheType, Chunk, Decoder, Encoder, Gap, LoadFacts, LoadRequest, Loaded, LogitsRow, Phase, Runtime, SequenceId,
    Step, Tap, Taps, Wanted, cancelled, check_chunks, not_open,
};
