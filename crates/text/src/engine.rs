//! How the tokens of a word are found: one file per way.

use gravure_base::Result;

use crate::merges::Merges;
use crate::vocabulary::Vocabulary;

mod bpe;
mod scored;
mod unigram;
mod word_piece;

pub(crate) use bpe::{Bpe, Symbols, Unmatched};
pub(crate) use scored::Scored;
pub(crate) use unigram::Unigram;
pub(crate) use word_piece::WordPiece;

/// A way to find tokens.
#[derive(Debug, Clone)]
pub(crate) enum Engine {
    /// Merge rules.
    Bpe(Bpe),
    /// The best-scored neighbours become one, as long as their text is a token.
    Scored(Scored),
    /// The most probable segmentation.
    Unigram(Unigram),
    /// The longest piece first.
    WordPiece(WordPiece),
}

impl Engine {
    /// The token that stands for what cannot be spelled.
    pub(crate) fn unknown(&self) -> Option<u32> {
        match self {
            Self::Bpe(bpe) => bpe.unknown,
            Self::Scored(scored) => scored.unknown,
            Self::Unigram(unigram) => unigram.unknown,
            Self::WordPiece(pieces) => pieces.unknown,
        }
    }

    /// Appends the tokens of a word. `spelled` says that its bytes are spelled as characters.
    pub(crate) fn encode(&self, vocabulary: &Vocabulary, merges: &Merges, word: &str, spelled: bool, out: &mut Vec<u32>) -> Result<()> {
        match self {
            Self::Bpe(bpe) => bpe.encode(vocabulary, merges, word, spelled, out),
            Self::Scored(scored) => return scored.encode(vocabulary, word, out),
            Self::Unigram(unigram) => return unigram.encode(vocabulary, word, out),
            Self::WordPiece(pieces) => pieces.encode(vocabulary, word, out),
        }
        Ok(())
    }
}

/// The tokens `<0x00>` to `<0xFF>`; `None` where they are not all there.
pub(crate) fn byte_tokens(vocabulary: &Vocabulary) -> Option<Box<[u32; 256]>> {
    let mut out = Box::new([0; 256]);
    for (byte, id) in out.iter_mut().enumerate() {
        *id = vocabulary.find(&format!("<0x{byte:02X}>"))?;
    }
    Some(out)
}
