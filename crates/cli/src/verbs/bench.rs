//! `gravure bench MODEL [-p 512] [-n 128]` and `gravure bench kernels`.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::{BenchPoint, BenchReport, BenchRequest, Error, KernelsReport, KernelsRequest, Result, bench, bench_kernels};

use crate::engine::{EngineArgs, RuntimeArgs};
use crate::printer::{Printer, Table, bytes};
use crate::progress::Progress;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    /// Model: GGUF file, Hugging Face folder
    #[arg(required = true)]
    model: Option<PathBuf>,
    /// Tokens of a prompt; 0 to leave prefill out
    #[arg(long, short = 'p', value_name = "N", default_value_t = 512)]
    n_prompt: usize,
    /// Tokens to decode; 0 to leave decode out
    #[arg(long, short = 'n', value_name = "N", default_value_t = 128)]
    n_gen: usize,
    /// Positions before what is timed; several for a table: 0,4096,16384
    #[arg(long, visible_alias = "depth", short = 'd', value_name = "N", value_delimiter = ',', default_value = "0")]
    n_depth: Vec<usize>,
    /// Sequences at once; several for a table: 1,4,16
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1")]
    parallel: Vec<usize>,
    /// Numbers of threads for a table: 1,2,4 [default: the one of --threads]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    scale_threads: Vec<usize>,
    /// Repetitions
    #[arg(long, short = 'r', value_name = "N", default_value_t = 5)]
    repetitions: usize,
    #[command(flatten)]
    runtime: RuntimeArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(subcommand)]
    part: Option<Part>,
}

/// Parts of the engine that are timed by themselves.
#[derive(Debug, clap::Subcommand)]
enum Part {
    /// Time the products of every encoding by every instruction set, and mark those that run
    Kernels(KernelArgs),
}

/// Arguments of `bench kernels`.
#[derive(Debug, clap::Args)]
struct KernelArgs {
    /// Encodings [default: all that hold weights]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    encodings: Vec<String>,
    /// Outputs of the matrix of decode; prefill has an eighth of them
    #[arg(long, value_name = "N", default_value_t = 32_768)]
    rows: usize,
    /// Inputs
    #[arg(long, value_name = "N", default_value_t = 2048)]
    columns: usize,
    /// Tokens of a prompt
    #[arg(long, short = 'p', value_name = "N", default_value_t = 256)]
    n_prompt: usize,
    /// Repetitions; the best counts
    #[arg(long, short = 'r', value_name = "N", default_value_t = 5)]
    repetitions: usize,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    if let Some(Part::Kernels(part)) = &args.part {
        return kernels(part, printer);
    }
    let model = args.model.as_ref().ok_or_else(|| Error::request("a model is missing"))?;
    let request = BenchRequest {
        prompt: args.n_prompt,
        generate: args.n_gen,
        depths: args.n_depth.clone(),
        sequences: args.parallel.clone(),
        threads: args.scale_threads.clone(),
        repetitions: args.repetitions,
        ..BenchRequest::new(args.runtime.of(args.engine.options(model, printer)))
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
    let about = format!(
        "kernels: {}\nloaded in {:.2} s; weights {}, peak memory {}",
        report.kernels.join(", "),
        report.load_seconds,
        bytes(report.weight_bytes),
        report.peak_resident_bytes.map_or_else(|| "unknown".into(), bytes),
    );
    if report.scaling.is_empty() { format!("{}\n{about}", one(&report.first)) } else { format!("{}\n{about}", several(&report.scaling)) }
}

/// A single combination in full.
fn one(point: &BenchPoint) -> String {
    let mut table = Table::new(&["", ">median", ">min", ">max", ">p95", ">p99"]);
    let mut row = |name: &str, s: &gravure::Spread| {
        let cell = |v: f64| format!("{v:.2}");
        table.row([name.to_owned(), cell(s.median), cell(s.min), cell(s.max), cell(s.p95), cell(s.p99)]);
    };
    let speed = &point.speed;
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
    let share = point.bandwidth_share.map(|s| format!(", decode reaches {:.0} % of it", s * 100.0)).unwrap_or_default();
    let energy = speed.joules_per_token.map_or_else(|| "unavailable".into(), |j| format!("{j:.3} J for each decoded token"));
    format!(
        "{table}\n{} threads, {} sequence(s) after {} positions; memory is read at {:.1} GB/s{share}\nenergy: {energy}",
        point.threads,
        point.sequences,
        point.depth,
        point.read_bandwidth / 1e9,
    )
}

/// Several combinations, each in a line, with what they make of the first.
fn several(points: &[BenchPoint]) -> String {
    let columns = [
        ">threads",
        ">sequences",
        ">depth",
        ">prefill t/s",
        ">of the first",
        ">decode t/s",
        ">of the first",
        ">each token, ms",
        ">bandwidth",
    ];
    let mut table = Table::new(&columns);
    let prefill = |p: &BenchPoint| p.speed.prefill.as_ref().map(|s| s.tokens_per_second.median);
    let decode = |p: &BenchPoint| p.speed.decode.as_ref().map(|s| s.tokens_per_second.median);
    let dash = || "-".to_owned();
    for point in points {
        let cells = |of: &dyn Fn(&BenchPoint) -> Option<f64>| -> [String; 2] {
            let (value, first) = (of(point), points.first().and_then(of));
            let share = value.zip(first).map_or_else(dash, |(v, f)| format!("{:.2}x", v / f));
            [value.map_or_else(dash, |v| format!("{v:.1}")), share]
        };
        let [prefill, prefill_share] = cells(&prefill);
        let [decode, decode_share] = cells(&decode);
        let token = point.speed.token_milliseconds.as_ref().map_or_else(dash, |t| format!("{:.2}", t.median));
        let share = point.bandwidth_share.map_or_else(dash, |s| format!("{:.0} %", s * 100.0));
        let numbers = [point.threads, point.sequences, point.depth].map(|n| n.to_string());
        table.row([&numbers[..], &[prefill, prefill_share, decode, decode_share, token, share]].concat());
    }
    format!("{table}\ntokens per second are those of all sequences together; bandwidth is the share of a plain read's that decode reaches")
}

fn kernels(args: &KernelArgs, printer: &Printer) -> Result<ExitCode> {
    let request = KernelsRequest {
        encodings: args.encodings.iter().map(|e| e.to_ascii_lowercase()).collect(),
        rows: args.rows,
        columns: args.columns,
        prompt: args.n_prompt,
        threads: printer.threads,
        repetitions: args.repetitions,
    };
    let report = bench_kernels(&request, &Progress::new(printer))?;
    if printer.json {
        printer.json(&report)?;
    } else {
        printer.text(&kernels_text(&report));
    }
    Ok(ExitCode::SUCCESS)
}

fn kernels_text(report: &KernelsReport) -> String {
    let mut table = Table::new(&["encoding", "", "kernel", ">decode GB/s", ">of a read", ">prefill GMAC/s"]);
    for speed in &report.kernels {
        table.row([
            speed.encoding.clone(),
            if speed.chosen { "*" } else { "" }.to_owned(),
            speed.kernel.clone(),
            format!("{:.1}", speed.decode_bytes_per_second / 1e9),
            format!("{:.0} %", speed.decode_bandwidth_share * 100.0),
            format!("{:.1}", speed.prefill_products_per_second / 1e9),
        ]);
    }
    format!(
        "{table}\n* runs on this machine; {} threads, decode: [{}, {}] by 1 row, prefill: [{}, {}] by {}; memory is read at {:.1} GB/s",
        report.threads,
        report.rows,
        report.columns,
        (report.rows / 8).max(1),
        report.columns,
        report.prompt,
        report.read_bandwidth / 1e9,
    )
}
