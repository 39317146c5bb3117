//! The rules by which a machine that nobody described is judged (`data/host.toml`): plain data.

use std::sync::OnceLock;

use gravure_base::Result;
use gravure_core::values::Figure;
use serde::Deserialize;

use crate::load::from_toml;

/// What a core with a feature does in a cycle.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// A word among the processor's features, as `/proc/cpuinfo` spells it; empty for any processor.
    pub feature: String,
    /// Operations on bytes.
    pub int8: f64,
    /// Operations on 32-bit floats.
    pub fp32: f64,
    /// How that follows.
    pub reasoning: String,
}

/// Which backend of a runtime a feature stands for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendByFeature {
    /// As [`Rate::feature`].
    pub feature: String,
    /// Backend of the runtime's profile.
    pub backend: String,
}

/// A runtime for the machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostRuntime {
    /// Runtime profile id.
    pub runtime: String,
    /// Why it stands at this place of the order.
    pub reason: String,
    /// The first whose feature is there counts.
    pub backends: Vec<BackendByFeature>,
}

/// All rules.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostRules {
    /// Bytes in a second that one core reads.
    pub bandwidth_of_a_core: Figure,
    /// Bytes in a second that all cores read at most.
    pub bandwidth_at_most: Figure,
    /// Share of a measured bandwidth that decoding reaches.
    pub decode_efficiency_measured: Figure,
    /// Share of a decoding step's time that its products take.
    pub products_share: Figure,
    /// Share of an estimated bandwidth that decoding reaches.
    pub decode_efficiency_estimated: Figure,
    /// Cycles in a second, where the system does not tell.
    pub clock: Figure,
    /// Watts of a busy core.
    pub watts_of_a_core: Figure,
    /// Rates, the first whose feature is there counts.
    pub rates: Vec<Rate>,
    /// Runtimes in order.
    pub runtimes: Vec<HostRuntime>,
}

/// The rules of this build.
///
/// # Errors
/// `Input` where the built-in file is broken; the tests of this crate read it.
pub fn host_rules() -> Result<&'static HostRules> {
    static RULES: OnceLock<HostRules> = OnceLock::new();
    if let Some(rules) = RULES.get() {
        return Ok(rules);
    }
    let rules = from_toml(include_str!("../data/host.toml"))?;
    Ok(RULES.get_or_init(|| rules))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_a_rate_and_backends_that_exist() {
        let rules = host_rules().unwrap();
        assert_eq!(rules.rates.last().unwrap().feature, "", "the last rate is for any processor");
        for runtime in &rules.runtimes {
            let profile = crate::runtime(&runtime.runtime).unwrap();
            assert_eq!(runtime.backends.last().unwrap().feature, "", "{}: the last backend is for any processor", profile.id);
            for by in &runtime.backends {
                assert!(profile.backend(&by.backend).is_some(), "{}: no backend {}", profile.id, by.backend);
                assert!(by.feature.is_empty() || rules.rates.iter().any(|r| r.feature == by.feature), "{}", by.feature);
            }
        }
    }
}
