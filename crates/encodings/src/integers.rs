//! Integers and flags: token ids, indices, zero points. They are carried through files byte by byte
//! and never stand for weights. Those of up to 16 bits are exact in `f32` and can be looked at;
//! wider ones are not and refuse.
//!
//! Little-endian; `bool` is one byte, 0 or 1.

use gravure_core::{Encoding, Error, Importance, Layout, Result};

use crate::blocks::{check_encode, validate_blocks};

/// An integer of one width and sign.
#[derive(Debug)]
pub(crate) struct Integer {
    id: &'static str,
    doc: &'static str,
    bytes: usize,
    least: i64,
    most: i64,
}

/// Signed, 8 bits.
pub(crate) static I8: Integer = Integer { id: "i8", doc: "8-bit signed integers, carried through", bytes: 1, least: -128, most: 127 };
/// Signed, 16 bits.
pub(crate) static I16: Integer =
    Integer { id: "i16", doc: "16-bit signed integers, carried through", bytes: 2, least: -32_768, most: 32_767 };
/// Signed, 32 bits.
pub(crate) static I32: Integer =
    Integer { id: "i32", doc: "32-bit signed integers, carried through", bytes: 4, least: i32::MIN as i64, most: i32::MAX as i64 };
/// Signed, 64 bits.
pub(crate) static I64: Integer =
    Integer { id: "i64", doc: "64-bit signed integers, carried through", bytes: 8, least: i64::MIN, most: i64::MAX };
/// Unsigned, 8 bits.
pub(crate) static U8: Integer = Integer { id: "u8", doc: "8-bit unsigned integers, carried through", bytes: 1, least: 0, most: 255 };
/// Unsigned, 16 bits.
pub(crate) static U16: Integer = Integer { id: "u16", doc: "16-bit unsigned integers, carried through", bytes: 2, least: 0, most: 65_535 };
/// Unsigned, 32 bits.
pub(crate) static U32: Integer =
    Integer { id: "u32", doc: "32-bit unsigned integers, carried through", bytes: 4, least: 0, most: u32::MAX as i64 };
/// Unsigned, 64 bits.
pub(crate) static U64: Integer =
    Integer { id: "u64", doc: "64-bit unsigned integers, carried through", bytes: 8, least: 0, most: i64::MAX };
/// A flag in a byte.
pub(crate) static BOOL: Integer = Integer { id: "bool", doc: "flags of one byte, carried through", bytes: 1, least: 0, most: 1 };

impl Integer {
    fn check_exact(&self) -> Result<()> {
        if self.bytes > 2 {
            return Err(Error::unsupported(format!("numbers of {} are not weights and are not exact as f32", self.id)));
        }
        Ok(())
    }
}

impl Encoding for Integer {
    fn id(&self) -> &'static str {
        self.id
    }

    fn doc(&self) -> &'static str {
        self.doc
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: 1, block_bytes: self.bytes }
    }

    fn is_integer(&self) -> bool {
        true
    }

    fn can_encode(&self) -> bool {
        self.bytes <= 2
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        self.check_exact()?;
        check_encode(self, source, row_length, importance, out)?;
        for (&x, y) in source.iter().zip(out.chunks_exact_mut(self.bytes)) {
            if x.fract() != 0.0 || !(x >= self.least as f32 && x <= self.most as f32) {
                return Err(Error::input(format!("{x} is no number of {}", self.id)));
            }
            y.copy_from_slice(&(x as i64).to_le_bytes()[..self.bytes]);
        }
        Ok(())
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        self.check_exact()?;
        if source.len() != out.len() * self.bytes {
            return Err(Error::input(format!("{} bytes of {} do not hold {} numbers", source.len(), self.id, out.len())));
        }
        let unused = 64 - 8 * self.bytes as u32;
        for (x, y) in source.chunks_exact(self.bytes).zip(out) {
            let mut wide = [0; 8];
            wide[..self.bytes].copy_from_slice(x);
            let bits = u64::from_le_bytes(wide);
            *y = if self.least < 0 { ((bits << unused) as i64 >> unused) as f32 } else { bits as f32 };
        }
        Ok(())
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        match self.most {
            1 => validate_blocks(self, source, |[flag]| *flag <= 1),
            _ if source.len().is_multiple_of(self.bytes) => Ok(()),
            _ => Err(Error::input(format!("{} bytes are not whole numbers of {}", source.len(), self.id))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_integers_are_exact() {
        for (kind, values) in [(&I8, [-128.0, -1.0, 127.0]), (&I16, [-32768.0, 5.0, 32767.0]), (&U16, [0.0, 7.0, 65535.0])] {
            let mut bytes = vec![0; 3 * kind.bytes];
            kind.encode(&values, 3, None, &mut bytes).unwrap();
            let mut back = [0.0; 3];
            kind.decode(&bytes, &mut back).unwrap();
            assert_eq!(back, values, "{}", kind.id);
        }
    }

    #[test]
    fn what_is_no_such_integer_is_refused() {
        let mut out = [0];
        for (kind, value) in [(&I8, 128.0), (&I8, 0.5), (&U8, -1.0), (&BOOL, 2.0), (&U8, f32::NAN), (&U8, f32::INFINITY)] {
            assert!(kind.encode(&[value], 1, None, &mut out).is_err(), "{} {value}", kind.id);
        }
        assert!(I32.decode(&[0; 4], &mut [0.0]).is_err());
        assert!(BOOL.validate(&[2]).is_err());
    }
}
