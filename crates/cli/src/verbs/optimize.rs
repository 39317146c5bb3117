//! `gravure optimize MODEL --max-size 400MB -o out/`.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::{
    Error, Force, Gate, GateMode, OptimizeRequest, Optimized, Order, Recipe, RecipeBudget, RecipeCache, RecipeData, RecipeEngine,
    RecipeGates, Result, RuntimeScores, Share, Size, Standing, Verdict, failure, optimize,
};

use crate::engine::{Cache, EngineArgs};
use crate::printer::{Printer, Table, bytes};
use crate::progress::Progress;

/// Headings of the limits.
const BUDGET: &str = "Budget (any together)";
const GATES: &str = "Gates";

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model to optimize
    #[arg(required_unless_present = "recipe")]
    model: Option<PathBuf>,
    /// Folder for the artifact, its plan and the report
    #[arg(long, short, value_name = "FOLDER", required_unless_present_any = ["recipe", "print_recipe"])]
    output: Option<PathBuf>,
    /// Take the run from a TOML file (docs/recipes.md); what is typed beside it wins
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Print the recipe of this run, and do nothing
    #[arg(long)]
    print_recipe: bool,
    /// Text that importance and sensitivity are measured on [default: a small built-in one]
    #[arg(long, value_name = "FILE")]
    calibration_data: Option<PathBuf>,
    /// Another text, that the result is measured on [default: a small built-in one]
    #[arg(long, value_name = "FILE")]
    eval_data: Option<PathBuf>,
    #[command(flatten)]
    budget: BudgetArgs,
    /// Format of the artifact, a file or a folder [default: that of the target's first runtime in whose files the budget can
    /// be met; gguf without a target]
    #[arg(long, value_name = "FORMAT")]
    to: Option<String>,
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
    /// How values are chosen: rtn, hqq, scale-estimation, gptq, descent [default: descent, and rtn for models of more than 100
    /// million weights]
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Change weights before rounding, so that the computation stays the same: awq, rotate; several in their order
    #[arg(long = "pass", value_delimiter = ',', value_name = "PASSES")]
    passes: Vec<String>,
    /// Round layer by layer, each for the inputs that the rounded ones before it give (gptq, descent)
    #[arg(long)]
    in_turn: bool,
    /// Tokens in a window of the texts [default: 512]
    #[arg(long, short = 'c', value_name = "N")]
    ctx_size: Option<usize>,
    /// Windows of the calibration text that importance is measured on, at most [default: 128, and 32 for models of
    /// more than 100 million weights]
    #[arg(long, value_name = "N")]
    calibration_chunks: Option<usize>,
    /// Windows of it that each tensor's sensitivity is measured on, at most [default: 4, and 2 for these]
    #[arg(long, value_name = "N")]
    sensitivity_chunks: Option<usize>,
    /// Windows of the evaluation text, at most [default: all]
    #[arg(long, value_name = "N")]
    eval_chunks: Option<usize>,
    /// Stop after this many seconds; what was measured is kept, and the same command goes on from it
    #[arg(long, value_name = "SECONDS")]
    time_limit: Option<f64>,
    /// Measure the artifact in the native engine alone, even where its other runtimes are installed
    #[arg(long)]
    native_only: bool,
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
    fn recipe(&self) -> Result<RecipeGates> {
        let mode = match (self.no_gates, self.strict_gates) {
            (true, _) => Some(GateMode::Off),
            (false, true) => Some(GateMode::Strict),
            (false, false) => None,
        };
        let mut gates = RecipeGates { mode, ..RecipeGates::default() };
        for text in &self.set {
            let wrong = || Error::request(format!("`{text}` is no gate")).help("write --gate top1=0.95, speed=2, memory=50% or spread=0.2");
            let (name, limit) = text.split_once('=').ok_or_else(wrong)?;
            let (number, scale) = limit.strip_suffix('%').map_or((limit, 1.0), |number| (number, 100.0));
            gates.set(Gate::parse(name)?, number.parse::<f64>().map_err(|_| wrong())? / scale);
        }
        Ok(gates)
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
    fn recipe(&self) -> Result<RecipeBudget> {
        let size = |text: &Option<String>| text.as_deref().map(Size::parse).transpose();
        Ok(RecipeBudget {
            max_size: size(&self.max_size)?,
            max_tensor_bytes: size(&self.max_tensor_bytes)?,
            bits_per_weight: self.bits_per_weight,
            max_memory: size(&self.max_memory)?,
            min_tokens_per_second: self.min_tokens_per_second,
            max_kld: self.max_kld,
            min_top1: self.min_top1.as_deref().map(Share::parse).transpose()?,
        })
    }
}

impl Args {
    /// What was typed, as a recipe.
    fn recipe(&self) -> Result<Recipe> {
        let engine = &self.engine;
        Ok(Recipe {
            doc: None,
            model: self.model.clone(),
            output: self.output.clone(),
            to: self.to.clone(),
            target: self.target.clone(),
            ctx: self.ctx,
            encodings: (!self.encodings.is_empty()).then(|| self.encodings.clone()),
            method: self.method.clone(),
            passes: (!self.passes.is_empty()).then(|| self.passes.clone()),
            order: self.in_turn.then_some(Order::InTurn),
            time_limit: self.time_limit,
            budget: self.budget.recipe()?,
            data: RecipeData {
                calibration: self.calibration_data.clone(),
                evaluation: self.eval_data.clone(),
                ctx_size: self.ctx_size,
                calibration_chunks: self.calibration_chunks,
                sensitivity_chunks: self.sensitivity_chunks,
                eval_chunks: self.eval_chunks,
            },
            gates: self.gates.recipe()?,
            engine: RecipeEngine {
                cache_type: engine.cache_type.map(|cache| match cache {
                    Cache::F32 => RecipeCache::F32,
                    Cache::F16 => RecipeCache::F16,
                    Cache::Q8 => RecipeCache::Q8,
                }),
                exact: engine.exact.then_some(true),
                native_only: self.native_only.then_some(true),
                from: engine.from.clone(),
                lenient: engine.lenient.then_some(true),
            },
        })
    }
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let typed = args.recipe()?;
    let recipe = match &args.recipe {
        Some(path) => typed.or(Recipe::read(path)?),
        None => typed,
    };
    if args.print_recipe {
        if printer.json {
            printer.json(&recipe)?;
        } else {
            printer.result(&recipe.to_toml()?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let request = OptimizeRequest { command: crate::args::as_typed(), ..recipe.request(printer.threads)? };
    printer.note_built_in(&request.built_in);
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

/// What another runtime than the native one says.
fn elsewhere(scores: &RuntimeScores) -> Option<String> {
    let told = match (scores.standing, &scores.evaluation) {
        (Standing::Measured, Some(e)) if e.reference_runtime.as_ref() == Some(&e.runtime) => return None,
        (Standing::Measured, Some(e)) => {
            let compared = e.comparison.as_ref().map(|c| {
                let (divergence, agreement) = (c.kl_divergence, c.top1_agreement.value * 100.0);
                format!("KL divergence {:.6} ±{:.6}, top-1 agreement {agreement:.2} %, ", divergence.value, divergence.stderr)
            });
            format!("{}perplexity {:.4} ±{:.4}", compared.unwrap_or_default(), e.perplexity.value, e.perplexity.stderr)
        }
        (Standing::Failed, _) => format!("DOES NOT RUN IT: {}", scores.note.as_deref().unwrap_or_default()),
        _ => "not measured".to_owned(),
    };
    Some(format!("in {}: {told}\n", scores.name))
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
    done.runtimes.iter().filter_map(elsewhere).for_each(|line| out += &line);
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
