//! Rotary position embeddings: how configurations spell them, and the factors that some of them
//! generate.
//!
//! transformers 4 writes `rope_theta` beside a `rope_scaling` object (or null) whose type is under
//! `type` or `rope_type`; transformers 5 writes one `rope_parameters` object with all of it. Both
//! read alike here.
//!
//! Papers: RoFormer (Su et al. 2021), YaRN (Peng et al. 2023), LongRoPE (Ding et al. 2024).

use gravure_base::{Error, Result};
use gravure_core::{HyperKey, Hyperparameters};

use crate::blocks::sizes::Set;
use crate::config::Config;

/// How frequencies are stretched for contexts longer than the trained one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scaling {
    /// Not at all.
    None,
    /// All by the same factor.
    Linear { factor: f64 },
    /// YaRN; what is `None` has the paper's default.
    Yarn { factor: f64, original: u64, extrapolation: Option<f64>, attention: Option<f64>, beta_fast: Option<f64>, beta_slow: Option<f64> },
    /// Llama 3.1's three bands.
    Llama3 { factor: f64, low: f64, high: f64, original: u64 },
    /// LongRoPE: a factor for each frequency, one set within the original context, one beyond.
    LongRope { short: Vec<f64>, long: Vec<f64>, original: u64, attention: Option<f64>, factor: Option<f64> },
}

/// Rotary settings of one kind of layer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rope {
    pub(crate) theta: f64,
    pub(crate) scaling: Scaling,
    /// Part of each head that is rotated, where it is not all.
    pub(crate) partial: Option<f64>,
}

impl Rope {
    /// Reads the settings of a model whose layers all have the same. `context` is the model's
    /// longest context; `original` overrides the settings' own original length (Phi-3 says it at
    /// the top of its configuration).
    pub(crate) fn read(config: &Config<'_>, context: u64, original: Option<u64>) -> Result<Self> {
        let top_theta = config.optional("rope_theta")?;
        let settings = match config.object("rope_scaling")? {
            Some(settings) => Some(settings),
            None => config.object("rope_parameters")?,
        };
        let top_partial = config.optional("partial_rotary_factor")?;
        let Some(settings) = settings else {
            return Ok(Self {
                theta: positive(config, "rope_theta", top_theta.unwrap_or(10_000.0))?,
                scaling: Scaling::None,
                partial: top_partial,
            });
        };
        let theta = settings.optional("rope_theta")?.or(top_theta).unwrap_or(10_000.0);
        let partial = settings.optional("partial_rotary_factor")?.or(top_partial);
        let scaling = Self::read_scaling(&settings, context, original)?;
        Ok(Self { theta: positive(&settings, "rope_theta", theta)?, scaling, partial })
    }

    /// Reads the settings of a model whose layers without a window (first) and with one (second)
    /// have their own: transformers 4 says `rope_theta`, `rope_scaling` and `rope_local_base_freq`,
    /// transformers 5 nests two objects in `rope_parameters`.
    pub(crate) fn read_two(config: &Config<'_>, context: u64) -> Result<(Self, Self)> {
        let (top_global, top_local) = (config.optional("rope_theta")?, config.optional("rope_local_base_freq")?);
        let parameters = config.object("rope_parameters")?;
        let (nested_global, local) = match &parameters {
            Some(parameters) => (parameters.object("full_attention")?, parameters.object("sliding_attention")?),
            None => (None, None),
        };
        let global = match config.object("rope_scaling")? {
            Some(settings) => Some(settings),
            None => nested_global,
        };
        let read = |settings: Option<Config<'_>>, top: Option<f64>, default: f64| -> Result<Self> {
            let Some(settings) = settings else {
                return Ok(Self { theta: positive(config, "rope_theta", top.unwrap_or(default))?, scaling: Scaling::None, partial: None });
            };
            let theta = settings.optional("rope_theta")?.or(top).unwrap_or(default);
            let scaling = Self::read_scaling(&settings, context, None)?;
            Ok(Self { theta: positive(&settings, "rope_theta", theta)?, scaling, partial: None })
        };
        Ok((read(global, top_global, 1_000_000.0)?, read(local, top_local, 10_000.0)?))
    }

    fn read_scaling(settings: &Config<'_>, context: u64, original: Option<u64>) -> Result<Scaling> {
        let older: Option<String> = settings.optional("type")?;
        let kind: String = settings.optional("rope_type")?.or(older).unwrap_or_else(|| "default".to_owned());
        let stated = settings.optional("original_max_position_embeddings")?;
        let original = original.or(stated).unwrap_or(context);
        let factor = || positive(settings, "factor", settings.required("factor")?);
        Ok(match kind.as_str() {
            "default" => Scaling::None,
            "linear" => Scaling::Linear { factor: factor()? },
            "yarn" => Scaling::Yarn {
                factor: factor()?,
                original,
                extrapolation: settings.optional("extrapolation_factor")?,
                attention: settings.optional("attention_factor")?.or(settings.optional("attn_factor")?),
                beta_fast: settings.optional("beta_fast")?,
                beta_slow: settings.optional("beta_slow")?,
            },
            "llama3" => Scaling::Llama3 {
                factor: factor()?,
                low: positive(settings, "low_freq_factor", settings.or("low_freq_factor", 1.0)?)?,
                high: positive(settings, "high_freq_factor", settings.or("high_freq_factor", 4.0)?)?,
                original,
            },
            "su" | "longrope" => Scaling::LongRope {
                short: settings.required("short_factor")?,
                long: settings.required("long_factor")?,
                original,
                attention: settings.optional("attention_factor")?,
                factor: settings.optional("factor")?,
            },
            // Dynamic NTK scaling is the plain embedding up to the context length and something that
            // depends on the length of each text beyond it: no target has that.
            other => {
                settings.unsupported("rope_type", format!("rotary scaling of the type `{other}` is not known"))?;
                Scaling::None
            }
        })
    }

    /// Sets the keys of the scaling, then the base.
    pub(crate) fn set(&self, parameters: &mut Hyperparameters) {
        match &self.scaling {
            Scaling::None | Scaling::Llama3 { .. } => {}
            Scaling::Linear { factor } => {
                parameters.text(HyperKey::RopeScalingType, "linear");
                parameters.f32(HyperKey::RopeScalingFactor, *factor);
            }
            Scaling::Yarn { factor, original, extrapolation, attention, beta_fast, beta_slow } => {
                parameters.text(HyperKey::RopeScalingType, "yarn");
                parameters.f32(HyperKey::RopeScalingFactor, *factor);
                parameters.u32(HyperKey::RopeScalingOriginalContextLength, *original);
                let optional = [
                    (HyperKey::RopeScalingYarnExtFactor, extrapolation),
                    (HyperKey::RopeScalingYarnAttentionFactor, attention),
                    (HyperKey::RopeScalingYarnBetaFast, beta_fast),
                    (HyperKey::RopeScalingYarnBetaSlow, beta_slow),
                ];
                for (key, value) in optional {
                    if let Some(value) = value {
                        parameters.f32(key, *value);
                    }
                }
            }
            Scaling::LongRope { .. } => parameters.text(HyperKey::RopeScalingType, "longrope"),
        }
        parameters.f32(HyperKey::RopeFreqBase, self.theta);
    }

    /// The divisors of the `dimensions / 2` frequencies that Llama 3.1's scaling gives, in the
    /// reference converter's order of 32-bit operations.
    ///
    /// Frequencies whose wavelength is far below the original context stay, those far above are
    /// divided by the factor, those between are blended.
    pub(crate) fn llama3_factors(&self, dimensions: u64) -> Option<Vec<f32>> {
        let Scaling::Llama3 { factor, low, high, original } = self.scaling else { return None };
        let longest = (original as f64 / low) as f32;
        let shortest = (original as f64 / high) as f32;
        let factors = (0..dimensions).step_by(2).map(|i| {
            let exponent = i as f32 / dimensions as f32;
            let frequency = 1.0 / (f64::from(self.theta as f32).powf(f64::from(exponent)) as f32);
            let wavelength = (1.0 / frequency) * (2.0 * std::f64::consts::PI) as f32;
            if wavelength < shortest {
                1.0
            } else if wavelength > longest {
                factor as f32
            } else {
                let smooth = ((1.0 / wavelength) * original as f32 - low as f32) / (high - low) as f32;
                1.0 / ((1.0 - smooth) / factor as f32 + smooth)
            }
        });
        Some(factors.collect())
    }
}

fn positive(config: &Config<'_>, key: &str, value: f64) -> Result<f64> {
    if value > 0.0 { Ok(value) } else { Err(Error::input(format!("{value} should be positive")).at_item(config.name(key))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: serde_json::Value) -> Result<Rope> {
        let config = Config::new(&value, false)?;
        let rope = Rope::read(&config, 4096, None)?;
        config.finish()?;
        Ok(rope)
    }

    #[test]
    fn both_spellings_read_alike() {
        let older = json!({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}});
        let newer = json!({"rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 2.0}});
        assert_eq!(read(older).unwrap(), read(newer).unwrap());
        assert_eq!(read(json!({"rope_scaling": null})).unwrap().scaling, Scaling::None);
    }

    #[test]
    fn unknown_types_and_keys_are_named() {
        let e = read(json!({"rope_scaling": {"type": "dynamic", "factor": 2.0}})).unwrap_err();
        assert_eq!(e.item(), Some("rope_scaling.rope_type"));
        let e = read(json!({"rope_parameters": {"rope_type": "default", "wobble": 1}})).unwrap_err();
        assert_eq!(e.item(), Some("rope_parameters.wobble"));
        let e = read(json!({"rope_scaling": {"type": "linear", "factor": -1.0}})).unwrap_err();
        assert_eq!(e.item(), Some("rope_scaling.factor"));
    }

    #[test]
    fn llama3_factors_have_three_bands() {
        let scaling = Scaling::Llama3 { factor: 32.0, low: 1.0, high: 4.0, original: 8192 };
        let factors = Rope { theta: 500_000.0, scaling, partial: None }.llama3_factors(64).unwrap();
        assert_eq!(factors.len(), 32);
        assert_eq!((factors[0], factors[31]), (1.0, 32.0));
        assert!(factors.windows(2).all(|w| w[0] <= w[1]));
        assert!(factors.iter().any(|&f| f > 1.0 && f < 32.0));
    }
}
