//! The rows that go through a program together.

use std::ops::Range;

use gravure_core::contracts::Phase;

/// Consecutive rows of one sequence.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// The sequence's pages.
    pub(crate) pages: Vec<u32>,
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    /// Position of the first row.
    pub(crate) position: usize,
    /// Positions that attention may look at.
    pub(crate) end: usize,
}

/// Rows with what is known of each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    pub(crate) tokens: Vec<u32>,
    pub(crate) positions: Vec<u32>,
    pub(crate) token_types: Vec<u32>,
    /// Whether the row's sequence rotates as long ones do.
    pub(crate) long: Vec<bool>,
    phases: Vec<Phase>,
    pub(crate) groups: Vec<Group>,
}

impl Batch {
    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Appends the tokens of one sequence from `position` on.
    pub(crate) fn push(&mut self, tokens: &[u32], types: Option<&[u32]>, position: usize, phase: Phase, long: bool) {
        self.tokens.extend_from_slice(tokens);
        self.positions.extend((position..).take(tokens.len()).map(|p| u32::try_from(p).unwrap_or(u32::MAX)));
        match types {
            Some(types) => self.token_types.extend_from_slice(types),
            None => self.token_types.resize(self.tokens.len(), 0),
        }
        self.long.resize(self.tokens.len(), long);
        self.phases.resize(self.tokens.len(), phase);
    }

    /// These rows alone, without groups.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        fn of<T: Copy>(list: &[T], rows: &[usize]) -> Vec<T> {
            rows.iter().filter_map(|&r| list.get(r).copied()).collect()
        }
        Self {
            tokens: of(&self.tokens, rows),
            positions: of(&self.positions, rows),
            token_types: of(&self.token_types, rows),
            long: of(&self.long, rows),
            phases: of(&self.phases, rows),
            groups: vec![],
        }
    }

    /// By the kernels of decode instead of those of prompts, which begin with decoding weights for all rows: of a prompt one row has logits.
    pub(crate) fn for_few(mut self) -> Self {
        for phase in self.phases.iter_mut().filter(|phase| **phase == Phase::Prefill) {
            *phase = Phase::Decode;
        }
        self
    }

    /// The phase of a row.
    pub(crate) fn phase(&self, row: usize) -> Phase {
        self.phases.get(row).copied().unwrap_or(Phase::Decode)
    }

    /// Ranges of neighbouring rows of the same phase.
    pub(crate) fn phases(&self) -> impl Iterator<Item = (Phase, Range<usize>)> {
        let mut start = 0;
        self.phases.chunk_by(|a, b| a == b).map(move |same| {
            let range = start..start + same.len();
            start = range.end;
            (same[0], range)
        })
    }
}
