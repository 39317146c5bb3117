//! `gravure try SRC --types A,B,C --data FILE`: ways to quantize, side by side.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::mixtures::{self, MixtureRequest};
use gravure::{Candidate, PlanSource, QuantizeRequest, Result, Trial, TrialRequest, Trials, try_all};

use crate::engine::EngineArgs;
use crate::folder::Folder;
use crate::printer::{Printer, Table, bytes};
use crate::progress::Progress;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model to quantize, and to compare with
    source: PathBuf,
    /// Types to try (`gravure encodings` lists them)
    #[arg(long, value_delimiter = ',', value_name = "TYPES", default_value = "q8_0,q4_k_m,q2_k")]
    types: Vec<String>,
    /// Text to measure on
    #[arg(long, short = 'f', value_name = "FILE")]
    data: PathBuf,
    /// Folder for the quantized files [default: they are removed]
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Importance matrix to weight errors with
    #[arg(long, value_name = "FILE")]
    imatrix: Option<PathBuf>,
    /// Tokens in a window
    #[arg(long, visible_alias = "ctx", short = 'c', value_name = "N", default_value_t = 512)]
    ctx_size: usize,
    /// Measure at most this many windows
    #[arg(long, value_name = "N")]
    chunks: Option<usize>,
    /// Tokens of the prompt that is timed
    #[arg(long, short = 'p', value_name = "N", default_value_t = 512)]
    n_prompt: usize,
    /// Tokens to decode
    #[arg(long, short = 'n', value_name = "N", default_value_t = 64)]
    n_gen: usize,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let name = args.source.file_stem().map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned());
    let found = args.types.iter().map(|t| mixtures::find(t)).collect::<Result<Vec<_>>>()?;
    let folder = Folder::named_or_temporary(args.output.as_ref(), "try")?;
    let candidates = args.types.iter().zip(found).map(|(kind, mixture)| {
        let output = folder.path().join(format!("{name}-{}.gguf", kind.to_ascii_lowercase()));
        let mut quantize = QuantizeRequest::new(&args.source, output, PlanSource::Mixture(MixtureRequest::new(mixture)));
        quantize.importance.clone_from(&args.imatrix);
        quantize.threads = printer.threads;
        quantize.source_format.clone_from(&args.engine.from);
        quantize.lenient = args.engine.lenient;
        Candidate { name: kind.to_ascii_lowercase(), quantize }
    });
    let request = TrialRequest {
        candidates: candidates.collect(),
        source: args.engine.options(&args.source, printer),
        data: args.data.clone(),
        context: args.ctx_size,
        windows: args.chunks,
        prompt: args.n_prompt,
        generate: args.n_gen,
    };
    let trials = try_all(&request, &Progress::new(printer))?;
    if printer.json {
        printer.json(&trials)?;
    } else {
        printer.text(&table(&trials));
        if args.output.is_some() {
            printer.text(&format!("files: {}", folder.path().display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(trials: &Trials) -> String {
    let columns = ["", ">size", ">bits/weight", ">perplexity", ">KL divergence", ">top-1", ">prefill t/s", ">decode t/s"];
    let mut table = Table::new(&columns);
    let mut row = |t: &Trial| {
        let e = &t.evaluation;
        let comparison = e.comparison.as_ref();
        table.row([
            t.name.clone(),
            bytes(t.file_bytes),
            format!("{:.2}", e.bits_per_weight),
            format!("{:.2} ±{:.2}", e.perplexity.value, e.perplexity.stderr),
            comparison.map_or_else(|| "-".into(), |c| format!("{:.5} ±{:.5}", c.kl_divergence.value, c.kl_divergence.stderr)),
            comparison.map_or_else(|| "-".into(), |c| format!("{:.2} %", c.top1_agreement.value * 100.0)),
            format!("{:.0}", t.prefill_tokens_per_second),
            format!("{:.0}", t.decode_tokens_per_second),
        ]);
    };
    row(&trials.original);
    trials.candidates.iter().for_each(&mut row);
    table.to_string()
}
