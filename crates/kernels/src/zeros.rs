//! Numbers that begin as zeros, in memory that the system gives when it is first touched.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use gravure_base::{Error, Pages, Result};

/// From so many bytes on they lie in pages of their own. What the heap hands out may have been used before, and is
/// cleared at once.
const LARGE: usize = 1 << 20;

/// Numbers whose bytes may be anything, and zero where all of them are.
///
/// # Safety
/// That is so, and an alignment is at most a page's.
pub(crate) unsafe trait Number: Copy + Default {}
// SAFETY: floats and integers of the machine.
unsafe impl Number for f32 {}
// SAFETY: as above.
unsafe impl Number for u16 {}
// SAFETY: as above.
unsafe impl Number for i8 {}

/// A list of zeros, to begin with.
#[derive(Debug)]
pub(crate) struct Zeros<T>(Place<T>);

#[derive(Debug)]
enum Place<T> {
    Heap(Vec<T>),
    Mapped { pages: Pages, count: usize, of: PhantomData<T> },
}

impl<T: Number> Zeros<T> {
    /// So many.
    ///
    /// # Errors
    /// `Limit` where the system has not so much memory.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let too_large = || Error::limit(format!("{count} numbers do not fit in memory"));
        let bytes = count.checked_mul(size_of::<T>()).ok_or_else(too_large)?;
        if bytes < LARGE {
            return Ok(Self(Place::Heap(vec![T::default(); count])));
        }
        Ok(Self(Place::Mapped { pages: Pages::zeroed(bytes)?, count, of: PhantomData }))
    }
}

impl<T: Number> Deref for Zeros<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Place::Heap(heap) => heap,
            // SAFETY: pages begin at a page, and hold so many numbers, which any bytes are.
            Place::Mapped { pages, count, .. } => unsafe { std::slice::from_raw_parts(pages.as_ptr().cast(), *count) },
        }
    }
}

impl<T: Number> DerefMut for Zeros<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Place::Heap(heap) => heap,
            // SAFETY: as above, and they are borrowed mutably.
            Place::Mapped { pages, count, .. } => unsafe { std::slice::from_raw_parts_mut(pages.as_mut_ptr().cast(), *count) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_zeros_until_they_are_written() {
        for count in [0, 1, LARGE / 4 - 1, LARGE / 4, LARGE + 3] {
            let mut numbers = Zeros::<f32>::new(count).unwrap();
            assert!(numbers.len() == count && numbers.iter().all(|v| *v == 0.0));
            numbers.iter_mut().enumerate().for_each(|(i, v)| *v = i as f32);
            assert!(numbers.iter().enumerate().all(|(i, v)| *v == i as f32));
        }
        assert!(Zeros::<u16>::new(usize::MAX).is_err() && Zeros::<i8>::new(isize::MAX as usize).is_err());
    }
}
