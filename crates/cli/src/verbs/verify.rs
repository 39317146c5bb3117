//! `gravure verify ARTIFACT [--reference ORIGINAL --data FILE]`: does it keep what its certificate says?

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::{ErrorKind, ProofOutcome as Outcome, Result, Verification, VerifyRequest, verify};

use crate::engine::EngineArgs;
use crate::printer::{Printer, Table};
use crate::progress::Progress;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Artifact that `gravure optimize` made
    artifact: PathBuf,
    /// The model that it was made from: its digest is checked, and scores are measured against it
    #[arg(long, short, value_name = "MODEL")]
    reference: Option<PathBuf>,
    /// Text that its scores were measured on: they are measured again
    #[arg(long, short = 'f', value_name = "FILE", requires = "reference")]
    data: Option<PathBuf>,
    /// Text that importance and sensitivity were measured on: its digest is checked
    #[arg(long, value_name = "FILE")]
    calibration_data: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let request = VerifyRequest {
        artifact: args.engine.options(&args.artifact, printer),
        reference: args.reference.as_ref().map(|r| args.engine.options(r, printer)),
        data: args.data.clone(),
        calibration_data: args.calibration_data.clone(),
    };
    let found = verify(&request, &Progress::new(printer))?;
    if printer.json {
        printer.json(&found)?;
    } else {
        printer.text(&text(&found));
    }
    Ok(if found.holds { ExitCode::SUCCESS } else { ExitCode::from(ErrorKind::Gate.exit_code()) })
}

fn text(found: &Verification) -> String {
    let mut table = Table::new(&["statement", "", "found"]);
    for proof in &found.proofs {
        let word = match proof.outcome {
            Outcome::Holds => "holds",
            Outcome::Broken => "BROKEN",
            Outcome::NotChecked => "not checked",
        };
        table.row([proof.subject.to_owned(), word.to_owned(), proof.text.clone()]);
    }
    let broken = found.proofs.iter().filter(|p| p.outcome == Outcome::Broken).count();
    let verdict = match broken {
        0 => "the artifact keeps what its certificate says, as far as it was checked".to_owned(),
        n => format!("{n} of {} statements do not hold", found.proofs.len()),
    };
    let c = &found.certificate;
    format!("{}: made by gravure {} from {}\n{table}{verdict}", found.artifact.display(), c.gravure, c.source)
}
