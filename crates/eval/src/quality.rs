//! Perplexity, and divergence from a reference model, in one pass over a text.
//!
//! Perplexity is `exp(mean of -ln p(token))`; divergence is the mean over positions of the
//! Kullback-Leibler divergence of the model's distribution from the reference's (Kullback and Leibler
//! 1951); agreement is how often both have the same most likely token. Both models run window by
//! window, so that no logits are stored.

use gravure_core::contracts::{Chunk, Decoder, Phase, Step, Wanted};
use gravure_core::{Error, Result};

use crate::opened::Opened;
use crate::rows::{Normalizer, divergence, normalizer};
use crate::statistics::{Measurement, Sums, quantile};
use crate::windows::Windows;

/// Logits that are held at once, of each model.
const BLOCK_VALUES: usize = 4 << 20;
/// Rows that are computed at once at least: fewer make slow products.
const LEAST_ROWS: usize = 32;

/// A model that is measured.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The model.
    pub decoder: &'a dyn Decoder,
    /// Length of a row of its logits.
    pub vocabulary: usize,
}

impl std::fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").field("vocabulary", &self.vocabulary).finish_non_exhaustive()
    }
}

/// What to measure on.
#[derive(Debug, Clone, Copy)]
pub struct QualityRequest<'a> {
    /// The text.
    pub windows: Windows<'a>,
    /// Threads that score rows.
    pub threads: usize,
    /// How many of the worst tokens are listed.
    pub worst: usize,
}

/// A token that the model, or the quantization, finds hardest.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct WorstToken {
    /// Window of the text.
    pub window: usize,
    /// Position in the window.
    pub position: usize,
    /// The token.
    pub token: u32,
    /// Tokens before it, the nearest last.
    pub before: Vec<u32>,
    /// Its negative log-likelihood.
    pub nll: f64,
    /// Divergence at its position, where there is a reference.
    pub kl_divergence: Option<f64>,
}

/// How a model differs from a reference.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Comparison {
    /// The reference's perplexity.
    pub reference_perplexity: Measurement,
    /// The model's perplexity by the reference's; the error is that of paired differences.
    pub perplexity_ratio: Measurement,
    /// Mean divergence, in nats.
    pub kl_divergence: Measurement,
    /// Half the positions diverge less.
    pub kl_divergence_median: f64,
    /// 99 of 100 positions diverge less.
    pub kl_divergence_p99: f64,
    /// The largest divergence.
    pub kl_divergence_max: f64,
    /// Share of positions where the most likely token is the same.
    pub top1_agreement: Measurement,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Quality {
    /// Windows of the text.
    pub windows: usize,
    /// Tokens in a window.
    pub context: usize,
    /// Tokens that were scored.
    pub tokens: u64,
    /// Perplexity.
    pub perplexity: Measurement,
    /// Against the reference, where there is one.
    pub comparison: Option<Comparison>,
    /// The worst tokens: by divergence where there is a reference, else by likelihood.
    pub worst: Vec<WorstToken>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Score {
    nll: f64,
    reference_nll: f64,
    divergence: f64,
    same_top: bool,
}

/// Measures `subject`, against `reference` where there is one. `progress` is told the windows done and
/// the perplexity so far, and stops the work by an error.
///
/// # Errors
/// Those of the decoders; `Request` where the vocabularies differ; `Input` where logits are no numbers.
pub fn quality(
    request: &QualityRequest<'_>,
    subject: &Subject<'_>,
    reference: Option<&Subject<'_>>,
    progress: &mut dyn FnMut(usize, f64) -> Result<()>,
) -> Result<Quality> {
    let windows = &request.windows;
    if let Some(reference) = reference
        && reference.vocabulary != subject.vocabulary
    {
        let message = format!("the reference has {} logits, the model {}", reference.vocabulary, subject.vocabulary);
        return Err(Error::request(message).help("compare a model with the one that it was made from"));
    }
    let (mut nll, mut reference_nll, mut difference, mut divergences) =
        (Sums::default(), Sums::default(), Sums::default(), Sums::default());
    let mut all_divergences = Vec::new();
    let mut same_top = Sums::default();
    let mut worst: Vec<WorstToken> = Vec::new();
    for index in 0..windows.count() {
        let tokens = windows.window(index);
        let scores = score_window(request, &tokens, subject, reference)?;
        for (offset, score) in scores.iter().enumerate() {
            let position = windows.first_scored() + offset + 1;
            if score.nll.is_nan() || score.divergence.is_nan() {
                return Err(Error::input(format!("the logits of position {position} of window {index} are no numbers")));
            }
            nll.add(score.nll);
            if reference.is_some() {
                reference_nll.add(score.reference_nll);
                difference.add(score.nll - score.reference_nll);
                divergences.add(score.divergence);
                all_divergences.push(score.divergence);
                same_top.add(f64::from(u8::from(score.same_top)));
            }
            worst.push(WorstToken {
                window: index,
                position,
                token: tokens.get(position).copied().unwrap_or_default(),
                before: tokens[position.saturating_sub(16)..position].to_vec(),
                nll: score.nll,
                kl_divergence: reference.map(|_| score.divergence),
            });
        }
        let badness = |w: &WorstToken| w.kl_divergence.unwrap_or(w.nll);
        worst.sort_by(|a, b| badness(b).total_cmp(&badness(a)).then((a.window, a.position).cmp(&(b.window, b.position))));
        worst.truncate(request.worst);
        progress(index + 1, nll.exponential().value)?;
    }
    all_divergences.sort_by(f64::total_cmp);
    let comparison = reference.map(|_| Comparison {
        reference_perplexity: reference_nll.exponential(),
        perplexity_ratio: difference.exponential(),
        kl_divergence: divergences.mean(),
        kl_divergence_median: quantile(&all_divergences, 0.5),
        kl_divergence_p99: quantile(&all_divergences, 0.99),
        kl_divergence_max: quantile(&all_divergences, 1.0),
        top1_agreement: same_top.mean(),
    });
    let perplexity = nll.exponential();
    Ok(Quality { windows: windows.count(), context: windows.context(), tokens: perplexity.count, perplexity, comparison, worst })
}

/// Continues a sequence and keeps the wanted rows of logits.
fn prefill(sequence: &Opened<'_>, tokens: &[u32], wanted: Wanted, rows: &mut Vec<f32>) -> Result<()> {
    rows.clear();
    let chunks = [Chunk { sequence: sequence.id(), tokens, phase: Phase::Scoring, wanted }];
    sequence.decoder().step(Step::new(&chunks), &mut |row| {
        rows.extend_from_slice(row.values);
        Ok(())
    })
}

fn score_window(
    request: &QualityRequest<'_>,
    tokens: &[u32],
    subject: &Subject<'_>,
    reference: Option<&Subject<'_>>,
) -> Result<Vec<Score>> {
    let first = request.windows.first_scored();
    let sequence = Opened::new(subject.decoder)?;
    let other = reference.map(|r| Opened::new(r.decoder)).transpose()?;
    let (mut rows, mut other_rows) = (Vec::new(), Vec::new());
    prefill(&sequence, &tokens[..first], Wanted::Nothing, &mut rows)?;
    if let Some(other) = &other {
        prefill(other, &tokens[..first], Wanted::Nothing, &mut other_rows)?;
    }
    // The last token predicts what is beyond the window.
    let scored = &tokens[first..tokens.len() - 1];
    let block = (BLOCK_VALUES / subject.vocabulary.max(1)).max(LEAST_ROWS);
    let mut scores = Vec::with_capacity(scored.len());
    for (index, block_tokens) in scored.chunks(block).enumerate() {
        prefill(&sequence, block_tokens, Wanted::From(0), &mut rows)?;
        if let Some(other) = &other {
            prefill(other, block_tokens, Wanted::From(0), &mut other_rows)?;
        }
        let start = first + index * block;
        let next = &tokens[start + 1..start + 1 + block_tokens.len()];
        scores.extend(score_rows(&rows, other.as_ref().map(|_| &other_rows[..]), next, subject.vocabulary, request.threads));
    }
    Ok(scores)
}

/// Scores the rows of one block, `next` being the tokens that they should have predicted.
fn score_rows(rows: &[f32], reference: Option<&[f32]>, next: &[u32], vocabulary: usize, threads: usize) -> Vec<Score> {
    let mut scores = vec![Score::default(); next.len()];
    let share = next.len().div_ceil(threads.max(1)).max(1);
    let score = |index: usize| -> Score {
        let range = index * vocabulary..(index + 1) * vocabulary;
        let logits = rows.get(range.clone()).unwrap_or_default();
        let normal = normalizer(logits);
        let token = next[index] as usize;
        let nll = |logits: &[f32], normal: Normalizer| normal.log_sum - f64::from(logits.get(token).copied().unwrap_or(f32::NAN));
        let mut score = Score { nll: nll(logits, normal), ..Score::default() };
        if let Some(reference) = reference {
            let reference = reference.get(range).unwrap_or_default();
            let reference_normal = normalizer(reference);
            score.reference_nll = nll(reference, reference_normal);
            score.divergence = divergence((reference, reference_normal), (logits, normal));
            score.same_top = normal.top == reference_normal.top;
        }
        score
    };
    std::thread::scope(|scope| {
        for (part, out) in scores.chunks_mut(share).enumerate() {
            let mut work = move || out.iter_mut().enumerate().for_each(|(i, slot)| *slot = score(part * share + i));
            if threads > 1 {
                scope.spawn(work);
            } else {
                work();
            }
        }
    });
    scores
}
