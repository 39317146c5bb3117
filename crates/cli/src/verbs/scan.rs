//! `gravure scan PATH`.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::Severity;

use crate::printer::Printer;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File or folder to check
    path: PathBuf,
    /// Read the weights too, and look for scales that are not numbers
    #[arg(long)]
    deep: bool,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> gravure::Result<ExitCode> {
    let report = gravure::scan(&args.path, &gravure::Limits::default(), args.deep)?;
    if printer.json {
        printer.json(&report)?;
    } else {
        let mut text = format!("{}: {}\n", report.path, report.format.as_deref().unwrap_or("no known format"));
        for finding in &report.findings {
            let mark = match finding.severity {
                Severity::Info => "  ",
                Severity::Warning => "? ",
                Severity::Danger => "! ",
            };
            text += &format!("{mark}{}\n", finding.text.replace('\n', "\n    "));
        }
        text += if report.safe { "safe: nothing dangerous was found" } else { "NOT SAFE: do not open this with other tools" };
        printer.text(&text);
    }
    Ok(if report.safe { ExitCode::SUCCESS } else { ExitCode::from(gravure::ErrorKind::Input.exit_code()) })
}
