//! Readers over bytes in memory, for the fuzz targets.

use std::path::Path;
use std::sync::Arc;

use gravure_base::{MemoryReader, ReadAt};
use gravure_core::{Catalog, Limits, ReadRequest, Result, Tensor};

use crate::{gguf, imatrix, peft, pytorch, safetensors};

/// Reads the bytes as one GGUF file: header, names, tokenizer.
pub fn read_gguf(bytes: &[u8], catalog: &Catalog, limits: &Limits) -> Result<()> {
    let header = gguf::header::Header::read(&MemoryReader::new(bytes, "memory"), catalog, limits)?;
    gguf::read_parts(&header, limits)
}

/// Reads the bytes as an importance matrix.
pub fn read_importance_matrix(bytes: &[u8], catalog: &Catalog, limits: &Limits) -> Result<()> {
    imatrix::read_from(&MemoryReader::new(bytes, "memory"), catalog, limits).map(|_| ())
}

/// Reads the bytes as one safetensors file, and the first row of each of its tensors.
pub fn read_safetensors(bytes: &[u8], catalog: &Catalog, limits: &Limits) -> Result<()> {
    let source: Arc<dyn ReadAt> = Arc::new(MemoryReader::new(bytes, "memory"));
    let (tensors, _) = safetensors::tensors_of(&source, catalog, limits)?;
    read_first_rows(&tensors)
}

/// Reads two files' bytes as a configuration and the safetensors of a checkpoint whose weights are already
/// quantized, and decodes the first and the last row of each of its tensors.
pub fn read_quantized(config: &[u8], weights: &[u8], catalog: &Catalog, limits: &Limits) -> Result<()> {
    let mut config = safetensors::json::parse(config, limits)?;
    let source: Arc<dyn ReadAt> = Arc::new(MemoryReader::new(weights, "memory"));
    let (stored, _) = safetensors::tensors_of(&source, catalog, limits)?;
    let tensors = safetensors::quantized::present(&mut config, stored, catalog, false, &mut Vec::new())?.tensors;
    read_first_rows(&tensors)?;
    let (mut scratch, mut out) = (Vec::new(), Vec::new());
    for tensor in tensors.iter().filter(|t| t.shape.rows() > 1 && !t.encoding.is_integer()) {
        let rows = tensor.shape.rows();
        tensor.decode_rows(rows - 1..rows, &mut scratch, &mut out)?;
    }
    Ok(())
}

/// Reads two files' bytes as the configuration and the safetensors of a low-rank adapter, and the first row of each of its
/// tensors.
pub fn read_adapter(config: &[u8], weights: &[u8], catalog: &Catalog, limits: &Limits) -> Result<()> {
    let config = safetensors::json::parse(config, limits)?;
    let source: Arc<dyn ReadAt> = Arc::new(MemoryReader::new(weights, "memory"));
    let (stored, _) = safetensors::tensors_of(&source, catalog, limits)?;
    read_first_rows(&peft::read_parts(&config, stored)?)
}

/// Reads the bytes as an index of shards.
pub fn read_index(bytes: &[u8], limits: &Limits) -> Result<()> {
    safetensors::parse_index(bytes, Path::new("memory"), "safetensors", limits).map(|_| ())
}

/// Reads the bytes as a `config.json` for every architecture.
pub fn read_config(bytes: &[u8], catalog: &Catalog, limits: &Limits) -> Result<()> {
    let config = safetensors::json::parse(bytes, limits)?;
    for architecture in catalog.architectures {
        for lenient in [false, true] {
            if let Ok(parameters) = architecture.configure(&config, lenient) {
                architecture.tensor_map(&parameters)?;
            }
        }
    }
    Ok(())
}

/// Reads the bytes as a PyTorch checkpoint (zip or stream), and the first row of each of its tensors.
pub fn read_pytorch(bytes: &[u8], catalog: &Catalog, limits: &Limits) -> Result<()> {
    let source: Arc<dyn ReadAt> = Arc::new(MemoryReader::new(bytes, "memory"));
    let request = ReadRequest { path: Path::new("memory"), catalog, limits, lenient: false, tokenizer_later: false };
    let (tensors, _) = pytorch::read_source(&source, &request, &mut Vec::new())?;
    read_first_rows(&tensors)
}

/// Scans the bytes as a checkpoint or a bare pickle.
pub fn scan_pickle(bytes: &[u8], limits: &Limits) -> pytorch::PickleScan {
    let source: Arc<dyn ReadAt> = Arc::new(MemoryReader::new(bytes, "memory"));
    pytorch::scan_source(&source, limits)
}

fn read_first_rows(tensors: &[Tensor]) -> Result<()> {
    let mut out = Vec::new();
    for tensor in tensors.iter().filter(|t| t.shape.rows() > 0) {
        tensor.data.read_rows(0..1, &mut out)?;
    }
    Ok(())
}
