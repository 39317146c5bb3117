//! The weights of a program, read a bounded number of rows at a time. Models that are loaded side by side share the
//! matrices whose tensors they share: of a model in which one tensor is exchanged only that one is read.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use gravure_base::{Error, Result};
use gravure_core::contracts::Activations;
use gravure_core::{GroupedRows, Tensor, TensorData};
use gravure_kernels::{GroupedSource, Matrix, MatrixSource, Pool};
use gravure_simd::Isa;

/// A tensor as a matrix that can be multiplied with.
///
/// # Errors
/// Those of its source; `Input` where it is no matrix or has weights that are no numbers.
pub(crate) fn matrix(pool: &Pool, tensor: &Tensor, activations: Activations) -> Result<Matrix> {
    let &[rows, columns] = tensor.shape.dimensions() else {
        return Err(Error::input(format!("has the shape {} and should be a matrix", tensor.shape)).at_item(&*tensor.name));
    };
    let large = |_| Error::limit("the matrix does not fit in memory").at_item(&*tensor.name);
    let read_grouped = |rows, out: &mut GroupedRows| tensor.data.read_grouped(rows, out);
    // What is not asked for needs no index read.
    let grouping = tensor.data.grouping().filter(|_| activations != Activations::F32);
    let order = grouping.and_then(|_| tensor.data.group_order());
    let source = MatrixSource {
        name: &tensor.name,
        encoding: tensor.encoding,
        rows: usize::try_from(rows).map_err(large)?,
        columns: usize::try_from(columns).map_err(large)?,
        rows_at_once: tensor.data.rows_at_once(),
        read: &|rows, out| tensor.data.read_rows(rows, out),
        grouped: grouping.map(|grouping| GroupedSource { grouping, order: order.as_deref(), read: &read_grouped }),
    };
    Matrix::load(pool, source, Isa::detect(), activations).map_err(|e| e.at_item(&*tensor.name))
}

/// A matrix that somebody holds, and what it was made of.
struct Held {
    data: Weak<dyn TensorData>,
    encoding: &'static str,
    shape: gravure_core::Shape,
    matrix: Weak<Matrix>,
}

/// Matrices of the models that are loaded.
static HELD: Mutex<Vec<Held>> = Mutex::new(Vec::new());

/// The same, or the one that another loaded model made of the same data.
///
/// # Errors
/// As [`matrix`].
pub(crate) fn shared_matrix(pool: &Pool, tensor: &Tensor, activations: Activations) -> Result<Arc<Matrix>> {
    let held = || HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |held: &Held| {
        std::ptr::addr_eq(held.data.as_ptr(), Arc::as_ptr(&tensor.data))
            && held.encoding == tensor.encoding.id()
            && held.shape == tensor.shape
    };
    let found = held().iter().filter(|h| same(h)).filter_map(|h| h.matrix.upgrade()).find_map(|matrix| matrix.sharing(activations));
    let made = match found {
        Some(found) => found,
        None => Arc::new(matrix(pool, tensor, activations)?),
    };
    let mut held = held();
    held.retain(|h| h.matrix.strong_count() > 0 && !std::ptr::addr_eq(h.matrix.as_ptr(), Arc::as_ptr(&made)));
    held.push(Held {
        data: Arc::downgrade(&tensor.data),
        encoding: tensor.encoding.id(),
        shape: tensor.shape.clone(),
        matrix: Arc::downgrade(&made),
    });
    Ok(made)
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
