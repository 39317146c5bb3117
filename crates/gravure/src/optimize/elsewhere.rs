//! What the artifact is worth in each runtime that will execute it: measured where the runtime is at hand, and said where
//! it is not. The native engine measures it in any case; a crash of another runtime is that one's row, not the end.

use std::path::Path;

use gravure_base::Result;
use gravure_core::contracts::Activations;
use gravure_core::values::RuntimeProfile;
use gravure_core::{Format, Runtime};

use super::device::Device;
use super::request::{Elsewhere, OptimizeRequest};
use crate::engine::{Engine, LoadOptions, load};
use crate::evaluate::{Evaluation, evaluate_loaded};
use crate::{Observer, catalog};

/// Whether a runtime has measured the artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It has.
    Measured,
    /// It is not at hand.
    Missing,
    /// It is at hand, and does not run the artifact.
    Failed,
}

/// The artifact in one runtime.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RuntimeScores {
    /// Id of the runtime's profile.
    pub runtime: String,
    /// Its name for people.
    pub name: String,
    /// Whether it is the target's runtime that the plan is made for: promises of quality hold in it, too.
    pub planned_for: bool,
    /// Whether it has measured.
    pub standing: Standing,
    /// What was found: its version, and what it runs on.
    pub found: Option<String>,
    /// Why it has not, and what to do.
    pub note: Option<String>,
    /// What it has measured, against the original in the native engine.
    pub evaluation: Option<Evaluation>,
}

/// A runtime that may be at hand.
#[derive(Debug)]
struct Candidate {
    profile: &'static RuntimeProfile,
    planned_for: bool,
    ready: std::result::Result<&'static dyn Runtime, String>,
}

/// The runtimes that read the artifact's format.
#[derive(Debug)]
pub(super) struct Runtimes {
    candidates: Vec<Candidate>,
}

impl Runtimes {
    /// The target's, in its order, or all that serve such a model; each is asked whether it is there.
    pub(super) fn new(request: &OptimizeRequest, format: &dyn Format, device: &Device, observer: &dyn Observer) -> Result<Self> {
        let all = gravure_targets::runtimes()?;
        let own = |p: &RuntimeProfile| registered(p).is_some_and(|r| !r.opens_files());
        let reads = |p: &&RuntimeProfile| p.format == format.id() && p.kinds.contains(&device.kind);
        let mut profiles: Vec<&RuntimeProfile> = match &request.target {
            None => all.iter().filter(reads).collect(),
            Some(target) => {
                let ids = target.runtimes.iter().map(|d| d.runtime.as_str());
                ids.filter_map(|id| all.iter().find(|p| p.id == id)).filter(reads).collect()
            }
        };
        // What measures in any case has a row in any case.
        profiles.extend(all.iter().filter(|p| own(p)));
        let mut candidates: Vec<Candidate> = Vec::new();
        for profile in profiles {
            if candidates.iter().any(|c| c.profile.id == profile.id) {
                continue;
            }
            let ready = readiness(request.elsewhere, profile);
            if let (Err(why), true) = (&ready, registered(profile).is_some() && request.elsewhere == Elsewhere::WhereInstalled) {
                observer.note(&format!("the artifact is not measured in {}: {why}", profile.name));
            }
            candidates.push(Candidate { profile, planned_for: device.runtime() == Some(profile.id.as_str()), ready });
        }
        Ok(Self { candidates })
    }

    /// The row of the runtime that the plan is made for, where it is another than the native engine, and at hand.
    pub(super) fn deciding<'a>(&self, rows: &'a [RuntimeScores]) -> Option<&'a RuntimeScores> {
        let decides = |c: &Candidate| c.planned_for && c.ready.as_ref().is_ok_and(|r| r.opens_files());
        self.candidates.iter().zip(rows).find(|(c, _)| decides(c)).map(|(_, row)| row)
    }

    /// A row for each; `native` is what the native engine has measured.
    ///
    /// # Errors
    /// `Interrupted`. What goes wrong in another runtime is in its row.
    pub(super) fn measure(
        &self,
        request: &OptimizeRequest,
        artifact: &Path,
        original: &Engine,
        native: &Evaluation,
        observer: &dyn Observer,
    ) -> Result<Vec<RuntimeScores>> {
        let one = |candidate: &Candidate| {
            let Candidate { profile, planned_for, ready } = candidate;
            let row = |standing, found, note, evaluation| RuntimeScores {
                runtime: profile.id.clone(),
                name: profile.name.clone(),
                planned_for: *planned_for,
                standing,
                found,
                note,
                evaluation,
            };
            let runtime = match ready {
                Ok(runtime) => *runtime,
                Err(why) => return Ok(row(Standing::Missing, None, Some(why.clone()), None)),
            };
            if !runtime.opens_files() {
                return Ok(row(Standing::Measured, None, None, Some(Evaluation { worst: Vec::new(), ..native.clone() })));
            }
            let options = LoadOptions {
                runtime: Some(runtime.id().to_owned()),
                positions: request.context,
                format: None,
                path: artifact.to_path_buf(),
                // It rounds inputs as it does on the device.
                activations: Activations::Fast,
                ..request.source.clone()
            };
            let measured = load(&options, observer).and_then(|engine| {
                let evaluation = evaluate_loaded(&request.evaluation(0), &engine, Some(original), observer)?;
                Ok((engine.loaded.facts().kernels.join("; "), evaluation))
            });
            // Who was asked to stop has not failed.
            observer.go_on()?;
            Ok(match measured {
                Ok((found, evaluation)) => row(Standing::Measured, Some(found), None, Some(evaluation)),
                Err(error) => {
                    observer.note(&format!("{} does not run the artifact: {error}", profile.name));
                    row(Standing::Failed, None, Some(error.message().to_owned()), None)
                }
            })
        };
        self.candidates.iter().map(one).collect()
    }
}

fn registered(profile: &RuntimeProfile) -> Option<&'static dyn Runtime> {
    profile.registered.as_deref().and_then(|id| catalog().runtime(id).ok())
}

/// The runtime of a profile, or why nothing is measured in it.
fn readiness(elsewhere: Elsewhere, profile: &RuntimeProfile) -> std::result::Result<&'static dyn Runtime, String> {
    let Some(runtime) = registered(profile) else {
        return Err("this program does not run models in it: measure there by its own tools".to_owned());
    };
    if runtime.opens_files() && elsewhere == Elsewhere::Nowhere {
        return Err("it was not asked for".to_owned());
    }
    let told = |e: gravure_base::Error| match e.help_text() {
        Some(help) => format!("{} ({help})", e.message()),
        None => e.message().to_owned(),
    };
    runtime.check().map_err(told).map(|_| runtime)
}
