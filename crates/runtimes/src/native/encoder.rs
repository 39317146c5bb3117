//! Whole texts to vectors.

use std::sync::{Arc, Mutex, PoisonError};

use gravure_base::{Error, Result};
use gravure_core::contracts::{Encoder, LoadFacts, Phase};

use super::batch::{Batch, Group};
use super::program::Index;
use super::run::{Buffers, Machine, Watch, temporary_cache};

/// Encodes one text at a time.
#[derive(Debug)]
pub(crate) struct NativeEncoder {
    machine: Arc<Machine>,
    context: usize,
    buffers: Mutex<Buffers>,
}

impl NativeEncoder {
    pub(crate) fn new(machine: Arc<Machine>, facts: &LoadFacts) -> Self {
        Self { machine, context: facts.context, buffers: Mutex::default() }
    }
}

impl Encoder for NativeEncoder {
    fn encode(&self, tokens: &[u32], token_types: &[u32]) -> Result<Vec<f32>> {
        if tokens.is_empty() || tokens.len() > self.context {
            return Err(Error::request(format!("{} tokens, and 1 to {} are possible", tokens.len(), self.context)));
        }
        if !token_types.is_empty() && token_types.len() != tokens.len() {
            return Err(Error::request(format!("{} types of {} tokens", token_types.len(), tokens.len())));
        }
        for (index, numbers) in [(Index::Tokens, tokens), (Index::TokenTypes, token_types)] {
            let rows = self.machine.rows_of(index).unwrap_or(usize::MAX);
            if let Some(beyond) = numbers.iter().find(|n| **n as usize >= rows) {
                return Err(Error::request(format!("the number {beyond} is beyond a table of {rows}")));
            }
        }
        let program = self.machine.fused();
        let mut cache = temporary_cache(&self.machine, tokens.len())?;
        let pages = (0..cache.pages()).map(|p| u32::try_from(p).unwrap_or(u32::MAX)).collect();
        let mut batch = Batch::default();
        let types = (!token_types.is_empty()).then_some(token_types);
        batch.push(tokens, types, 0, Phase::Prefill, program.long_beyond.is_some_and(|limit| tokens.len() > limit));
        batch.groups.push(Group { pages, first_row: 0, rows: tokens.len(), position: 0, end: tokens.len() });
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        self.machine.prepare(program, &mut buffers);
        let mut watch = Watch { taps: None, cancelled: &|| false };
        self.machine.run(program, &program.nodes, &batch, &mut buffers, &mut cache, &mut watch)?;
        let output = program.output.ok_or_else(|| Error::bug("a program without an output"))?;
        Ok(buffers.rows(output, tokens.len()).to_vec())
    }
}
