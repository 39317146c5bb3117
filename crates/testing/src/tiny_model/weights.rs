//! Random weights that depend on nothing but the design and the tensor's name.

use std::path::Path;

use gravure_base::{Error, Result};
use safetensors::tensor::{TensorView, serialize_to_file};
use serde_json::json;

use super::designs::{Kind, TensorSpec};
use super::{Dtype, Options, write_json};

/// Writes the tensors into one file, or into shards and an index.
pub(super) fn write(design: &str, tensors: &[TensorSpec], options: &Options, folder: &Path) -> Result<()> {
    let shards = options.shards.clamp(1, tensors.len());
    let mut encoded: Vec<(&TensorSpec, Vec<u8>)> = tensors.iter().map(|t| (t, encode(&values(design, t), options.dtype))).collect();
    encoded.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    let per_shard = encoded.len().div_ceil(shards);
    let mut index = serde_json::Map::new();
    let mut total = 0;
    for (number, part) in encoded.chunks(per_shard).enumerate() {
        let name = match shards {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{:05}-of-{shards:05}.safetensors", number + 1),
        };
        let mut views = Vec::new();
        for (tensor, bytes) in part {
            let view = TensorView::new(dtype(options.dtype), tensor.shape.clone(), bytes);
            views.push((tensor.name.as_str(), view.map_err(|e| Error::bug("a tensor of a wrong size").caused_by(e))?));
            index.insert(tensor.name.clone(), json!(name));
            total += bytes.len();
        }
        let path = folder.join(&name);
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        serialize_to_file(views, Some(metadata), &path).map_err(|e| Error::io("write the weights", &path, std::io::Error::other(e)))?;
    }
    if shards > 1 {
        write_json(folder, "model.safetensors.index.json", &json!({"metadata": {"total_size": total}, "weight_map": index}))?;
    }
    Ok(())
}

pub(super) fn dtype(dtype: Dtype) -> safetensors::Dtype {
    match dtype {
        Dtype::F32 => safetensors::Dtype::F32,
        Dtype::F16 => safetensors::Dtype::F16,
        Dtype::BF16 => safetensors::Dtype::BF16,
    }
}

pub(super) fn encode(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
        Dtype::BF16 => values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect(),
    }
}

/// Nearly normal numbers: the sum of four uniform ones, exact in `f32`, of a spread that keeps the
/// activations of a few layers near one.
pub(super) fn values(design: &str, tensor: &TensorSpec) -> Vec<f32> {
    let (centre, spread) = match tensor.kind {
        Kind::Matrix { inputs } => (0.0, 1.0 / (inputs as f32).sqrt()),
        Kind::Embedding => (0.0, 0.5),
        Kind::Gain => (1.0, 0.125),
        Kind::Offset | Kind::Bias => (0.0, 0.125),
    };
    let count: usize = tensor.shape.iter().product();
    let mut state = design
        .bytes()
        .chain([0])
        .chain(tensor.name.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (0..count)
        .map(|_| {
            let bits = splitmix(&mut state);
            let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xffff).sum();
            let normal = (sum as f32 / 65_536.0 - 2.0) * 1.75;
            centre + normal * spread
        })
        .collect()
}

/// SplitMix64 (Steele, Lea and Flood 2014).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
