//! `gravure recommend MODEL --target T`: which runtime, format and precision, and what they would cost.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::engine::CacheType;
use gravure::{Choice, Measuring, ModelKind, RecommendRequest, Recommendation, Result, SizedCandidate, command, find_target, recommend};

use crate::arguments::size;
use crate::engine::Cache;
use crate::printer::{Printer, Table, bytes};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model: GGUF file, Hugging Face folder
    model: PathBuf,
    /// Device: an id of `gravure targets`, `host` for this machine, or the path of a TOML file
    #[arg(long, value_name = "TARGET", default_value = "host")]
    target: String,
    /// Positions that a text may have [default: the model's own, at most 4096]
    #[arg(long, short = 'c', value_name = "N")]
    context: Option<u64>,
    /// Largest file: 400MB, 1.5GiB
    #[arg(long, value_name = "SIZE")]
    max_size: Option<String>,
    /// Most memory for weights, keys and values, and the runtime
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<String>,
    /// Least speed of decoding
    #[arg(long, value_name = "N")]
    min_tokens_per_second: Option<f64>,
    /// Least speed against 16-bit weights; 1 where quality alone counts
    #[arg(long, value_name = "FACTOR", default_value_t = 2.0)]
    min_speedup: f64,
    /// How keys and values are kept
    #[arg(long, visible_alias = "ctk", value_name = "TYPE", default_value = "f16")]
    cache_type: Cache,
    /// Time the memory and the products of this machine (`host`), some seconds
    #[arg(long)]
    measure: bool,
    /// Show every precision, not only those that are recommended
    #[arg(long)]
    all: bool,
    /// Format of the model, where it cannot be recognised
    #[arg(long, value_name = "FORMAT")]
    from: Option<String>,
    /// Go on where the model has keys or tensors that are not known
    #[arg(long)]
    lenient: bool,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let measuring = if args.measure { Measuring::Measure } else { Measuring::Estimate };
    let target = find_target(&args.target, measuring, printer.threads)?;
    let request = RecommendRequest {
        format: args.from.clone(),
        context: args.context,
        cache: match args.cache_type {
            Cache::F32 => CacheType::F32,
            Cache::F16 => CacheType::F16,
            Cache::Q8 => CacheType::Q8,
        },
        max_size: args.max_size.as_deref().map(size).transpose()?,
        max_memory: args.max_memory.as_deref().map(size).transpose()?,
        min_tokens_per_second: args.min_tokens_per_second,
        min_speedup: args.min_speedup,
        threads: printer.threads,
        lenient: args.lenient,
        ..RecommendRequest::new(&args.model, target)
    };
    let answer = recommend(&request)?;
    if printer.json {
        printer.json(&answer)?;
    } else {
        printer.result(&text(&answer, args));
    }
    Ok(if answer.choice.is_some() { ExitCode::SUCCESS } else { ExitCode::from(gravure::ErrorKind::Gate.exit_code()) })
}

fn text(answer: &Recommendation, args: &Args) -> String {
    let kind = match answer.kind {
        ModelKind::Text => "text",
        ModelKind::Embedding => "embeddings",
        ModelKind::Graph => "a graph",
    };
    let architecture = answer.architecture.as_deref().unwrap_or("unknown architecture");
    let mut out = format!(
        "{}: {kind}, {architecture}, {:.1} M weights\non {}: {}; {} positions, {} usable\n",
        answer.model.display(),
        answer.parameters as f64 / 1e6,
        answer.target,
        answer.device,
        answer.context,
        bytes(answer.memory_limit),
    );
    match &answer.choice {
        Some(choice) => out += &format!("\nrecommended: {}", paragraph(choice, args)),
        None => {
            out += "\nnothing fits\n";
            if let Some(near) = &answer.nearest {
                out += &format!("  nearest: {}: {}\n", near.precision, near.misses.join("; "));
            }
        }
    }
    if let Some(meanwhile) = &answer.meanwhile {
        out += &format!("\nmeanwhile: {}", paragraph(meanwhile, args));
    }
    let refused: Vec<_> = answer.considered.iter().filter(|c| c.refused.is_some()).collect();
    if !answer.runners_up.is_empty() || !refused.is_empty() {
        let mut table = Table::new(&[
            "runners-up",
            "unit",
            "format",
            "precision",
            ">file",
            ">memory",
            ">prefill",
            ">decode",
            ">J/token",
            "why not first",
        ]);
        for choice in &answer.runners_up {
            let first = [choice.name.clone(), choice.unit.clone(), choice.format.clone()];
            let why = choice.reasons.first().cloned().unwrap_or_default();
            table.row([first.as_slice(), figures(&choice.candidate).as_slice(), &[why]].concat());
        }
        for one in refused {
            let first = [one.runtime.clone(), one.unit.clone(), one.format.clone()];
            let why = one.refused.clone().unwrap_or_default();
            table.row([first.as_slice(), [const { String::new() }; 6].as_slice(), &[why]].concat());
        }
        out += &format!("\n{table}");
    }
    let chosen = answer.choice.as_ref().and_then(|c| answer.considered.iter().find(|d| d.runtime == c.runtime && d.unit == c.unit));
    if let Some(one) = chosen.or(answer.considered.first()) {
        let mut table = Table::new(&[
            "precision",
            ">file",
            ">memory",
            ">prefill",
            ">decode",
            ">J/token",
            ">times 16-bit",
            ">fast kernels",
            "limits missed",
        ]);
        for candidate in one.candidates.iter().filter(|c| args.all || c.rung.is_some()) {
            let share = candidate.accelerated_share.map_or_else(|| "-".into(), |s| format!("{:.0} %", s * 100.0));
            let rest = [format!("{:.2}", candidate.speedup), share, candidate.misses.join("; ")];
            table.row([figures(candidate).as_slice(), &rest].concat());
        }
        out += &format!("\n{} ({}) on {}:\n{table}", one.runtime, one.backend, one.unit);
    }
    out += "speeds in tokens/s: prefill of 512 tokens, decode with half the context filled; by a roofline, nothing was run.\n";
    out += "sizes with ~ follow from bits for each weight, the others are exact.\n";
    answer.notes.iter().for_each(|note| out += &format!("note: {note}\n"));
    out
}

/// Precision, sizes, speeds and energy, for a table.
fn figures(candidate: &SizedCandidate) -> [String; 6] {
    let about = if candidate.exact { "" } else { "~" };
    let p = &candidate.prediction;
    [
        candidate.precision.clone(),
        format!("{about}{}", bytes(candidate.file_bytes)),
        format!("~{}", bytes(candidate.memory_bytes)),
        number(p.prefill_tokens_per_second),
        p.decode_tokens_per_second.map_or_else(|| "-".into(), number),
        number(p.joules_per_token),
    ]
}

/// Three significant digits.
fn number(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v => format!("{v:.4}"),
    }
}

fn paragraph(choice: &Choice, args: &Args) -> String {
    let [precision, file, memory, prefill, decode, joules] = figures(&choice.candidate);
    let mut out = format!("{} ({} on {}), {}, {precision}\n", choice.name, choice.backend, choice.unit, choice.format);
    out += &format!("  file {file}, memory {memory}, prefill {prefill} tokens/s, decode {decode} tokens/s, {joules} J/token\n");
    for reason in &choice.reasons {
        out += &format!("  - {reason}\n");
    }
    for fallback in &choice.fallbacks {
        out += &format!("  falls back: {}: {}\n", fallback.subject, fallback.instead);
    }
    if let Some(command) = command(choice, &args.model) {
        out += &format!("  make it: {command}\n");
    }
    if let Some(converter) = &choice.converter {
        out += &format!("  Gravure does not write this yet; make it with: {converter}\n");
    }
    out
}
