//! Memory that a large vocabulary takes. Alone in its process, because it watches the process grow.

use std::path::PathBuf;
use std::sync::Arc;

use gravure_base::{Disk, Limits};
use gravure_core::values::Source;
use gravure_core::{
    Catalog, ChunkStream, Format, Hyperparameters, Metadata, Model, Naming, Package, ReadRequest, Result, Value, WriteRequest,
};
use gravure_formats::Gguf;

/// Bytes that a token may take: its text, its kind, its score and its share of the merges.
const BYTES_PER_TOKEN: u64 = 300;
const TOKENS: usize = 131_072;
const MERGES: usize = 262_144;

struct Nothing;

impl ChunkStream for Nothing {
    fn stream(&self, _: usize, _: &mut dyn FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        Ok(())
    }
}

/// Peak resident bytes of this process, `None` where the system does not tell.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

fn write_sample(path: &std::path::Path) {
    let mut metadata = Metadata::new();
    metadata.set("a.tokens", Value::Strings((0..TOKENS).map(|i| format!("t{i:06x}")).collect()));
    metadata.set("a.types", Value::I32s(vec![1; TOKENS]));
    metadata.set("a.merges", Value::Strings((0..MERGES).map(|i| format!("t{i:06x} u")).collect()));
    let model = model(metadata);
    package_and_write(&model, path);
}

fn model(metadata: Metadata) -> Model {
    Model {
        source: Source { format: "gguf", detail: String::new(), path: PathBuf::new(), files: Vec::new(), file_tensors: Vec::new() },
        architecture_id: None,
        architecture: None,
        naming: Naming::Neutral,
        hyperparameters: Hyperparameters::new(),
        metadata,
        tokenizer: None,
        graph: None,
        adapter: None,
        tensors: Vec::new(),
        notes: Vec::new(),
    }
}

fn package_and_write(model: &Model, path: &std::path::Path) {
    let package = Package {
        model,
        pruned_layers: 0,
        overrides: Metadata::new(),
        importance: None,
        file_type: None,
        naming: Naming::Neutral,
        tensors: Vec::new(),
        chunks: &Nothing,
    };
    let request = WriteRequest::new(path, Arc::new(Disk));
    Gguf.write(&package, &request).unwrap();
}

/// Set in the process that measures.
const CHILD: &str = "GRAVURE_VOCABULARY_SAMPLE";

#[test]
fn a_large_vocabulary_takes_little_memory() {
    let Some(path) = std::env::var_os(CHILD) else {
        // The sample is made here and read in a fresh process, whose peak is that of the reader.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gguf");
        write_sample(&path);
        let child = std::env::current_exe().unwrap();
        let status = std::process::Command::new(child).env(CHILD, &path).status().unwrap();
        assert!(status.success());
        return;
    };
    let path = PathBuf::from(path);
    let Some(before) = peak() else {
        eprintln!("SKIPPED: this system does not tell a process's peak memory");
        return;
    };
    let catalog = Catalog::EMPTY;
    let limits = Limits::default();
    let model =
        Gguf.read(&ReadRequest { path: &path, catalog: &catalog, limits: &limits, lenient: false, tokenizer_later: false }).unwrap();
    package_and_write(&model, &path.with_extension("copy"));
    let grown = peak().unwrap_or(0) - before;
    assert_eq!(model.metadata.len(), 3);
    assert!(grown < BYTES_PER_TOKEN * TOKENS as u64, "{grown} bytes, {} for each token", grown / TOKENS as u64);
    eprintln!("{} bytes for each token", grown / TOKENS as u64);
}
