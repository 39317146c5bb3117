//! Who owns which page of the cache.
//!
//! Pages are counted: sequences that began as one share the pages of what they have in common. A page
//! that others hold too is copied before it is written to.

use gravure_base::{Error, Result};
use gravure_kernels::{Cache, PAGE};

/// A sequence: its tokens, and pages for all of their positions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sequence {
    pub(crate) tokens: Vec<u32>,
    pub(crate) pages: Vec<u32>,
    /// Whether its keys are rotated as those of long sequences are.
    pub(crate) long: bool,
}

/// The owners of pages.
#[derive(Debug)]
pub(crate) struct Pages {
    free: Vec<u32>,
    /// How many sequences hold a page.
    holders: Vec<u32>,
}

impl Pages {
    pub(crate) fn new(count: usize) -> Self {
        let numbers = 0..u32::try_from(count).unwrap_or(u32::MAX);
        Self { free: numbers.rev().collect(), holders: vec![0; count] }
    }

    fn take(&mut self) -> Result<u32> {
        let page = self.free.pop().ok_or_else(|| {
            Error::limit(format!("the cache of {} positions is full", self.holders.len() * PAGE))
                .help("close or shorten sequences, or load the model with more positions")
        })?;
        if let Some(holders) = self.holders.get_mut(page as usize) {
            *holders = 1;
        }
        Ok(page)
    }

    fn hold(&mut self, page: u32) {
        if let Some(holders) = self.holders.get_mut(page as usize) {
            *holders += 1;
        }
    }

    fn drop(&mut self, page: u32) {
        if let Some(holders) = self.holders.get_mut(page as usize) {
            *holders = holders.saturating_sub(1);
            if *holders == 0 {
                self.free.push(page);
            }
        }
    }

    /// Gives a sequence pages for positions up to `end`, all of its own from its last token on.
    ///
    /// # Errors
    /// `Limit` where there are no more; what was given so far stays with the sequence.
    pub(crate) fn grow(&mut self, sequence: &mut Sequence, end: usize, cache: &mut Cache) -> Result<()> {
        let written = sequence.tokens.len() / PAGE;
        for page in sequence.pages.iter_mut().skip(written) {
            if self.holders.get(*page as usize).is_some_and(|h| *h > 1) {
                let own = self.take()?;
                cache.copy_page(*page as usize, own as usize);
                self.drop(*page);
                *page = own;
            }
        }
        while sequence.pages.len() < end.div_ceil(PAGE) {
            let page = self.take()?;
            sequence.pages.push(page);
        }
        Ok(())
    }

    /// Forgets all but the first `positions`.
    pub(crate) fn truncate(&mut self, sequence: &mut Sequence, positions: usize) {
        sequence.tokens.truncate(positions);
        while sequence.pages.len() > positions.div_ceil(PAGE) {
            if let Some(page) = sequence.pages.pop() {
                self.drop(page);
            }
        }
    }

    /// A sequence that shares the first `positions` of another.
    pub(crate) fn fork(&mut self, sequence: &Sequence, positions: usize) -> Sequence {
        let pages: Vec<u32> = sequence.pages.iter().take(positions.div_ceil(PAGE)).copied().collect();
        pages.iter().for_each(|p| self.hold(*p));
        Sequence { tokens: sequence.tokens.iter().take(positions).copied().collect(), pages, long: sequence.long }
    }
}
