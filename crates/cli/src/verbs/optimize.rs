//! `gravure optimize MODEL --max-size 400MB -o out/`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use gravure::{Budget, Error, Force, Gate, Gates, Measuring, OptimizeRequest, Optimized, Result, Verdict, failure, find_target, optimize};

use crate::arguments;
use crate::engine::EngineArgs;
use crate::printer::{Printer, Table, bytes};
use crate::progress::Progress;

/// Headings of the limits.
const BUDGET: &str = "Budget (any together)";
const GATES: &str = "Gates";

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
    /// How values are chosen: rtn; gptq and descent lose less and take several times as long [default: rtn]
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
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
    /// Stop after this many seconds; what was measured is kept, and the same command goes on from it
    #[arg(long, value_name = "SECONDS")]
    time_limit: Option<f64>,
    #[command(flatten)]
    gates: GateArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

/// What the field expects of an optimized model.
#[derive(Debug, clap::Args)]
struct GateArgs {
    /// Fail unless top1 (share), speed (times the original), memory (share saved) or spread (share above the
    /// median latency) keeps to this: top1=0.95, speed=2 [the defaults are top1=0.95, speed=2, memory=0.5,
    /// spread=0.2; they are reported and do not fail]
    #[arg(long = "gate", help_heading = GATES, value_name = "NAME=LIMIT", conflicts_with = "no_gates")]
    set: Vec<String>,
    /// Fail where a default gate is missed, too
    #[arg(long, help_heading = GATES, conflicts_with = "no_gates")]
    strict_gates: bool,
    /// Neither time the models nor judge them
    #[arg(long, help_heading = GATES)]
    no_gates: bool,
}

impl GateArgs {
    fn gates(&self) -> Result<Gates> {
        if self.no_gates {
            return Ok(Gates::Off);
        }
        let one = |text: &String| {
            let wrong = || Error::request(format!("`{text}` is no gate")).help("write --gate top1=0.95, speed=2, memory=50% or spread=0.2");
            let (name, limit) = text.split_once('=').ok_or_else(wrong)?;
            let (number, scale) = limit.strip_suffix('%').map_or((limit, 1.0), |number| (number, 100.0));
            Ok((Gate::parse(name)?, number.parse::<f64>().map_err(|_| wrong())? / scale))
        };
        let others = if self.strict_gates { Force::Binding } else { Force::Advisory };
        Ok(Gates::On { set: self.set.iter().map(one).collect::<Result<_>>()?, others })
    }
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
        gates: args.gates.gates()?,
        time_limit: args.time_limit.map(seconds).transpose()?,
        command: std::env::args().enumerate().map(|(i, a)| if i == 0 { "gravure".to_owned() } else { a }).collect(),
        candidates: args.encodings.iter().map(|e| e.to_ascii_lowercase()).collect(),
        method: args.method.as_ref().map(|m| m.to_ascii_lowercase()),
        ..OptimizeRequest::new(args.engine.options(&args.model, printer), &args.output, &args.calibration_data, &args.eval_data)
    };
    let done = optimize(&request, &Progress::new(printer))?;
    if printer.json {
        printer.json(&done)?;
    } else {
        printer.text(&text(&done));
    }
    let Some(failure) = failure(done.promises.iter().chain(&done.gates)) else { return Ok(ExitCode::SUCCESS) };
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
    let word = |v: &Verdict| match (v.met, v.force) {
        (true, _) => "holds: ",
        (false, Force::Binding) => "MISSED:",
        (false, Force::Advisory) => "below: ",
    };
    done.promises.iter().chain(&done.gates).for_each(|v| out += &format!("{} {v}\n", word(v)));
    let encodings: Vec<_> = done.encodings.iter().map(|(e, n)| format!("{n} {e}")).collect();
    out += &format!("tensors: {}\n", encodings.join(", "));
    let stages: Vec<_> = done.stages.iter().map(|s| format!("{} {:.1} s", s.name, s.seconds)).collect();
    out += &format!("time: {}\n", stages.join(", "));
    for file in &done.artifact.files {
        out += &format!("{}  sha256 {}\n", file.path.display(), file.sha256);
    }
    let folder = done.plan.parent().unwrap_or(std::path::Path::new("."));
    out + &format!("plan: {}\nreport: {}", done.plan.display(), folder.join("report.html").display())
}

/// A duration that can be meant.
fn seconds(value: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(value).map_err(|_| Error::request(format!("`{value}` is no time limit")).help("write seconds: 600"))
}
