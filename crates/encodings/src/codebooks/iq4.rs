//! Sixteen levels that are denser around zero, for four-bit codes.

/// The levels, ascending.
pub const LEVELS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
