//! PyTorch checkpoints: `.bin`, `.pt`, `.pth`, `.th`.
//!
//! ```text
//! zip (torch >= 1.6)                      legacy stream
//!   <name>/data.pkl      the object         pickle: magic number
//!   <name>/byteorder     "little"           pickle: protocol version, 1001
//!   <name>/data/0        storage bytes      pickle: system info
//!   <name>/data/1        ...                pickle: the object
//!   <name>/version       "3"                pickle: list of storage keys
//!                                           each storage: u64 elements, bytes
//! ```
//!
//! A pickle is a program, and unpickling runs it: a checkpoint can do to its reader whatever the reader
//! may do. So nothing is unpickled here. A machine of our own ([`machine`]) goes through the opcodes and
//! builds plain data; it has no way to call anything. The few names that a checkpoint of weights
//! needs ([`globals`]) stand for data constructors; every other name is an error that says it.
//! The weights stay in the file and are read positionally.

mod archive;
mod format;
mod globals;
mod heap;
mod legacy;
mod machine;
mod read;
mod scan;
mod tensors;

pub use format::PyTorch;
pub(crate) use read::read_source;
pub(crate) use scan::scan as scan_source;
pub use scan::{PickleScan, ScannedGlobal, scan_pickle};
