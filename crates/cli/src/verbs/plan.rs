//! `gravure plan SRC --type T`: the decision as TOML (or JSON), to be read, edited and fed back.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::{Error, Result};

use crate::printer::Printer;
use crate::verbs::quantize::What;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    what: What,
    /// Output that the plan is for; its extension decides the format
    #[arg(long, short, value_name = "DST", default_value = "model.gguf")]
    output: PathBuf,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let plan = gravure::plan_quantize(&args.what.request(args.output.clone(), printer)?)?;
    if printer.json {
        printer.json(&plan)?;
        return Ok(ExitCode::SUCCESS);
    }
    let body = toml::to_string(&plan.plan).map_err(|e| Error::bug(format!("the plan cannot be printed: {e}")))?;
    printer.result(&format!(
        "# {} tensors, {:.4} bits per weight\n# output: {} bytes in {} file(s)\n# peak memory: at most {} bytes\n# edit `encoding` where you like and feed this back: gravure quantize SRC -o DST --plan FILE\n\n{body}",
        plan.tensors.len(),
        plan.bits_per_weight,
        plan.output_bytes,
        plan.files.len(),
        plan.peak_memory_bytes,
    ));
    Ok(ExitCode::SUCCESS)
}
