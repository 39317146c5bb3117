//! The format as the registry sees it.

use std::path::Path;

use gravure_core::{Artifact, Confidence, Encoding, Format, Limits, Metadata, Model, Package, ReadRequest, Result, WriteRequest};
use gravure_text::Tokenizer;

use super::{header, read, tokenizer, types, write};

/// The GGUF format.
#[derive(Debug, Clone, Copy)]
pub struct Gguf;

impl Format for Gguf {
    fn id(&self) -> &'static str {
        "gguf"
    }

    fn doc(&self) -> &'static str {
        "GGUF of llama.cpp: metadata, tokenizer and block-quantized tensors in one file or in shards"
    }

    fn extension(&self) -> Option<&'static str> {
        Some("gguf")
    }

    fn probe(&self, path: &Path, head: &[u8]) -> Confidence {
        if head.starts_with(header::MAGIC) {
            Confidence::Certain
        } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf")) {
            Confidence::Name
        } else {
            Confidence::No
        }
    }

    fn read(&self, request: &ReadRequest<'_>) -> Result<Model> {
        read::read(request)
    }

    fn tokenizer(&self, model: &Model, limits: &Limits) -> Result<Option<Tokenizer>> {
        tokenizer::read(&model.metadata, limits)
    }

    fn tokenizer_as_written(&self, source: &Tokenizer) -> Result<Option<Tokenizer>> {
        let mut metadata = Metadata::new();
        tokenizer::write(source, &mut metadata)?;
        tokenizer::read(&metadata, &Limits::default())
    }

    fn can_hold(&self, encoding: &dyn Encoding) -> bool {
        types::type_of(encoding).is_some()
    }

    fn layout(&self, package: &Package<'_>, request: &WriteRequest) -> Result<Vec<(String, u64)>> {
        write::layout(package, request)
    }

    fn write(&self, package: &Package<'_>, request: &WriteRequest) -> Result<Artifact> {
        write::write(package, request)
    }
}
