//! AMX: eight tiles of up to 16 rows by 64 bytes, and products of tiles of bytes.
//!
//! [`Tiles`] has the few operations that a product needs; [`Amx`] does them by the processor's instructions,
//! [`SoftwareTiles`] as Intel's manual describes them, so that what is built on tiles runs and is tested anywhere.
//! Spec: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18 (tiles, their
//! configuration, detection), volume 2, `LDTILECFG`, `TILELOADD`, `TILESTORED`, `TILEZERO`, `TDPBSUD`.

/// Tiles that there are.
pub const TILES: usize = 8;
/// Most rows of a tile.
pub const TILE_ROWS: usize = 16;
/// Most bytes of a row of a tile.
pub const TILE_BYTES: usize = 64;

/// The part of a tile that is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TileShape {
    /// Rows, at most [`TILE_ROWS`]; none for a tile that is not used.
    pub rows: u8,
    /// Bytes of a row, at most [`TILE_BYTES`]; none for a tile that is not used.
    pub bytes: u8,
}

/// Operations on tiles. They are numbered by constants: instructions name their registers.
///
/// # Safety
/// For all but [`Tiles::configure`]: the tiles are configured, each that is named has a shape, and between
/// configuring and releasing them no other value works on the tiles of this thread.
pub trait Tiles {
    /// Gives the tiles their shapes and fills them with zeros.
    ///
    /// # Safety
    /// No other value works on the tiles of this thread until they are released.
    ///
    /// # Panics
    /// Where a shape is larger than a tile, or has rows and no bytes, or bytes and no rows.
    unsafe fn configure(&mut self, shapes: &[TileShape; TILES]);
    /// Leaves the tiles.
    ///
    /// # Safety
    /// See [`Tiles`].
    unsafe fn release(&mut self);
    /// Fills a tile with zeros.
    ///
    /// # Safety
    /// See [`Tiles`].
    unsafe fn zero<const TILE: usize>(&mut self);
    /// Reads the rows of a tile, `stride` bytes apart.
    ///
    /// # Safety
    /// See [`Tiles`]; all rows are good for reading.
    unsafe fn load<const TILE: usize>(&mut self, from: *const u8, stride: usize);
    /// Writes the rows of a tile, `stride` bytes apart.
    ///
    /// # Safety
    /// See [`Tiles`]; all rows are good for writing.
    unsafe fn store<const TILE: usize>(&mut self, to: *mut u8, stride: usize);
    /// Adds to each integer of 32 bits in row `m` and column `n` of `SUM` the products of four signed bytes of row
    /// `m` of `A` with the four unsigned ones of column `n` in row `k` of `B`, for all `k`. Sums wrap.
    ///
    /// # Safety
    /// See [`Tiles`]; the three are different, `SUM` has the rows of `A` and the bytes of `B`, and `B` a row for
    /// every four bytes of `A`.
    unsafe fn dot<const SUM: usize, const A: usize, const B: usize>(&mut self);
}

/// What `LDTILECFG` reads (palette 1).
#[repr(C, align(64))]
struct Configuration([u8; 64]);

impl Configuration {
    fn new(shapes: &[TileShape; TILES]) -> Self {
        let mut out = [0; 64];
        out[0] = 1;
        for (i, shape) in shapes.iter().enumerate() {
            let (rows, bytes) = (usize::from(shape.rows), usize::from(shape.bytes));
            assert!(rows <= TILE_ROWS && bytes <= TILE_BYTES && (rows == 0) == (bytes == 0), "no tile is {rows} by {bytes} bytes");
            // Bytes of rows are numbers of 16 bits from byte 16 on, rows bytes from byte 48 on.
            out[16 + 2 * i] = shape.bytes;
            out[48 + i] = shape.rows;
        }
        Self(out)
    }
}

/// Proof that the processor has AMX with products of bytes, and that the operating system lets this process use it.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[derive(Debug, Clone, Copy)]
pub struct Amx(());

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod hardware {
    use std::arch::asm;
    use std::arch::x86_64::__cpuid_count;
    use std::sync::OnceLock;

    use super::{Amx, Configuration, TILES, TileShape, Tiles};

    /// The processor's bits for tiles and products of bytes, and the system's for both parts of their state.
    fn supported() -> bool {
        const OSXSAVE: u32 = 1 << 27;
        const AMX: u32 = 1 << 24 | 1 << 25;
        const TILE_STATE: u32 = 1 << 17 | 1 << 18;
        if __cpuid_count(0, 0).eax < 7 || __cpuid_count(1, 0).ecx & OSXSAVE == 0 || __cpuid_count(7, 0).edx & AMX != AMX {
            return false;
        }
        let (enabled, _high): (u32, u32);
        // SAFETY: the processor has the instruction, since the system has turned it on.
        unsafe { asm!("xgetbv", in("ecx") 0, out("eax") enabled, out("edx") _high, options(nomem, nostack, preserves_flags)) };
        enabled & TILE_STATE == TILE_STATE
    }

    /// Asks Linux to let this process use tiles, whose state makes the frames of signals larger.
    fn permitted() -> bool {
        const ARCH_PRCTL: u64 = 158;
        const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
        const XTILEDATA: u64 = 18;
        let result: i64;
        // SAFETY: a system call that reads no memory; it changes the registers that are named.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") ARCH_PRCTL => result,
                in("rdi") ARCH_REQ_XCOMP_PERM,
                in("rsi") XTILEDATA,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        result == 0
    }

    impl Amx {
        /// The token where processor and system have it. Asked once: the permission is the process's.
        pub fn detect() -> Option<Self> {
            static FOUND: OnceLock<bool> = OnceLock::new();
            FOUND.get_or_init(|| supported() && permitted()).then_some(Self(()))
        }
    }

    // The compiler puts nothing into tile registers and has no name for them as operands: they keep what they hold
    // from one statement to the next, as in the C compilers' own headers. No statement is `pure`, so that none is
    // left out or moved past another.
    impl Tiles for Amx {
        #[inline(always)]
        unsafe fn configure(&mut self, shapes: &[TileShape; TILES]) {
            let configuration = Configuration::new(shapes);
            // SAFETY: 64 bytes in the order of palette 1; the token proves that the instruction is there.
            unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, preserves_flags, readonly)) };
        }
        #[inline(always)]
        unsafe fn release(&mut self) {
            // SAFETY: the token proves that the instruction is there.
            unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
        }
        #[inline(always)]
        unsafe fn zero<const TILE: usize>(&mut self) {
            const { assert!(TILE < TILES) };
            // SAFETY: the caller's promise: the tile has a shape.
            unsafe { asm!("tilezero tmm{tile}", tile = const TILE, options(nomem, nostack, preserves_flags)) };
        }
        #[inline(always)]
        unsafe fn load<const TILE: usize>(&mut self, from: *const u8, stride: usize) {
            const { assert!(TILE < TILES) };
            // SAFETY: the caller's promise: the tile has a shape, its rows are good.
            unsafe {
                asm!(
                    "tileloadd tmm{tile}, [{from} + {stride}]",
                    tile = const TILE,
                    from = in(reg) from,
                    stride = in(reg) stride,
                    options(nostack, preserves_flags, readonly),
                );
            }
        }
        #[inline(always)]
        unsafe fn store<const TILE: usize>(&mut self, to: *mut u8, stride: usize) {
            const { assert!(TILE < TILES) };
            // SAFETY: the caller's promise: the tile has a shape, its rows are good.
            unsafe {
                asm!(
                    "tilestored [{to} + {stride}], tmm{tile}",
                    tile = const TILE,
                    to = in(reg) to,
                    stride = in(reg) stride,
                    options(nostack, preserves_flags),
                );
            }
        }
        #[inline(always)]
        unsafe fn dot<const SUM: usize, const A: usize, const B: usize>(&mut self) {
            const { assert!(SUM < TILES && A < TILES && B < TILES && SUM != A && SUM != B && A != B) };
            // SAFETY: the caller's promise: shapes fit.
            unsafe {
                asm!(
                    "tdpbsud tmm{sum}, tmm{a}, tmm{b}",
                    sum = const SUM,
                    a = const A,
                    b = const B,
                    options(nomem, nostack, preserves_flags),
                );
            }
        }
    }
}

/// Tiles in memory, by the manual's words.
#[derive(Debug, Clone)]
pub struct SoftwareTiles {
    shapes: [TileShape; TILES],
    tiles: [[[u8; TILE_BYTES]; TILE_ROWS]; TILES],
}

impl SoftwareTiles {
    /// Tiles without a configuration.
    pub fn new() -> Self {
        Self { shapes: [TileShape::default(); TILES], tiles: [[[0; TILE_BYTES]; TILE_ROWS]; TILES] }
    }

    /// The shape of a tile that has one; a processor raises an invalid-opcode exception otherwise.
    fn shape(&self, tile: usize) -> (usize, usize) {
        let TileShape { rows, bytes } = self.shapes[tile];
        assert!(rows > 0, "tile {tile} is not configured");
        (rows.into(), bytes.into())
    }
}

impl Default for SoftwareTiles {
    fn default() -> Self {
        Self::new()
    }
}

impl Tiles for SoftwareTiles {
    unsafe fn configure(&mut self, shapes: &[TileShape; TILES]) {
        // What a processor would read: its rules are checked in one place.
        let Configuration(bytes) = Configuration::new(shapes);
        *self = Self::new();
        self.shapes = std::array::from_fn(|i| TileShape { rows: bytes[48 + i], bytes: bytes[16 + 2 * i] });
    }
    unsafe fn release(&mut self) {
        *self = Self::new();
    }
    unsafe fn zero<const TILE: usize>(&mut self) {
        self.shape(TILE);
        self.tiles[TILE] = [[0; TILE_BYTES]; TILE_ROWS];
    }
    unsafe fn load<const TILE: usize>(&mut self, from: *const u8, stride: usize) {
        let (rows, bytes) = self.shape(TILE);
        // What is beyond the shape becomes zero.
        self.tiles[TILE] = [[0; TILE_BYTES]; TILE_ROWS];
        for (i, row) in self.tiles[TILE][..rows].iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { row.as_mut_ptr().copy_from_nonoverlapping(from.wrapping_add(i * stride), bytes) };
        }
    }
    unsafe fn store<const TILE: usize>(&mut self, to: *mut u8, stride: usize) {
        let (rows, bytes) = self.shape(TILE);
        for (i, row) in self.tiles[TILE][..rows].iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { to.wrapping_add(i * stride).copy_from_nonoverlapping(row.as_ptr(), bytes) };
        }
    }
    unsafe fn dot<const SUM: usize, const A: usize, const B: usize>(&mut self) {
        let ((rows, bytes), (a_rows, a_bytes), (b_rows, b_bytes)) = (self.shape(SUM), self.shape(A), self.shape(B));
        assert!(SUM != A && SUM != B && A != B, "a product of tiles that are not different");
        assert!(rows == a_rows && bytes == b_bytes && a_bytes == 4 * b_rows && bytes % 4 == 0, "shapes that do not fit");
        for m in 0..rows {
            for k in 0..b_rows {
                for n in 0..bytes / 4 {
                    let (a, b) = (&self.tiles[A][m][4 * k..4 * k + 4], &self.tiles[B][k][4 * n..4 * n + 4]);
                    let products: i32 = a.iter().zip(b).map(|(a, b)| i32::from(*a as i8) * i32::from(*b)).sum();
                    let sum = &mut self.tiles[SUM][m].as_chunks_mut::<4>().0[n];
                    *sum = i32::from_le_bytes(*sum).wrapping_add(products).to_le_bytes();
                }
            }
        }
        self.tiles[SUM][rows..].fill([0; TILE_BYTES]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [(u8, u8); 4] = [(16, 64), (16, 16), (3, 32), (1, 4)];

    fn bytes(count: usize, mut state: u64) -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // The ends of the ranges often.
            [0, 127, 128, 255, (state >> 33) as u8, (state >> 41) as u8][(state >> 56) as usize % 6]
        };
        (0..count).map(|_| next()).collect()
    }

    /// Products by whatever tiles, twice into the same sums.
    fn product(tiles: &mut impl Tiles, rows: u8, depth: u8, a: &[u8], b: &[u8]) -> Vec<i32> {
        let mut shapes = [TileShape::default(); TILES];
        shapes[1] = TileShape { rows, bytes: 64 };
        shapes[5] = TileShape { rows, bytes: depth };
        shapes[7] = TileShape { rows: depth / 4, bytes: 64 };
        let mut out = vec![-1; 16 * 20];
        // SAFETY: shapes fit; rows of `a` are 70 bytes apart, those of `b` and `out` 80, all there.
        unsafe {
            tiles.configure(&shapes);
            tiles.load::<5>(a.as_ptr(), 70);
            tiles.load::<7>(b.as_ptr(), 80);
            tiles.zero::<1>();
            tiles.dot::<1, 5, 7>();
            tiles.dot::<1, 5, 7>();
            tiles.store::<1>(out.as_mut_ptr().cast(), 80);
            tiles.release();
        }
        out
    }

    #[test]
    fn tiles_in_memory_are_sums_of_products() {
        for (rows, depth) in SHAPES {
            let (a, b) = (bytes(16 * 70, 1), bytes(16 * 80, 2));
            let out = product(&mut SoftwareTiles::new(), rows, depth, &a, &b);
            for m in 0..16 {
                for n in 0..20 {
                    let exact: i32 =
                        (0..usize::from(depth)).map(|k| i32::from(a[70 * m + k] as i8) * i32::from(b[80 * (k / 4) + 4 * n + k % 4])).sum();
                    let wanted = if m < usize::from(rows) && n < 16 { 2 * exact } else { -1 };
                    assert_eq!(out[20 * m + n], wanted, "{rows} by {depth} at {m}, {n}");
                }
            }
        }
    }

    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[test]
    fn the_processors_tiles_are_those_in_memory() {
        let Some(mut amx) = Amx::detect() else {
            eprintln!("SKIPPED: this machine has no AMX, its instructions were not run");
            return;
        };
        for (rows, depth) in SHAPES {
            let (a, b) = (bytes(16 * 70, 3), bytes(16 * 80, 4));
            let wanted = product(&mut SoftwareTiles::new(), rows, depth, &a, &b);
            assert_eq!(product(&mut amx, rows, depth, &a, &b), wanted, "{rows} by {depth}");
        }
    }

    #[test]
    fn shapes_are_checked() {
        for (rows, bytes) in [(17, 64), (16, 65), (1, 0), (0, 1)] {
            let mut shapes = [TileShape::default(); TILES];
            shapes[3] = TileShape { rows, bytes };
            assert!(std::panic::catch_unwind(|| Configuration::new(&shapes)).is_err(), "{rows} by {bytes}");
        }
    }
}
