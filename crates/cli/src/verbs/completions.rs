//! `gravure completions SHELL`.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::printer::Printer;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args, _printer: &Printer) -> gravure::Result<ExitCode> {
    clap_complete::generate(args.shell, &mut crate::args::Cli::command(), "gravure", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
