//! How the next token is chosen.
//!
//! ```text
//! logits -> bias -> mask -> penalties -> top-k -> typical -> top-p -> min-p -> temperature -> a draw
//!                       \-> temperature -> mirostat
//! ```
//!
//! The order, the settings and their defaults are llama.cpp's, so that a command line means the same. A
//! draw takes one number of [`Random`], and no system's mathematical library has a part in it: a seed
//! gives the same tokens on every platform.

mod candidates;
mod min_p;
mod mirostat;
mod penalties;
mod temperature;
mod top_k;
mod top_p;
mod typical;

use gravure_base::{Error, Result};

pub use mirostat::{Mirostat, Target};
pub use penalties::Penalties;

use crate::random::Random;
use candidates::{Candidate, Candidates};

/// Settings of a choice.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Of the random numbers.
    pub seed: u64,
    /// Logits are divided by it; at 0 or below the most likely token is chosen.
    pub temperature: f32,
    /// Keep this many; 0 for all.
    pub top_k: usize,
    /// Keep the most likely ones that together have this probability; 1 for all.
    pub top_p: f32,
    /// Keep those with this share of the most likely one's probability; 0 for all.
    pub min_p: f32,
    /// Keep the typical ones that together have this probability; 1 for all.
    pub typical_p: f32,
    /// Hold back what was there.
    pub penalties: Penalties,
    /// Steer surprise. Only bias and temperature then count beside it.
    pub mirostat: Mirostat,
    /// Added to logits; minus infinity forbids a token.
    pub logit_bias: Vec<(u32, f32)>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            seed: 0,
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical_p: 1.0,
            penalties: Penalties::default(),
            mirostat: Mirostat::Off,
            logit_bias: Vec::new(),
        }
    }
}

impl Sampling {
    /// The most likely token always.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Whether the settings can be meant.
    ///
    /// # Errors
    /// `Request` that names the setting.
    pub fn check(&self) -> Result<()> {
        let penalties = [self.penalties.repeat, self.penalties.frequency, self.penalties.presence];
        let steered = match self.mirostat {
            Mirostat::Off => [0.0, 0.0],
            Mirostat::V1(target) | Mirostat::V2(target) => [target.surprise, target.rate],
        };
        let share = |p: f32| (0.0..=1.0).contains(&p);
        let rules = [
            (self.temperature.is_finite(), "the temperature is no number"),
            (share(self.top_p), "top-p is not between 0 and 1"),
            (share(self.min_p), "min-p is not between 0 and 1"),
            (share(self.typical_p), "typical is not between 0 and 1"),
            (penalties.iter().all(|p| p.is_finite()), "a penalty is no number"),
            (self.penalties.repeat > 0.0, "the repetition penalty is not above 0"),
            (steered.iter().all(|v| v.is_finite() && *v >= 0.0), "mirostat's entropy or learning rate is no number of at least 0"),
            (self.logit_bias.iter().all(|(_, b)| !b.is_nan() && *b < f32::INFINITY), "a logit bias is no number"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, wrong)| Err(Error::request(*wrong)))
    }
}

/// Chooses tokens, one after the other.
#[derive(Debug, Clone)]
pub struct Sampler {
    settings: Sampling,
    random: Random,
    recent: penalties::Recent,
    /// Mirostat's limit of surprise, in bits.
    mu: f64,
    /// Tokens that may never come.
    forbidden: Vec<u32>,
    logits: Vec<f32>,
    candidates: Candidates,
}

impl Sampler {
    /// A sampler before its first token.
    ///
    /// # Errors
    /// `Request` for settings that cannot be meant.
    pub fn new(settings: Sampling) -> Result<Self> {
        settings.check()?;
        let mu = match settings.mirostat {
            Mirostat::Off => 0.0,
            Mirostat::V1(target) | Mirostat::V2(target) => 2.0 * f64::from(target.surprise),
        };
        let random = Random::new(settings.seed);
        Ok(Self {
            settings,
            random,
            recent: penalties::Recent::default(),
            mu,
            forbidden: Vec::new(),
            logits: Vec::new(),
            candidates: Candidates::default(),
        })
    }

    /// Seed of its random numbers.
    pub fn seed(&self) -> u64 {
        self.settings.seed
    }

    /// Takes in tokens that are there already, of a prompt or chosen: penalties look back on them.
    pub fn observe(&mut self, tokens: &[u32]) {
        tokens.iter().for_each(|token| self.recent.push(*token, &self.settings.penalties));
    }

    /// Forgets what was observed. Random numbers go on.
    pub fn forget(&mut self) {
        self.recent.clear();
    }

    /// From now on none of these tokens may come; those that were forbidden before may.
    pub fn forbid(&mut self, tokens: &[u32]) {
        self.forbidden = tokens.to_vec();
    }

    /// Chooses a token by `logits`, one for each entry of the vocabulary. `mask` forbids tokens by
    /// setting their logits to minus infinity; it is called once. The token is not yet observed.
    ///
    /// # Errors
    /// `Input` for a logit that is no number; `Request` where every token is forbidden; what `mask`
    /// says.
    pub fn choose(&mut self, logits: &[f32], mask: &mut dyn FnMut(&mut [f32]) -> Result<()>) -> Result<u32> {
        // A comparison that is false for what is no number, without a branch for each.
        if !logits.iter().fold(true, |fine, l| fine & (*l < f32::INFINITY)) {
            let token = logits.iter().position(|l| l.is_nan() || *l == f32::INFINITY).unwrap_or_default();
            return Err(Error::input(format!("the logit of token {token} is {}", logits.get(token).copied().unwrap_or_default())));
        }
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        for (token, bias) in &self.settings.logit_bias {
            let logit = self.logits.get_mut(*token as usize);
            *logit.ok_or_else(|| Error::request(format!("a logit bias is for token {token}, which is no token")))? += bias;
        }
        for token in &self.forbidden {
            if let Some(logit) = self.logits.get_mut(*token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        mask(&mut self.logits)?;
        let chosen = match self.settings.mirostat {
            Mirostat::Off => self.draw_filtered(),
            Mirostat::V1(target) => {
                self.warm();
                mirostat::limit_v1(&mut self.candidates, self.mu, logits.len());
                self.draw_steered(target)
            }
            Mirostat::V2(target) => {
                self.warm();
                mirostat::limit_v2(&mut self.candidates, self.mu);
                self.draw_steered(target)
            }
        };
        chosen.map(|c| c.token).ok_or_else(|| Error::request("no token may come next: all are forbidden"))
    }

    fn warm(&mut self) {
        self.candidates.fill(&self.logits);
        temperature::apply(&mut self.candidates, self.settings.temperature);
    }

    fn draw_steered(&mut self, target: Target) -> Option<Candidate> {
        let chosen = self.draw()?;
        self.mu = mirostat::steer(self.mu, &chosen, target);
        Some(chosen)
    }

    fn draw_filtered(&mut self) -> Option<Candidate> {
        let settings = &self.settings;
        self.recent.apply(&mut self.logits, &settings.penalties);
        // Of the filters only `typical` can take the most likely token away.
        if settings.temperature <= 0.0 && settings.typical_p >= 1.0 {
            let best = self.logits.iter().enumerate().fold(None, |best: Option<(usize, f32)>, (token, logit)| match best {
                Some((_, largest)) if *logit <= largest => best,
                _ => Some((token, *logit)),
            });
            let best = best.filter(|(_, logit)| *logit > f32::NEG_INFINITY);
            return best.map(|(token, logit)| Candidate { token: token as u32, logit, probability: 1.0 });
        }
        let candidates = &mut self.candidates;
        top_k::fill(candidates, &self.logits, settings.top_k);
        typical::apply(candidates, settings.typical_p);
        top_p::apply(candidates, settings.top_p);
        min_p::apply(candidates, settings.min_p);
        temperature::apply(candidates, settings.temperature);
        self.draw()
    }

    /// A candidate by its probability.
    fn draw(&mut self) -> Option<Candidate> {
        self.candidates.normalize();
        let mut left = self.random.unit();
        for candidate in &self.candidates.list {
            left -= candidate.probability;
            if left < 0.0 {
                return Some(*candidate);
            }
        }
        // Rounding may leave a rest.
        self.candidates.list.iter().rev().find(|c| c.probability > 0.0).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(_: &mut [f32]) -> Result<()> {
        Ok(())
    }

    fn plain(seed: u64) -> Sampling {
        Sampling { seed, temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..Sampling::default() }
    }

    /// How often each of four tokens of probabilities 0.1, 0.2, 0.3 and 0.4 is drawn in 100,000.
    fn counts(settings: Sampling) -> [u32; 4] {
        let logits = [0.1_f32, 0.2, 0.3, 0.4].map(f32::ln);
        let mut sampler = Sampler::new(settings).unwrap();
        let mut counts = [0; 4];
        for _ in 0..100_000 {
            counts[sampler.choose(&logits, &mut free).unwrap() as usize] += 1;
        }
        counts
    }

    fn near(counts: [u32; 4], expected: [f64; 4], settings: &str) {
        for (count, expected) in counts.iter().zip(expected) {
            // Five standard deviations.
            let spread = 5.0 * (1e5 * expected * (1.0 - expected)).sqrt();
            assert!((f64::from(*count) - 1e5 * expected).abs() <= spread, "{settings}: {counts:?} {expected:?}");
        }
    }

    #[test]
    fn draws_follow_the_distribution_that_the_settings_leave() {
        near(counts(plain(1)), [0.1, 0.2, 0.3, 0.4], "plain");
        near(counts(Sampling { top_k: 2, ..plain(2) }), [0.0, 0.0, 3.0 / 7.0, 4.0 / 7.0], "top-k 2");
        near(counts(Sampling { top_p: 0.8, ..plain(3) }), [0.0, 2.0 / 9.0, 3.0 / 9.0, 4.0 / 9.0], "top-p 0.8");
        near(counts(Sampling { min_p: 0.6, ..plain(4) }), [0.0, 0.0, 3.0 / 7.0, 4.0 / 7.0], "min-p 0.6");
        let squares = [1.0, 4.0, 9.0, 16.0].map(|s| s / 30.0);
        near(counts(Sampling { temperature: 0.5, ..plain(5) }), squares, "temperature 0.5");
        let biased = Sampling { logit_bias: vec![(3, f32::NEG_INFINITY), (0, 2f32.ln())], ..plain(6) };
        near(counts(biased), [2.0 / 7.0, 2.0 / 7.0, 3.0 / 7.0, 0.0], "bias");
        near(counts(Sampling { temperature: 0.0, ..plain(7) }), [0.0, 0.0, 0.0, 1.0], "greedy");
    }

    #[test]
    fn mirostat_keeps_surprise_at_its_target() {
        // A flat tail: without a limit the surprise would be about 9.9 bits.
        let logits: Vec<f32> = (0..4000).map(|rank| -1.1 * (rank as f32 + 1.0).ln()).collect();
        for (name, mirostat) in
            [("1", Mirostat::V1(Target { surprise: 3.0, rate: 0.1 })), ("2", Mirostat::V2(Target { surprise: 3.0, rate: 0.1 }))]
        {
            let mut sampler = Sampler::new(Sampling { mirostat, ..plain(11) }).unwrap();
            let mut before = Vec::new();
            for _ in 0..3000 {
                sampler.choose(&logits, &mut free).unwrap();
                // The surprise that steers is that among the candidates.
                before.push(sampler.mu);
            }
            // mu(n) - mu(0) = rate * sum(target - surprise): that it stays bounded is that the mean is the target.
            let drift = (before[2999] - before[500]).abs() / (0.1 * 2500.0);
            assert!(drift < 0.05, "version {name}: mean surprise is {drift} bits off");
        }
    }

    #[test]
    fn a_seed_gives_the_same_tokens_always() {
        let logits: Vec<f32> = (0..50).map(|i| ((i * 37 % 50) as f32) * 0.1).collect();
        let mut sampler = Sampler::new(Sampling { seed: 42, ..Sampling::default() }).unwrap();
        let tokens: Vec<u32> = (0..12).map(|_| sampler.choose(&logits, &mut free).unwrap()).collect();
        // Fixed once: any platform, any release.
        assert_eq!(tokens, [1, 31, 25, 20, 24, 39, 4, 16, 4, 13, 39, 28]);
    }

    #[test]
    fn penalties_see_what_was_observed() {
        let settings = Sampling { penalties: Penalties { presence: 1.0, ..Penalties::default() }, ..Sampling::greedy() };
        let mut sampler = Sampler::new(settings).unwrap();
        let logits = [1.0, 1.5, 0.0];
        assert_eq!(sampler.choose(&logits, &mut free).unwrap(), 1);
        sampler.observe(&[1]);
        assert_eq!(sampler.choose(&logits, &mut free).unwrap(), 0);
        sampler.forget();
        assert_eq!(sampler.choose(&logits, &mut free).unwrap(), 1);
        sampler.forbid(&[1, 77]);
        assert_eq!(sampler.choose(&logits, &mut free).unwrap(), 0);
        sampler.forbid(&[]);
        assert_eq!(sampler.choose(&logits, &mut free).unwrap(), 1);
    }

    #[test]
    fn what_cannot_be_chosen_is_an_error() {
        let mut sampler = Sampler::new(Sampling::default()).unwrap();
        assert_eq!(sampler.choose(&[0.0, f32::NAN], &mut free).unwrap_err().kind(), gravure_base::ErrorKind::Input);
        let mut all = |logits: &mut [f32]| {
            logits.fill(f32::NEG_INFINITY);
            Ok(())
        };
        for settings in [Sampling::default(), Sampling::greedy(), Sampling { mirostat: Mirostat::V1(Target::default()), ..plain(0) }] {
            let mut sampler = Sampler::new(settings).unwrap();
            assert_eq!(sampler.choose(&[0.0, 1.0], &mut all).unwrap_err().kind(), gravure_base::ErrorKind::Request);
        }
        assert!(Sampler::new(Sampling { top_p: 1.5, ..Sampling::default() }).is_err());
        assert!(Sampler::new(Sampling { temperature: f32::NAN, ..Sampling::default() }).is_err());
        let mut biased = Sampler::new(Sampling { logit_bias: vec![(9, 1.0)], ..Sampling::default() }).unwrap();
        assert!(biased.choose(&[0.0], &mut free).is_err());
    }
}
