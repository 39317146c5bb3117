//! `nvfp4`: 4-bit floats, and an 8-bit float as scale for 16 weights, four of them in a block. Codes stand for twice
//! their values, which are whole numbers; scales are read as halves, a 256th of what they are.

use super::mxfp4::{DOUBLED, LARGEST};
use super::nibbles;
use crate::form::{Form, Parts, Scales};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nvfp4;

impl Form for Nvfp4 {
    type Like = Self;
    const ID: &'static str = "nvfp4";
    const COLUMNS: usize = 64;
    const GROUP: usize = 16;
    const BITS: usize = 4;
    const UNIT: f32 = 128.0;
    const OFFSET: i32 = LARGEST;
    const SCALES: Scales = Scales::Floats;
    const TABLE: Option<&'static [u8; 16]> = Some(&DOUBLED);
    const ENCODED: usize = 36;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.scales[..4].copy_from_slice(&row[..4]);
        for (bytes, codes) in row[4..36].chunks_exact(8).zip(parts.codes.chunks_exact_mut(16)) {
            nibbles(bytes, codes);
        }
    }
}
