//! One tensor of a model rounded in memory, in place of the original's: what sensitivities are measured on, and
//! what the layers behind it see when a model is rounded in turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gravure_base::{Error, MemoryReader, Result};
use gravure_core::values::StoredTensor;
use gravure_core::{Encoding, Model, Rounder, Tensor};
use gravure_methods::Correction;

use crate::execute::check_finite;

/// Rows that a worker rounds at a time: whole panels of a method.
const ROWS: u64 = 64;

/// Rounds all rows of `tensor`, corrected before that where there is a correction, and puts the result into
/// `model` under the tensor's name.
///
/// # Errors
/// `Input` for weights that are no finite numbers, `Limit` where the tensor does not fit in memory; those of the
/// rounder.
pub(crate) fn put_rounded(
    model: &mut Model,
    tensor: &Tensor,
    encoding: &'static dyn Encoding,
    rounder: &dyn Rounder,
    correction: Option<&Correction>,
    threads: usize,
) -> Result<()> {
    let (rows, row_bytes) = (tensor.shape.rows(), encoding.row_bytes(tensor.shape.row_length())?);
    let total = usize::try_from(row_bytes.saturating_mul(rows)).map_err(|_| Error::limit("the tensor does not fit in memory"))?;
    let mut encoded = vec![0_u8; total];
    let chunks: Vec<Mutex<&mut [u8]>> = encoded.chunks_mut((ROWS * row_bytes) as usize).map(Mutex::new).collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        let (mut scratch, mut weights) = (Vec::new(), Vec::new());
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(out) = chunks.get(index) else { return Ok(()) };
            let from = index as u64 * ROWS;
            tensor.decode_rows(from..(from + ROWS).min(rows), &mut scratch, &mut weights)?;
            check_finite(&weights)?;
            if let Some(correction) = correction {
                correction.apply(&mut weights);
            }
            rounder.encode(&weights, &mut out.lock().unwrap_or_else(PoisonError::into_inner))?;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| Err(Error::bug("a worker panicked"))))
    })?;
    drop(chunks);
    let slot = model.tensors.iter_mut().find(|t| t.name == tensor.name).ok_or_else(|| Error::bug("the tensor is gone"))?;
    slot.encoding = encoding;
    slot.data = Arc::new(StoredTensor::new(Arc::new(MemoryReader::new(encoded, "memory")), 0, row_bytes, rows)?);
    Ok(())
}
