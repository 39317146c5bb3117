//! The traits, one file each.

mod architecture;
mod encoding;
mod format;
mod policy;

pub use architecture::Architecture;
pub use encoding::{Encoding, Importance, ImportanceUse, Layout};
pub use format::{Confidence, Format, ReadRequest, WriteRequest};
pub use policy::Policy;
