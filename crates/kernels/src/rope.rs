//! Rotation of pairs of elements of heads.

use gravure_simd::{Isa, Kernel, Simd};

use crate::Pool;
use crate::parallel::pieces;

/// Rows that one task rotates.
const TASK_ROWS: usize = 8;

/// Turns element `i` and element `i + half` of every head together: by the sine and cosine at `i` of
/// the row's `half` values.
///
/// `x` has rows of `width` elements, each of whole heads of `head` elements; `cosines` and `sines`
/// have rows of `half`.
///
/// # Panics
/// Where these shapes do not fit.
pub fn rope(pool: &Pool, x: &mut [f32], width: usize, head: usize, cosines: &[f32], sines: &[f32], half: usize) {
    if half == 0 || width == 0 {
        return;
    }
    let rows = x.len() / width;
    assert!(head >= 2 * half && width.is_multiple_of(head) && x.len() == rows * width, "heads that do not fit their rotation");
    assert!(cosines.len() == rows * half && sines.len() == rows * half, "a sine and a cosine for each pair of each row");
    let isa = Isa::detect();
    pieces(pool, x, TASK_ROWS * width, &|i, part| {
        let from = i * TASK_ROWS * half;
        isa.vectorize(Rotate { x: part, width, head, cosines: &cosines[from..], sines: &sines[from..], half });
    });
}

struct Rotate<'a> {
    x: &'a mut [f32],
    width: usize,
    head: usize,
    cosines: &'a [f32],
    sines: &'a [f32],
    half: usize,
}

impl Kernel for Rotate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _isa: S) {
        for (r, row) in self.x.chunks_exact_mut(self.width).enumerate() {
            let (cosines, sines) = (&self.cosines[r * self.half..][..self.half], &self.sines[r * self.half..][..self.half]);
            for head in row.chunks_exact_mut(self.head) {
                let (low, high) = head.split_at_mut(self.half);
                // A plain loop: the compiler uses the instruction set's vectors here.
                for (((a, b), c), s) in low.iter_mut().zip(high).zip(cosines).zip(sines) {
                    let (x, y) = (*a, *b);
                    *a = x * c - y * s;
                    *b = y * c + x * s;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_pairs_of_each_head() {
        let pool = Pool::new(2);
        let (rows, heads, head, half) = (19, 3, 10, 4);
        let x: Vec<f32> = (0..rows * heads * head).map(|i| (i as f32 * 0.3).cos()).collect();
        let angle = |row: usize, i: usize| row as f32 * 0.1 + i as f32;
        let table = |f: fn(f32) -> f32| -> Vec<f32> { (0..rows).flat_map(|r| (0..half).map(move |i| f(angle(r, i)))).collect() };
        let mut got = x.clone();
        rope(&pool, &mut got, heads * head, head, &table(f32::cos), &table(f32::sin), half);
        for (i, (before, after)) in x.iter().zip(&got).enumerate() {
            let (row, within) = (i / (heads * head), i % head);
            let (s, c) = angle(row, within % half).sin_cos();
            let expected = match within {
                w if w < half => before * c - x[i + half] * s,
                w if w < 2 * half => before * c + x[i - half] * s,
                _ => *before,
            };
            assert!((after - expected).abs() < 1e-6, "{i}");
        }
    }
}
