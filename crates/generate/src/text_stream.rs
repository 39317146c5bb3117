//! Text out of bytes that arrive in pieces: a token may end in the middle of a character.

/// Puts bytes together to text.
#[derive(Debug, Clone, Default)]
pub struct TextStream {
    /// The beginning of a character, at most 3 bytes.
    begun: Vec<u8>,
}

impl TextStream {
    /// Takes bytes and gives the text that is complete with them. Bytes that are no UTF-8 become U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.begun.extend_from_slice(bytes);
        let mut out = String::with_capacity(self.begun.len());
        let mut rest = self.begun.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    out.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    let Some(wrong) = error.error_len() else { break };
                    out.push(char::REPLACEMENT_CHARACTER);
                    rest = rest.get(wrong..).unwrap_or_default();
                }
            }
        }
        self.begun = rest.to_vec();
        out
    }

    /// What is left when no more comes: U+FFFD for a character that was only begun.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_of_any_bytes_gives_the_same_text() {
        let samples: &[&[u8]] =
            &["aé€😀b".as_bytes(), b"a\xff\xfeb", b"\xf0\x9f\x98", b"\xe2\x82a", b"\xed\xa0\x80", b"\xc3\xa9\xc3", b"\x80\x80"];
        for bytes in samples {
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let mut stream = TextStream::default();
                    let mut text = stream.push(&bytes[..first]);
                    text += &stream.push(&bytes[first..second]);
                    text += &stream.push(&bytes[second..]);
                    text += &stream.finish();
                    assert_eq!(text, String::from_utf8_lossy(bytes), "{bytes:?} cut at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn a_character_appears_when_it_is_whole() {
        let mut stream = TextStream::default();
        let pieces: Vec<String> = "😀!".as_bytes().chunks(1).map(|b| stream.push(b)).collect();
        assert_eq!(pieces, ["", "", "", "😀", "!"]);
    }
}
