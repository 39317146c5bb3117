//! `gravure convert SRC -o DST`.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::{PlanSource, QuantizeRequest, Result, Split, Uniform};

use crate::arguments;
use crate::printer::Printer;
use crate::verbs::quantize::carry_out;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model file or folder
    source: PathBuf,
    /// Output file or folder
    #[arg(long, short, value_name = "DST")]
    output: PathBuf,
    /// Format of the output [default: by its extension]
    #[arg(long, value_name = "FORMAT")]
    to: Option<String>,
    /// Type of the matrices; `auto` keeps 16-bit floats as they are and makes f16 of f32 [default: auto; f32 for an adapter]
    #[arg(long, visible_alias = "outtype", value_name = "TYPE")]
    dtype: Option<String>,
    /// Of a LoRA adapter's folder: its base model; config.json and the tokenizer are enough
    #[arg(long, value_name = "MODEL")]
    base: Option<PathBuf>,
    /// Write files of at most this size, for example 2G
    #[arg(long, value_name = "SIZE", conflicts_with = "split_max_tensors")]
    split_max_size: Option<String>,
    /// Write files of at most this many tensors
    #[arg(long, value_name = "N")]
    split_max_tensors: Option<u64>,
    /// Set metadata; may be repeated
    #[arg(long, value_name = "KEY=TYPE:VALUE")]
    override_kv: Vec<String>,
    /// Format of the source, where it is not recognised
    #[arg(long, value_name = "FORMAT")]
    from: Option<String>,
    /// Go on over unknown keys and tensors, and report them
    #[arg(long)]
    lenient: bool,
    /// Show the plan and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let dtype = args.dtype.as_deref().map_or(Ok(Uniform::Usual), Uniform::parse)?;
    let mut request = QuantizeRequest::new(&args.source, &args.output, PlanSource::Uniform(dtype));
    request.base.clone_from(&args.base);
    request.output_format.clone_from(&args.to);
    request.source_format.clone_from(&args.from);
    request.lenient = args.lenient;
    request.threads = printer.threads;
    request.split = match (&args.split_max_size, args.split_max_tensors) {
        (Some(size), _) => Split::MaxBytes(arguments::size(size)?),
        (None, Some(count)) => Split::MaxTensors(count.max(1)),
        (None, None) => Split::Single,
    };
    for text in &args.override_kv {
        let (key, value) = arguments::override_kv(text)?;
        request.overrides.set(key, value);
    }
    carry_out(&request, args.dry_run, printer)
}
