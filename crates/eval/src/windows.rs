//! How a text is cut for measurements: the protocol of `llama-perplexity`.
//!
//! ```text
//! tokens   | window 0 | window 1 | ... | what does not fill a window is left out
//! window   | b  1  2 .. n/2 .. n-1 |     b: beginning of sequence, in place of the first token,
//!            unseen half  scored half      where the vocabulary begins sequences so
//! ```
//! Each window stands alone. The tokens after `n/2` are scored, each by the logits before it.

use gravure_core::{Error, Result};

/// A text in disjoint windows.
#[derive(Debug, Clone, Copy)]
pub struct Windows<'a> {
    tokens: &'a [u32],
    context: usize,
    first: Option<u32>,
    count: usize,
}

impl<'a> Windows<'a> {
    /// Windows of `context` tokens; `first` is the token that sequences begin with, where they do;
    /// at most `most` windows.
    ///
    /// # Errors
    /// `Request` where the context is shorter than 4 tokens, or the text shorter than two windows.
    pub fn new(tokens: &'a [u32], context: usize, first: Option<u32>, most: Option<usize>) -> Result<Self> {
        if context < 4 {
            return Err(Error::request(format!("a context of {context} tokens leaves nothing to score")));
        }
        if tokens.len() < 2 * context {
            return Err(Error::request(format!("the text has {} tokens, and a context of {context} needs twice as many", tokens.len()))
                .help("give a longer text or a shorter context (`--ctx-size`)"));
        }
        let count = (tokens.len() / context).min(most.unwrap_or(usize::MAX));
        if count == 0 {
            return Err(Error::request("no window of the text is to be measured"));
        }
        Ok(Self { tokens, context, first, count })
    }

    /// The first `count` of them, at most all, and the others.
    pub fn split_at(self, count: usize) -> (Self, Self) {
        let count = count.min(self.count);
        let tokens = self.tokens.get(count * self.context..).unwrap_or_default();
        (Self { count, ..self }, Self { tokens, count: self.count - count, ..self })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Tokens in each.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Index of the first token of a window whose logits are used.
    pub fn first_scored(&self) -> usize {
        self.context / 2
    }

    /// The tokens of window `index` as the model sees them.
    pub fn window(&self, index: usize) -> Vec<u32> {
        let mut window = self.raw(index).to_vec();
        if let (Some(first), Some(slot)) = (self.first, window.first_mut()) {
            *slot = first;
        }
        window
    }

    fn raw(&self, index: usize) -> &'a [u32] {
        self.tokens.get(index * self.context..(index + 1) * self.context).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_disjoint_and_begin_as_sequences_do() {
        let tokens: Vec<u32> = (10..31).collect();
        let windows = Windows::new(&tokens, 8, Some(1), None).unwrap();
        assert_eq!((windows.count(), windows.first_scored()), (2, 4));
        assert_eq!(windows.window(1), [1, 19, 20, 21, 22, 23, 24, 25]);
        assert_eq!(Windows::new(&tokens, 8, None, Some(1)).unwrap().window(0)[0], 10);
        let (before, after) = windows.split_at(1);
        assert_eq!((before.count(), after.count(), after.window(0)), (1, 1, windows.window(1)));
        assert_eq!(windows.split_at(3).1.count(), 0);
        assert!(Windows::new(&tokens, 11, None, None).is_err());
        assert!(Windows::new(&tokens, 8, None, Some(0)).is_err());
    }
}
