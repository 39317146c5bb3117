//! Any set of artifacts side by side, ours or not: what each weighs, what it loses against one of them, how
//! fast it runs here, and where its bits are. The same evidence as an optimization's, without one.
//!
//! Only the reference and one other are in memory at a time.

mod outcome;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gravure_base::{AtomicFile, Disk, Error, ErrorKind, Result, ResultExt, Storage};
use gravure_core::{HyperKey, Model};
use gravure_eval::Windows;

use crate::certificate::{self, Certificate};
use crate::engine::{Engine, LoadOptions, prepare};
use crate::evaluate::{EvaluateRequest, evaluate_loaded, first_token, text_tokens, tokenizer};
use crate::open::{OpenRequest, open};
use crate::optimize::{Clock, at_work, environment};
use crate::recommend::POSITIONS;
use crate::{Observer, report};
pub use outcome::{Compared, ComparedArtifact, ComparedTensor, ComparisonReference, MeasuredText};

/// What to compare, and how.
#[derive(Debug, Clone)]
pub struct CompareRequest {
    /// The artifacts.
    pub artifacts: Vec<LoadOptions>,
    /// What they are measured against; `None` for the one among them that has the most bits for each weight, the
    /// first of several.
    pub reference: Option<LoadOptions>,
    /// The text.
    pub data: PathBuf,
    /// Tokens in a window.
    pub context: usize,
    /// At most this many windows.
    pub windows: Option<usize>,
    /// Positions that memory is stated for; `None` for the models' own, at most 4096.
    pub positions: Option<u64>,
    /// Whether they are timed.
    pub timing: Timing,
    /// Worst tokens that are listed of each.
    pub worst: usize,
    /// Folder for `report.html` and `report.json`.
    pub output: Option<PathBuf>,
    /// The command as it was typed, for the report.
    pub command: Vec<String>,
    /// Where the output goes.
    pub storage: Arc<dyn Storage>,
}

/// Whether models are timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timing {
    /// Prefill and decode of each.
    #[default]
    On,
    /// Quality and sizes alone.
    Off,
}

impl CompareRequest {
    /// Windows of 512 tokens of all of `data`, timed, no files.
    pub fn new(artifacts: Vec<LoadOptions>, data: impl Into<PathBuf>) -> Self {
        Self {
            artifacts,
            reference: None,
            data: data.into(),
            context: 512,
            windows: None,
            positions: None,
            timing: Timing::On,
            worst: 10,
            output: None,
            command: Vec::new(),
            storage: Arc::new(Disk),
        }
    }
}

/// A model that was opened, with how it is to be loaded.
struct Opened<'a> {
    options: &'a LoadOptions,
    model: Model,
    facts: ComparedArtifact,
}

/// Measures every artifact against the reference. One that cannot run, or whose tokens are others, keeps its
/// row with [`ComparedArtifact::problem`], and the rest go on.
///
/// # Errors
/// Those of opening any of them; those of loading the reference; `Request` where there is nothing to compare or
/// the text is too short; `Interrupted`.
pub fn compare(request: &CompareRequest, observer: &dyn Observer) -> Result<Compared> {
    let mut clock = Clock::new();
    let mut opened = request.artifacts.iter().map(|options| look(options, observer)).collect::<Result<Vec<_>>>()?;
    let (reference, chosen) = match &request.reference {
        Some(named) => {
            // One that is named twice is measured once.
            let same = opened.iter().position(|o| is_same(&o.options.path, &named.path));
            (same.map_or_else(|| look(named, observer), |at| Ok(opened.remove(at)))?, "named")
        }
        None => {
            let bits = |o: &Opened<'_>| o.facts.bits_per_weight;
            let most = opened.iter().map(bits).fold(0.0, f64::max);
            let at = opened.iter().position(|o| bits(o) >= most).ok_or_else(|| Error::request("there is nothing to compare"))?;
            (opened.remove(at), "the most bits for each weight")
        }
    };
    if opened.is_empty() {
        return Err(Error::request("there is nothing to compare it with").help("name two models or more: `gravure compare A B`"));
    }
    let paths: Vec<&Path> = std::iter::once(&reference).chain(&opened).map(|o| o.options.path.as_path()).collect();
    let mut names = outcome::names(&paths).into_iter();
    let mut reference = reference;
    for one in std::iter::once(&mut reference).chain(&mut opened) {
        one.facts.name = names.next().unwrap_or_default();
    }
    observer.note(&match &request.reference {
        Some(_) => format!("measured against {}", reference.facts.name),
        None => format!(
            "measured against {}, which has the most bits for each weight ({:.2}); --reference names another",
            reference.facts.name, reference.facts.bits_per_weight
        ),
    });
    let tokens = text_tokens(&reference.model, &request.data)?;
    Windows::new(&tokens, request.context, first_token(tokenizer(&reference.model)?), request.windows).in_file(&request.data)?;
    clock.stage("open");
    let (mut base, engine) = measure(request, reference, None, &tokens, &mut clock, observer)?;
    let engine = engine.map_err(|problem| problem.help("name another by --reference"))?;
    let mut artifacts = Vec::with_capacity(opened.len());
    for one in opened {
        observer.go_on()?;
        let (artifact, _) = measure(request, one, Some(&engine), &tokens, &mut clock, observer)?;
        if let Some(problem) = &artifact.problem {
            observer.note(&format!("{}: {problem}", artifact.name));
        }
        artifacts.push(artifact);
    }
    let threads = engine.threads;
    drop(engine);
    outcome::mark_front(&mut base, &mut artifacts);
    let windows = base.evaluation.as_ref().map_or(0, |e| e.windows);
    let mut done = Compared {
        schema: outcome::SCHEMA,
        gravure: env!("CARGO_PKG_VERSION"),
        command: request.command.clone(),
        reference: ComparisonReference { chosen, artifact: base },
        artifacts,
        data: MeasuredText::new(&certificate::certified_text(&request.data, windows, request.context)?),
        environment: environment(threads),
        stages: Vec::new(),
    };
    clock.stage("report");
    done.stages = clock.into_stages();
    if let Some(folder) = &request.output {
        write_reports(folder, &done, &request.storage)?;
    }
    Ok(done)
}

/// Opens one and notes what needs no weight.
fn look<'a>(options: &'a LoadOptions, observer: &dyn Observer) -> Result<Opened<'a>> {
    let request = OpenRequest { path: &options.path, format: options.format.as_deref(), lenient: options.lenient, limits: options.limits };
    let model = open(&request)?;
    model.notes.iter().for_each(|note| observer.note(&format!("{}: {}", note.subject, note.text)));
    let facts = outcome::facts(&model)?;
    Ok(Opened { options, model, facts })
}

/// Loads one, measures and times it; its engine, or why it does not run.
fn measure(
    request: &CompareRequest,
    opened: Opened<'_>,
    reference: Option<&Engine>,
    tokens: &[u32],
    clock: &mut Clock,
    observer: &dyn Observer,
) -> Result<(ComparedArtifact, Result<Engine>)> {
    let Opened { options, model, mut facts } = opened;
    facts.tensors_sha256 = certificate::tensors_digest(&model, observer)?.0;
    let kept = |(certificate, sealed): (Certificate, bool)| sealed && certificate.tensors_sha256 == facts.tensors_sha256;
    facts.certificate_holds = Certificate::of(&model).map_or(Some(false), |found| found.map(kept));
    let positions =
        request.positions.unwrap_or_else(|| model.hyperparameters.u64(HyperKey::ContextLength).unwrap_or(POSITIONS).min(POSITIONS));
    let same_tokens = text_tokens(&model, &request.data).map(|own| own == tokens);
    clock.stage("open");
    // What the others are held against is exact, and timed as it would run.
    let options = &LoadOptions { positions: request.context, ..options.clone() };
    let engine = prepare(model, &if reference.is_none() { options.as_original() } else { options.clone() });
    let engine = match engine {
        Ok(engine) => engine,
        Err(problem) => return stays(problem).map(|problem| failed(facts, problem)),
    };
    clock.stage("load");
    let other = match same_tokens {
        Ok(true) => reference,
        Ok(false) => {
            facts.problem = Some("its tokens of the text are not the reference's: its perplexity is by tokens of its own".to_owned());
            None
        }
        Err(problem) => return stays(problem).map(|problem| failed(facts, problem)),
    };
    let what = EvaluateRequest {
        context: request.context,
        windows: request.windows,
        worst: request.worst,
        ..EvaluateRequest::new(options.clone(), &request.data)
    };
    match evaluate_loaded(&what, &engine, other, observer) {
        Ok(evaluation) => facts.evaluation = Some(evaluation),
        Err(problem) => return stays(problem).map(|problem| failed(facts, problem)),
    }
    clock.stage("evaluate");
    if request.timing == Timing::On {
        let other = if reference.is_none() { engine.at_work(options)? } else { None };
        facts.at_work = Some(at_work(other.as_ref().unwrap_or(&engine), positions, observer)?);
        facts.positions = Some(positions);
        clock.stage("time");
    }
    Ok((facts, Ok(engine)))
}

/// What ends one model's measurement and not that of the others.
fn stays(problem: Error) -> Result<Error> {
    if matches!(problem.kind(), ErrorKind::Interrupted | ErrorKind::Bug) { Err(problem) } else { Ok(problem) }
}

fn failed(mut facts: ComparedArtifact, problem: Error) -> (ComparedArtifact, Result<Engine>) {
    facts.problem = Some(problem.message().to_owned());
    (facts, Err(problem))
}

fn is_same(a: &Path, b: &Path) -> bool {
    a == b || std::fs::canonicalize(a).ok().zip(std::fs::canonicalize(b).ok()).is_some_and(|(a, b)| a == b)
}

fn write_reports(folder: &Path, done: &Compared, storage: &Arc<dyn Storage>) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder", folder, e))?;
    let json = serde_json::to_string_pretty(done).map_err(|e| Error::bug(format!("the report cannot be written: {e}")))?;
    for (name, text) in [("report.json", json), ("report.html", report::comparison_page(done))] {
        let path = folder.join(name);
        let mut file = AtomicFile::create(Arc::clone(storage), &path)?;
        file.write_all(text.as_bytes()).and_then(|()| file.commit()).in_file(&path)?;
    }
    Ok(())
}
