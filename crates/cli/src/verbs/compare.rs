//! `gravure compare A B ... [--reference ORIGINAL] [--data FILE] [-o FOLDER]`: artifacts side by side.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use gravure::{BuiltInText, CompareRequest, Compared, ComparedArtifact, Disk, Result, Timing, compare};

use crate::engine::{EngineArgs, ReferenceArgs, RuntimeArgs};
use crate::folder::Folder;
use crate::printer::{Printer, Table, bytes};
use crate::progress::Progress;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Artifacts, whoever made them: GGUF files, Hugging Face folders
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Model that they are measured against [default: of those named, the one with the most bits for each weight]
    #[arg(long, short, value_name = "MODEL")]
    reference: Option<PathBuf>,
    /// Text to measure on [default: a small built-in one, written to the output folder]
    #[arg(long, short = 'f', value_name = "FILE")]
    data: Option<PathBuf>,
    /// Folder for report.html and report.json [default: none are written]
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Positions that memory is stated for [default: the model's own, at most 4096]
    #[arg(long, visible_alias = "context", value_name = "N")]
    ctx: Option<u64>,
    /// Tokens in a window of the text
    #[arg(long, short = 'c', value_name = "N", default_value_t = 512)]
    ctx_size: usize,
    /// Measure at most this many windows
    #[arg(long, value_name = "N")]
    chunks: Option<usize>,
    /// List this many of the worst tokens of each
    #[arg(long, value_name = "N", default_value_t = 10)]
    worst: usize,
    /// Do not time the models
    #[arg(long)]
    untimed: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
    #[command(flatten)]
    reference_in: ReferenceArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let mut temporary = None;
    let data = match (&args.data, &args.output) {
        (Some(data), _) => data.clone(),
        (None, Some(output)) => BuiltInText::Evaluation.write(output, Arc::new(Disk))?,
        (None, None) => BuiltInText::Evaluation.write(temporary.insert(Folder::temporary("compare")?).path(), Arc::new(Disk))?,
    };
    if args.data.is_none() {
        printer.note("measured on a small built-in text of old English prose; --data names one of your own");
    }
    let request = CompareRequest {
        reference: args.reference.as_ref().map(|r| args.reference_in.of(args.engine.options(r, printer))),
        context: args.ctx_size,
        windows: args.chunks,
        positions: args.ctx,
        timing: if args.untimed { Timing::Off } else { Timing::On },
        worst: args.worst,
        output: args.output.clone(),
        command: crate::args::as_typed(),
        ..CompareRequest::new(args.models.iter().map(|m| args.runtime.of(args.engine.options(m, printer))).collect(), data)
    };
    let done = compare(&request, &Progress::new(printer))?;
    if printer.json {
        printer.json(&done)?;
    } else {
        printer.text(&text(&done));
        if let Some(folder) = &args.output {
            printer.text(&format!("report: {}", folder.join("report.html").display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(done: &Compared) -> String {
    let timed = done.all().any(|a| a.at_work.is_some());
    let mut heads = vec!["", ">file", ">bits/weight", ">perplexity", ">KL divergence", ">top-1"];
    if timed {
        heads.extend([">prefill t/s", ">decode t/s", ">memory"]);
    }
    heads.push("");
    let mut table = Table::new(&heads);
    for artifact in done.all() {
        table.row(row(artifact, timed, std::ptr::eq(artifact, &done.reference.artifact)));
    }
    let d = &done.data;
    let mut out = format!("{table}\n{} windows of {} tokens of {}", d.windows, d.context, d.name);
    if let Some(positions) = done.all().find_map(|a| a.positions) {
        out += &format!("; memory with {positions} positions");
    }
    out += "\n*: none of the others is both smaller and nearer to the reference";
    for artifact in done.all() {
        if let Some(problem) = &artifact.problem {
            out += &format!("\n{}: {problem}", artifact.name);
        }
    }
    out
}

fn row(artifact: &ComparedArtifact, timed: bool, is_reference: bool) -> Vec<String> {
    let none = || "-".to_owned();
    let e = artifact.evaluation.as_ref();
    let c = e.and_then(|e| e.comparison.as_ref());
    let mut cells = vec![
        artifact.name.clone(),
        bytes(artifact.file_bytes),
        format!("{:.3}", artifact.bits_per_weight),
        e.map_or_else(none, |e| format!("{:.4} ±{:.4}", e.perplexity.value, e.perplexity.stderr)),
        c.map_or_else(none, |c| format!("{:.6} ±{:.6}", c.kl_divergence.value, c.kl_divergence.stderr)),
        c.map_or_else(none, |c| format!("{:.2} %", c.top1_agreement.value * 100.0)),
    ];
    if timed {
        let (prefill, decode) = artifact.speeds();
        let rate = |r: Option<f64>| r.map_or_else(none, |r| format!("{r:.1}"));
        cells.extend([rate(prefill), rate(decode), artifact.at_work.as_ref().map_or_else(none, |w| bytes(w.memory_bytes))]);
    }
    let mut remarks = Vec::new();
    if is_reference {
        remarks.push("reference");
    } else if artifact.on_front {
        remarks.push("*");
    }
    match artifact.certificate_holds {
        Some(true) => remarks.push("certificate holds"),
        Some(false) => remarks.push("certificate BROKEN"),
        None => {}
    }
    cells.push(remarks.join(", "));
    cells
}
