//! Memory for weights. Much of it lies in pages of its own, for which the system is asked to use large ones:
//! a token reads every weight once, and with pages of 4 KiB half of the time goes into finding them.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use crate::{Error, Result};

/// From so many bytes on memory is taken from the system by the page.
const LARGE: usize = 1 << 20;

/// Bytes that begin as zeros.
#[derive(Debug)]
pub struct Pages(Place);

#[derive(Debug)]
enum Place {
    Heap(Vec<u8>),
    Mapped(MmapMut),
}

impl Pages {
    /// So many zeros.
    ///
    /// # Errors
    /// `Limit` where the system has not so much.
    pub fn zeroed(bytes: usize) -> Result<Self> {
        let too_large = || Error::limit(format!("{bytes} bytes do not fit in memory"));
        if bytes >= LARGE {
            let map = MmapMut::map_anon(bytes).map_err(|_| too_large())?;
            // Advice: systems without large pages refuse it, and the memory is as good.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            return Ok(Self(Place::Mapped(map)));
        }
        let mut heap = Vec::new();
        heap.try_reserve_exact(bytes).map_err(|_| too_large())?;
        heap.resize(bytes, 0);
        Ok(Self(Place::Heap(heap)))
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Heap(heap) => heap,
            Place::Mapped(map) => map,
        }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Place::Heap(heap) => heap,
            Place::Mapped(map) => map,
        }
    }
}
