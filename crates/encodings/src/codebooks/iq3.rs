//! What the three-bit lattices have in common: four coordinates of eight levels.

/// Levels of the four coordinates of a packed point.
#[inline(always)]
pub(crate) fn levels(packed: u16) -> [u8; 4] {
    std::array::from_fn(|i| (packed >> (3 * i) & 7) as u8)
}
