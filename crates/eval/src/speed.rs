//! Tokens in a second: prefill and decode, with their spread.

use std::time::Instant;

use gravure_core::contracts::{Chunk, Decoder, Phase, Step, Wanted};
use gravure_core::{Error, Result};

use crate::energy::EnergyMeter;
use crate::opened::Opened;
use crate::statistics::Spread;

/// What to time.
#[derive(Debug, Clone, Copy)]
pub struct SpeedRequest {
    /// Tokens of a prompt.
    pub prompt: usize,
    /// Tokens that are decoded one at a time.
    pub generate: usize,
    /// Positions that are there before what is timed.
    pub depth: usize,
    /// Sequences at once.
    pub sequences: usize,
    /// Times that each is repeated.
    pub repetitions: usize,
    /// Entries of the vocabulary.
    pub vocabulary: usize,
}

/// Speed of one phase.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PhaseSpeed {
    /// Tokens in a second of all sequences together, over the repetitions.
    pub tokens_per_second: Spread,
}

/// What was timed.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Speed {
    /// Prompts; `None` where none was asked.
    pub prefill: Option<PhaseSpeed>,
    /// Single tokens after the prompt; `None` where none was asked.
    pub decode: Option<PhaseSpeed>,
    /// Milliseconds of each decoded token.
    pub token_milliseconds: Option<Spread>,
    /// Milliseconds from a prompt to its first logits.
    pub first_token_milliseconds: Option<Spread>,
    /// Joules for each decoded token; `None` where the machine does not tell.
    pub joules_per_token: Option<f64>,
}

/// Times `decoder` on tokens drawn evenly from the vocabulary (the same ones each time), after one run
/// that is not counted. `progress` is told the repetitions done (0 before the first), and stops the work by
/// an error.
///
/// # Errors
/// Those of the decoder; `Request` where there is nothing to do.
pub fn speed(request: &SpeedRequest, decoder: &dyn Decoder, progress: &mut dyn FnMut(usize) -> Result<()>) -> Result<Speed> {
    if request.prompt + request.generate == 0 || request.sequences == 0 || request.repetitions == 0 {
        return Err(Error::request("there is nothing to time"));
    }
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut token = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % request.vocabulary.max(1) as u64) as u32
    };
    let prompt: Vec<u32> = (0..request.prompt.max(1)).map(|_| token()).collect();
    let following: Vec<u32> = (0..request.generate).map(|_| token()).collect();
    let (mut prefill, mut decode, mut tokens, mut first) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut joules, mut decoded) = (Some(0.0), 0_usize);
    let sequences: Vec<Opened<'_>> = (0..request.sequences).map(|_| Opened::new(decoder)).collect::<Result<_>>()?;
    if request.depth > 0 {
        let earlier: Vec<u32> = prompt.iter().copied().cycle().take(request.depth).collect();
        for sequence in &sequences {
            let chunks = [Chunk { sequence: sequence.id(), tokens: &earlier, phase: Phase::Prefill, wanted: Wanted::Nothing }];
            decoder.step(Step::new(&chunks), &mut |_| Ok(()))?;
            progress(0)?;
        }
    }
    for repetition in 0..=request.repetitions {
        let ran = repeat(request, decoder, &sequences, &prompt, &following)?;
        // The first run meets cold caches and sleeping threads.
        if repetition == 0 {
            continue;
        }
        let all = request.sequences as f64;
        prefill.push(all * prompt.len() as f64 / ran.prompt_seconds);
        first.push(ran.prompt_seconds * 1e3);
        let seconds: f64 = ran.token_seconds.iter().sum();
        decode.push(all * following.len() as f64 / seconds.max(f64::MIN_POSITIVE));
        tokens.extend(ran.token_seconds.iter().map(|s| s * 1e3));
        joules = joules.zip(ran.joules).map(|(a, b)| a + b);
        decoded += request.sequences * following.len();
        progress(repetition)?;
    }
    let speed = |samples: &[f64], asked: usize| (asked > 0).then(|| PhaseSpeed { tokens_per_second: Spread::of(samples) });
    Ok(Speed {
        prefill: speed(&prefill, request.prompt),
        decode: speed(&decode, request.generate),
        token_milliseconds: (request.generate > 0).then(|| Spread::of(&tokens)),
        first_token_milliseconds: (request.prompt > 0).then(|| Spread::of(&first)),
        joules_per_token: joules.filter(|_| decoded > 0).map(|j| j / decoded as f64),
    })
}

struct Ran {
    prompt_seconds: f64,
    token_seconds: Vec<f64>,
    joules: Option<f64>,
}

fn repeat(request: &SpeedRequest, decoder: &dyn Decoder, sequences: &[Opened<'_>], prompt: &[u32], following: &[u32]) -> Result<Ran> {
    let run = |tokens: &[u32], phase| -> Result<f64> {
        let chunks: Vec<_> = sequences.iter().map(|s| Chunk { sequence: s.id(), tokens, phase, wanted: Wanted::Last }).collect();
        let start = Instant::now();
        decoder.step(Step::new(&chunks), &mut |row| {
            std::hint::black_box(row.values);
            Ok(())
        })?;
        Ok(start.elapsed().as_secs_f64())
    };
    // Decoding is timed apart from the prompt, as the reference tools do.
    let forget = || sequences.iter().try_for_each(|s| decoder.truncate(s.id(), request.depth));
    let prompt_seconds = if request.prompt > 0 { run(prompt, Phase::Prefill)? } else { 0.0 };
    forget()?;
    let meter = EnergyMeter::start();
    let token_seconds = following.iter().map(|t| run(std::slice::from_ref(t), Phase::Decode)).collect::<Result<_>>()?;
    let joules = meter.and_then(|m| m.joules());
    forget()?;
    Ok(Ran { prompt_seconds, token_seconds, joules })
}
