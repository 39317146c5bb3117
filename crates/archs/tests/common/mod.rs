//! What the tests of this crate share: fixtures, folders of tiny models, their weights.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gravure_core::{Architecture, Hyperparameters, contracts::POOLING_KEY};
use gravure_testing::tiny_model::{self, Options};
use serde_json::Value;

/// All fixtures of a folder of `tests/fixtures`, by name.
pub fn fixtures(folder: &str) -> Vec<(String, Value)> {
    let folder = gravure_testing::workspace_root().join("tests/fixtures").join(folder);
    let mut out: Vec<(String, Value)> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        })
        .collect();
    out.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!out.is_empty(), "no fixtures in {folder:?}");
    out
}

/// The tiny model of a fixture.
pub struct Tiny {
    _folder: tempfile::TempDir,
    path: PathBuf,
    pub architecture: &'static dyn Architecture,
    pub parameters: Hyperparameters,
}

impl Tiny {
    /// Makes and configures it.
    pub fn make(fixture: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny");
        let options = Options::from_json(&fixture["options"]).unwrap();
        tiny_model::write(fixture["design"].as_str().unwrap(), &options, &path).unwrap();
        let mut config = read_json(&path.join("config.json"));
        if let Ok(bytes) = std::fs::read(path.join("1_Pooling/config.json")) {
            config[POOLING_KEY] = serde_json::from_slice(&bytes).unwrap();
        }
        let class = config["architectures"][0].as_str().unwrap();
        let architecture = gravure_archs::find(class).unwrap_or_else(|| panic!("no architecture knows {class}"));
        let parameters = architecture.configure(&config, false).unwrap_or_else(|e| panic!("{e}"));
        Self { _folder: folder, path, architecture, parameters }
    }

    /// Names, shapes and values of the stored tensors, in the order of the reference converter:
    /// file by file, by name within each.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&self.path)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "safetensors"))
            .collect();
        files.sort();
        let mut out = Vec::new();
        for file in files {
            let bytes = std::fs::read(file).unwrap();
            let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let sorted: BTreeMap<String, _> = tensors.tensors().into_iter().collect();
            out.extend(sorted.into_iter().map(|(name, view)| (name, view.shape().to_vec(), floats(&view))));
        }
        out
    }
}

fn floats(view: &safetensors::tensor::TensorView<'_>) -> Vec<f32> {
    let pairs = || view.data().chunks_exact(2).map(|b| [b[0], b[1]]);
    match view.dtype() {
        safetensors::Dtype::F32 => view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        safetensors::Dtype::F16 => pairs().map(|b| half::f16::from_le_bytes(b).to_f32()).collect(),
        safetensors::Dtype::BF16 => pairs().map(|b| half::bf16::from_le_bytes(b).to_f32()).collect(),
        other => panic!("{other:?}"),
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
