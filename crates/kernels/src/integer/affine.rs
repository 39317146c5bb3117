//! Weights of a group of columns as affine functions of their codes.

use crate::form::{Form, PIECE, Shape};
use crate::lanes::{Lanes, PairLanes};

/// `weight = scale * code + shift`, for a group of columns of 16 rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine<L: Lanes> {
    scale: L::Float,
    shift: L::Float,
}

impl<L: PairLanes> Affine<L> {
    /// Of group `group` of a block: its scale, and, where there are minima, the block's factor of these and where they lie by steps.
    ///
    /// # Safety
    /// See [`Lanes`].
    #[inline(always)]
    pub(super) unsafe fn new<F: Form>(scale: L::Float, minimum: L::Float, group: usize, least: impl Fn(usize) -> L::Int) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let mut shift = L::mul(scale, L::float_every(&-(F::OFFSET as f32)));
            if F::MINIMA {
                let mut minimum = L::mul(minimum, L::float_every(&-1.0));
                if Shape::<F>::LEAST > 0 {
                    let four = least(group / 4);
                    let byte = match group % 4 {
                        0 => L::byte::<0>(four),
                        1 => L::byte::<1>(four),
                        2 => L::byte::<2>(four),
                        _ => L::byte::<3>(four),
                    };
                    minimum = L::mul(minimum, byte);
                }
                shift = L::add(shift, minimum);
            }
            Self { scale, shift }
        }
    }

    /// Writes the weights of four columns as two pieces of pairs of bf16.
    ///
    /// # Safety
    /// `out` has room; see [`Lanes`].
    #[inline(always)]
    pub(super) unsafe fn put<F: Form>(&self, codes: L::Int, out: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            L::store(L::pairs(self.weight::<F, 0>(codes), self.weight::<F, 1>(codes)), out);
            L::store(L::pairs(self.weight::<F, 2>(codes), self.weight::<F, 3>(codes)), out.add(PIECE));
        }
    }

    /// Column `K` of four.
    #[inline(always)]
    unsafe fn weight<F: Form, const K: u32>(&self, codes: L::Int) -> L::Float {
        // SAFETY: the caller's promise.
        unsafe {
            let code = L::byte::<K>(codes);
            if F::OFFSET == 0 && !F::MINIMA { L::mul(code, self.scale) } else { L::fma(code, self.scale, self.shift) }
        }
    }
}
