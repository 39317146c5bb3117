//! Orthogonal maps that cost `n log n`: random signs, then Walsh-Hadamard transforms of blocks.
//!
//! ```text
//! x -> (signs * x) in blocks of 2^k -> butterflies of 1, 2, 4, .. -> / sqrt(2^k)
//! ```
//! Outliers of one coordinate are spread over all of its block (QuIP: Chee et al. 2023; QuaRot: Ashkboos et al. 2024).

/// Such a map, for vectors whose length is a multiple of its own.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    signs: Vec<f32>,
    block: usize,
}

impl Rotation {
    /// For vectors of `length`, not zero, in blocks of the largest power of two that divides it. The signs follow from
    /// `seed`.
    pub(crate) fn new(length: usize, seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x2545_F491_4F6C_DD1D;
        let mut sign = || {
            // splitmix64 (Steele et al. 2014).
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            if (z ^ (z >> 31)) & 1 == 0 { 1.0 } else { -1.0 }
        };
        let block = 1 << length.trailing_zeros();
        let scale = 1.0 / (block as f32).sqrt();
        Self { signs: (0..length).map(|_| sign() * scale).collect(), block }
    }

    /// Length of its vectors.
    pub(crate) fn len(&self) -> usize {
        self.signs.len()
    }

    /// Maps a vector in place.
    pub(crate) fn apply(&self, vector: &mut [f32]) {
        self.apply_to_rows(vector, 1);
    }

    /// Maps columns in place: `values` has a row of `width` for each element of a vector.
    pub(crate) fn apply_to_rows(&self, values: &mut [f32], width: usize) {
        for (row, sign) in values.chunks_exact_mut(width).zip(&self.signs) {
            row.iter_mut().for_each(|v| *v *= sign);
        }
        for block in values.chunks_exact_mut(self.block * width) {
            let mut half = 1;
            while half < self.block {
                for pair in block.chunks_exact_mut(2 * half * width) {
                    let (a, b) = pair.split_at_mut(half * width);
                    for (a, b) in a.iter_mut().zip(b) {
                        (*a, *b) = (*a + *b, *a - *b);
                    }
                }
                half *= 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_angles_stay() {
        for length in [1, 2, 48, 64, 96, 160] {
            let rotation = Rotation::new(length, 3);
            let basis = |i: usize| {
                let mut v = vec![0.0; length];
                v[i] = 1.0;
                rotation.apply(&mut v);
                v
            };
            let images: Vec<_> = (0..length).map(basis).collect();
            for (i, a) in images.iter().enumerate() {
                for (j, b) in images.iter().enumerate() {
                    let product: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                    assert!((product - if i == j { 1.0 } else { 0.0 }).abs() < 1e-5, "{length}: {i} {j} {product}");
                }
            }
        }
    }

    #[test]
    fn rows_are_mapped_as_vectors_are() {
        let rotation = Rotation::new(12, 5);
        let matrix: Vec<f32> = (0..36).map(|i| (i * i % 17) as f32).collect();
        let mut mapped = matrix.clone();
        rotation.apply_to_rows(&mut mapped, 3);
        for column in 0..3 {
            let mut vector: Vec<f32> = matrix.iter().skip(column).step_by(3).copied().collect();
            rotation.apply(&mut vector);
            assert!(vector.iter().zip(mapped.iter().skip(column).step_by(3)).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}
