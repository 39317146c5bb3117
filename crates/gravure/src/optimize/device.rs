//! What a plan will need where it is to run: memory, and tokens in a second. Nothing is run.

use std::collections::BTreeMap;

use gravure_base::{Error, Result};
use gravure_core::values::{Deployment, ModelKind, RuntimeProfile};
use gravure_core::{Encoding, Format, Model};
use gravure_planner::roofline::{Use, Workload};

use super::OptimizeRequest;
use crate::recommend::candidates::{Place, Site, runtime_bytes, speed};
use crate::recommend::{POSITIONS, RecommendRequest, cache_number};

/// Encoding and bytes of each tensor, by its neutral name.
pub(super) type Stored = BTreeMap<String, (&'static dyn Encoding, u64)>;

/// A runtime of the target, and all that its figures are asked with.
#[derive(Debug)]
struct Deployed {
    question: RecommendRequest,
    deployment: Deployment,
    profile: &'static RuntimeProfile,
    /// Bytes that it takes beside weights and cache.
    runtime_bytes: BTreeMap<String, u64>,
}

/// Where the artifact is to run.
#[derive(Debug)]
pub(super) struct Device {
    workload: Workload,
    /// Positions that are planned for.
    pub(super) positions: u64,
    /// Bytes of keys and values at that many.
    pub(super) cache_bytes: u64,
    /// What kind of model it is.
    pub(super) kind: ModelKind,
    deployed: Option<Deployed>,
}

/// What was planned for, and what it is predicted to need.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Predicted {
    /// Positions that were planned for.
    pub positions: u64,
    /// Bytes of the weights.
    pub weight_bytes: u64,
    /// Bytes of keys and values at that many positions.
    pub cache_bytes: u64,
    /// Bytes that the runtime takes beside them; 0 where there is no target.
    pub runtime_bytes: u64,
    /// All of these.
    pub memory_bytes: u64,
    /// Target id, where there is one.
    pub target: Option<String>,
    /// Runtime of the target that the plan is made for.
    pub runtime: Option<String>,
    /// Tokens in a second by the roofline, where there is a target.
    pub tokens_per_second: Option<f64>,
    /// Share of the bytes read for a token whose encoding has fast kernels there.
    pub accelerated_share: Option<f64>,
}

impl Device {
    /// The first runtime of the request's target that reads `format` and serves `neutral`.
    ///
    /// # Errors
    /// `Unsupported` where no runtime of the target does.
    pub(super) fn new(request: &OptimizeRequest, neutral: &Model, format: &dyn Format) -> Result<Self> {
        let workload = Workload::of(neutral);
        let kind = if workload.decodes { ModelKind::Text } else { ModelKind::Embedding };
        let own = workload.context.unwrap_or(POSITIONS).min(POSITIONS);
        let positions = request.positions.unwrap_or(own).max(1);
        let cache_bytes = (workload.cache_numbers as f64 * cache_number(request.source.cache) * positions as f64) as u64;
        let deployed = match &request.target {
            None => None,
            Some(target) => {
                let mut found = None;
                for deployment in &target.runtimes {
                    let profile = gravure_targets::runtime(&deployment.runtime)?;
                    if profile.format == format.id() && profile.kinds.contains(&kind) {
                        found = Some((deployment.clone(), profile));
                        break;
                    }
                }
                let Some((deployment, profile)) = found else {
                    return Err(Error::unsupported(format!(
                        "no runtime of the target `{}` reads {} for this model",
                        target.id,
                        format.id()
                    ))
                    .help("`gravure recommend` lists its runtimes and how to make their files"));
                };
                let question = RecommendRequest {
                    context: Some(positions),
                    cache: request.source.cache,
                    ..RecommendRequest::new(&request.source.path, target.clone())
                };
                let runtime_bytes = runtime_bytes(neutral, target)?;
                Some(Deployed { question, deployment, profile, runtime_bytes })
            }
        };
        Ok(Self { workload, positions, cache_bytes, kind, deployed })
    }

    fn at<T>(&self, of: impl FnOnce(&Site<'_>) -> T) -> Result<Option<T>> {
        let Some(deployed) = &self.deployed else { return Ok(None) };
        let place = Place {
            request: &deployed.question,
            workload: &self.workload,
            kind: self.kind,
            context: self.positions,
            cache_bytes: self.cache_bytes,
            runtime_bytes: &deployed.runtime_bytes,
            memory_limit: u64::MAX,
        };
        let site = place.site(&deployed.deployment, deployed.profile)?;
        Ok(Some(of(&site)))
    }

    /// Bytes that a runtime takes beside the weights: keys and values, and its own.
    pub(super) fn beside_weights(&self) -> u64 {
        self.cache_bytes.saturating_add(self.runtime_bytes())
    }

    fn runtime_bytes(&self) -> u64 {
        self.deployed.as_ref().map_or(0, |d| d.runtime_bytes.get(&d.profile.id).copied().unwrap_or(0))
    }

    /// Bytes that the target leaves to a model, where there is a target.
    pub(super) fn usable_bytes(&self) -> Option<u64> {
        self.deployed.as_ref().map(|d| d.question.target.memory.usable_bytes.value as u64)
    }

    /// Whether the target's runtime reads this encoding.
    pub(super) fn reads(&self, encoding: &dyn Encoding) -> bool {
        self.deployed.as_ref().is_none_or(|d| d.profile.encodings.iter().any(|e| e == encoding.id()))
    }

    /// Name of the target, for messages.
    pub(super) fn target(&self) -> Option<&str> {
        self.deployed.as_ref().map(|d| d.question.target.id.as_str())
    }

    /// Id of the runtime that is planned for, where there is a target.
    pub(super) fn runtime(&self) -> Option<&str> {
        self.deployed.as_ref().map(|d| d.profile.id.as_str())
    }

    /// Tokens in a second with tensors stored so, where there is a target.
    pub(super) fn tokens_per_second(&self, stored: &Stored) -> Result<Option<f64>> {
        let borrowed = stored.iter().map(|(name, (encoding, bytes))| (name.clone(), (*encoding, *bytes))).collect();
        self.at(|site| speed(&site.predict_tensors(&borrowed)))
    }

    /// Seconds for a token that one tensor's bytes take in an encoding: nothing where it is looked up.
    pub(super) fn read_seconds(&self, tensor: &str, encoding: &str, bytes: u64) -> Result<f64> {
        let Some(weight) = self.workload.weights.iter().find(|w| w.name == tensor && w.usage != Use::Lookup) else { return Ok(0.0) };
        let seconds = self.at(|site| bytes as f64 * weight.share * site.slowdown(encoding) / site.decode_bandwidth())?;
        Ok(seconds.unwrap_or(0.0))
    }

    /// All predictions for tensors stored so.
    pub(super) fn predict(&self, stored: &Stored) -> Result<Predicted> {
        let weight_bytes: u64 = stored.values().map(|(_, bytes)| bytes).sum();
        let (mut all, mut slow) = (0.0, 0.0);
        for weight in self.workload.weights.iter().filter(|w| w.matrix && w.usage != Use::Lookup) {
            let Some((encoding, bytes)) = stored.get(&weight.name) else { continue };
            all += *bytes as f64;
            if self.at(|site| !site.is_accelerated(encoding.id()))?.unwrap_or(false) {
                slow += *bytes as f64;
            }
        }
        Ok(Predicted {
            positions: self.positions,
            weight_bytes,
            cache_bytes: self.cache_bytes,
            runtime_bytes: self.runtime_bytes(),
            memory_bytes: weight_bytes.saturating_add(self.beside_weights()),
            target: self.target().map(str::to_owned),
            runtime: self.runtime().map(str::to_owned),
            tokens_per_second: self.tokens_per_second(stored)?,
            accelerated_share: self.deployed.as_ref().map(|_| if all > 0.0 { 1.0 - slow / all } else { 1.0 }),
        })
    }
}
