//! Disjoint parts of one buffer, changed by all threads of a pool.

use crate::{Pool, SharedRows};

/// Calls `body` for each piece of `length` elements of `values` (the last may be shorter) with the
/// piece's number, on all threads.
pub(crate) fn pieces(pool: &Pool, values: &mut [f32], length: usize, body: &(dyn Fn(usize, &mut [f32]) + Sync)) {
    let (total, length) = (values.len(), length.max(1));
    let whole = SharedRows::new(values, total);
    pool.run(total.div_ceil(length), &|task| {
        let range = task * length..((task + 1) * length).min(total);
        // SAFETY: pieces are disjoint.
        body(task, unsafe { whole.part(0, range) });
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
