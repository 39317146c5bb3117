//! `gravure optimize MODEL --max-size 400MB -o out/`.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::{Budget, Error, Measuring, OptimizeRequest, Optimized, Result, failure, find_target, optimize};

use crate::arguments;
use crate::engine::EngineArgs;
use crate::printer::{Printer, Table, bytes};
use crate::progress::Progress;

/// Heading of the limits.
const BUDGET: &str = "Budget (any together)";

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
    #[command(flatten)]
    budget: BudgetArgs,
    /// Device: an id of `gravure targets`, `host` for this machine (its memory is timed), or a TOML file; its
    /// runtime's encodings are chosen from
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Positions that memory and speed are planned for [default: the model's own, at most 4096]
    #[arg(long, visible_alias = "context", value_name = "N")]
    ctx: Option<u64>,
    /// Encodings to choose from [default: all that the format and the target's runtime hold]
    #[arg(long, value_delimiter = ',', value_name = "ENCODINGS")]
    encodings: Vec<String>,
    /// Tokens in a window of the texts
    #[arg(long, short = 'c', value_name = "N", default_value_t = 512)]
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

/// What must hold; any may be given together.
#[derive(Debug, clap::Args)]
struct BudgetArgs {
    /// Size of the file at most: 123456B, 400MB, 1.5GiB
    #[arg(long, help_heading = BUDGET, value_name = "SIZE")]
    max_size: Option<String>,
    /// Size of all tensors at most, without header and padding
    #[arg(long, help_heading = BUDGET, value_name = "SIZE")]
    max_tensor_bytes: Option<String>,
    /// Bits for each weight at most
    #[arg(long, help_heading = BUDGET, value_name = "BITS")]
    bits_per_weight: Option<f64>,
    /// Memory at most: weights, keys and values at `--ctx`, and the target's runtime
    #[arg(long, help_heading = BUDGET, value_name = "SIZE")]
    max_memory: Option<String>,
    /// Tokens that `--target` decodes in a second at least, as the roofline predicts
    #[arg(long, help_heading = BUDGET, value_name = "N")]
    min_tokens_per_second: Option<f64>,
    /// Mean KL divergence from the original at most
    #[arg(long, help_heading = BUDGET, value_name = "NATS")]
    max_kld: Option<f64>,
    /// Share of positions with the original's most likely token at least: 0.95, 95%
    #[arg(long, help_heading = BUDGET, value_name = "SHARE")]
    min_top1: Option<String>,
}

impl BudgetArgs {
    fn budget(&self) -> Result<Budget> {
        let size = |text: &Option<String>| text.as_deref().map(arguments::size).transpose();
        Ok(Budget {
            max_size: size(&self.max_size)?,
            max_tensor_bytes: size(&self.max_tensor_bytes)?,
            bits_per_weight: self.bits_per_weight,
            max_memory: size(&self.max_memory)?,
            min_tokens_per_second: self.min_tokens_per_second,
            max_kl_divergence: self.max_kld,
            min_top1_agreement: self.min_top1.as_deref().map(arguments::share).transpose()?,
        })
    }
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let budget = args.budget.budget()?;
    if budget.is_empty() {
        return Err(Error::request("there is no budget").help(
            "give --max-size, --max-tensor-bytes, --bits-per-weight, --max-memory, --min-tokens-per-second, --max-kld or --min-top1",
        ));
    }
    let target = args.target.as_deref().map(|t| find_target(t, Measuring::Measure, printer.threads)).transpose()?;
    let request = OptimizeRequest {
        budget,
        target,
        positions: args.ctx,
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
    let Some(failure) = failure(&done.promises) else { return Ok(ExitCode::SUCCESS) };
    if printer.json {
        // The document says what does not hold: there is only one.
        return Ok(ExitCode::from(failure.kind().exit_code()));
    }
    Err(failure)
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
    row("memory", format!("{} at {} positions", bytes(done.predicted.memory_bytes), done.predicted.positions));
    if let (Some(speed), Some(target)) = (done.predicted.tokens_per_second, &done.predicted.target) {
        row("predicted decoding", format!("{speed:.1} tokens/s on {target}"));
    }
    let mut out = format!("{table}\n");
    done.promises.iter().for_each(|p| out += &format!("{} {p}\n", if p.met { "holds: " } else { "MISSED:" }));
    let encodings: Vec<_> = done.encodings.iter().map(|(e, n)| format!("{n} {e}")).collect();
    out += &format!("tensors: {}\n", encodings.join(", "));
    let stages: Vec<_> = done.stages.iter().map(|s| format!("{} {:.1} s", s.name, s.seconds)).collect();
    out += &format!("time: {}\n", stages.join(", "));
    for file in &done.artifact.files {
        out += &format!("{}  sha256 {}\n", file.path.display(), file.sha256);
    }
    out + &format!("plan: {}", done.plan.display())
}
