//! Everything that reaches the terminal.

use std::io::{IsTerminal, Write};

use crate::args::Global;

/// How much to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Quiet,
    Normal,
    Verbose,
}

/// Writes results to standard output and everything else to standard error.
#[derive(Debug, Clone)]
pub(crate) struct Printer {
    pub(crate) json: bool,
    pub(crate) level: Level,
    pub(crate) threads: usize,
}

impl Printer {
    pub(crate) fn new(global: &Global) -> Self {
        let level = match (global.quiet, global.verbose) {
            (true, _) => Level::Quiet,
            (false, 0) => Level::Normal,
            (false, _) => Level::Verbose,
        };
        Self { json: global.json, level, threads: global.threads }
    }

    /// Text for people, on standard output. A closed pipe is not an error.
    pub(crate) fn text(&self, text: &str) {
        if !self.json && self.level > Level::Quiet {
            let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
        }
    }

    /// Output that was asked for by name (a plan, a script): printed even under `--quiet`.
    pub(crate) fn result(&self, text: &str) {
        let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
    }

    /// The JSON document.
    pub(crate) fn json(&self, value: &impl serde::Serialize) -> gravure::Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(|e| gravure::Error::bug(format!("cannot print JSON: {e}")))?;
        self.result(&text);
        Ok(())
    }

    /// A remark on standard error.
    pub(crate) fn note(&self, text: &str) {
        if self.level > Level::Quiet {
            let _ = writeln!(std::io::stderr().lock(), "note: {text}");
        }
    }

    /// Says which texts stand in where the user named none.
    pub(crate) fn note_built_in(&self, texts: &[gravure::BuiltInText]) {
        if !texts.is_empty() {
            self.note("small built-in texts of old English prose stand in; --calibration-data and --eval-data name your own");
        }
    }

    /// An error: JSON on standard output under `--json`, text on standard error otherwise.
    pub(crate) fn error(&self, error: &gravure::Error) {
        if self.json {
            let value = serde_json::json!({ "error": {
                "kind": error.kind().as_str(),
                "message": error.message(),
                "item": error.item(),
                "file": error.file().map(|f| f.display().to_string()),
                "offset": error.offset(),
                "help": error.help_text(),
            }});
            self.result(&format!("{value:#}"));
        } else {
            let _ = writeln!(std::io::stderr().lock(), "error: {error}");
        }
    }

    /// Whether a progress bar may be drawn.
    pub(crate) fn draws(&self) -> bool {
        self.level > Level::Quiet && std::io::stderr().is_terminal()
    }
}

/// Bytes for people.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} B"),
        10_000..10_000_000 => format!("{:.1} KB", n as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// A table with left-aligned text and right-aligned numbers.
pub(crate) struct Table {
    head: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Columns by title; a title that begins with `>` is right-aligned.
    pub(crate) fn new(columns: &[&'static str]) -> Self {
        Self {
            head: columns.iter().map(|c| c.trim_start_matches('>')).collect(),
            right: columns.iter().map(|c| c.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut widths: Vec<usize> = self.head.iter().map(|h| h.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |f: &mut std::fmt::Formatter<'_>, cells: &[&str]| {
            let mut text = String::new();
            for ((cell, width), right) in cells.iter().zip(&widths).zip(&self.right) {
                let pad = " ".repeat(width - cell.chars().count());
                text += &if *right { format!("{pad}{cell}  ") } else { format!("{cell}{pad}  ") };
            }
            writeln!(f, "{}", text.trim_end())
        };
        line(f, &self.head)?;
        for row in &self.rows {
            line(f, &row.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}
