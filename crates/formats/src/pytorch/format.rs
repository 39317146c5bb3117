//! The format as the registry sees it.

use std::path::Path;

use gravure_core::{Confidence, Format, Model, Naming, ReadRequest, Result};

use super::{legacy, read};
use crate::safetensors::folder;

/// PyTorch checkpoints, read only.
#[derive(Debug, Clone, Copy)]
pub struct PyTorch;

impl PyTorch {
    pub(super) const ID: &'static str = "pytorch";
}

impl Format for PyTorch {
    fn id(&self) -> &'static str {
        Self::ID
    }

    fn doc(&self) -> &'static str {
        "PyTorch checkpoint (.bin, .pt, .pth, .th), read without unpickling"
    }

    fn extension(&self) -> Option<&'static str> {
        Some("pt")
    }

    fn naming(&self) -> Naming {
        Naming::HuggingFace
    }

    fn probe(&self, path: &Path, head: &[u8]) -> Confidence {
        if path.is_dir() {
            // Where both are there, safetensors are preferred, as transformers does.
            return match (folder::has_pickles(path), folder::presence(path)) {
                (true, folder::Presence::Weights) => Confidence::Name,
                (true, _) => Confidence::Certain,
                (false, _) => Confidence::No,
            };
        }
        let named = path
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| ["bin", "pt", "pth", "th", "ckpt", "pkl"].contains(&e.to_ascii_lowercase().as_str()));
        let zip = head.starts_with(b"PK\x03\x04")
            && (named || head.get(30..130).is_some_and(|names| names.windows(9).any(|w| w == b"/data.pkl")));
        match (zip || head.starts_with(&legacy::HEAD), named) {
            (true, _) => Confidence::Certain,
            (false, true) => Confidence::Name,
            (false, false) => Confidence::No,
        }
    }

    fn read_configuration(&self, request: &ReadRequest<'_>) -> Result<Model> {
        crate::safetensors::configuration(Self::ID, request)
    }

    fn read(&self, request: &ReadRequest<'_>) -> Result<Model> {
        read::read(request)
    }
}

#[cfg(test)]
mod tests;
