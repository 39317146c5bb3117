//! One file for each instruction set: its token and its operations. The only intrinsics of the
//! project's lanes are here.

mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use amx::Amx;
pub use amx::{SoftwareTiles, TILE_BYTES, TILE_ROWS, TILES, TileShape, Tiles};
#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
pub use portable::Portable;

/// Checks what `columns` promises about its rows: `LANES` offsets, each row within `source`.
/// Returns whether there is anything to do.
#[inline(always)]
fn check_columns(source: &[f32], offsets: &[usize], lanes: usize, rows: usize) {
    assert!(offsets.len() >= lanes, "{} offsets for {lanes} lanes", offsets.len());
    let room = source.len().checked_sub(rows);
    for &offset in &offsets[..lanes] {
        assert!(room.is_some_and(|room| offset <= room), "row of {rows} at {offset} is outside of {} values", source.len());
    }
}

/// Defines operations that are one intrinsic (or a few): the only unsafe thing about an intrinsic
/// that works on registers is that the processor may lack it, and the token says that it does not.
macro_rules! operations {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty { $body:expr })*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) -> $result {
            // SAFETY: the token proves that the processor has the instruction set; the intrinsics
            // work on registers alone.
            unsafe { $body }
        }
    )*};
}
use operations;
