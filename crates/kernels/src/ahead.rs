//! Weights that are asked for ahead of their use.
//!
//! Decode is as fast as memory where a processor asks for enough of it by itself: AMD's does, and asking for more costs more than it
//! gains. Servers of Intel's with AMX leave a third of what two threads could read unread (`docs/engine.md` has the figures).

use crate::lanes::Lanes;

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// How many bytes ahead of their use weights are asked for; none where the processor does so by itself.
pub(crate) fn ahead() -> usize {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if gravure_simd::arch::Amx::detect().is_some() {
        // Of 512, 1,024, 2,048, 4,096 and 8,192 the best for most encodings.
        return 2048;
    }
    0
}

/// Asks for what lies `ahead` of some bytes that are about to be read, where that is not 0.
///
/// # Safety
/// See [`Lanes`]; the bytes need not be there.
#[inline(always)]
pub(crate) unsafe fn ask<L: Lanes>(ahead: usize, from: *const u8, bytes: usize) {
    if ahead > 0 {
        let mut line = 0;
        while line < bytes {
            // SAFETY: the caller's promise; nothing is read.
            unsafe { L::prefetch(from.wrapping_add(ahead + line)) };
            line += LINE;
        }
    }
}
