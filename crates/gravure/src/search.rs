//! Search: methods, mixtures, budgets and caches tried out against each other, and the front of what none beats.
//!
//! ```text
//! model, catalog -> space -> Study -ask-> trial: plan -> artifact -> figures (kept by digest) -tell-> Study
//!                                   front of the full trials -> all of the evaluation text -> plans, artifacts, report
//! ```
//! Who chooses the trials knows nothing of models ([`crate::samplers`]); who runs them knows nothing of samplers. A
//! trial is kept under a digest of all that it depends on. So a search that was killed asks for the same trials
//! again, finds those that were run, and ends with the same front; and one with other samplers, seeds or numbers of
//! trials begins with what is there. A cluster engine drives a [`samplers::Study`](crate::samplers::Study) over the
//! space of [`plan_search`] and has its machines run [`measure_trials`].

mod outcome;
mod request;
mod settings;
mod trial;

use std::sync::Arc;

use gravure_base::{Error, ErrorKind, Result};
use gravure_planner::search::{Ask, Fidelity, Outcome, Settings, Study, Trial};

pub use outcome::{FrontMember, SearchPlan, Searched, Stopped, TrialLine};
pub use request::{Keep, Objective, SearchRequest};
use trial::{Bench, Kept, name_of};
pub use trial::{Figures, KeptFile};

use crate::optimize::ground::Prospect;
use crate::optimize::{Clock, Timed, write};
use crate::{Observer, report};

/// Share of the time limit that trials may take: the rest is for the front.
const TRIALS_SHARE: f64 = 0.75;
/// Values that a grid takes of a range.
const LEVELS: usize = 6;
/// The cheapest trials take this share of a full one's windows.
const CHEAPEST: u64 = 9;

/// The space and the sampler of a search, without reading a weight: the dry run.
///
/// # Errors
/// `Request` where the model, the limits or the sampler do not fit together; those of opening.
pub fn plan_search(request: &SearchRequest, observer: &dyn Observer) -> Result<SearchPlan> {
    request.check()?;
    let prospect = Prospect::new(request.ground(), observer)?;
    plan(request, &prospect)
}

fn plan(request: &SearchRequest, prospect: &Prospect) -> Result<SearchPlan> {
    let space = settings::space(request, prospect)?;
    let kind = gravure_planner::search::sampler(&request.sampler)?;
    let windows = request.trial_windows as u64;
    let settings = Settings {
        seed: request.seed,
        objectives: request.objectives.len(),
        trials: request.trials,
        fidelity: Fidelity { least: (windows / CHEAPEST).max(1), most: windows },
        levels: LEVELS,
    };
    Ok(SearchPlan {
        sampler: kind.id(),
        doc: kind.doc(),
        objectives: request.objectives.clone(),
        points: space.size(),
        space,
        settings,
        model: prospect.facts()?,
        positions: prospect.positions(),
        energy: gravure_eval::energy::EnergyMeter::start().is_some(),
    })
}

/// Runs trials that somebody else asked for: what a machine of a cluster does. What was run before, here or by
/// another machine with the same folder, is not run again.
///
/// # Errors
/// Those of [`search`]; what is wrong with a trial itself is its outcome.
pub fn measure_trials(request: &SearchRequest, trials: &[Trial], observer: &dyn Observer) -> Result<Vec<(Outcome, Option<Figures>)>> {
    request.check()?;
    request.write_texts()?;
    let prospect = Prospect::new(request.ground(), observer)?;
    let methods = settings::methods(request)?;
    prospect.survey(&methods, &mut Clock::new(), observer, |ground, _| {
        let bench = Bench::new(ground, request, prospect.positions())?;
        let found = trials.iter().map(|trial| run_one(&bench, request, trial, observer)).collect::<Result<Vec<_>>>()?;
        bench.clean_work()?;
        Ok(found)
    })
}

/// What a trial gave: the figures are there where it was measured.
fn run_one(bench: &Bench<'_>, request: &SearchRequest, trial: &Trial, observer: &dyn Observer) -> Result<(Outcome, Option<Figures>)> {
    if let Some(by) = bench.excess(&trial.point) {
        return Ok((Outcome::Refused { by }, None));
    }
    let windows = usize::try_from(trial.fidelity).map_err(|_| Error::request("a trial of more windows than there can be"))?;
    let kept = bench.trial(&trial.point, windows, observer)?;
    let outcome = kept.outcome(&request.objectives);
    let figures = if let Kept::Measured(figures) = kept { Some(figures) } else { None };
    Ok((outcome, figures))
}

/// Searches, measures the front on all of the evaluation text, and writes plans, report and, where asked, artifacts.
///
/// A search whose time limit is over ends with what there is, and says so.
///
/// # Errors
/// Those of loading, calibration and quantization; `Request` for limits that nothing keeps; `Limit` where the time
/// is over before anything was measured; `Interrupted`.
pub fn search(request: &SearchRequest, observer: &dyn Observer) -> Result<Searched> {
    request.check()?;
    let timed = Timed::new(observer, request.time_limit);
    run(request, &timed, observer).map_err(|error| timed.explain(error, &request.output))
}

fn run(request: &SearchRequest, timed: &Timed<'_>, user: &dyn Observer) -> Result<Searched> {
    let mut clock = Clock::new();
    request.write_texts()?;
    let prospect = Prospect::new(request.ground(), timed)?;
    let plan = plan(request, &prospect)?;
    let mut study = Study::new(plan.sampler, plan.space.clone(), plan.settings.clone())?;
    let methods = settings::methods(request)?;
    prospect.survey(&methods, &mut clock, timed, |ground, clock| {
        let bench = Bench::new(ground, request, prospect.positions())?;
        let over = |error: &Error| error.kind() == ErrorKind::Interrupted && !user.cancelled();
        let until = Timed::new(timed, timed.left().map(|left| left.mul_f64(TRIALS_SHARE)));
        let mut lines = Vec::new();
        let mut stopped = Stopped::Done;
        while let Ask::Trial(trial) = study.ask() {
            let ran = until.go_on().and_then(|()| run_one(&bench, request, &trial, &until));
            let (outcome, figures) = match ran {
                Ok(ran) => ran,
                Err(error) if over(&error) => {
                    stopped = Stopped::TimeLimit;
                    break;
                }
                Err(error) => return Err(error),
            };
            let line = TrialLine::new(&trial, bench.key(&trial.point, trial.fidelity as usize), &outcome, figures);
            timed.note(&line.to_string());
            study.tell(trial.id, outcome)?;
            lines.push(line);
        }
        clock.stage("trials");
        let mut front: Vec<FrontMember> = study
            .front()
            .into_iter()
            .filter_map(|trial| {
                let figures = lines.iter().find(|l| l.id == trial.id)?.figures.clone()?;
                Some(FrontMember {
                    trial: trial.id,
                    name: name_of(trial.id),
                    point: trial.point.clone(),
                    figures,
                    plan: None,
                    proof: None,
                    files: Vec::new(),
                })
            })
            .collect();
        if front.is_empty() {
            return Err(nothing(stopped, &lines));
        }
        front.sort_by(|a, b| a.figures.file_bytes.cmp(&b.figures.file_bytes).then(a.trial.cmp(&b.trial)));
        for member in &mut front {
            member.plan = Some(bench.write_plan(&member.name, &member.point)?);
            if stopped == Stopped::TimeLimit && timed.is_over() {
                continue;
            }
            match bench.prove(&member.name, &member.point, timed) {
                Ok(proof) => {
                    member.proof = Some(proof.figures);
                    member.files = proof.files;
                }
                Err(error) if over(&error) => stopped = Stopped::TimeLimit,
                Err(error) => return Err(error),
            }
        }
        bench.clean(&front.iter().map(|m| m.name.clone()).collect::<Vec<_>>())?;
        clock.stage("front");
        let on_front = |id: u64| front.iter().any(|m| m.trial == id);
        lines.iter_mut().for_each(|l| l.on_front = on_front(l.id));
        let done = Searched::new(request, plan, lines, front, stopped, std::mem::replace(clock, Clock::new()).into_stages());
        let json = |value: std::result::Result<String, serde_json::Error>| {
            value.map_err(|e| Error::bug(format!("the report cannot be written: {e}")))
        };
        let files = [
            ("report.json", json(serde_json::to_string_pretty(&done))?),
            ("report.html", report::searched(&done)),
            ("study.json", json(serde_json::to_string(study.state()))?),
        ];
        for (name, text) in files {
            write(&request.output.join(name), Arc::clone(&request.storage), text.as_bytes())?;
        }
        Ok(done)
    })
}

/// Why there is no front.
fn nothing(stopped: Stopped, lines: &[TrialLine]) -> Error {
    if stopped == Stopped::TimeLimit {
        return Error::limit("the time is over before a full trial was measured")
            .help("what was measured so far is kept: the same command goes on from it");
    }
    let why = lines.iter().find_map(|l| l.why.clone()).unwrap_or_else(|| "there was none".into());
    Error::request(format!("no trial could be measured: {why}")).help("allow a larger size, or more trials")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use gravure_testing::tiny_model::{self, Options, Size};

    use super::*;
    use crate::Quiet;
    use crate::engine::LoadOptions;

    /// Time that is over after some trials.
    struct Hourglass(AtomicUsize);

    impl Observer for Hourglass {
        fn begin(&self, _: &str, _: usize, _: u64) {}
        fn advance(&self, _: &str, _: u64) {}
        fn end(&self) {}

        fn note(&self, text: &str) {
            if text.starts_with("trial ") {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }

        fn cancelled(&self) -> bool {
            self.0.load(Ordering::Relaxed) == 0
        }
    }

    #[test]
    fn a_search_whose_time_is_over_ends_with_what_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        tiny_model::write("llama", &Options { size: Size::Wide, layers: 1, ..Options::default() }, &path("model")).unwrap();
        let text = |seed: usize| (0..900).map(|i| format!("{} ", i * i * seed % 977)).collect::<String>();
        std::fs::write(path("seen"), text(7)).unwrap();
        std::fs::write(path("unseen"), text(11)).unwrap();
        let request = SearchRequest {
            sampler: "random".into(),
            objectives: vec![Objective::Kld, Objective::Size],
            context: 32,
            calibration_windows: Some(2),
            sensitivity_windows: Some(1),
            trial_windows: 2,
            evaluation_windows: Some(3),
            candidates: vec!["q4_0".into(), "q8_0".into()],
            methods: vec!["rtn".into()],
            ..SearchRequest::new(LoadOptions { threads: 2, ..LoadOptions::new(path("model")) }, path("out"), path("seen"), path("unseen"))
        };
        let glass = Hourglass(AtomicUsize::new(3));
        let done = run(&request, &Timed::new(&glass, None), &Quiet).unwrap();
        assert_eq!((done.stopped, done.trials.len()), (Stopped::TimeLimit, 3));
        assert!(!done.front.is_empty() && done.front.iter().all(|m| m.proof.is_none() && m.plan.as_ref().is_some_and(|p| p.exists())));
        let page = std::fs::read_to_string(path("out").join("report.html")).unwrap();
        assert!(page.contains("The time was over after 3 trials"));
        let glass = Hourglass(AtomicUsize::new(0));
        assert!(run(&request, &Timed::new(&glass, None), &Quiet).is_err());
    }
}
