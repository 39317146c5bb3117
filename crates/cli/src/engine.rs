//! How a model is loaded: options that all verbs share which run one.

use std::path::{Path, PathBuf};

use gravure::engine::{Activations, CacheType, LoadOptions};

use crate::printer::Printer;

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Cache {
    /// 32-bit floats
    F32,
    /// 16-bit floats
    F16,
    /// Blocks of 8-bit integers
    #[value(name = "q8_0")]
    Q8,
}

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct EngineArgs {
    /// How keys and values are kept [default: f16]
    #[arg(long, visible_aliases = ["ctk", "cache-type-k"], value_name = "TYPE")]
    pub(crate) cache_type: Option<Cache>,
    /// Keep inputs of matrices in 32-bit floats: slow, the reference for quality
    #[arg(long)]
    pub(crate) exact: bool,
    /// Format of the model, where it cannot be recognised
    #[arg(long, value_name = "FORMAT")]
    pub(crate) from: Option<String>,
    /// Go on where the model has keys or tensors that are not known
    #[arg(long)]
    pub(crate) lenient: bool,
}

/// Where a model runs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RuntimeArgs {
    /// Run in this runtime: native, llama.cpp (its Python package; GRAVURE_PYTHON names the interpreter) [default: native]
    #[arg(long, value_name = "RUNTIME")]
    pub(crate) runtime: Option<String>,
}

impl RuntimeArgs {
    /// The same in the runtime that was asked for.
    pub(crate) fn of(&self, options: LoadOptions) -> LoadOptions {
        LoadOptions { runtime: self.runtime.clone(), ..options }
    }
}

/// Where the model runs that others are measured against.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReferenceArgs {
    /// Run the reference in this runtime [default: native]
    #[arg(long, value_name = "RUNTIME", requires = "reference")]
    pub(crate) reference_runtime: Option<String>,
}

impl ReferenceArgs {
    /// The same in the runtime that was asked for.
    pub(crate) fn of(&self, options: LoadOptions) -> LoadOptions {
        LoadOptions { runtime: self.reference_runtime.clone(), ..options }
    }
}

impl EngineArgs {
    /// What the facade wants to know of `path`.
    pub(crate) fn options(&self, path: &Path, printer: &Printer) -> LoadOptions {
        let mut options = LoadOptions::new(PathBuf::from(path));
        options.format.clone_from(&self.from);
        options.lenient = self.lenient;
        options.threads = printer.threads;
        options.cache = match self.cache_type {
            Some(Cache::F32) => CacheType::F32,
            Some(Cache::F16) | None => CacheType::F16,
            Some(Cache::Q8) => CacheType::Q8,
        };
        options.activations = if self.exact { Activations::F32 } else { Activations::Fast };
        options
    }
}
