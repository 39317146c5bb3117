//! The weights of a program, read a bounded number of rows at a time.

use std::collections::HashMap;

use gravure_base::{Error, Result};
use gravure_core::contracts::{Activations, Adapter};
use gravure_core::{Tensor, TensorId};
use gravure_kernels::{Matrix, MatrixSource};
use gravure_simd::Isa;

/// A tensor as a matrix that can be multiplied with.
///
/// # Errors
/// Those of its source; `Input` where it is no matrix or has weights that are no numbers.
pub(crate) fn matrix(tensor: &Tensor, activations: Activations) -> Result<Matrix> {
    let &[rows, columns] = tensor.shape.dimensions() else {
        return Err(Error::input(format!("has the shape {} and should be a matrix", tensor.shape)).at_item(&*tensor.name));
    };
    let large = |_| Error::limit("the matrix does not fit in memory").at_item(&*tensor.name);
    let source = MatrixSource {
        name: &tensor.name,
        encoding: tensor.encoding,
        rows: usize::try_from(rows).map_err(large)?,
        columns: usize::try_from(columns).map_err(large)?,
        read: &mut |rows, out| tensor.data.read_rows(rows, out),
    };
    Matrix::load(source, Isa::detect(), activations).map_err(|e| e.at_item(&*tensor.name))
}

/// A tensor as a vector.
///
/// # Errors
/// Those of its source; `Input` where it is no vector or has weights that are no numbers.
pub(crate) fn vector(tensor: &Tensor) -> Result<Vec<f32>> {
    if tensor.shape.dimensions().len() != 1 {
        return Err(Error::input(format!("has the shape {} and should be a vector", tensor.shape)).at_item(&*tensor.name));
    }
    let mut out = Vec::new();
    tensor.decode_rows(0..tensor.shape.rows(), &mut Vec::new(), &mut out)?;
    match out.iter().find(|v| !v.is_finite()) {
        Some(bad) => Err(Error::input(format!("a weight is {bad}")).at_item(&*tensor.name).help("the model is damaged")),
        None => Ok(out),
    }
}

/// A number that differs between models that differ: of the places, shapes, encodings and first
/// bytes of all tensors that a program reads, and of those that are added to them.
///
/// # Errors
/// Those of the tensors' source.
pub(crate) fn fingerprint(tensors: &HashMap<TensorId, &Tensor>, read: &[TensorId], adapters: &[Adapter]) -> Result<u64> {
    let mut hash = Fnv::default();
    let mut bytes = Vec::new();
    let own = read.iter().filter_map(|id| Some((id, *tensors.get(id)?)));
    let added = adapters.iter().flat_map(|adapter| adapter.pairs.iter().flat_map(|(id, a, b)| [(id, a), (id, b)]));
    for adapter in adapters {
        hash.add(&adapter.scale.to_le_bytes());
    }
    for (id, tensor) in own.chain(added) {
        hash.add(format!("{id:?} {} {};", tensor.shape, tensor.encoding.id()).as_bytes());
        if tensor.shape.rows() > 0 {
            tensor.data.read_rows(0..1, &mut bytes)?;
            hash.add(&bytes);
        }
    }
    Ok(hash.0)
}

/// The hash of Fowler, Noll and Vo, 64 bits, variant 1a.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fnv(pub(crate) u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
