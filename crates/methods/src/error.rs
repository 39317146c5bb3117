//! What a change of weights does to the outputs of a linear map.

use gravure_core::Hessian;
use gravure_simd::{Isa, Kernel, Simd};

use crate::panel::{Lane, ROWS};

/// `D H D^T` of each row of changes: the mean square of the change of each output.
pub fn output_errors(hessian: &Hessian, changes: &[f32]) -> Vec<f64> {
    let columns = hessian.columns().max(1);
    let isa = Isa::detect();
    let mut errors = Vec::with_capacity(changes.len() / columns);
    let mut lanes = vec![[0.0; ROWS]; columns];
    for rows in changes.chunks(ROWS * columns) {
        lanes.fill([0.0; ROWS]);
        for (l, row) in rows.chunks_exact(columns).enumerate() {
            for (lane, value) in lanes.iter_mut().zip(row) {
                lane[l] = *value;
            }
        }
        let found = isa.vectorize(Form { hessian: hessian.values(), lanes: &lanes });
        errors.extend_from_slice(&found[..rows.len() / columns]);
    }
    errors
}

struct Form<'a> {
    hessian: &'a [f32],
    lanes: &'a [Lane],
}

impl Kernel for Form<'_> {
    type Output = [f64; ROWS];

    #[inline(always)]
    fn run<S: Simd>(self, _isa: S) -> [f64; ROWS] {
        let mut total = [0.0_f64; ROWS];
        for (row, change) in self.hessian.chunks_exact(self.lanes.len()).zip(self.lanes) {
            let mut sum = [0.0_f32; ROWS];
            for (h, lane) in row.iter().zip(self.lanes) {
                for l in 0..ROWS {
                    sum[l] += h * lane[l];
                }
            }
            for l in 0..ROWS {
                total[l] += f64::from(sum[l]) * f64::from(change[l]);
            }
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_those_of_the_definition() {
        let hessian = Hessian::new(2, vec![2.0, 0.5, 0.5, 1.0]).unwrap();
        let changes: Vec<f32> = (0..40).map(|i| i as f32 * 0.1 - 1.0).collect();
        let errors = output_errors(&hessian, &changes);
        assert_eq!(errors.len(), 20);
        for (error, change) in errors.iter().zip(changes.chunks_exact(2)) {
            let (a, b) = (f64::from(change[0]), f64::from(change[1]));
            assert!((error - (2.0 * a * a + a * b + b * b)).abs() < 1e-5);
        }
    }
}
