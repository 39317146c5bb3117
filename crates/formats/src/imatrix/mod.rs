//! Importance matrices: how strongly each input of each matrix is driven, as `llama-imatrix` measures it.
//!
//! Two layouts are read, the first is written. A GGUF, written since 2025:
//!
//! ```text
//! metadata  general.type = "imatrix"  imatrix.datasets  imatrix.chunk_count  imatrix.chunk_size
//! tensors   <name>.in_sum2  f32 [matrices, columns]   sums of squares of the inputs
//!           <name>.counts   f32 [matrices, 1]         inputs that were summed
//! ```
//!
//! and the older `.dat`, all little-endian:
//!
//! ```text
//! entries i32
//! entries × { length i32  name  calls i32  values i32  values × f32 }
//! chunks i32  length i32  name of the data set         (not in the oldest files)
//! ```
//!
//! What comes out are mean squares with the very roundings of `llama-quantize`, since the bytes of
//! quantized tensors depend on them.

mod dat;
mod gguf;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use read::read as read_from;
pub use read::read_importance_matrix;
pub use write::write_importance_matrix;
