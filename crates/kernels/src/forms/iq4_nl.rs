//! `iq4_nl`: 4 bits that stand for uneven levels, and a scale for 32 weights.

use super::{nibbles, short};
use crate::form::{Form, Parts};

/// The levels, with 128 added: unsigned bytes.
pub(super) static LEVELS: [u8; 16] = [1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241];

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Iq4Nl;

impl Form for Iq4Nl {
    const ID: &'static str = "iq4_nl";
    const COLUMNS: usize = 32;
    const GROUP: usize = 32;
    const BITS: usize = 4;
    const OFFSET: i32 = 128;
    const TABLE: Option<&'static [u8; 16]> = Some(&LEVELS);
    const ENCODED: usize = 18;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.d = short(row, 0).into();
        nibbles(&row[2..18], &mut parts.codes[..32]);
    }
}
