//! The format as the registry sees it.

use std::path::Path;

use gravure_core::{Artifact, Confidence, Encoding, Format, Model, Naming, Package, ReadRequest, Result, WriteRequest};

use super::folder::{self, Presence};
use super::{configuration, dtype, read, write};

/// Hugging Face folders and bare safetensors files.
#[derive(Debug, Clone, Copy)]
pub struct HuggingFace;

impl HuggingFace {
    pub(super) const ID: &'static str = "safetensors";
}

impl Format for HuggingFace {
    fn id(&self) -> &'static str {
        Self::ID
    }

    fn doc(&self) -> &'static str {
        "Hugging Face folder of config.json, safetensors weights and tokenizer files"
    }

    fn extension(&self) -> Option<&'static str> {
        None
    }

    fn probe(&self, path: &Path, head: &[u8]) -> Confidence {
        if path.is_dir() {
            return match folder::presence(path) {
                Presence::Weights => Confidence::Certain,
                Presence::Parts => Confidence::Name,
                Presence::Nothing => Confidence::No,
            };
        }
        let named = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors"));
        let length = head.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
        let plausible = length.is_some_and(|n| (2..=100_000_000).contains(&n));
        match (named, plausible && head.get(8) == Some(&b'{') && matches!(head.get(9), Some(b'"' | b'}'))) {
            (_, true) => Confidence::Certain,
            (true, false) => Confidence::Name,
            (false, false) => Confidence::No,
        }
    }

    fn naming(&self) -> Naming {
        Naming::HuggingFace
    }

    fn read(&self, request: &ReadRequest<'_>) -> Result<Model> {
        read::read(request)
    }

    fn read_configuration(&self, request: &ReadRequest<'_>) -> Result<Model> {
        configuration(Self::ID, request)
    }

    fn can_hold(&self, encoding: &dyn Encoding) -> bool {
        dtype::tag(encoding).is_some()
    }

    fn layout(&self, package: &Package<'_>, request: &WriteRequest) -> Result<Vec<(String, u64)>> {
        write::layout(package, request)
    }

    fn write(&self, package: &Package<'_>, request: &WriteRequest) -> Result<Artifact> {
        write::write(package, request)
    }
}

#[cfg(test)]
mod tests;
