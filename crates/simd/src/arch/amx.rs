//! AMX: eight tiles of up to 16 rows by 64 bytes, and products of tiles of bytes and of pairs of bf16.
//!
//! [`Tiles`] has the few operations that a product needs; [`Amx`] does them by the processor's instructions,
//! [`SoftwareTiles`] as Intel's manual describes them, so that what is built on tiles runs and is tested anywhere.
//! Spec: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18 (tiles, their
//! configuration, detection), volume 2, `LDTILECFG`, `TILELOADD`, `TILESTORED`, `TILEZERO`, `TDPBSUD`,
//! `TDPBF16PS`.

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
    /// Adds to each float of 32 bits in row `m` and column `n` of `SUM` the products of two bf16 of row `m` of `A` with the two of
    /// column `n` in row `k` of `B`, for all `k`: those of the first ones are summed, those of the second ones, and both sums added.
    /// Numbers too small to be normal count as zeros.
    ///
    /// # Safety
    /// See [`Tiles`]; shapes as for [`Tiles::dot`]; the processor has the instruction ([`Amx::has_bf16`]).
    unsafe fn dot_bf16<const SUM: usize, const A: usize, const B: usize>(&mut self);
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

        /// Whether the processor multiplies tiles of bf16, too.
        pub fn has_bf16(self) -> bool {
            const BF16: u32 = 1 << 22;
            __cpuid_count(7, 0).edx & BF16 != 0
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
        #[inline(always)]
        unsafe fn dot_bf16<const SUM: usize, const A: usize, const B: usize>(&mut self) {
            const { assert!(SUM < TILES && A < TILES && B < TILES && SUM != A && SUM != B && A != B) };
            // SAFETY: the caller's promise: shapes fit, and the instruction is there.
            unsafe {
                asm!(
                    "tdpbf16ps tmm{sum}, tmm{a}, tmm{b}",
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

    /// Rows, columns of 4 bytes and depth of a product of tiles whose shapes fit; a processor raises an exception otherwise.
    fn shapes(&self, sum: usize, a: usize, b: usize) -> (usize, usize, usize) {
        let ((rows, bytes), (a_rows, a_bytes), (b_rows, b_bytes)) = (self.shape(sum), self.shape(a), self.shape(b));
        assert!(sum != a && sum != b && a != b, "a product of tiles that are not different");
        assert!(rows == a_rows && bytes == b_bytes && a_bytes == 4 * b_rows && bytes % 4 == 0, "shapes that do not fit");
        (rows, bytes / 4, b_rows)
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
        let (rows, columns, depth) = self.shapes(SUM, A, B);
        for m in 0..rows {
            for k in 0..depth {
                for n in 0..columns {
                    let (a, b) = (&self.tiles[A][m][4 * k..4 * k + 4], &self.tiles[B][k][4 * n..4 * n + 4]);
                    let products: i32 = a.iter().zip(b).map(|(a, b)| i32::from(*a as i8) * i32::from(*b)).sum();
                    let sum = &mut self.tiles[SUM][m].as_chunks_mut::<4>().0[n];
                    *sum = i32::from_le_bytes(*sum).wrapping_add(products).to_le_bytes();
                }
            }
        }
        self.tiles[SUM][rows..].fill([0; TILE_BYTES]);
    }
    unsafe fn dot_bf16<const SUM: usize, const A: usize, const B: usize>(&mut self) {
        let (rows, columns, depth) = self.shapes(SUM, A, B);
        let flushed = |value: f32| if value.is_subnormal() { 0.0_f32.copysign(value) } else { value };
        let half = |four: &[u8], i: usize| flushed(f32::from_le_bytes([0, 0, four[2 * i], four[2 * i + 1]]));
        for m in 0..rows {
            for n in 0..columns {
                let mut sums = [0.0_f32; 2];
                for k in 0..depth {
                    let (a, b) = (&self.tiles[A][m][4 * k..4 * k + 4], &self.tiles[B][k][4 * n..4 * n + 4]);
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = flushed(half(a, i).mul_add(half(b, i), *sum));
                    }
                }
                let sum = &mut self.tiles[SUM][m].as_chunks_mut::<4>().0[n];
                *sum = flushed(flushed(f32::from_le_bytes(*sum)) + flushed(sums[0] + sums[1])).to_le_bytes();
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

    /// Products of bf16 by whatever tiles, twice into the same sums.
    fn product_bf16(tiles: &mut impl Tiles, rows: u8, depth: u8, a: &[u8], b: &[u8]) -> Vec<u32> {
        let mut shapes = [TileShape::default(); TILES];
        shapes[0] = TileShape { rows, bytes: 64 };
        shapes[4] = TileShape { rows, bytes: depth };
        shapes[6] = TileShape { rows: depth / 4, bytes: 64 };
        let mut out = vec![0_u32; 16 * 16];
        // SAFETY: shapes fit; rows are 64 bytes apart, all there.
        unsafe {
            tiles.configure(&shapes);
            tiles.load::<4>(a.as_ptr(), 64);
            tiles.load::<6>(b.as_ptr(), 64);
            tiles.zero::<0>();
            tiles.dot_bf16::<0, 4, 6>();
            tiles.dot_bf16::<0, 4, 6>();
            tiles.store::<0>(out.as_mut_ptr().cast(), 64);
            tiles.release();
        }
        out
    }

    /// bf16 between -2 and 2, zeros and subnormal ones among them.
    fn halves(count: usize, seed: u64) -> Vec<u8> {
        let bytes = bytes(2 * count, seed);
        let number = |two: &[u8]| match two[0] {
            127 => [1, two[1] & 0x80],
            0 => [0, 0],
            low => [low, two[1] & 0x80 | (0x3f - (low & 1))],
        };
        bytes.chunks_exact(2).flat_map(number).collect()
    }

    #[test]
    fn tiles_in_memory_are_sums_of_products_of_halves() {
        for (rows, depth) in SHAPES {
            let (a, b) = (halves(16 * 32, 5), halves(16 * 32, 6));
            let number = |list: &[u8], i: usize| f64::from(f32::from_le_bytes([0, 0, list[2 * i], list[2 * i + 1]]));
            let out = product_bf16(&mut SoftwareTiles::new(), rows, depth, &a, &b);
            for m in 0..16 {
                for n in 0..16 {
                    let depth = usize::from(depth) / 2;
                    let terms = || (0..depth).map(|k| number(&a, 32 * m + k) * number(&b, 32 * (k / 2) + 2 * n + k % 2));
                    let exact = if m < usize::from(rows) { 2.0 * terms().sum::<f64>() } else { 0.0 };
                    let (got, size) = (f64::from(f32::from_bits(out[16 * m + n])), terms().map(f64::abs).sum::<f64>());
                    assert!((got - exact).abs() <= 1e-6 * size + 1e-30, "{rows} by {depth} at {m}, {n}: {got}, not {exact}");
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
            if amx.has_bf16() {
                let (a, b) = (halves(16 * 32, 7), halves(16 * 32, 8));
                let wanted = product_bf16(&mut SoftwareTiles::new(), rows, depth, &a, &b);
                assert_eq!(product_bf16(&mut amx, rows, depth, &a, &b), wanted, "{rows} by {depth} in bf16");
            }
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
