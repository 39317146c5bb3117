//! What was typed: one derived struct for each verb.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::verbs;

/// Gravure takes a trained model in any common format and prints it for the edge.
#[derive(Debug, Parser)]
#[command(name = "gravure", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 a gate or scan failed, 64 wrong request, 65 malformed input, 66 not found, \
69 unsupported, 70 a bug of ours, 73 a limit, 74 disk or machine, 130 interrupted.";

/// Options of every verb.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// Print one JSON document instead of text (schema: docs/json.md)
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// Worker threads [default: one for each core]
    #[arg(long, short = 't', global = true, default_value_t = 0, hide_default_value = true, help_heading = "Everywhere")]
    pub(crate) threads: usize,
    /// Say less: errors only
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    pub(crate) quiet: bool,
    /// Say more
    #[arg(long, short, global = true, action = clap::ArgAction::Count, help_heading = "Everywhere")]
    pub(crate) verbose: u8,
}

/// Options that llama.cpp spells with several letters after one dash.
const SPELLINGS: &[(&str, &str)] = &[
    ("-sys", "--system-prompt"),
    ("-ctk", "--cache-type"),
    ("-ctv", "--cache-type-v"),
    ("-md", "--model-draft"),
    ("-cnv", "--conversation"),
    ("-no-cnv", "--no-conversation"),
    ("-jf", "--json-schema-file"),
];

/// The arguments as clap can read them.
pub(crate) fn spelled(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut literal = false;
    arguments
        .map(|argument| {
            literal |= argument == "--";
            let found = SPELLINGS.iter().find(|(short, _)| !literal && argument == *short);
            found.map_or(argument, |(_, long)| (*long).into())
        })
        .collect()
}

/// The command as it was typed, with the program's name in place of its path.
pub(crate) fn as_typed() -> Vec<String> {
    let shown = |a: OsString| a.to_string_lossy().into_owned();
    std::env::args_os().enumerate().map(|(i, a)| if i == 0 { "gravure".to_owned() } else { shown(a) }).collect()
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show what is in a model and what it would weigh in each encoding
    Inspect(verbs::inspect::Args),
    /// Convert between formats and float types
    Convert(verbs::convert::Args),
    /// Quantize a model of any format, in one step
    Quantize(verbs::quantize::Args),
    /// Show what quantize would do: every tensor, the reasons, the exact size
    Plan(verbs::plan::Args),
    /// Find and write the mixture that loses least under a budget
    Optimize(Box<verbs::optimize::Args>),
    /// Show artifacts side by side, whoever made them: size, loss, speed, memory, and where their bits are
    Compare(verbs::compare::Args),
    /// Try methods, mixtures and budgets against each other, and show what none beats
    Search(Box<verbs::search::Args>),
    /// Check that an artifact keeps what its certificate says
    Verify(verbs::verify::Args),
    /// Quantize in several ways, and show what each weighs, loses and how fast it runs
    Try(verbs::trial::Args),
    /// Measure perplexity on a text, and how far models are from their original
    Eval(verbs::eval::Args),
    /// Measure what a model's matrices see on a text: an importance matrix
    Calibrate(verbs::calibrate::Args),
    /// Time prefill and decode
    Bench(verbs::bench::Args),
    /// Turn texts into vectors
    Embed(verbs::embed::Args),
    /// Continue a text, or chat
    Run(Box<verbs::run::Args>),
    /// Check whether a file is safe and well-formed
    Scan(verbs::scan::Args),
    /// List the encodings and mixtures
    Encodings(verbs::encodings::Args),
    /// Say which runtime, format and precision suit a model on a device, and what they would cost
    Recommend(verbs::recommend::Args),
    /// List the devices that models are made for, or tell all about one
    Targets(verbs::targets::Args),
    /// Print a completion script for a shell
    Completions(verbs::completions::Args),
    /// Check what this machine offers
    Doctor(verbs::doctor::Args),
}
