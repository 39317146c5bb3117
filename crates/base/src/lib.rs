//! The ground floor: error kinds, resource limits, bounded readers and atomic output files.
//!
//! Everything that touches a file system or a hostile byte goes through this crate, so that the
//! rules (checked sizes, typed errors that say where, nothing half-written) are written once.
#![forbid(unsafe_code)]

mod atomic;
mod atomic_folder;
mod cursor;
mod digest;
mod error;
pub mod json;
mod limits;
mod output;
mod pages;
mod reader;
mod storage;
mod texts;

pub use atomic::{AtomicFile, folder_of, partial_path};
pub use atomic_folder::{AtomicFolder, remove_all};
pub use cursor::Cursor;
pub use digest::{Sha256, hex};
pub use error::{Error, ErrorKind, Result, ResultExt};
pub use limits::Limits;
pub use output::{FinishedFile, OutputFile, journal_path};
pub use pages::Pages;
pub use reader::{FileReader, MemoryReader, ReadAt, SliceReader};
pub use storage::{Disk, OutputHandle, Storage, free_space};
pub use texts::Texts;
