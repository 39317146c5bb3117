//! Is this file safe and well-formed?

use std::path::Path;

use gravure_base::{ErrorKind, Limits, Result};
use serde::Serialize;

use crate::execute::LONGEST_ROW;
use crate::open::{OpenRequest, open, recognise};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Unusual, but harmless.
    Warning,
    /// Malformed, or asks for what must not be done.
    Danger,
}

/// One observation.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What was seen.
    pub text: String,
}

/// The whole answer.
#[derive(Debug, Clone, Serialize)]
pub struct ScanReport {
    /// The path as given.
    pub path: String,
    /// Format, where one was recognised.
    pub format: Option<String>,
    /// Whether nothing dangerous was found.
    pub safe: bool,
    /// What was seen.
    pub findings: Vec<Finding>,
}

/// Reads the structure and, where `deep`, every encoded block of a file that is not trusted, and
/// tells what is wrong with it.
///
/// # Errors
/// Only where the path cannot be read at all; everything else is a finding.
pub fn scan(path: &Path, limits: &Limits, deep: bool) -> Result<ScanReport> {
    let mut findings = Vec::new();
    let format = match recognise(path) {
        Ok(format) => Some(format),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Environment) => return Err(e),
        Err(e) => {
            findings.push(Finding { severity: Severity::Danger, text: e.to_string() });
            None
        }
    };
    for file in files_of(path).iter().filter(|f| may_be_pickle(f)) {
        scan_one_pickle(file, limits, &mut findings)?;
    }
    if format.is_some() {
        match open(&OpenRequest { limits: *limits, ..OpenRequest::new(path) }) {
            Err(e) if e.kind() == ErrorKind::Unsupported => findings.push(Finding { severity: Severity::Warning, text: e.to_string() }),
            Err(e) => findings.push(Finding { severity: Severity::Danger, text: e.to_string() }),
            Ok(model) => {
                let text = format!("{}: {} tensors, {} weights", model.source.detail, model.tensors.len(), model.parameters());
                findings.push(Finding { severity: Severity::Info, text });
                for note in &model.notes {
                    findings.push(Finding { severity: Severity::Warning, text: format!("{}: {}", note.subject, note.text) });
                }
                if deep {
                    validate_weights(&model, &mut findings);
                }
            }
        }
    }
    let safe = findings.iter().all(|f| f.severity != Severity::Danger);
    Ok(ScanReport { path: path.display().to_string(), format: format.map(|f| f.id().to_owned()), safe, findings })
}

fn files_of(path: &Path) -> Vec<std::path::PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let mut files: Vec<_> = entries.flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
    files.sort();
    files
}

/// Names under which pickles travel; other files cannot run anything.
fn may_be_pickle(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    matches!(extension.as_str(), "bin" | "pt" | "pth" | "th" | "ckpt" | "pkl" | "pickle")
}

fn scan_one_pickle(file: &Path, limits: &Limits, findings: &mut Vec<Finding>) -> Result<()> {
    let scan = gravure_formats::scan_pickle(file, limits)?;
    let shown = file.display();
    findings.push(Finding { severity: Severity::Info, text: format!("{shown}: {}, {} names used", scan.container, scan.globals.len()) });
    for global in &scan.globals {
        let (severity, word) = if global.allowed { (Severity::Info, "allowed") } else { (Severity::Danger, "REFUSED") };
        findings.push(Finding { severity, text: format!("{shown}: {word} {}", global.name) });
    }
    for problem in &scan.problems {
        findings.push(Finding { severity: Severity::Danger, text: format!("{shown}: {problem}") });
    }
    Ok(())
}

fn validate_weights(model: &gravure_core::Model, findings: &mut Vec<Finding>) {
    let mut bytes = Vec::new();
    for tensor in &model.tensors {
        if tensor.shape.row_length() > LONGEST_ROW {
            let text = format!("tensor {}: its rows of {} weights are too long to be looked at", tensor.name, tensor.shape.row_length());
            findings.push(Finding { severity: Severity::Warning, text });
            continue;
        }
        let rows = tensor.shape.rows();
        let row_bytes = tensor.encoding.row_bytes(tensor.shape.row_length()).unwrap_or(1).max(1);
        let step = ((4 << 20) / row_bytes).max(1);
        let mut at = 0;
        while at < rows {
            let end = (at + step).min(rows);
            let result = tensor.data.read_rows(at..end, &mut bytes).and_then(|()| tensor.encoding.validate(&bytes));
            if let Err(e) = result {
                findings.push(Finding { severity: Severity::Danger, text: format!("tensor {}: {e}", tensor.name) });
                break;
            }
            at = end;
        }
    }
}
