//! `iq4_nl`: 4 bits that stand for uneven levels, and a scale for 32 weights.

use gravure_encodings::parts::IQ4_LEVELS;

use super::q8_0::Q8_0;
use super::{nibbles, short, unsigned};
use crate::form::{Form, Parts};

/// The levels as unsigned bytes.
pub(super) static LEVELS: [u8; 16] = unsigned(&IQ4_LEVELS, 128);

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Iq4Nl;

impl Form for Iq4Nl {
    type Like = Q8_0;
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
