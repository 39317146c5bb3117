//! The named mixtures of the GGUF world (`q4_k_m` and its kin): for every tensor the encoding that
//! llama-quantize gives it, with the reason.
//!
//! This is the one place that knows llama.cpp's encodings and architectures by name; the reference is
//! `src/llama-quant.cpp` and `tools/quantize/quantize.cpp` there.
//!
//! | file | what |
//! |---|---|
//! | `table.rs` | names, aliases, numbers, base encodings |
//! | `requests.rs` | options |
//! | `policy.rs` | from model and options to plan |
//! | `rules.rs` | which tensors get more or fewer bits |
//! | `categories.rs` | what rules distinguish; what is never quantized |
//! | `fallback.rs` | rows that are no multiple of a block |
//! | `facts.rs` | numbers of the model that rules depend on |
//! | `layers.rs` | order, and layers that are left out |
//! | `importance.rs` | the slice of an importance matrix for a tensor |

mod categories;
mod facts;
mod fallback;
mod importance;
mod layers;
mod policy;
mod requests;
mod rules;
mod table;

pub use importance::{expert_slice, importance_of};
pub use requests::{ImportanceFilter, MixtureRequest, OutputMatrix, Requantize, Spread, TensorOrder, TensorType, parse_layers};
pub use table::{Kind, MIXTURES, Mixture, find};
