//! `gravure optimize MODEL --max-size 400MB -o out/`.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::{Budget, OptimizeRequest, Optimized, Result, optimize};

use crate::arguments;
use crate::engine::EngineArgs;
use crate::printer::{Printer, Table, bytes};
use crate::progress::Progress;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model to optimize
    model: PathBuf,
    /// Folder for the artifact, its plan and the report
    #[arg(long, short, value_name = "FOLDER")]
    output: PathBuf,
    /// Text that importance and sensitivity are measured on
    #[arg(long, value_name = "FILE")]
    calibration_data: PathBuf,
    /// Another text, that the result is measured on
    #[arg(long, value_name = "FILE")]
    eval_data: PathBuf,
    /// Size of the file at most: 123456B, 400MB, 1.5GiB
    #[arg(long, value_name = "SIZE", required_unless_present_any = ["max_tensor_bytes", "bits_per_weight", "max_kld"])]
    max_size: Option<String>,
    /// Size of all tensors at most, without header and padding
    #[arg(long, value_name = "SIZE")]
    max_tensor_bytes: Option<String>,
    /// Bits for each weight at most
    #[arg(long, value_name = "BITS")]
    bits_per_weight: Option<f64>,
    /// Mean KL divergence from the original at most
    #[arg(long, value_name = "NATS")]
    max_kld: Option<f64>,
    /// Encodings to choose from [default: all that the format holds]
    #[arg(long, value_delimiter = ',', value_name = "ENCODINGS")]
    encodings: Vec<String>,
    /// Tokens in a window
    #[arg(long, visible_alias = "ctx", short = 'c', value_name = "N", default_value_t = 512)]
    ctx_size: usize,
    /// Windows of the calibration text that importance is measured on, at most
    #[arg(long, value_name = "N", default_value_t = 128)]
    calibration_chunks: usize,
    /// Windows of it that each tensor's sensitivity is measured on, at most
    #[arg(long, value_name = "N", default_value_t = 4)]
    sensitivity_chunks: usize,
    /// Windows of the evaluation text, at most [default: all]
    #[arg(long, value_name = "N")]
    eval_chunks: Option<usize>,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let size = |text: &Option<String>| text.as_deref().map(arguments::size).transpose();
    let request = OptimizeRequest {
        budget: Budget {
            max_size: size(&args.max_size)?,
            max_tensor_bytes: size(&args.max_tensor_bytes)?,
            bits_per_weight: args.bits_per_weight,
            max_kl_divergence: args.max_kld,
        },
        context: args.ctx_size,
        calibration_windows: Some(args.calibration_chunks),
        sensitivity_windows: args.sensitivity_chunks,
        evaluation_windows: args.eval_chunks,
        candidates: args.encodings.iter().map(|e| e.to_ascii_lowercase()).collect(),
        ..OptimizeRequest::new(args.engine.options(&args.model, printer), &args.output, &args.calibration_data, &args.eval_data)
    };
    let done = optimize(&request, &Progress::new(printer))?;
    if printer.json {
        printer.json(&done)?;
    } else {
        printer.text(&text(&done));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(done: &Optimized) -> String {
    let e = &done.evaluation;
    let mut table = Table::new(&["", ">value"]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("file", bytes(done.file_bytes));
    row("tensors", format!("{} bytes", e.tensor_bytes));
    row("bits for each weight", format!("{:.3}", e.bits_per_weight));
    row("perplexity", format!("{:.4} ±{:.4}", e.perplexity.value, e.perplexity.stderr));
    if let Some(c) = &e.comparison {
        row("original's perplexity", format!("{:.4} ±{:.4}", c.reference_perplexity.value, c.reference_perplexity.stderr));
        row("KL divergence", format!("{:.6} ±{:.6}", c.kl_divergence.value, c.kl_divergence.stderr));
        row("top-1 agreement", format!("{:.2} %", c.top1_agreement.value * 100.0));
    }
    row("predicted divergence", format!("{:.6}", done.predicted_kl_divergence));
    let mut out = format!("{table}\n");
    let encodings: Vec<_> = done.encodings.iter().map(|(e, n)| format!("{n} {e}")).collect();
    out += &format!("tensors: {}\n", encodings.join(", "));
    let stages: Vec<_> = done.stages.iter().map(|s| format!("{} {:.1} s", s.name, s.seconds)).collect();
    out += &format!("time: {}\n", stages.join(", "));
    for file in &done.artifact.files {
        out += &format!("{}  sha256 {}\n", file.path.display(), file.sha256);
    }
    out + &format!("plan: {}", done.plan.display())
}
