//! What the two-bit lattices have in common: eight coordinates of three levels.

/// Values that a level stands for, in eighths of the scale.
pub const VALUES: [f32; 4] = [8.0, 25.0, 43.0, 0.0];

/// Levels of the eight coordinates of a packed point.
#[inline(always)]
pub(crate) fn levels(packed: u16) -> [u8; 8] {
    std::array::from_fn(|i| (packed >> (2 * i) & 3) as u8)
}
