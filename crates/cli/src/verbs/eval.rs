//! `gravure eval MODEL... --data FILE [--reference ORIGINAL]`.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::{Error, EvaluateRequest, Evaluation, Result, evaluate_all};

use crate::engine::{EngineArgs, ReferenceArgs, RuntimeArgs};
use crate::printer::{Printer, Table, bytes};
use crate::progress::Progress;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Metric {
    /// Perplexity
    Ppl,
    /// Kullback-Leibler divergence from the reference
    Kld,
    /// Share of positions with the reference's most likely token
    Top1,
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Models: GGUF files, Hugging Face folders
    #[arg(required = true)]
    models: Vec<PathBuf>,
    /// Text to measure on
    #[arg(long, short = 'f', value_name = "FILE")]
    data: PathBuf,
    /// Model to compare with: the one that they were made from
    #[arg(long, short, value_name = "MODEL")]
    reference: Option<PathBuf>,
    /// What to measure [default: all that can be]
    #[arg(long, value_delimiter = ',', value_name = "METRIC")]
    metrics: Vec<Metric>,
    /// Tokens in a window
    #[arg(long, visible_alias = "ctx", short = 'c', value_name = "N", default_value_t = 512)]
    ctx_size: usize,
    /// Measure at most this many windows
    #[arg(long, value_name = "N")]
    chunks: Option<usize>,
    /// List this many of the worst tokens
    #[arg(long, value_name = "N", default_value_t = 5)]
    worst: usize,
    #[command(flatten)]
    runtime: RuntimeArgs,
    #[command(flatten)]
    reference_in: ReferenceArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let compares = args.metrics.iter().any(|m| matches!(m, Metric::Kld | Metric::Top1));
    if compares && args.reference.is_none() {
        return Err(Error::request("divergence and agreement are measured against a model").help("name it by `--reference`"));
    }
    // Perplexity alone needs no second model.
    let compares = compares || args.metrics.is_empty();
    let reference = args.reference.as_ref().filter(|_| compares);
    let reference = reference.map(|r| args.reference_in.of(args.engine.options(r, printer)));
    let requests: Vec<EvaluateRequest> = args
        .models
        .iter()
        .map(|model| EvaluateRequest {
            reference: reference.clone(),
            context: args.ctx_size,
            windows: args.chunks,
            worst: args.worst,
            ..EvaluateRequest::new(args.runtime.of(args.engine.options(model, printer)), &args.data)
        })
        .collect();
    let evaluations = evaluate_all(&requests, &Progress::new(printer))?;
    if printer.json {
        match evaluations.as_slice() {
            [one] => printer.json(one)?,
            all => printer.json(&all)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    printer.text(&table(&evaluations));
    if let [one] = evaluations.as_slice() {
        printer.text(&details(one));
    }
    Ok(ExitCode::SUCCESS)
}

/// Models side by side.
pub(crate) fn table(evaluations: &[Evaluation]) -> String {
    let mut table = Table::new(&["model", ">size", ">bits/weight", ">perplexity", ">KL divergence", ">top-1 agreement"]);
    for e in evaluations {
        let name = e.model.file_name().map_or_else(|| e.model.display().to_string(), |n| n.to_string_lossy().into_owned());
        let comparison = e.comparison.as_ref();
        table.row([
            name,
            bytes(e.tensor_bytes),
            format!("{:.2}", e.bits_per_weight),
            format!("{:.4} ±{:.4}", e.perplexity.value, e.perplexity.stderr),
            comparison.map_or_else(|| "-".into(), |c| format!("{:.5} ±{:.5}", c.kl_divergence.value, c.kl_divergence.stderr)),
            comparison.map_or_else(|| "-".into(), |c| format!("{:.2} %", c.top1_agreement.value * 100.0)),
        ]);
    }
    if let Some(comparison) = evaluations.iter().find_map(|e| e.comparison.as_ref()) {
        let reference = comparison.reference_perplexity;
        let row = ["(reference)".into(), String::new(), String::new(), format!("{:.4} ±{:.4}", reference.value, reference.stderr)];
        table.row([row.to_vec(), vec![String::new(); 2]].concat());
    }
    table.to_string()
}

fn details(e: &Evaluation) -> String {
    let mut out = format!("\n{} tokens in {} windows of {}, {:.1} s\n", e.tokens, e.windows, e.context, e.seconds);
    if let Some(c) = &e.comparison {
        out += &format!(
            "perplexity ratio {:.5} ±{:.5}; KL divergence median {:.6}, 99 % {:.5}, largest {:.4}\n",
            c.perplexity_ratio.value, c.perplexity_ratio.stderr, c.kl_divergence_median, c.kl_divergence_p99, c.kl_divergence_max,
        );
    }
    if !e.worst.is_empty() {
        out += "worst tokens:\n";
    }
    for w in &e.worst {
        let divergence = w.kl_divergence.map(|d| format!("KL {d:.4}, ")).unwrap_or_default();
        out += &format!("  {divergence}-ln p {:.3}: {:?} after {:?}\n", w.nll, w.text, w.before);
    }
    out
}
