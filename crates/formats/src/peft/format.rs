//! The format as the registry sees it.

use std::path::Path;

use gravure_core::{Confidence, Format, Model, Naming, ReadRequest, Result};

use super::{config, read};

/// Folders of an adapter.
#[derive(Debug, Clone, Copy)]
pub struct Peft;

impl Peft {
    pub(super) const ID: &'static str = "peft";
}

impl Format for Peft {
    fn id(&self) -> &'static str {
        Self::ID
    }

    fn doc(&self) -> &'static str {
        "PEFT folder of a LoRA adapter: adapter_config.json and its weights"
    }

    fn extension(&self) -> Option<&'static str> {
        None
    }

    fn probe(&self, path: &Path, _head: &[u8]) -> Confidence {
        let weights = read::WEIGHTS.iter().any(|name| path.join(name).is_file());
        match (path.join(config::FILE).is_file(), weights) {
            (true, true) => Confidence::Certain,
            (false, false) => Confidence::No,
            _ => Confidence::Name,
        }
    }

    fn naming(&self) -> Naming {
        Naming::HuggingFace
    }

    fn read(&self, request: &ReadRequest<'_>) -> Result<Model> {
        read::read(request)
    }
}
