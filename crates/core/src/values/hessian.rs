//! Second moments of the inputs of a linear map.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Result};

/// Things derived from one Hessian that are kept: two, so that two tensors with the same input do not take
/// turns in throwing away each other's.
const KEPT: usize = 2;

/// The mean of `x x^T` over the inputs `x` of a linear map: for a change `D` of its weights, the mean
/// square of what changes in its outputs is `trace(D H D^T)`.
#[derive(Debug)]
pub struct Hessian {
    columns: usize,
    values: Vec<f32>,
    derived: Mutex<Vec<Derived>>,
}

/// What somebody made of a Hessian, and by which order of its columns.
type Derived = (Vec<usize>, Arc<dyn Any + Send + Sync>);

impl Clone for Hessian {
    fn clone(&self) -> Self {
        Self { columns: self.columns, values: self.values.clone(), derived: Mutex::default() }
    }
}

impl PartialEq for Hessian {
    fn eq(&self, other: &Self) -> bool {
        self.columns == other.columns && self.values == other.values
    }
}

impl Hessian {
    /// From `columns x columns` values, row by row; the matrix is symmetric.
    ///
    /// # Errors
    /// `Input` where the number of values is wrong or one is not finite.
    pub fn new(columns: usize, values: Vec<f32>) -> Result<Self> {
        if columns.checked_mul(columns) != Some(values.len()) {
            return Err(Error::input(format!("{} second moments for {columns} columns", values.len())));
        }
        if values.iter().any(|v| !v.is_finite()) {
            return Err(Error::input("a second moment is not finite"));
        }
        Ok(Self { columns, values, derived: Mutex::default() })
    }

    /// The mean of two, `share` of it of the other.
    ///
    /// # Errors
    /// `Input` where they have not the same columns.
    pub fn mixed(&self, other: &Self, share: f32) -> Result<Self> {
        if self.columns != other.columns {
            return Err(Error::input(format!("second moments of {} columns and of {}", self.columns, other.columns)));
        }
        let mix = |(a, b): (&f32, &f32)| (1.0 - share) * a + share * b;
        Self::new(self.columns, self.values.iter().zip(&other.values).map(mix).collect())
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The mean square of each column's input.
    pub fn diagonal(&self) -> Vec<f32> {
        (0..self.columns).map(|i| self.values[i * (self.columns + 1)]).collect()
    }

    /// What `make` derives from this matrix with its columns in `order`: made once, and kept until two others
    /// have been made or this matrix is gone.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn derived<T: Any + Send + Sync>(&self, order: &[usize], make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let kept = || self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept().iter().find(|(o, _)| o == order).and_then(|(_, any)| Arc::clone(any).downcast().ok());
        if let Some(found) = found {
            return Ok(found);
        }
        let made = Arc::new(make()?);
        let mut kept = kept();
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((order.to_vec(), Arc::clone(&made) as Arc<dyn Any + Send + Sync>));
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_derived_is_made_once_for_each_order() {
        let hessian = Hessian::new(2, vec![1.0, 0.0, 0.0, 1.0]).unwrap();
        let made = std::cell::Cell::new(0);
        let get = |order: &[usize]| {
            let make = || {
                made.set(made.get() + 1);
                Ok(order[0])
            };
            *hessian.derived(order, make).unwrap()
        };
        assert_eq!([get(&[0, 1]), get(&[1, 0]), get(&[0, 1])], [0, 1, 0]);
        assert_eq!(made.get(), 2);
        assert!(hessian.derived::<u8>(&[9], || Err(Error::input("no"))).is_err());
        assert_eq!(hessian, hessian.clone());
    }
}
