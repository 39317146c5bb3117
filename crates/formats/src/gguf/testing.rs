//! What the tests of this folder need: a catalog of plain encodings, samples, packages in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gravure_base::{Disk, Limits, MemoryReader, Texts};
use gravure_core::values::{Source, StoredTensor};
use gravure_core::{
    Catalog, ChunkStream, Encoding, Error, HyperKey, Hyperparameters, Importance, Layout, Metadata, Model, Naming, Package, PackageTensor,
    ReadRequest, Result, Shape, Tensor, Value, WriteRequest,
};

/// Blocks whose bytes mean nothing here.
#[derive(Debug)]
struct Opaque(&'static str, usize, usize);

impl Encoding for Opaque {
    fn id(&self) -> &'static str {
        self.0
    }

    fn doc(&self) -> &'static str {
        "a block layout for tests"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: self.1, block_bytes: self.2 }
    }

    fn encode(&self, _: &[f32], _: usize, _: Importance<'_>, _: &mut [u8]) -> Result<()> {
        Err(Error::unsupported("not in tests"))
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        if self.0 != "f32" {
            return Err(Error::unsupported("not in tests"));
        }
        for (bytes, out) in source.chunks_exact(4).zip(out) {
            *out = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Ok(())
    }
}

pub(crate) static CATALOG: Catalog = Catalog {
    encodings: &[&Opaque("f32", 1, 4), &Opaque("f16", 1, 2), &Opaque("q4_0", 32, 18), &Opaque("i32", 1, 4), &Opaque("q4_k", 256, 144)],
    formats: &[],
    architectures: &[],
    runtimes: &[],
    methods: &[],
    passes: &[],
    plane_encodings: &[],
};

/// A folder that goes away with the value.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn read_with(path: &Path, limits: &Limits) -> Result<Model> {
    super::read::read(&ReadRequest { path, catalog: &CATALOG, limits, lenient: false, tokenizer_later: false })
}

pub(crate) fn read(path: &Path) -> Result<Model> {
    read_with(path, &Limits::default())
}

pub(crate) fn request(path: &Path) -> WriteRequest {
    WriteRequest::new(path, Arc::new(Disk))
}

/// Bytes of tensor `index`: different for each, and never zero.
pub(crate) fn bytes_of(index: usize, count: u64) -> Vec<u8> {
    (0..count).map(|i| ((i * 7 + index as u64 * 31) % 255 + 1) as u8).collect()
}

/// Streams [`bytes_of`] each tensor in pieces.
pub(crate) struct Pattern(pub(crate) Vec<u64>);

impl ChunkStream for Pattern {
    fn stream(&self, first: usize, sink: &mut dyn FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        for (index, &size) in self.0.iter().enumerate().skip(first) {
            for piece in bytes_of(index, size).chunks(100) {
                sink(index, piece)?;
            }
        }
        Ok(())
    }
}

/// Name, shape and encoding of the sample's tensors: sizes that need padding, an empty one, outer ones.
pub(crate) const TENSORS: &[(&str, &[u64], &str)] = &[
    ("token_embd.weight", &[5, 32], "f32"),
    ("blk.0.attn_q.weight", &[3, 64], "q4_0"),
    ("blk.0.attn_norm.weight", &[7], "f32"),
    ("blk.0.empty.weight", &[0, 32], "q4_0"),
    ("blk.0.stack.weight", &[1, 2, 256], "q4_k"),
    ("ids", &[3], "i32"),
];

pub(crate) fn package_tensors() -> Vec<PackageTensor> {
    let tensor = |&(name, shape, encoding): &(&str, &[u64], &str)| PackageTensor {
        name: name.to_owned(),
        id: super::names::identify(name),
        shape: Shape::new(shape).unwrap(),
        encoding: CATALOG.encoding(encoding).unwrap(),
    };
    TENSORS.iter().map(tensor).collect()
}

/// Metadata with every type of value.
pub(crate) fn metadata() -> Metadata {
    let entries = [
        ("general.architecture", Value::String("sample".into())),
        ("split.no", Value::U16(0)),
        ("general.name", Value::String("Größe 🙂".into())),
        ("sample.block_count", Value::U32(1)),
        ("sample.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("general.file_type", Value::U32(0)),
        ("a.u8", Value::U8(200)),
        ("a.i8", Value::I8(-2)),
        ("a.u16", Value::U16(60_000)),
        ("a.i16", Value::I16(-3)),
        ("a.i32", Value::I32(-4)),
        ("a.u64", Value::U64(u64::MAX)),
        ("a.i64", Value::I64(i64::MIN)),
        ("a.f64", Value::F64(-0.1)),
        ("a.bool", Value::Bool(true)),
        ("b.u8", Value::U8s(vec![1, 2])),
        ("b.i8", Value::I8s(vec![-1])),
        ("b.u16", Value::U16s(vec![1])),
        ("b.i16", Value::I16s(vec![-1, 5])),
        ("b.u32", Value::U32s(vec![7, 8, 9])),
        ("b.i32", Value::I32s(vec![-7])),
        ("b.f32", Value::F32s(vec![0.5, -0.25])),
        ("b.bool", Value::Bools(vec![true, false])),
        ("b.u64", Value::U64s(vec![1 << 40])),
        ("b.i64", Value::I64s(vec![-1 << 40])),
        ("b.f64", Value::F64s(vec![1e300])),
        ("b.empty", Value::Strings(Texts::default())),
        ("b.string", Value::Strings(["a", "", "ü"].into_iter().collect())),
        ("b.nested", Value::Arrays(vec![Value::U32s(vec![1]), Value::Arrays(vec![Value::Strings(["x"].into_iter().collect())])])),
    ];
    Metadata::from_entries(entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()).unwrap()
}

/// A model of `format` with the sample's metadata, without tensors of its own.
pub(crate) fn model(format: &'static str) -> Model {
    let mut hyperparameters = Hyperparameters::new();
    hyperparameters.set(HyperKey::BlockCount, Value::U32(2));
    hyperparameters.set(HyperKey::FileType, Value::U32(0));
    hyperparameters.set(HyperKey::RopeFreqBase, Value::F64(10_000.0));
    Model {
        source: Source {
            format,
            detail: String::new(),
            path: PathBuf::from("Some-Folder-2B-chat"),
            files: Vec::new(),
            file_tensors: Vec::new(),
        },
        architecture_id: Some("sample".into()),
        architecture: None,
        naming: Naming::Neutral,
        hyperparameters,
        metadata: if format == "gguf" { metadata() } else { Metadata::new() },
        tokenizer: None,
        graph: None,
        adapter: None,
        tensors: vec![Tensor {
            name: "unused".into(),
            id: None,
            shape: Shape::new([1]).unwrap(),
            encoding: CATALOG.encodings[0],
            data: Arc::new(StoredTensor::new(Arc::new(MemoryReader::new(vec![0; 4], "memory")), 0, 4, 1).unwrap()),
        }],
        notes: Vec::new(),
    }
}

/// A package of the sample's tensors.
pub(crate) fn package<'a>(model: &'a Model, chunks: &'a Pattern) -> Package<'a> {
    Package {
        model,
        pruned_layers: 0,
        overrides: Metadata::new(),
        importance: None,
        file_type: None,
        naming: Naming::Neutral,
        tensors: package_tensors(),
        chunks,
    }
}

/// The sizes of the sample's tensors, which its stream announces.
pub(crate) fn pattern() -> Pattern {
    Pattern(package_tensors().iter().map(|t| t.bytes().unwrap()).collect())
}

/// The bytes of the sample, written.
pub(crate) fn sample() -> Vec<u8> {
    let folder = folder();
    let path = folder.path().join("sample.gguf");
    let (model, chunks) = (model("gguf"), pattern());
    super::write::write(&package(&model, &chunks), &request(&path)).unwrap();
    std::fs::read(path).unwrap()
}
