//! `gravure encodings`: the table of encodings and mixtures, made from the registries.

use std::process::ExitCode;

use gravure::ImportanceUse;
use serde::Serialize;

use crate::printer::{Printer, Table};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Document {
    encodings: Vec<EncodingLine>,
    mixtures: Vec<MixtureLine>,
    formats: Vec<Named>,
    architectures: Vec<Named>,
}

#[derive(Serialize)]
struct EncodingLine {
    id: &'static str,
    bits_per_weight: f64,
    block_elements: usize,
    block_bytes: usize,
    importance: &'static str,
    doc: &'static str,
}

#[derive(Serialize)]
struct MixtureLine {
    id: &'static str,
    aliases: &'static [&'static str],
    file_type: Option<u32>,
    doc: &'static str,
}

#[derive(Serialize)]
struct Named {
    id: &'static str,
    doc: &'static str,
}

pub(crate) fn run(_args: &Args, printer: &Printer) -> gravure::Result<ExitCode> {
    let catalog = gravure::catalog();
    let document = Document {
        encodings: catalog.encodings.iter().map(|e| line(*e)).collect(),
        mixtures: gravure::mixtures::MIXTURES
            .iter()
            .map(|m| MixtureLine { id: m.id, aliases: m.aliases, file_type: m.file_type, doc: m.doc })
            .collect(),
        formats: catalog.formats.iter().map(|f| Named { id: f.id(), doc: f.doc() }).collect(),
        architectures: catalog.architectures.iter().map(|a| Named { id: a.id(), doc: a.doc() }).collect(),
    };
    if printer.json {
        printer.json(&document)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut encodings = Table::new(&["encoding", ">bits", ">block", ">bytes", "importance", "what it is"]);
    for e in &document.encodings {
        encodings.row([
            e.id.to_owned(),
            format!("{:.3}", e.bits_per_weight),
            e.block_elements.to_string(),
            e.block_bytes.to_string(),
            e.importance.to_owned(),
            e.doc.to_owned(),
        ]);
    }
    let mut mixtures = Table::new(&["type", "also", ">number", "what it is"]);
    for m in &document.mixtures {
        let number = m.file_type.map(|n| n.to_string()).unwrap_or_default();
        mixtures.row([m.id.to_owned(), m.aliases.join(" "), number, m.doc.to_owned()]);
    }
    let named = |title: &'static str, lines: &[Named]| {
        let mut table = Table::new(&[title, "what it is"]);
        lines.iter().for_each(|n| table.row([n.id.to_owned(), n.doc.to_owned()]));
        table.to_string()
    };
    printer.result(&format!(
        "{encodings}\nTypes for `quantize --type`\n{mixtures}\n{}\n{}",
        named("format", &document.formats),
        named("architecture", &document.architectures)
    ));
    Ok(ExitCode::SUCCESS)
}

fn line(encoding: &'static dyn gravure::Encoding) -> EncodingLine {
    let layout = encoding.layout();
    EncodingLine {
        id: encoding.id(),
        bits_per_weight: encoding.bits_per_weight(),
        block_elements: layout.block_elements,
        block_bytes: layout.block_bytes,
        importance: match encoding.importance() {
            ImportanceUse::Ignored => "ignored",
            ImportanceUse::Required => "required",
            _ => "used",
        },
        doc: encoding.doc(),
    }
}
