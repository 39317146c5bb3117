//! The command line: a thin skin over the facade. Each verb is one file.
#![forbid(unsafe_code)]

mod args;
mod arguments;
mod chat;
mod engine;
mod folder;
mod printer;
mod progress;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Verb};
use printer::Printer;

fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(args::spelled(std::env::args_os())) {
        Ok(cli) => cli,
        Err(e) => {
            let code = if e.use_stderr() { gravure::ErrorKind::Request.exit_code() } else { 0 };
            let _ = e.print();
            return ExitCode::from(code);
        }
    };
    let printer = Printer::new(&cli.global);
    progress::stop_on_interrupt();
    let result = gravure::instruction_set().and_then(|_| match cli.verb {
        Verb::Inspect(args) => verbs::inspect::run(&args, &printer),
        Verb::Convert(args) => verbs::convert::run(&args, &printer),
        Verb::Quantize(args) => verbs::quantize::run(&args, &printer),
        Verb::Plan(args) => verbs::plan::run(&args, &printer),
        Verb::Optimize(args) => verbs::optimize::run(&args, &printer),
        Verb::Compare(args) => verbs::compare::run(&args, &printer),
        Verb::Search(args) => verbs::search::run(&args, &printer),
        Verb::Verify(args) => verbs::verify::run(&args, &printer),
        Verb::Try(args) => verbs::trial::run(&args, &printer),
        Verb::Eval(args) => verbs::eval::run(&args, &printer),
        Verb::Calibrate(args) => verbs::calibrate::run(&args, &printer),
        Verb::Bench(args) => verbs::bench::run(&args, &printer),
        Verb::Embed(args) => verbs::embed::run(&args, &printer),
        Verb::Run(args) => verbs::run::run(&args, &printer),
        Verb::Scan(args) => verbs::scan::run(&args, &printer),
        Verb::Encodings(args) => verbs::encodings::run(&args, &printer),
        Verb::Recommend(args) => verbs::recommend::run(&args, &printer),
        Verb::Targets(args) => verbs::targets::run(&args, &printer),
        Verb::Completions(args) => verbs::completions::run(&args, &printer),
        Verb::Doctor(args) => verbs::doctor::run(&args, &printer),
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}
