//! `gravure bench MODEL [-p 512] [-n 128]`.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::{BenchReport, BenchRequest, Result, bench};

use crate::engine::EngineArgs;
use crate::printer::{Printer, Table, bytes};
use crate::progress::Progress;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model: GGUF file, Hugging Face folder
    model: PathBuf,
    /// Tokens of a prompt; 0 to leave prefill out
    #[arg(long, short = 'p', value_name = "N", default_value_t = 512)]
    n_prompt: usize,
    /// Tokens to decode; 0 to leave decode out
    #[arg(long, short = 'n', value_name = "N", default_value_t = 128)]
    n_gen: usize,
    /// Positions before the first decoded token
    #[arg(long, short = 'd', value_name = "N", default_value_t = 0)]
    n_depth: usize,
    /// Sequences at once
    #[arg(long, value_name = "N", default_value_t = 1)]
    parallel: usize,
    /// Repetitions
    #[arg(long, short = 'r', value_name = "N", default_value_t = 5)]
    repetitions: usize,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let request = BenchRequest {
        prompt: args.n_prompt,
        generate: args.n_gen,
        depth: args.n_depth,
        sequences: args.parallel,
        repetitions: args.repetitions,
        ..BenchRequest::new(args.engine.options(&args.model, printer))
    };
    let report = bench(&request, &Progress::new(printer))?;
    if printer.json {
        printer.json(&report)?;
    } else {
        printer.text(&text(&report));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(report: &BenchReport) -> String {
    let mut table = Table::new(&["", ">median", ">min", ">max", ">p95", ">p99"]);
    let mut row = |name: &str, s: &gravure::Spread| {
        let cell = |v: f64| format!("{v:.2}");
        table.row([name.to_owned(), cell(s.median), cell(s.min), cell(s.max), cell(s.p95), cell(s.p99)]);
    };
    let speed = &report.speed;
    if let Some(prefill) = &speed.prefill {
        row("prefill, tokens/s", &prefill.tokens_per_second);
    }
    if let Some(decode) = &speed.decode {
        row("decode, tokens/s", &decode.tokens_per_second);
    }
    if let Some(first) = &speed.first_token_milliseconds {
        row("first token, ms", first);
    }
    if let Some(token) = &speed.token_milliseconds {
        row("each token, ms", token);
    }
    let share = report.bandwidth_share.map(|s| format!(", decode reaches {:.0} % of it", s * 100.0)).unwrap_or_default();
    let energy = speed.joules_per_token.map_or_else(|| "unavailable".into(), |j| format!("{j:.3} J for each decoded token"));
    format!(
        "{table}\n{} threads, {} sequence(s); kernels: {}\nloaded in {:.2} s; weights {}, peak memory {}\nmemory is read at {:.1} GB/s{share}\nenergy: {energy}",
        report.threads,
        report.sequences,
        report.kernels.join(", "),
        report.load_seconds,
        bytes(report.weight_bytes),
        report.peak_resident_bytes.map_or_else(|| "unknown".into(), bytes),
        report.read_bandwidth / 1e9,
    )
}
