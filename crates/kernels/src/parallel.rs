//! Disjoint parts of one buffer, changed by all threads of a pool.

use crate::Pool;

struct Start(*mut f32);

// SAFETY: tasks reach disjoint parts of the buffer behind it, and `f32` is `Send`.
unsafe impl Sync for Start {}

impl Start {
    /// The elements `from..to` of the buffer.
    ///
    /// # Safety
    /// They lie within it, and nobody else reaches them meanwhile.
    #[allow(clippy::mut_from_ref)] // disjointness is the caller's promise
    unsafe fn part(&self, from: usize, to: usize) -> &mut [f32] {
        // SAFETY: by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(from), to - from) }
    }
}

/// Calls `body` for each piece of `length` elements of `values` (the last may be shorter) with the
/// piece's number, on all threads.
pub(crate) fn pieces(pool: &Pool, values: &mut [f32], length: usize, body: &(dyn Fn(usize, &mut [f32]) + Sync)) {
    let (total, length) = (values.len(), length.max(1));
    let start = Start(values.as_mut_ptr());
    pool.run(total.div_ceil(length), &|task| {
        let (from, to) = (task * length, ((task + 1) * length).min(total));
        // SAFETY: pieces are disjoint and end within the buffer, which is borrowed for the whole loop.
        body(task, unsafe { start.part(from, to) });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_in_one_piece() {
        let pool = Pool::new(3);
        for length in [1, 3, 7, 100] {
            let mut values = vec![0.0; 20];
            pieces(&pool, &mut values, length, &|i, part| part.iter_mut().for_each(|v| *v += 1.0 + i as f32));
            let expected: Vec<f32> = (0..20).map(|i| 1.0 + (i / length) as f32).collect();
            assert_eq!(values, expected);
        }
        pieces(&pool, &mut [], 4, &|_, _| panic!("there are no pieces"));
    }
}
