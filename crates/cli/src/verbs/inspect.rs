//! `gravure inspect PATH`.

use std::path::PathBuf;
use std::process::ExitCode;

use gravure::{Inspection, OpenRequest};

use crate::printer::{Level, Printer, Table, bytes};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model file or folder
    path: PathBuf,
    /// Format of the source, where it is not recognised
    #[arg(long, value_name = "FORMAT")]
    from: Option<String>,
    /// List every tensor and all metadata
    #[arg(long, short = 'a')]
    all: bool,
    /// Go on over unknown keys and tensors, and report them
    #[arg(long)]
    lenient: bool,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> gravure::Result<ExitCode> {
    let request = OpenRequest { format: args.from.as_deref(), lenient: args.lenient, ..OpenRequest::new(&args.path) };
    let found = gravure::inspect(&request)?;
    if printer.json {
        printer.json(&found)?;
    } else {
        printer.text(&text(&found, args.all || printer.level == Level::Verbose));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(found: &Inspection, all: bool) -> String {
    let mut out = format!("{}\n", found.path);
    out += &format!("  format        {}\n", found.format_detail);
    let known =
        if found.architecture_known { "" } else { " (no file here knows it: it can be quantized, split and merged, not converted)" };
    out += &format!("  architecture  {}{known}\n", found.architecture.as_deref().unwrap_or("not stated"));
    out += &format!("  parameters    {} in {} tensors\n", found.parameters, found.tensors.len());
    out += &format!(
        "  size          {}, {:.2} bits per weight, precision {}\n",
        bytes(found.tensor_bytes),
        found.bits_per_weight,
        found.precision
    );
    if let Some(t) = &found.tokenizer {
        let template = if t.chat_template { "with" } else { "without" };
        out += &format!("  tokenizer     {}, {} tokens, {template} chat template\n", t.model, t.tokens);
    }
    for (key, value) in &found.hyperparameters {
        out += &format!("  {key}: {value}\n");
    }
    let mut table = Table::new(&["\nencoding", ">tensors", ">weights", ">bytes"]);
    for share in &found.encodings {
        table.row([share.encoding.clone(), share.tensors.to_string(), share.weights.to_string(), bytes(share.bytes)]);
    }
    out += &table.to_string();
    if all {
        out += "\nmetadata\n";
        for (key, value) in &found.metadata {
            out += &format!("  {key} = {}\n", value.escape_debug());
        }
        let mut table = Table::new(&["\ntensor", "encoding", "shape", ">bytes", "role"]);
        for t in &found.tensors {
            let role = t.role.map(|r| format!("{r:?}")).unwrap_or_default();
            let shape: Vec<String> = t.shape.iter().map(u64::to_string).collect();
            table.row([t.name.clone(), t.encoding.clone(), shape.join(" x "), t.bytes.to_string(), role]);
        }
        out += &table.to_string();
    }
    let mut table = Table::new(&["\nit would weigh in", ">bits", ">bytes", "precision"]);
    for w in &found.would_weigh {
        let kept = if w.kept > 0 { format!(" ({} matrices kept: rows do not fit)", w.kept) } else { String::new() };
        table.row([w.encoding.clone(), format!("{:.2}", w.bits_per_weight), bytes(w.bytes), format!("{}{kept}", w.precision)]);
    }
    out += &table.to_string();
    for note in &found.notes {
        out += &format!("note: {}: {}\n", note.subject, note.text);
    }
    out
}
