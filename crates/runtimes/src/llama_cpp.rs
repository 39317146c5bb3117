//! llama.cpp, by its Python package, in a process of its own: whether an artifact is accepted there, and what it is worth.
//!
//! The package is looked for in `python3`, or in the interpreter that the environment variable `GRAVURE_PYTHON` names. It
//! reads the model's file itself, so adapters and other formats are beyond it; it shows no intermediate values.

mod decoder;

use std::ffi::OsString;
use std::process::Command;

use gravure_base::{Error, ErrorKind, Result};
use gravure_core::contracts::{Activations, CacheType, Decoder, Gap, LoadFacts, LoadRequest, Loaded};
use gravure_core::{Model, Runtime};

use crate::worker::Worker;
use decoder::{LlamaDecoder, MOST_SEQUENCES, MOST_TOKENS};

/// The program that runs there.
const SCRIPT: &str = include_str!("llama_cpp/worker.py");
/// How the environment names another interpreter.
const PYTHON: &str = "GRAVURE_PYTHON";
/// Name for messages.
const NAME: &str = "llama.cpp";
/// Most tokens that a vocabulary is believed to have.
const LARGEST_VOCABULARY: u64 = 1 << 24;

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LlamaCpp;

/// What the child says first.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Greeting {
    error: Option<String>,
    missing: bool,
    version: String,
    vocabulary: u64,
    context: u64,
    positions: u64,
    weight_bytes: u64,
    cache_bytes_per_position: u64,
    decodes: bool,
    system: String,
}

/// Starts the child; what it says first.
fn start(arguments: &[OsString]) -> Result<(Worker, Greeting)> {
    let python = std::env::var_os(PYTHON).filter(|p| !p.is_empty()).unwrap_or_else(|| "python3".into());
    let mut command = Command::new(&python);
    // Outside of the interpreter's own environment nothing is written.
    command.args(["-B", "-c", SCRIPT]).args(arguments);
    let help = format!("`pip install llama-cpp-python`; {PYTHON} names another interpreter than python3");
    let (worker, line) = Worker::start(NAME, command).map_err(|e| e.help(&help))?;
    let greeting: Greeting = serde_json::from_slice(&line)
        .map_err(|e| Error::new(ErrorKind::Environment, format!("{NAME} greets with something else than was asked for: {e}")))?;
    match &greeting.error {
        None => Ok((worker, greeting)),
        Some(error) if greeting.missing => {
            let python = python.to_string_lossy();
            Err(Error::new(ErrorKind::Environment, format!("`{python}` has no Python package of {NAME} that works: {error}")).help(help))
        }
        Some(error) => Err(Error::unsupported(error.clone()).help(format!("llama-cpp-python is {}", greeting.version))),
    }
}

impl Runtime for LlamaCpp {
    fn id(&self) -> &'static str {
        NAME
    }

    fn doc(&self) -> &'static str {
        "llama.cpp by its Python package, in a process of its own"
    }

    fn check(&self) -> Result<String> {
        let (_worker, greeting) = start(&["check".into()])?;
        Ok(format!("llama-cpp-python {}", greeting.version))
    }

    fn opens_files(&self) -> bool {
        true
    }

    /// Nothing is known before it has read the file.
    fn gaps(&self, _model: &Model) -> Vec<Gap> {
        Vec::new()
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Loaded>> {
        let path = &request.model.source.path;
        if !request.adapters.is_empty() {
            return Err(Error::unsupported(format!("adapters are not given to {NAME}")).help("merge them first, or use the native runtime"));
        }
        if request.activations == Activations::F32 {
            return Err(Error::unsupported(format!("{NAME} chooses the precision of inputs itself")).help("leave out --exact"));
        }
        let cache = match request.cache {
            CacheType::F32 => "f32",
            CacheType::F16 => "f16",
            CacheType::Q8 => "q8",
        };
        let numbers = [request.threads.to_string(), request.positions.to_string()];
        let sizes = [MOST_SEQUENCES.to_string(), MOST_TOKENS.to_string()];
        let mut arguments: Vec<OsString> = vec!["load".into(), path.into()];
        arguments.extend(numbers.into_iter().chain([cache.to_owned()]).chain(sizes).map(OsString::from));
        let (worker, greeting) = start(&arguments)?;
        if !greeting.decodes {
            return Err(Error::unsupported(format!("only models that continue texts are run in {NAME}")).in_file(path));
        }
        if greeting.vocabulary == 0 || greeting.vocabulary > LARGEST_VOCABULARY {
            return Err(Error::input(format!("{NAME} states a vocabulary of {} tokens", greeting.vocabulary)).in_file(path));
        }
        let facts = LoadFacts {
            weight_bytes: greeting.weight_bytes,
            cache_bytes_per_position: greeting.cache_bytes_per_position,
            positions: request.positions.min(usize::try_from(greeting.positions).unwrap_or(usize::MAX)),
            context: usize::try_from(greeting.context).unwrap_or(usize::MAX),
            width: greeting.vocabulary as usize,
            kernels: vec![format!("llama-cpp-python {}: {}", greeting.version, greeting.system)],
        };
        let process = worker.process();
        Ok(Box::new(LlamaModel { process, decoder: LlamaDecoder::new(worker, &facts), facts }))
    }
}

#[derive(Debug)]
struct LlamaModel {
    facts: LoadFacts,
    process: u32,
    decoder: LlamaDecoder,
}

impl Loaded for LlamaModel {
    fn facts(&self) -> &LoadFacts {
        &self.facts
    }

    fn process(&self) -> Option<u32> {
        Some(self.process)
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        Some(&self.decoder)
    }
}
