//! Bytes spelled as printable characters, as GPT-2 does.
//!
//! A byte that is a printable character of Latin-1 stands for itself; the others, in order, for
//! U+0100 and on: a space is `Ġ`, a line feed `Ċ`.

/// The character that spells a byte.
pub(crate) fn char_of(byte: u8) -> char {
    let code = match byte {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => u32::from(byte),
        ..=0x20 => 0x100 + u32::from(byte),
        0x7f..=0xa0 => 0x100 + 0x21 + u32::from(byte - 0x7f),
        0xad => 0x100 + 0x21 + 0x22,
    };
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte that a character spells.
pub(crate) fn byte_of(c: char) -> Option<u8> {
    match c as u32 {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121) as u8 + 0x7f),
        0x143 => Some(0xad),
        _ => None,
    }
}

/// Appends the spelling of each byte of `text`.
pub(crate) fn spell(text: &str, out: &mut String) {
    out.extend(text.bytes().map(char_of));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_character() {
        for byte in 0..=255u8 {
            assert_eq!(byte_of(char_of(byte)), Some(byte));
        }
        assert_eq!((char_of(b' '), char_of(b'\n'), char_of(0x7f), char_of(0xad)), ('Ġ', 'Ċ', 'ġ', 'Ń'));
        let spelled: std::collections::BTreeSet<char> = (0..=255).map(char_of).collect();
        assert_eq!(spelled.len(), 256);
        assert_eq!(byte_of('\u{144}'), None);
        assert_eq!(byte_of(' '), None);
    }
}
