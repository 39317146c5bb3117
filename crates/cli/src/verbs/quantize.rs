//! `gravure quantize SRC -o DST --type T`.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::mixtures::{self, ImportanceFilter, MixtureRequest, OutputMatrix, Requantize, Spread, TensorOrder};
use gravure::{CalibrationText, Error, Metadata, Order, Outcome, Plan, PlanSource, QuantizePlan, QuantizeRequest, Result, Split};

use crate::arguments;
use crate::printer::{Level, Printer, Table, bytes};
use crate::progress::Progress;
use crate::verbs::tensor_types::TensorTypes;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    what: What,
    /// Output file
    #[arg(long, short, value_name = "DST")]
    output: PathBuf,
    /// Show the plan and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// What to quantize and how: shared with `plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct What {
    /// Model file or folder: GGUF, Hugging Face folder, safetensors, PyTorch checkpoint
    pub(crate) source: PathBuf,
    /// Type, by name or number (`gravure encodings` lists them)
    #[arg(long = "type", short = 'T', value_name = "TYPE", required_unless_present = "plan")]
    mixture: Option<String>,
    /// A plan made by `gravure plan`, perhaps edited
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mixture", "pure", TensorTypes::RULE, TensorTypes::FILE])]
    plan: Option<PathBuf>,
    /// Importance matrix (GGUF or legacy .dat) to weight errors with
    #[arg(long, value_name = "FILE")]
    imatrix: Option<PathBuf>,
    /// How values are chosen: rtn, hqq, scale-estimation, gptq, descent; without it as the plan says
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Change weights before rounding, so that the computation stays the same: awq, rotate; several in their order
    #[arg(long = "pass", value_delimiter = ',', value_name = "PASSES")]
    passes: Vec<String>,
    /// Round layer by layer, each for the inputs that the rounded ones before it give (gptq, descent)
    #[arg(long)]
    in_turn: bool,
    /// Text to see the inputs of matrices on, for methods that need it
    #[arg(long, value_name = "FILE")]
    calibration_data: Option<PathBuf>,
    /// Windows of 512 tokens of it, at most
    #[arg(long, value_name = "N", default_value_t = 128)]
    calibration_chunks: usize,
    /// Use importance only for tensors whose name contains this; may be repeated
    #[arg(long, value_name = "NAME")]
    include_weights: Vec<String>,
    /// Do not use importance for tensors whose name contains this; may be repeated
    #[arg(long, value_name = "NAME")]
    exclude_weights: Vec<String>,
    /// Give every tensor the same encoding
    #[arg(long)]
    pure: bool,
    /// Leave the output matrix as it is
    #[arg(long)]
    leave_output_tensor: bool,
    /// Encoding of the output matrix
    #[arg(long, value_name = "TYPE")]
    output_tensor_type: Option<String>,
    /// Encoding of the token embedding
    #[arg(long, value_name = "TYPE")]
    token_embedding_type: Option<String>,
    #[command(flatten)]
    tensor_types: TensorTypes,
    /// Leave out these layers
    #[arg(long, value_name = "1,2,5")]
    prune_layers: Option<String>,
    /// Quantize tensors again that are quantized already (errors add up)
    #[arg(long)]
    allow_requantize: bool,
    /// Set metadata; may be repeated
    #[arg(long, value_name = "KEY=TYPE:VALUE")]
    override_kv: Vec<String>,
    /// Cut the output as the source is cut; a single file is named NAME-00001-of-00001.gguf
    #[arg(long, conflicts_with_all = ["split_max_size", "split_max_tensors"])]
    keep_split: bool,
    /// Write files of at most this size, for example 2G
    #[arg(long, value_name = "SIZE", conflicts_with = "split_max_tensors")]
    split_max_size: Option<String>,
    /// Write files of at most this many tensors
    #[arg(long, value_name = "N")]
    split_max_tensors: Option<u64>,
    /// Format of the source, where it is not recognised
    #[arg(long, value_name = "FORMAT")]
    from: Option<String>,
    /// Go on over unknown keys and tensors, and report them
    #[arg(long)]
    lenient: bool,
}

impl What {
    pub(crate) fn request(&self, output: PathBuf, printer: &Printer) -> Result<QuantizeRequest> {
        let mut overrides = Metadata::new();
        for text in &self.override_kv {
            let (key, value) = arguments::override_kv(text)?;
            overrides.set(key, value);
        }
        let mut request = QuantizeRequest::new(&self.source, output, self.plan_source()?);
        request.importance.clone_from(&self.imatrix);
        request.method = self.method.as_ref().map(|m| m.to_ascii_lowercase());
        request.passes = (!self.passes.is_empty()).then(|| self.passes.iter().map(|p| p.to_ascii_lowercase()).collect());
        request.order = self.in_turn.then_some(Order::InTurn);
        request.calibration = self
            .calibration_data
            .as_ref()
            .map(|data| CalibrationText { windows: Some(self.calibration_chunks), ..CalibrationText::new(data) });
        request.split = self.split()?;
        request.overrides = overrides;
        request.threads = printer.threads;
        request.source_format.clone_from(&self.from);
        request.lenient = self.lenient;
        Ok(request)
    }

    fn plan_source(&self) -> Result<PlanSource> {
        if let Some(path) = &self.plan {
            return Ok(PlanSource::Given(read_plan(path)?));
        }
        let name =
            self.mixture.as_deref().ok_or_else(|| Error::request("no type is given").help("add --type, for example --type q4_k_m"))?;
        let mut mixture = MixtureRequest::new(mixtures::find(name)?);
        mixture.tensor_types = self.tensor_types.rules()?;
        if self.pure {
            mixture.spread = Spread::Pure;
        }
        if self.leave_output_tensor {
            mixture.output_matrix = OutputMatrix::Left;
        }
        if self.allow_requantize {
            mixture.requantize = Requantize::Allowed;
        }
        if self.keep_split {
            mixture.order = TensorOrder::AsStored;
        }
        mixture.output_type = self.output_tensor_type.as_ref().map(|t| t.to_ascii_lowercase());
        mixture.token_embedding_type = self.token_embedding_type.as_ref().map(|t| t.to_ascii_lowercase());
        if let Some(layers) = &self.prune_layers {
            mixture.pruned_layers = mixtures::parse_layers(layers)?;
        }
        mixture.importance_filter = ImportanceFilter::new(self.include_weights.clone(), self.exclude_weights.clone())?;
        Ok(PlanSource::Mixture(mixture))
    }

    fn split(&self) -> Result<Split> {
        Ok(match (&self.split_max_size, self.split_max_tensors) {
            (Some(size), _) => Split::MaxBytes(arguments::size(size)?),
            (None, Some(0)) => return Err(Error::request("--split-max-tensors must be at least 1")),
            (None, Some(count)) => Split::MaxTensors(count),
            (None, None) if self.keep_split => Split::Keep,
            (None, None) => Split::Single,
        })
    }
}

fn read_plan(path: &std::path::Path) -> Result<Plan> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the plan", path, e))?;
    let parsed = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|e| e.to_string())
    } else {
        toml::from_str(&text).map_err(|e| e.to_string())
    };
    parsed.map_err(|e| Error::request(format!("the plan cannot be read: {e}")).in_file(path).help("make one with `gravure plan`"))
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    carry_out(&args.what.request(args.output.clone(), printer)?, args.dry_run, printer)
}

/// Does what is asked and reports it, or shows what would be done.
pub(crate) fn carry_out(request: &QuantizeRequest, dry_run: bool, printer: &Printer) -> Result<ExitCode> {
    if dry_run {
        let plan = gravure::plan_quantize(request)?;
        if printer.json {
            printer.json(&plan)?;
        } else {
            printer.text(&(table(&plan, true) + &totals(&plan) + "nothing was written (dry run)"));
        }
    } else {
        report(&gravure::quantize(request, &Progress::new(printer))?, printer)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What was done, as text or JSON.
fn report(outcome: &Outcome, printer: &Printer) -> Result<()> {
    if printer.json {
        return printer.json(outcome);
    }
    let every = outcome.plan.tensors.len() <= 100 || printer.level == Level::Verbose;
    let mut text = table(&outcome.plan, every) + &totals(&outcome.plan);
    for file in &outcome.artifact.files {
        text += &format!("{}  {}  sha256 {}\n", file.path.display(), bytes(file.bytes), file.sha256);
    }
    let seconds = outcome.elapsed.as_secs_f64();
    text +=
        &format!("done in {seconds:.2} s, {}/s of source weights", bytes((outcome.plan.source_bytes as f64 / seconds.max(1e-9)) as u64));
    printer.text(&text);
    Ok(())
}

/// Every tensor, or one line for each pair of encodings.
fn table(plan: &QuantizePlan, every: bool) -> String {
    if every {
        let mut table = Table::new(&["tensor", "shape", "from", "to", ">bytes", "why"]);
        for t in &plan.tensors {
            let shape: Vec<String> = t.shape.iter().map(u64::to_string).collect();
            table.row([t.name.clone(), shape.join(" x "), t.from.clone(), t.to.clone(), t.bytes.to_string(), t.reason.clone()]);
        }
        return table.to_string();
    }
    let mut groups: Vec<(&str, &str, usize, u64)> = Vec::new();
    for t in &plan.tensors {
        match groups.iter_mut().find(|g| (g.0, g.1) == (&*t.from, &*t.to)) {
            Some(group) => {
                group.2 += 1;
                group.3 += t.bytes;
            }
            None => groups.push((&t.from, &t.to, 1, t.bytes)),
        }
    }
    let mut table = Table::new(&["from", "to", ">tensors", ">bytes"]);
    for (from, to, count, total) in groups {
        table.row([from.to_owned(), to.to_owned(), count.to_string(), bytes(total)]);
    }
    table.to_string()
}

fn totals(plan: &QuantizePlan) -> String {
    let mut proof = String::new();
    if let Some(p) = &plan.tokenizer_proof {
        proof = format!("tokenizer: the source's and the written one agree on {} texts, {} tokens\n", p.texts, p.tokens);
        for (reason, texts) in &p.left_out {
            proof += &format!("  {texts} texts left out: {reason}\n");
        }
    }
    format!(
        "\n{}: {} -> {} of tensors, {:.2} bits per weight; {} on disk; at most {} of memory\n{proof}",
        plan.plan.name,
        bytes(plan.source_bytes),
        bytes(plan.plan.tensor_bytes),
        plan.bits_per_weight,
        bytes(plan.output_bytes),
        bytes(plan.peak_memory_bytes),
    )
}
