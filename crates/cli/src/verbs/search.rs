//! `gravure search MODEL -o DIR`.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::{
    BuiltInText, Keep, Measuring, Objective, Result, SearchPlan, SearchRequest, Searched, Stopped, find_target, plan_search, search,
};

use crate::arguments;
use crate::engine::EngineArgs;
use crate::printer::{Printer, Table, bytes};
use crate::progress::Progress;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model to search for
    model: PathBuf,
    /// Folder for the front, the report and what every trial gave
    #[arg(long, short, value_name = "FOLDER")]
    output: PathBuf,
    /// Text that importance and sensitivity are measured on [default: a small built-in one]
    #[arg(long, value_name = "FILE")]
    calibration_data: Option<PathBuf>,
    /// Another text, that trials and the front are measured on [default: a small built-in one]
    #[arg(long, value_name = "FILE")]
    eval_data: Option<PathBuf>,
    /// Who chooses the trials: nsga2, tpe, halving, random or grid
    #[arg(long, value_name = "SAMPLER", default_value = "nsga2")]
    sampler: String,
    /// Trials at most
    #[arg(long, value_name = "N", default_value_t = 40)]
    trials: usize,
    /// Decides all that chance decides
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// What is made small: kld, size, speed (time of a token), memory, energy (where the machine tells it)
    #[arg(long, value_delimiter = ',', value_name = "OBJECTIVES", default_value = "kld,size,speed,memory")]
    objectives: Vec<String>,
    /// Size of a file at most: 123456B, 400MB, 1.5GiB
    #[arg(long, value_name = "SIZE")]
    max_size: Option<String>,
    /// End after this long with what there is: 90s, 5m, 1.5h; the same command goes on from it
    #[arg(long, value_name = "TIME")]
    time_limit: Option<String>,
    /// Write the artifacts of the front, too; plans and figures are always written
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Kept::None)]
    keep: Kept,
    /// Methods to choose from [default: all]
    #[arg(long, value_delimiter = ',', value_name = "METHODS")]
    methods: Vec<String>,
    /// Passes over the weights to choose from: none, awq, rotate, or several joined by + [default: none]
    #[arg(long, value_delimiter = ',', value_name = "PASSES")]
    passes: Vec<String>,
    /// Encodings to choose from [default: all that the format and the target's runtime hold]
    #[arg(long, value_delimiter = ',', value_name = "ENCODINGS")]
    encodings: Vec<String>,
    /// Device: an id of `gravure targets`, `host`, or a TOML file; its runtime's encodings are chosen from
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Positions that memory is counted for [default: the model's own, at most 4096]
    #[arg(long, visible_alias = "context", value_name = "N")]
    ctx: Option<u64>,
    /// Tokens in a window of the texts
    #[arg(long, short = 'c', value_name = "N", default_value_t = 512)]
    ctx_size: usize,
    /// Windows of the calibration text that importance is measured on, at most [default: 128, and 32 for models of
    /// more than 100 million weights]
    #[arg(long, value_name = "N")]
    calibration_chunks: Option<usize>,
    /// Windows of it that each tensor's sensitivity is measured on, at most [default: 4, and 2 for these]
    #[arg(long, value_name = "N")]
    sensitivity_chunks: Option<usize>,
    /// Windows of the evaluation text that a full trial is measured on
    #[arg(long, value_name = "N", default_value_t = 8)]
    trial_chunks: usize,
    /// Windows of it that the front is measured on in the end, at most [default: all]
    #[arg(long, value_name = "N")]
    eval_chunks: Option<usize>,
    /// Show what would be searched; read no weight and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Whose artifacts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kept {
    /// Nobody's
    None,
    /// Those of the front, each with its certificate
    Front,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let target = args.target.as_deref().map(|t| find_target(t, Measuring::Measure, printer.threads)).transpose()?;
    let mut built_in = Vec::new();
    let calibration = BuiltInText::Calibration.instead_of(args.calibration_data.as_deref(), &args.output, &mut built_in);
    let evaluation = BuiltInText::Evaluation.instead_of(args.eval_data.as_deref(), &args.output, &mut built_in);
    printer.note_built_in(&built_in);
    let request = SearchRequest {
        built_in,
        sampler: args.sampler.to_ascii_lowercase(),
        trials: args.trials,
        seed: args.seed,
        objectives: args.objectives.iter().map(|o| Objective::parse(o)).collect::<Result<_>>()?,
        max_size: args.max_size.as_deref().map(arguments::size).transpose()?,
        target,
        positions: args.ctx,
        context: args.ctx_size,
        calibration_windows: args.calibration_chunks,
        sensitivity_windows: args.sensitivity_chunks,
        trial_windows: args.trial_chunks,
        evaluation_windows: args.eval_chunks,
        candidates: args.encodings.iter().map(|e| e.to_ascii_lowercase()).collect(),
        passes: args.passes.iter().map(|p| p.to_ascii_lowercase()).collect(),
        methods: args.methods.iter().map(|m| m.to_ascii_lowercase()).collect(),
        keep: if args.keep == Kept::Front { Keep::Front } else { Keep::Nothing },
        time_limit: args.time_limit.as_deref().map(arguments::duration).transpose()?,
        command: crate::args::as_typed(),
        ..SearchRequest::new(args.engine.options(&args.model, printer), &args.output, calibration, evaluation)
    };
    let progress = Progress::new(printer);
    if args.dry_run {
        let plan = plan_search(&request, &progress)?;
        if printer.json {
            printer.json(&plan)?;
        } else {
            printer.text(&prospect(&plan));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let done = search(&request, &progress)?;
    if printer.json {
        printer.json(&done)?;
    } else {
        printer.text(&text(&done));
    }
    Ok(ExitCode::SUCCESS)
}

/// What would be searched.
fn prospect(plan: &SearchPlan) -> String {
    let line = |(name, values, when): (String, String, String)| {
        let when = if when.is_empty() { String::new() } else { format!(" (where {when})") };
        format!("{name}{when}: {values}\n")
    };
    let parameters: String = plan.parameters().map(line).collect();
    let points = plan.points.map_or_else(|| "too many points to list".into(), |n| format!("{n} points"));
    let objectives: Vec<&str> = plan.objectives.iter().map(|o| o.name()).collect();
    let settings = &plan.settings;
    format!(
        "{parameters}\n{points}; {} trials by {} ({}), seed {}\nobjectives: {}\nwindows of a trial: {}",
        settings.trials,
        plan.sampler,
        plan.doc,
        settings.seed,
        objectives.join(", "),
        settings.fidelity.most,
    )
}

fn text(done: &Searched) -> String {
    let mut table = Table::new(&[">trial", ">file", ">bits", ">KL divergence", ">top-1", ">memory", ">tokens/s", "point"]);
    for member in &done.front {
        let f = member.best_known();
        table.row([
            member.trial.to_string(),
            bytes(f.file_bytes),
            format!("{:.3}", f.bits_per_weight),
            format!("{:.5} ±{:.5}", f.kl_divergence, f.kl_divergence_stderr),
            format!("{:.2} %", f.top1_agreement * 100.0),
            bytes(f.memory_bytes),
            member.figures.token_milliseconds.map_or_else(|| "-".into(), |t| format!("{:.1}", 1e3 / t.max(f64::MIN_POSITIVE))),
            member.point.to_string(),
        ]);
    }
    let mut out = format!("{table}\n");
    let measured = done.trials.iter().filter(|t| t.figures.is_some()).count();
    out += &format!("{} trials, {measured} measured, {} on the front\n", done.trials.len(), done.front.len());
    if done.stopped == Stopped::TimeLimit {
        out += "the time is over: the same command goes on from here\n";
    }
    let unproved = done.front.iter().filter(|m| m.proof.is_none()).count();
    if unproved > 0 {
        out += &format!("{unproved} of the front were measured on {} windows only\n", done.plan.settings.fidelity.most);
    }
    if !done.plan.energy {
        out += "energy: unavailable\n";
    }
    let stages: Vec<_> = done.stages.iter().map(|s| format!("{} {:.1} s", s.name, s.seconds)).collect();
    out += &format!("time: {}\n", stages.join(", "));
    for file in done.front.iter().flat_map(|m| &m.files) {
        out += &format!("{}  sha256 {}\n", done.output.join("front").join(&file.name).display(), file.sha256);
    }
    out + &format!("plans: {}\nreport: {}", done.output.join("front").display(), done.output.join("report.html").display())
}
