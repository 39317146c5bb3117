//! A quality certificate: what an artifact was made from, what it scored, and digests that let anybody see
//! whether both still belong together. It travels in the artifact's own metadata as one JSON string.
//!
//! ```text
//! gravure.certificate = {"version":1, ..., "scores":{...},"seal":"<64 hexadecimal digits>"}<spaces>
//!                       '----------- sealed, byte for byte ------'
//! ```
//! The string always has [`LENGTH`] bytes, and as many quotes, which some formats spell with two: so an artifact's size
//! is known before its scores are. The
//! seal is a digest, not a signature: it shows an alteration, not who made it. It is a digest of the text,
//! not of its values: a changed digit shows even where both spellings are the same number.

use std::path::Path;
use std::sync::Arc;

use gravure_base::{Error, Limits, Result, ResultExt, Sha256, Storage};
use gravure_core::{Artifact, Metadata, Model, Order, Plan, PlanEntry, Value};
use gravure_eval::Measurement;
use serde::{Deserialize, Serialize};

use crate::evaluate::Evaluation;
use crate::quantize::{PlanSource, QuantizeRequest, quantize};
use crate::{Observer, Quiet};

/// Metadata key of the certificate.
pub const CERTIFICATE_KEY: &str = "gravure.certificate";
/// Bytes of the string: about twice what the longest certificate needs.
const LENGTH: usize = 3072;
/// Bytes that are read at once for a digest.
const CHUNK: u64 = 4 << 20;
/// Longest name of a file or model in it.
const LONGEST_NAME: usize = 80;
const SEAL: &str = ",\"seal\":\"";

/// A text that something was measured on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertifiedText {
    /// Name of its file.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Windows of it that were run.
    pub windows: u64,
    /// Tokens in a window.
    pub context: u64,
}

/// A number with the standard error of its mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// The value.
    pub value: f64,
    /// Its standard error.
    pub stderr: f64,
}

impl From<Measurement> for Score {
    fn from(m: Measurement) -> Self {
        Self { value: m.value, stderr: m.stderr }
    }
}

/// What was measured on the evaluation text, against the source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// Runtime that measured.
    pub runtime: String,
    /// Tokens that were scored.
    pub tokens: u64,
    /// Perplexity.
    pub perplexity: Score,
    /// The source's perplexity.
    pub reference_perplexity: Score,
    /// Mean Kullback-Leibler divergence from the source, in nats.
    pub kl_divergence: Score,
    /// Share of positions with the source's most likely token.
    pub top1_agreement: Score,
}

/// The certificate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Version of this layout.
    pub version: u32,
    /// Version of the program that made it.
    pub gravure: String,
    /// Name of the source's file or folder.
    pub source: String,
    /// Digest of the source's tensors: see [`tensors_digest`].
    pub source_sha256: String,
    /// Number of weights.
    pub parameters: u64,
    /// Digest of the artifact's tensors.
    pub tensors_sha256: String,
    /// Bytes of the artifact's tensors.
    pub tensor_bytes: u64,
    /// Digest of the plan: each tensor's name and encoding. See [`plan_digest`].
    pub plan_sha256: String,
    /// Text of importance and sensitivity.
    pub calibration: CertifiedText,
    /// Text of the scores.
    pub evaluation: CertifiedText,
    /// The scores.
    pub scores: Scores,
}

/// The version of the layout that this build writes.
pub(crate) const VERSION: u32 = 1;

impl Certificate {
    /// The text as it stands in an artifact.
    ///
    /// # Errors
    /// `Bug` where it is longer than its room.
    pub(crate) fn sealed(&self) -> Result<String> {
        let text = serde_json::to_string(self).map_err(|e| Error::bug(format!("the certificate cannot be written: {e}")))?;
        let body = text.strip_suffix('}').ok_or_else(|| Error::bug("the certificate is no object"))?;
        let sealed = format!("{body}{SEAL}{}\"}}", seal(body));
        if sealed.len() > LENGTH {
            return Err(Error::bug(format!("the certificate has {} bytes, and its room {LENGTH}", sealed.len())));
        }
        Ok(format!("{sealed:<LENGTH$}"))
    }

    /// The certificate in a text of an artifact, and whether its seal holds.
    ///
    /// # Errors
    /// `Input` where the text is no certificate that this build knows.
    pub fn parse(text: &str) -> Result<(Self, bool)> {
        let broken = |what: &str| Error::input(format!("the certificate is malformed: {what}")).at_item(CERTIFICATE_KEY);
        let (body, rest) = text.split_once(SEAL).ok_or_else(|| broken("it has no seal"))?;
        let held = rest.trim_end_matches(' ').strip_suffix("\"}").ok_or_else(|| broken("it does not end after its seal"))?;
        let certificate: Self = serde_json::from_str(&format!("{body}}}")).map_err(|e| broken(&e.to_string()))?;
        if certificate.version != VERSION {
            let message = format!("the certificate has version {}, and this build reads {VERSION}", certificate.version);
            return Err(Error::unsupported(message).at_item(CERTIFICATE_KEY));
        }
        Ok((certificate, held == seal(body)))
    }

    /// The certificate that a model carries, with whether its seal holds; `None` where it carries none.
    ///
    /// # Errors
    /// As [`Certificate::parse`].
    pub fn of(model: &Model) -> Result<Option<(Self, bool)>> {
        let text = model.metadata.get(CERTIFICATE_KEY).and_then(Value::as_str);
        text.filter(|t| !t.trim_matches([' ', '"']).is_empty()).map(Self::parse).transpose().in_file(&model.source.path)
    }
}

/// Metadata that keeps the certificate's room free.
///
/// # Errors
/// `Bug`.
pub(crate) fn room() -> Result<Metadata> {
    let blank: String = Certificate::default().sealed()?.chars().map(|c| if c == '"' { c } else { ' ' }).collect();
    let mut metadata = Metadata::new();
    metadata.set(CERTIFICATE_KEY, Value::String(blank));
    Ok(metadata)
}

/// Copies an artifact, a file or a folder, to `target` with its certificate in the room that was kept for it: the same
/// bytes but for the text, through the format's own writer.
///
/// # Errors
/// Those of reading and writing; `Bug` where the copy is longer than the original.
pub(crate) fn stamp(from: &Path, target: &Path, certificate: &Certificate, limits: Limits, storage: Arc<dyn Storage>) -> Result<Artifact> {
    let model = crate::open(&crate::OpenRequest { limits, ..crate::OpenRequest::new(from) })?;
    let entry = |t: &gravure_core::Tensor| PlanEntry {
        tensor: t.id.as_ref().and_then(gravure_formats::neutral_name).unwrap_or_else(|| t.name.clone()),
        source: None,
        encoding: t.encoding.id().to_owned(),
        method: "copy".to_owned(),
        reason: "certified".to_owned(),
    };
    let tensors = model.tensors.iter().map(entry).collect();
    let plan = Plan {
        name: "certified".to_owned(),
        file_type: None,
        pruned_layers: Vec::new(),
        passes: Vec::new(),
        order: Order::default(),
        tensor_bytes: 0,
        tensors,
    };
    let mut request = QuantizeRequest::new(from, target, PlanSource::Given(plan));
    request.output_format = Some(model.source.format.to_owned());
    request.overrides.set(CERTIFICATE_KEY, Value::String(certificate.sealed()?));
    request.limits = limits;
    request.storage = storage;
    let copied = quantize(&request, &Quiet)?;
    for file in &copied.artifact.files {
        let original = match file.path.strip_prefix(target) {
            Ok(inside) if !inside.as_os_str().is_empty() => from.join(inside),
            _ => from.to_owned(),
        };
        let before = std::fs::metadata(&original).map_err(|e| Error::io("inspect the artifact", &original, e))?.len();
        if file.bytes > before {
            return Err(Error::bug(format!("the certified copy has {} bytes, and the original {before}", file.bytes)).in_file(&file.path));
        }
    }
    Ok(copied.artifact)
}

fn seal(body: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(body.as_bytes());
    digest.finish()
}

/// A name that needs no escaping and has its room.
pub(crate) fn short_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-+ ".contains(c) { c } else { '_' };
    name.chars().map(plain).take(LONGEST_NAME).collect()
}

/// SHA-256 over all tensors of a model in their order: for each its name, its encoding, rows and row length
/// (in a line), then its bytes. The layout of the files has no part in it. Also the number of these bytes.
///
/// # Errors
/// Those of reading; `Interrupted`.
pub(crate) fn tensors_digest(model: &Model, observer: &dyn Observer) -> Result<(String, u64)> {
    let mut digest = Sha256::new();
    let (mut bytes, mut total) = (Vec::new(), 0);
    let all = model.tensors.iter().map(gravure_core::Tensor::bytes).sum::<Result<u64>>()?;
    observer.begin("digest", model.tensors.len(), all);
    for tensor in &model.tensors {
        let (rows, row_length) = (tensor.shape.rows(), tensor.shape.row_length());
        digest.update(format!("{} {} {rows} {row_length}\n", tensor.name, tensor.encoding.id()).as_bytes());
        let row_bytes = tensor.encoding.row_bytes(row_length).at_item(|| tensor.name.clone())?;
        let step = (CHUNK / row_bytes.max(1)).max(1);
        let mut at = 0;
        while at < rows {
            observer.go_on()?;
            let end = (at + step).min(rows);
            tensor.data.read_rows(at..end, &mut bytes).at_item(|| tensor.name.clone())?;
            digest.update(&bytes);
            total += bytes.len() as u64;
            observer.advance(&tensor.name, bytes.len() as u64);
            at = end;
        }
    }
    observer.end();
    Ok((digest.finish(), total))
}

/// SHA-256 over the names and encodings of tensors in their order, a line for each.
pub(crate) fn plan_digest<'a>(tensors: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut digest = Sha256::new();
    tensors.for_each(|(name, encoding)| digest.update(format!("{name} {encoding}\n").as_bytes()));
    digest.finish()
}

/// SHA-256 of a file.
///
/// # Errors
/// Those of reading.
pub(crate) fn file_digest(path: &Path) -> Result<String> {
    use std::io::Read;
    let mut file = std::fs::File::open(path).map_err(|e| Error::io("open", path, e))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer).map_err(|e| Error::io("read", path, e))?;
        if n == 0 {
            return Ok(digest.finish());
        }
        digest.update(&buffer[..n]);
    }
}

/// The scores of an evaluation against the source.
///
/// # Errors
/// `Bug` where it had no reference.
pub(crate) fn scores(evaluation: &Evaluation, runtime: &str) -> Result<Scores> {
    let c = evaluation.comparison.as_ref().ok_or_else(|| Error::bug("an evaluation without a reference is certified"))?;
    Ok(Scores {
        runtime: runtime.to_owned(),
        tokens: evaluation.tokens,
        perplexity: evaluation.perplexity.into(),
        reference_perplexity: c.reference_perplexity.into(),
        kl_divergence: c.kl_divergence.into(),
        top1_agreement: c.top1_agreement.into(),
    })
}

/// A text that something was measured on, with its digest.
///
/// # Errors
/// Those of reading it.
pub(crate) fn certified_text(path: &Path, windows: usize, context: usize) -> Result<CertifiedText> {
    Ok(CertifiedText { name: short_name(path), sha256: file_digest(path)?, windows: windows as u64, context: context as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> Certificate {
        let text = || CertifiedText { name: "t".repeat(LONGEST_NAME), sha256: "0".repeat(64), windows: u64::MAX, context: u64::MAX };
        let score = Score { value: -1.234_567_890_123_456_7e-300, stderr: 1.234_567_890_123_456_7e-300 };
        Certificate {
            version: VERSION,
            gravure: "100.100.100".into(),
            source: "s".repeat(LONGEST_NAME),
            source_sha256: "0".repeat(64),
            parameters: u64::MAX,
            tensors_sha256: "1".repeat(64),
            tensor_bytes: u64::MAX,
            plan_sha256: "2".repeat(64),
            calibration: text(),
            evaluation: text(),
            scores: Scores {
                runtime: "native".into(),
                tokens: u64::MAX,
                perplexity: score,
                reference_perplexity: score,
                kl_divergence: score,
                top1_agreement: score,
            },
        }
    }

    #[test]
    fn the_longest_fits_and_comes_back() {
        assert_eq!(certificate().sealed().unwrap().len(), LENGTH);
        let mut usual = certificate();
        usual.scores.kl_divergence = Score { value: 0.015_625, stderr: 0.000_5 };
        for score in [&mut usual.scores.perplexity, &mut usual.scores.reference_perplexity, &mut usual.scores.top1_agreement] {
            *score = Score { value: 0.875, stderr: 0.001 };
        }
        assert_eq!(Certificate::parse(&usual.sealed().unwrap()).unwrap(), (usual, true));
    }

    #[test]
    fn every_certificate_needs_the_room_that_is_kept() {
        let quotes = |text: &str| text.bytes().filter(|b| *b == b'"').count();
        let room = room().unwrap();
        let room = room.get(CERTIFICATE_KEY).and_then(Value::as_str).unwrap();
        for certificate in [certificate(), Certificate { source: short_name(Path::new("a\"\\b")), ..Certificate::default() }] {
            let sealed = certificate.sealed().unwrap();
            assert_eq!((sealed.len(), quotes(&sealed)), (room.len(), quotes(room)));
            assert!(!sealed.contains(|c: char| c == '\\' || c.is_control() || !c.is_ascii()));
        }
    }

    #[test]
    fn every_altered_digit_shows() {
        let text = certificate().sealed().unwrap();
        let mut altered = 0;
        for (at, digit) in text.char_indices().filter(|(_, c)| c.is_ascii_digit()) {
            let other = if digit == '9' { '1' } else { char::from(digit as u8 + 1) };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            let holds = Certificate::parse(&changed).is_ok_and(|(_, sealed)| sealed);
            assert!(!holds, "digit {digit} at {at}");
            altered += 1;
        }
        assert!(altered > 600);
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        let text = certificate().sealed().unwrap();
        for bad in ["", "{}", "{\"version\":1,\"seal\":\"0\"}", &text[..text.len() / 4], &text.replace("\"gravure\"", "\"x\"")] {
            assert!(Certificate::parse(bad).is_err(), "{bad}");
        }
        let later = text.replace("{\"version\":1", "{\"version\":2");
        assert_eq!(Certificate::parse(&later).unwrap_err().kind(), gravure_base::ErrorKind::Unsupported);
    }

    #[test]
    fn names_are_tame() {
        assert_eq!(short_name(Path::new("a/b\"c\\\u{7f}ü.txt")), "b_c___.txt");
    }
}
