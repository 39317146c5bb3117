//! Memory for weights. Large matrices lie in pages of their own, for which the system is asked to use large
//! ones: a token reads every weight once, and with pages of 4 KiB half of the time goes into finding them.

use std::ops::{Deref, DerefMut};

use gravure_base::{Error, Result};
use memmap2::MmapMut;

/// From so many bytes on memory is taken from the system by the page.
const LARGE: usize = 1 << 20;

/// Zeroed bytes.
#[derive(Debug)]
pub(crate) enum Pages {
    Heap(Vec<u8>),
    Mapped(MmapMut),
}

impl Pages {
    /// So many zeros.
    ///
    /// # Errors
    /// `Limit` where the system has not so much.
    pub(crate) fn zeroed(bytes: Option<usize>) -> Result<Self> {
        let too_large = || Error::limit("the matrix does not fit in memory");
        let bytes = bytes.ok_or_else(too_large)?;
        if bytes >= LARGE {
            let map = MmapMut::map_anon(bytes).map_err(|_| too_large())?;
            // Advice: systems without large pages refuse it, and the memory is as good.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            return Ok(Self::Mapped(map));
        }
        let mut heap = Vec::new();
        heap.try_reserve_exact(bytes).map_err(|_| too_large())?;
        heap.resize(bytes, 0);
        Ok(Self::Heap(heap))
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Heap(heap) => heap,
            Self::Mapped(map) => map,
        }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(heap) => heap,
            Self::Mapped(map) => map,
        }
    }
}
