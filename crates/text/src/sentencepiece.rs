//! SentencePiece's `tokenizer.model`: a protobuf message, read by hand.
//!
//! ```text
//! ModelProto      1: SentencePiece (repeated)   2: TrainerSpec   3: NormalizerSpec
//! SentencePiece   1: piece   2: score (f32)   3: type (1 normal, 2 unknown, 3 control, 4 user
//!                 defined, 5 unused, 6 byte)
//! TrainerSpec     3: model_type (1 unigram, 2 BPE)   24: treat_whitespace_as_suffix
//!                 35: byte_fallback   40-43: ids of unk, bos, eos, pad
//! NormalizerSpec  2: precompiled_charsmap   3: add_dummy_prefix   4: remove_extra_whitespaces
//!                 5: escape_whitespaces
//! ```
//! Nothing nests deeper than this, so there is no recursion; every length is checked against what is
//! left. Schema: `sentencepiece_model.proto` of <https://github.com/google/sentencepiece>.

use gravure_base::{Error, Limits, Result};

use crate::vocabulary::TokenKind;

/// A piece.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece<'a> {
    pub(crate) text: &'a str,
    pub(crate) score: f32,
    pub(crate) kind: TokenKind,
}

/// How pieces are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Unigram,
    Bpe,
}

/// The message, as far as it matters.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Message<'a> {
    pub(crate) pieces: Vec<Piece<'a>>,
    pub(crate) algorithm: Algorithm,
    pub(crate) whitespace_is_suffix: bool,
    pub(crate) byte_fallback: bool,
    /// Ids of the unknown, first, last and padding token; negative where there is none.
    pub(crate) unk: i32,
    pub(crate) bos: i32,
    pub(crate) eos: i32,
    pub(crate) pad: i32,
    pub(crate) charsmap: &'a [u8],
    pub(crate) add_dummy_prefix: bool,
    pub(crate) remove_extra_whitespaces: bool,
    pub(crate) escape_whitespaces: bool,
}

impl<'a> Message<'a> {
    /// Reads the message.
    ///
    /// # Errors
    /// `Input` for what is no such message, `Unsupported` for another algorithm.
    pub(crate) fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Self> {
        let mut new = Self {
            pieces: Vec::new(),
            algorithm: Algorithm::Unigram,
            whitespace_is_suffix: false,
            byte_fallback: false,
            unk: 0,
            bos: 1,
            eos: 2,
            pad: -1,
            charsmap: &[],
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
        };
        let mut fields = Fields { bytes, at: 0 };
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Field::Bytes(bytes)) => {
                    Limits::check(new.pieces.len() as u64 + 1, limits.array_elements, "pieces")?;
                    new.pieces.push(piece(bytes)?);
                }
                (2, Field::Bytes(bytes)) => new.trainer(bytes)?,
                (3, Field::Bytes(bytes)) => new.normalizer(bytes)?,
                // The data that the trainer tested itself with, and how text is put together.
                _ => {}
            }
        }
        if new.pieces.is_empty() {
            return Err(Error::input("this has no SentencePiece vocabulary"));
        }
        Ok(new)
    }

    fn trainer(&mut self, bytes: &'a [u8]) -> Result<()> {
        let mut fields = Fields { bytes, at: 0 };
        while let Some((number, value)) = fields.next()? {
            let Field::Number(value) = value else { continue };
            match number {
                3 => {
                    self.algorithm = match value {
                        1 => Algorithm::Unigram,
                        2 => Algorithm::Bpe,
                        other => return Err(Error::unsupported(format!("the SentencePiece model type {other} is not known"))),
                    }
                }
                24 => self.whitespace_is_suffix = value != 0,
                35 => self.byte_fallback = value != 0,
                // Ids are `int32`: a negative one has ten bytes, of which the low four count.
                40 => self.unk = value as i32,
                41 => self.bos = value as i32,
                42 => self.eos = value as i32,
                43 => self.pad = value as i32,
                _ => {}
            }
        }
        Ok(())
    }

    fn normalizer(&mut self, bytes: &'a [u8]) -> Result<()> {
        let mut fields = Fields { bytes, at: 0 };
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (2, Field::Bytes(bytes)) => self.charsmap = bytes,
                (3, Field::Number(value)) => self.add_dummy_prefix = value != 0,
                (4, Field::Number(value)) => self.remove_extra_whitespaces = value != 0,
                (5, Field::Number(value)) => self.escape_whitespaces = value != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

fn piece(bytes: &[u8]) -> Result<Piece<'_>> {
    let mut out = Piece { text: "", score: 0.0, kind: TokenKind::Normal };
    let mut fields = Fields { bytes, at: 0 };
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Field::Bytes(bytes)) => out.text = std::str::from_utf8(bytes).map_err(|_| Error::input("a piece is not UTF-8"))?,
            (2, Field::Fixed32(bits)) => {
                out.score = f32::from_bits(bits);
                if !out.score.is_finite() {
                    return Err(Error::input(format!("a piece has the score {}", out.score)));
                }
            }
            (3, Field::Number(kind)) => {
                out.kind = match TokenKind::from_number(i64::try_from(kind).unwrap_or(0)) {
                    TokenKind::Undefined => return Err(Error::input(format!("a piece has the type {kind}"))),
                    kind => kind,
                }
            }
            _ => {}
        }
    }
    Ok(out)
}

/// A value as the wire has it.
enum Field<'a> {
    Number(u64),
    Fixed32(u32),
    Fixed64,
    Bytes(&'a [u8]),
}

/// The fields of a message.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => {
                self.take(8)?;
                Field::Fixed64
            }
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| self.cut())?)),
            other => return Err(Error::input(format!("this is no SentencePiece model: wire type {other}"))),
        };
        Ok(Some((key >> 3, value)))
    }

    fn varint(&mut self) -> Result<u64> {
        let mut out = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.cut())?;
            self.at += 1;
            // The tenth byte has one bit left.
            if shift == 63 && byte > 1 {
                break;
            }
            out |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(out);
            }
        }
        Err(Error::input("this is no SentencePiece model: a number is too long"))
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let count = usize::try_from(count).map_err(|_| self.cut())?;
        let end = self.at.checked_add(count).ok_or_else(|| self.cut())?;
        let out = self.bytes.get(self.at..end).ok_or_else(|| self.cut())?;
        self.at = end;
        Ok(out)
    }

    fn cut(&self) -> Error {
        Error::input("this is no SentencePiece model, or it is cut short")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    fn message() -> Vec<u8> {
        let piece = |text: &str, score: f32, kind: u8| {
            field(1, &[field(1, text.as_bytes()), vec![0x15], score.to_le_bytes().to_vec(), vec![0x18, kind]].concat())
        };
        let trainer = [vec![0x18, 2], vec![0x98, 2, 1], vec![0xd8, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]].concat();
        let normalizer = [field(1, b"identity"), vec![0x18, 0, 0x20, 0]].concat();
        [piece("<unk>", 0.0, 2), piece("▁a", -1.5, 1), field(2, &trainer), field(3, &normalizer)].concat()
    }

    #[test]
    fn reads_what_matters() {
        let bytes = message();
        let message = Message::parse(&bytes, &Limits::default()).unwrap();
        assert_eq!(message.pieces[1], Piece { text: "▁a", score: -1.5, kind: TokenKind::Normal });
        assert_eq!((message.algorithm, message.byte_fallback, message.pad), (Algorithm::Bpe, true, -1));
        assert_eq!((message.add_dummy_prefix, message.remove_extra_whitespaces, message.escape_whitespaces), (false, false, true));
    }

    #[test]
    fn cut_and_flipped_messages_are_errors_or_readable() {
        let bytes = message();
        for end in 0..bytes.len() {
            let _ = Message::parse(&bytes[..end], &Limits::default());
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = Message::parse(&flipped, &Limits::default());
        }
        assert!(Message::parse(b"", &Limits::default()).is_err());
        assert!(Message::parse(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], &Limits::default()).is_err());
    }
}
