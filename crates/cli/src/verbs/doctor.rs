//! `gravure doctor`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::printer::{Printer, Table};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder where output would go
    #[arg(default_value = ".")]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> gravure::Result<ExitCode> {
    let report = gravure::doctor(&args.folder);
    if printer.json {
        printer.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["check", "", "found"]);
    for check in &report.checks {
        table.row([check.name.clone(), if check.ok { "ok" } else { "!!" }.to_owned(), check.found.clone()]);
    }
    printer.text(&format!("gravure {} on {}\n\n{table}", report.version, report.architecture));
    Ok(ExitCode::SUCCESS)
}
