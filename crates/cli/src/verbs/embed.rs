//! `gravure embed MODEL -p TEXT`.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use gravure::{EmbedRequest, Error, Pooling, Result, Scaling, embed};

use crate::engine::EngineArgs;
use crate::printer::Printer;
use crate::progress::Progress;

/// How vectors of tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Pool {
    /// Their mean
    Mean,
    /// That of the first token
    Cls,
    /// That of the last token
    Last,
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model that makes embeddings: GGUF file, Hugging Face folder
    model: PathBuf,
    /// A text; may be repeated [default: lines of standard input]
    #[arg(long, short, value_name = "TEXT")]
    prompt: Vec<String>,
    /// File of texts, one on each line
    #[arg(long, short, value_name = "FILE", conflicts_with = "prompt")]
    file: Option<PathBuf>,
    /// How tokens are pooled [default: what the model says]
    #[arg(long, value_name = "HOW")]
    pooling: Option<Pool>,
    /// Leave the vectors at the length that the model gives them
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let texts = texts(args)?;
    let request = EmbedRequest {
        model: args.engine.options(&args.model, printer),
        texts,
        pooling: args.pooling.map(|p| match p {
            Pool::Mean => Pooling::Mean,
            Pool::Cls => Pooling::First,
            Pool::Last => Pooling::Last,
        }),
        scaling: if args.raw { Scaling::Raw } else { Scaling::Unit },
    };
    let embeddings = embed(&request, &Progress::new(printer))?;
    if printer.json {
        printer.json(&embeddings)?;
        return Ok(ExitCode::SUCCESS);
    }
    for vector in &embeddings.vectors {
        let numbers: Vec<String> = vector.iter().map(|v| format!("{v:.7}")).collect();
        printer.result(&numbers.join(" "));
    }
    Ok(ExitCode::SUCCESS)
}

fn texts(args: &Args) -> Result<Vec<String>> {
    if !args.prompt.is_empty() {
        return Ok(args.prompt.clone());
    }
    let mut all = String::new();
    match &args.file {
        Some(path) => all = std::fs::read_to_string(path).map_err(|e| Error::io("read the texts", path, e))?,
        None => {
            let read = std::io::stdin().lock().read_to_string(&mut all);
            read.map_err(|e| Error::io("read the texts", std::path::Path::new("standard input"), e))?;
        }
    }
    let texts: Vec<String> = all.lines().map(str::to_owned).collect();
    if texts.is_empty() {
        Err(Error::request("there is no text to embed").help("give one by `-p`, or lines on standard input"))
    } else {
        Ok(texts)
    }
}
