//! `gravure calibrate MODEL --data FILE -o imatrix.gguf`.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::{CalibrateRequest, Result, Watched, calibrate};

use crate::engine::EngineArgs;
use crate::printer::Printer;
use crate::progress::Progress;

/// How many starved matrices are named.
const NAMED: usize = 5;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model: GGUF file, Hugging Face folder
    model: PathBuf,
    /// Text to run
    #[arg(long, short = 'f', value_name = "FILE")]
    data: PathBuf,
    /// Importance matrix to write; llama-quantize reads it, too
    #[arg(long, short, value_name = "FILE", default_value = "imatrix.gguf")]
    output: PathBuf,
    /// Tokens in a window
    #[arg(long, visible_alias = "ctx", short = 'c', value_name = "N", default_value_t = 512)]
    ctx_size: usize,
    /// Run at most this many windows
    #[arg(long, value_name = "N")]
    chunks: Option<usize>,
    /// Watch the output matrix as well
    #[arg(long)]
    process_output: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let request = CalibrateRequest {
        context: args.ctx_size,
        windows: args.chunks,
        watched: if args.process_output { Watched::LayersAndOutput } else { Watched::Layers },
        ..CalibrateRequest::new(args.engine.options(&args.model, printer), &args.data, &args.output)
    };
    let done = calibrate(&request, &Progress::new(printer))?;
    if printer.json {
        printer.json(&done)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !done.starved.is_empty() {
        let names: Vec<_> = done.starved.iter().take(NAMED).map(|s| format!("{} ({} rows)", s.tensor, s.rows)).collect();
        let more = done.starved.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        printer.note(&format!(
            "{} matrices saw fewer rows than they have columns: {}{more}; use a longer text",
            done.starved.len(),
            names.join(", ")
        ));
    }
    printer.text(&format!(
        "{}: {} tensors from {} tokens in {} windows, {:.1} s",
        done.output.display(),
        done.tensors,
        done.tokens,
        done.windows,
        done.seconds
    ));
    Ok(ExitCode::SUCCESS)
}
