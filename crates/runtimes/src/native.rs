//! The native runtime: compiles a graph to a program over reused buffers and runs it with the kernels
//! of this machine.
//!
//! ```text
//! graph -> program (which operation, which buffers) -> rows of a step through all nodes
//! ```
//! Rows are independent of each other but for attention. What follows the last attention therefore
//! runs on the rows alone whose results are wanted, and the last linear map (as wide as the
//! vocabulary) on few of them at a time.

mod batch;
mod compile;
mod decoder;
mod encoder;
mod fingerprint;
mod pages;
mod program;
mod run;
mod session;
mod weights;

use std::sync::Arc;

use gravure_base::{Error, Result};
use gravure_core::contracts::{Decoder, Encoder, Gap, LoadFacts, LoadRequest, Loaded};
use gravure_core::{Model, Runtime};

use compile::{Fusion, Outline};
use decoder::NativeDecoder;
use encoder::NativeEncoder;
use run::Machine;

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Native;

impl Runtime for Native {
    fn id(&self) -> &'static str {
        "native"
    }

    fn doc(&self) -> &'static str {
        "Gravure's own engine, on the processor"
    }

    fn check(&self) -> Result<String> {
        Ok("part of this program".to_owned())
    }

    fn gaps(&self, model: &Model) -> Vec<Gap> {
        match Outline::new(model).and_then(|outline| outline.compile(Fusion::Fused).map_err(|gap| vec![gap])) {
            Ok(_) => vec![],
            Err(gaps) => gaps,
        }
    }

    fn step_bytes(&self, model: &Model, rows: u64) -> Option<u64> {
        let program = Outline::new(model).ok()?.compile(Fusion::Fused).ok()?;
        let (kept, widest) = (program.widths().iter().sum::<usize>(), program.widest_input());
        // A rounded input has a byte for each number, and a scale and a sum for each 32.
        Some((kept as u64 * 4 + widest as u64 * 5 / 4).saturating_mul(rows))
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Loaded>> {
        let machine = Arc::new(Machine::load(request)?);
        let facts = machine.facts(request);
        let (mut decoder, mut encoder) = (None, None);
        if machine.is_causal() {
            decoder = Some(NativeDecoder::new(Arc::clone(&machine), &facts, request.cache)?);
        } else {
            encoder = Some(NativeEncoder::new(Arc::clone(&machine), &facts));
        }
        Ok(Box::new(NativeModel { facts, decoder, encoder }))
    }
}

#[derive(Debug)]
struct NativeModel {
    facts: LoadFacts,
    decoder: Option<NativeDecoder>,
    encoder: Option<NativeEncoder>,
}

impl Loaded for NativeModel {
    fn facts(&self) -> &LoadFacts {
        &self.facts
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        self.decoder.as_ref().map(|d| d as &dyn Decoder)
    }

    fn encoder(&self) -> Option<&dyn Encoder> {
        self.encoder.as_ref().map(|e| e as &dyn Encoder)
    }
}

/// The error for a model that this runtime cannot execute.
fn unsupported(model: &Model, gaps: &[Gap]) -> Error {
    let list: Vec<String> = gaps.iter().take(8).map(|g| format!("{}: {}", g.subject, g.text)).collect();
    let more = if gaps.len() > list.len() { format!("; and {} more", gaps.len() - list.len()) } else { String::new() };
    Error::unsupported(format!("this model cannot be executed: {}{more}", list.join("; "))).in_file(&model.source.path)
}
