//! Gates: what the field expects of an optimized model, held against the original on this machine.

use gravure_base::{Error, Result};
use gravure_eval::{Speed, SpeedRequest, Spread, speed};

use super::verdict::{Bound, Force, Unit, Verdict};
use crate::Observer;
use crate::engine::Engine;
use crate::evaluate::Evaluation;

/// Tokens of the prompt, decoded tokens, and times that both are run: a few seconds for a billion weights.
const TIMING: (usize, usize, usize) = (64, 32, 3);

/// Which gates there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// Share of positions with the original's most likely token.
    Top1,
    /// Decoding speed, as a multiple of the original's.
    Speed,
    /// Share of the original's memory (weights, keys and values) that is saved.
    Memory,
    /// How far the slowest 5 % of the decoded tokens are above the median, as a share of it.
    Spread,
}

impl Gate {
    /// All of them with the names that users type and the field's usual limits.
    pub const ALL: [(&'static str, Self, f64); 4] =
        [("top1", Self::Top1, 0.95), ("speed", Self::Speed, 2.0), ("memory", Self::Memory, 0.5), ("spread", Self::Spread, 0.2)];

    /// The gate that users call `name`.
    ///
    /// # Errors
    /// `Request` where there is none.
    pub fn parse(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(n, ..)| *n == name);
        found.map(|(_, gate, _)| *gate).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(name, ..)| *name).collect();
            Error::request(format!("there is no gate `{name}`")).help(format!("gates: {}", names.join(", ")))
        })
    }
}

/// How the gates are set.
#[derive(Debug, Clone, PartialEq)]
pub enum Gates {
    /// Neither timed nor judged.
    Off,
    /// Judged: those that are listed bind at the limit that is given, the others are at the field's and count
    /// as `others`.
    On {
        /// Gates with limits of the user's own.
        set: Vec<(Gate, f64)>,
        /// Whether a default that is missed fails.
        others: Force,
    },
}

impl Default for Gates {
    /// The field's limits, reported and not enforced: who asks for two bits knows that they are two bits.
    fn default() -> Self {
        Self::On { set: Vec::new(), others: Force::Advisory }
    }
}

impl Gates {
    /// Refuses limits that nobody can mean.
    pub(super) fn check(&self) -> Result<()> {
        let Self::On { set, .. } = self else { return Ok(()) };
        for (gate, limit) in set {
            let fits = match gate {
                Gate::Top1 | Gate::Memory => (0.0..=1.0).contains(limit),
                Gate::Speed | Gate::Spread => limit.is_finite() && *limit > 0.0,
            };
            if !fits {
                return Err(Error::request(format!("a gate at {limit} can never be meant"))
                    .help("top1 and memory are shares between 0 and 1, speed a factor, spread a share of the median"));
            }
        }
        Ok(())
    }

    fn limit(&self, gate: Gate) -> Option<(f64, Force)> {
        let Self::On { set, others } = self else { return None };
        let usual = Gate::ALL.iter().find(|(_, g, _)| *g == gate).map(|(.., limit)| (*limit, *others));
        set.iter().rev().find(|(g, _)| *g == gate).map(|(_, limit)| (*limit, Force::Binding)).or(usual)
    }
}

/// A model at work on this machine.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct AtWork {
    /// Bytes of weights in memory.
    pub weight_bytes: u64,
    /// Bytes of these and of keys and values at the positions that were planned for.
    pub memory_bytes: u64,
    /// Kernels that run, by encoding.
    pub kernels: Vec<String>,
    /// Threads.
    pub threads: usize,
    /// What was timed.
    #[serde(flatten)]
    pub speed: Speed,
}

/// Times a loaded model and notes what it holds.
pub(crate) fn at_work(engine: &Engine, positions: u64, observer: &dyn Observer) -> Result<AtWork> {
    let facts = engine.loaded.facts();
    let (prompt, generate, repetitions) = TIMING;
    let room = engine.positions().max(1);
    let what = SpeedRequest {
        prompt: prompt.min(room),
        generate: generate.min(room),
        depth: 0,
        sequences: 1,
        repetitions,
        vocabulary: facts.width,
    };
    observer.begin("time", 0, repetitions as u64);
    let timed = speed(&what, engine.decoder()?, &mut |_| {
        observer.advance("", 1);
        observer.go_on()
    });
    observer.end();
    Ok(AtWork {
        weight_bytes: facts.weight_bytes,
        memory_bytes: facts.weight_bytes.saturating_add(facts.cache_bytes_per_position.saturating_mul(positions)),
        kernels: facts.kernels.clone(),
        threads: engine.threads,
        speed: timed?,
    })
}

/// Every gate with its outcome; `bytes_for` says how many bytes of tensors are predicted to reach an
/// agreement.
pub(super) fn judge(
    gates: &Gates,
    original: &AtWork,
    artifact: &AtWork,
    evaluation: &Evaluation,
    bytes_for: &dyn Fn(f64) -> Option<u64>,
) -> Vec<Verdict> {
    let mut all = Vec::new();
    let mut hold = |gate, subject, bound, found: Option<f64>, unit, remedy: &dyn Fn(f64) -> Option<String>| {
        all.extend(gates.limit(gate).map(|(limit, force)| Verdict::new(subject, bound, limit, found, unit, force).or(|| remedy(limit))));
    };
    let agreement = evaluation.comparison.as_ref().map(|c| c.top1_agreement.value);
    hold(Gate::Top1, "gate: top-1 agreement", Bound::AtLeast, agreement, Unit::Share, &|limit| {
        bytes_for(limit).map(|bytes| format!("{bytes} bytes of tensors are predicted to meet it"))
    });
    let median = |work: &AtWork| work.speed.token_milliseconds.as_ref().map(|s| s.median).filter(|m| *m > 0.0);
    let times = median(original).zip(median(artifact)).map(|(a, b)| a / b);
    hold(Gate::Speed, "gate: decoding against the original", Bound::AtLeast, times, Unit::Times, &|limit| {
        let bytes = artifact.weight_bytes as f64 * times? / limit;
        Some(format!("about {bytes:.0} bytes of weights are read that fast, where reading them is what takes the time"))
    });
    let saved = 1.0 - artifact.memory_bytes as f64 / original.memory_bytes.max(1) as f64;
    hold(Gate::Memory, "gate: memory saved", Bound::AtLeast, Some(saved), Unit::Share, &|limit| {
        let beside = artifact.memory_bytes - artifact.weight_bytes;
        let most = (original.memory_bytes as f64 * (1.0 - limit)) as u64;
        Some(match most.checked_sub(beside) {
            Some(weights) => format!("{weights} bytes of weights meet it"),
            None => "keys and values alone take more: plan for fewer positions, or keep them in fewer bits".to_owned(),
        })
    });
    let spread = artifact.speed.token_milliseconds.as_ref().filter(|s| s.median > 0.0).map(above_median);
    hold(Gate::Spread, "gate: latency above the median", Bound::AtMost, spread, Unit::Share, &|_| {
        Some("measure while nothing else runs on this machine, or on fewer threads than it has cores".to_owned())
    });
    all
}

/// How far the slowest 5 % lie above the median, as a share of it.
fn above_median(spread: &Spread) -> f64 {
    spread.p95 / spread.median - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(weights: u64, milliseconds: f64) -> AtWork {
        let speed = Speed {
            prefill: None,
            decode: None,
            token_milliseconds: Some(Spread::of(&[milliseconds; 20])),
            first_token_milliseconds: None,
            joules_per_token: None,
        };
        AtWork { weight_bytes: weights, memory_bytes: weights + 10, kernels: Vec::new(), threads: 1, speed }
    }

    fn evaluation() -> Evaluation {
        let one = gravure_eval::Measurement { value: 0.9, stderr: 0.0, count: 1 };
        let comparison = gravure_eval::quality::Comparison {
            reference_perplexity: one,
            perplexity_ratio: one,
            kl_divergence: one,
            kl_divergence_median: 0.0,
            kl_divergence_p99: 0.0,
            kl_divergence_max: 0.0,
            top1_agreement: one,
        };
        Evaluation {
            model: "m".into(),
            runtime: "r".into(),
            reference_runtime: None,
            data: "d".into(),
            tensor_bytes: 1,
            bits_per_weight: 1.0,
            windows: 1,
            context: 1,
            tokens: 1,
            perplexity: one,
            comparison: Some(comparison),
            worst: Vec::new(),
            seconds: 0.0,
        }
    }

    #[test]
    fn defaults_are_reported_and_what_is_set_binds() {
        let judged = |gates: &Gates| judge(gates, &work(1000, 3.0), &work(600, 1.0), &evaluation(), &|_| Some(77));
        let all = judged(&Gates::default());
        let outcome: Vec<_> = all.iter().map(|v| (v.met, v.force)).collect();
        assert_eq!(outcome, [false, true, false, true].map(|met| (met, Force::Advisory)));
        assert!(all[0].to_string().contains("77 bytes of tensors are predicted"), "{}", all[0]);
        assert!(all[2].to_string().contains("495 bytes of weights"), "{}", all[2]);
        assert!(super::super::failure(&all).is_none());
        let set = judged(&Gates::On { set: vec![(Gate::Speed, 4.0)], others: Force::Advisory });
        assert!(super::super::failure(&set).is_some_and(|e| e.message().contains("decoding")));
        let strict = judged(&Gates::On { set: vec![(Gate::Top1, 0.8)], others: Force::Binding });
        assert_eq!(strict.iter().filter(|v| !v.met).count(), 1);
        assert!(judged(&Gates::Off).is_empty());
    }

    #[test]
    fn names_and_limits_are_checked() {
        assert_eq!(Gate::parse("memory").unwrap(), Gate::Memory);
        assert!(Gate::parse("beauty").unwrap_err().help_text().is_some_and(|h| h.contains("spread")));
        for (gate, limit) in [(Gate::Top1, 95.0), (Gate::Speed, 0.0), (Gate::Spread, f64::NAN)] {
            assert!(Gates::On { set: vec![(gate, limit)], others: Force::Advisory }.check().is_err());
        }
    }
}
