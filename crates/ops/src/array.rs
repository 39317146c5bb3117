//! A dense array of `f32`, for reference evaluation.

use gravure_base::{Error, Result};

/// Values in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Array {
    /// An array of `shape`, outermost dimension first; an error where the number of values differs.
    pub fn new(shape: impl Into<Vec<usize>>, values: impl Into<Vec<f32>>) -> Result<Self> {
        let (shape, values) = (shape.into(), values.into());
        let elements = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        if elements != Some(values.len()) {
            return Err(Error::input(format!("{} values do not fill an array of shape {shape:?}", values.len())));
        }
        Ok(Self { shape, values })
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Values in row-major order.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Length of the innermost dimension, 1 for a scalar.
    pub fn row_length(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Rows of the innermost dimension.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.row_length().max(1))
    }

    /// One row of the innermost dimension, where there is one.
    pub(crate) fn row(&self, index: usize) -> Option<&[f32]> {
        let length = self.row_length();
        let start = index.checked_mul(length)?;
        self.values.get(start..start.checked_add(length)?)
    }

    /// An array of the same shape with each value changed.
    pub(crate) fn map(&self, f: impl Fn(f32) -> f32) -> Self {
        Self { shape: self.shape.clone(), values: self.values.iter().map(|&v| f(v)).collect() }
    }

    /// An array of this shape but for its innermost dimension.
    pub(crate) fn with_rows(&self, length: usize, values: Vec<f32>) -> Result<Self> {
        let mut shape = self.shape.clone();
        match shape.last_mut() {
            Some(last) => *last = length,
            None => shape.push(length),
        }
        Self::new(shape, values)
    }
}

/// The sum of products, in `f64`.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fill_the_shape() {
        assert!(Array::new([2, 3], vec![0.0; 6]).is_ok());
        assert!(Array::new([2, 3], vec![0.0; 5]).is_err());
        assert!(Array::new([usize::MAX, 3], vec![]).is_err());
        assert_eq!(Array::new([], vec![1.0]).unwrap().row_length(), 1);
        let empty = Array::new([3, 0], vec![]).unwrap();
        assert_eq!(empty.rows().len(), 0);
    }
}
