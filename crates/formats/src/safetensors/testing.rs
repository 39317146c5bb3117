//! What the tests of this crate need of the other axes: the encodings and a tiny architecture.

use std::path::Path;

use gravure_base::{Limits, Result};
use gravure_core::{
    Architecture, Catalog, Error, Graph, HyperKey, Hyperparameters, Model, Part, ReadRequest, Role, TensorMap, TensorRule, Transform, Value,
};

/// `output = up(embedding)`, tied, or not.
#[derive(Debug)]
struct Tiny;

impl Architecture for Tiny {
    fn id(&self) -> &'static str {
        "tiny"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["TinyForCausalLM", "tiny-type"]
    }

    fn doc(&self) -> &'static str {
        "an architecture for tests"
    }

    fn configure(&self, config: &serde_json::Value, lenient: bool) -> Result<Hyperparameters> {
        let mut out = Hyperparameters::new();
        let mut ignored = Vec::new();
        for (key, value) in config.as_object().ok_or_else(|| Error::input("no object"))? {
            match key.as_str() {
                "num_hidden_layers" => {
                    out.set(HyperKey::BlockCount, Value::U64(value.as_u64().ok_or_else(|| Error::input("no number").at_item(key))?));
                }
                "tie_word_embeddings" => out.set(HyperKey::TiedEmbeddings, Value::Bool(value.as_bool() == Some(true))),
                "model_type" | "architectures" | "torch_dtype" | "dtype" | gravure_core::contracts::POOLING_KEY => {}
                _ if lenient => ignored.push(format!("{key}: unread")),
                _ => return Err(Error::unsupported("this key is not understood").at_item(key)),
            }
        }
        out.set_ignored(ignored);
        Ok(out)
    }

    fn tensor_map(&self, parameters: &Hyperparameters) -> Result<TensorMap> {
        let tied = parameters.flag(HyperKey::TiedEmbeddings);
        let rule = |name: &str, role, optional| TensorRule {
            name: name.into(),
            role,
            part: Part::Weight,
            transform: Transform::Identity,
            optional,
        };
        Ok(TensorMap {
            rules: vec![
                rule("model.embed.weight", Role::TokenEmbedding, false),
                rule("model.layers.{layer}.up.weight", Role::FeedForwardUp, false),
                rule("lm_head.weight", Role::Output, tied),
            ],
            ignored: vec!["model.layers.{layer}.mask".into()],
            prefixes: vec!["model.".into()],
            generated: Vec::new(),
        })
    }

    fn graph(&self, _: &Hyperparameters) -> Result<Graph> {
        Ok(Graph::new())
    }
}

/// All encodings and the architecture `tiny`.
pub(crate) fn catalog() -> &'static Catalog {
    static CATALOG: std::sync::OnceLock<Catalog> = std::sync::OnceLock::new();
    CATALOG.get_or_init(|| Catalog {
        encodings: gravure_encodings::ENCODINGS,
        plane_encodings: gravure_encodings::PLANE_ENCODINGS,
        methods: &[],
        passes: &[],
        formats: crate::FORMATS,
        architectures: &[&Tiny],
        runtimes: &[],
    })
}

/// Reads `path` with default limits.
pub(crate) fn read(format: &dyn gravure_core::Format, path: &Path, lenient: bool) -> Result<Model> {
    format.read(&ReadRequest { path, catalog: catalog(), limits: &Limits::default(), lenient, tokenizer_later: false })
}

/// The bytes of all rows of a tensor.
pub(crate) fn bytes_of(model: &Model, name: &str) -> Vec<u8> {
    let tensor = model.tensor(name).unwrap();
    let mut out = Vec::new();
    tensor.data.read_rows(0..tensor.shape.rows(), &mut out).unwrap();
    out
}

/// A file of `header` and `data`.
pub(crate) fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// A file of `f32` tensors, laid out in order.
pub(crate) fn f32_file(tensors: &[(&str, &[u64], &[f32])]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        entries.push(format!(r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{}]}}"#, data.len()));
    }
    file(&format!("{{{}}}", entries.join(",")), &data)
}
