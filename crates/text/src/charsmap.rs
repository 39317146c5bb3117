//! SentencePiece's compiled normalization rules.
//!
//! ```text
//! u32 length of the trie in bytes   trie: u32 units   replacements, each ended by a zero byte
//! ```
//! The trie is a double array (Darts-clone): a unit packs the label (bits 0-7), whether a value
//! hangs on it (bit 8), and the offset of its children (bits 10-30, times 256 where bit 9 is set);
//! a value is a unit with bit 31 set, and names where the replacement starts. Of the rules that
//! match, the longest counts. Reference: SentencePiece's `normalizer.cc`.

use gravure_base::{Error, Result};

/// The rules, checked to be whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Charsmap {
    units: Vec<u32>,
    replacements: String,
}

impl Charsmap {
    /// Reads the rules.
    ///
    /// # Errors
    /// `Input` where the lengths do not fit, or the replacements are not UTF-8.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self> {
        let wrong = |what: &str| Error::input(format!("the compiled normalization rules are damaged: {what}"));
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| wrong("too short"))?;
        let length = u32::from_le_bytes(*length) as usize;
        if !length.is_multiple_of(4) || length > rest.len() {
            return Err(wrong("the trie is longer than the rules"));
        }
        let (trie, replacements) = rest.split_at(length);
        let units = trie.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
        let replacements = std::str::from_utf8(replacements).map_err(|_| wrong("a replacement is not UTF-8"))?.to_owned();
        Ok(Self { units, replacements })
    }

    /// The rules as they were read.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = (self.units.len() as u32 * 4).to_le_bytes().to_vec();
        out.extend(self.units.iter().flat_map(|unit| unit.to_le_bytes()));
        out.extend_from_slice(self.replacements.as_bytes());
        out
    }

    /// The normalized text.
    pub(crate) fn normalize(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
            match self.longest(&text.as_bytes()[at..]) {
                Some((length, replacement)) if text.is_char_boundary(at + length) => {
                    out.push_str(replacement);
                    at += length;
                }
                _ => {
                    out.push(c);
                    at += c.len_utf8();
                }
            }
        }
        out
    }

    /// The longest rule at the start: how much it takes, and what it gives.
    fn longest(&self, bytes: &[u8]) -> Option<(usize, &str)> {
        let unit = |at: usize| self.units.get(at).copied();
        let children = |unit: u32| ((unit >> 10) << ((unit & 1 << 9) >> 6)) as usize;
        let mut found = None;
        let mut at = children(unit(0)?);
        for (index, &byte) in bytes.iter().enumerate() {
            if byte == 0 {
                break;
            }
            at ^= usize::from(byte);
            let Some(node) = unit(at) else { break };
            if node & (1 << 31 | 0xff) != u32::from(byte) {
                break;
            }
            at ^= children(node);
            if node >> 8 & 1 == 1 {
                let Some(value) = unit(at) else { break };
                found = Some((index + 1, (value & !(1 << 31)) as usize));
            }
        }
        let (length, start) = found?;
        let replacement = self.replacements.get(start..)?;
        Some((length, &replacement[..replacement.find('\0')?]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trie with the one rule `A` -> `xy`.
    fn one_rule() -> Vec<u8> {
        let mut units = vec![0u32; 512];
        // Root: children at 256 (offset 1 << 10 with the "times 256" bit).
        units[0] = 1 << 10 | 1 << 9;
        let a = 256 ^ usize::from(b'A');
        // The value of A hangs at its place ^ its offset.
        units[a] = u32::from(b'A') | 1 << 8 | 2 << 10;
        units[a ^ 2] = 1 << 31 | 3;
        let mut out = (units.len() as u32 * 4).to_le_bytes().to_vec();
        out.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        out.extend(b"zz\0xy\0");
        out
    }

    #[test]
    fn replaces_by_rule() {
        let map = Charsmap::new(&one_rule()).unwrap();
        assert_eq!(map.bytes(), one_rule());
        assert_eq!(map.normalize("bAAé"), "bxyxyé");
    }

    #[test]
    fn damaged_rules_are_refused_or_harmless() {
        assert!(Charsmap::new(b"").is_err());
        assert!(Charsmap::new(&[255, 255, 255, 255, 0]).is_err());
        let good = one_rule();
        for cut in 4..good.len() {
            if let Ok(map) = Charsmap::new(&good[..cut]) {
                map.normalize("bAAé");
            }
        }
        let mut offsets = good.clone();
        offsets[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Charsmap::new(&offsets).unwrap().normalize("bA"), "bA");
    }
}
