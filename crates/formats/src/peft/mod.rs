//! PEFT's layout of a low-rank adapter (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021): what is
//! added to some matrices of a base model, which it names and does not hold.
//!
//! ```text
//! adapter/
//!   adapter_config.json                      kind, α, rank, base model
//!   adapter_model.safetensors (or .bin)      for each adapted module MODULE of the base
//!     base_model.model.MODULE.lora_A.weight  [rank, inputs]
//!     base_model.model.MODULE.lora_B.weight  [outputs, rank]
//!     base_model.model.MODULE.lora_embedding_A [rank, tokens], .lora_embedding_B [width, rank]   of an embedding
//!   README.md                                model card                                          (optional)
//! ```
//!
//! A module's weight `W` becomes `W + α / rank * B A`, with `W` as `[outputs, inputs]` whatever way around the base
//! stores it. Normalization gains that a merging tool left beside the pairs are taken as they are.
//!
//! llama.cpp's converter does otherwise in two cases, both to the adapter's harm: it writes the α of rank-stabilized LoRA
//! (α / √rank) as if it were divided by the rank, and turns GPT-2's factors as GPT-2's weights are.
//!
//! The tensors of the model that is read are called `MODULE.weight.lora_a` and `MODULE.weight.lora_b`, in Hugging Face's
//! naming, each pair in one piece; their places and their order of rows are the base model's to know.
//! Reference: <https://huggingface.co/docs/peft/developer_guides/checkpoint>.

mod config;
mod format;
mod read;
#[cfg(test)]
mod tests;

pub use format::Peft;
pub(crate) use read::read_parts;
