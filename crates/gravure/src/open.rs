//! From a path to a model: which format is it, and read it.

use std::io::Read;
use std::path::Path;

use gravure_base::{Error, ErrorKind, Limits, Result};
use gravure_core::{Confidence, Format, Model, ReadRequest};

use crate::{catalog, dimensions};

/// What to open and how.
#[derive(Debug, Clone)]
pub struct OpenRequest<'a> {
    /// File or folder.
    pub path: &'a Path,
    /// Format id, where the user names it; otherwise it is recognised.
    pub format: Option<&'a str>,
    /// Whether unknown keys and tensors are notes instead of errors.
    pub lenient: bool,
    /// Bounds for what the files may ask.
    pub limits: Limits,
}

impl<'a> OpenRequest<'a> {
    /// Strict, with default limits.
    pub fn new(path: &'a Path) -> Self {
        Self { path, format: None, lenient: false, limits: Limits::default() }
    }
}

/// Opens a model without reading its weights.
///
/// # Errors
/// `NotFound` for a missing path, `Unsupported` where no format knows it, and whatever the format says.
pub fn open(request: &OpenRequest<'_>) -> Result<Model> {
    open_by(request, false).map(|(model, _)| model)
}

/// The same, and its format; where it may be, the tokenizer is left to that.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_by(request: &OpenRequest<'_>, tokenizer_later: bool) -> Result<(Model, &'static dyn Format)> {
    let format = match request.format {
        Some(id) => catalog().format(id)?,
        None => recognise(request.path)?,
    };
    let read = ReadRequest { path: request.path, catalog: catalog(), limits: &request.limits, lenient: request.lenient, tokenizer_later };
    let model = format.read(&read).map_err(|e| e.in_file(request.path))?;
    dimensions::check(&model)?;
    Ok((model, format))
}

/// The format that is surest about `path`.
pub(crate) fn recognise(path: &Path) -> Result<&'static dyn Format> {
    let meta = std::fs::metadata(path).map_err(|e| Error::io("open the model", path, e))?;
    let mut head = Vec::new();
    if meta.is_file() {
        let file = std::fs::File::open(path).map_err(|e| Error::io("open the model", path, e))?;
        file.take(4096).read_to_end(&mut head).map_err(|e| Error::io("read", path, e))?;
    } else if !meta.is_dir() {
        return Err(Error::new(ErrorKind::Input, "is neither a file nor a folder").in_file(path));
    }
    let mut best: Option<(Confidence, &'static dyn Format)> = None;
    for format in catalog().formats {
        let confidence = format.probe(path, &head);
        if confidence > best.map_or(Confidence::No, |(c, _)| c) {
            best = Some((confidence, *format));
        }
    }
    best.map(|(_, f)| f).ok_or_else(|| {
        let known: Vec<_> = catalog().formats.iter().map(|f| format!("{} ({})", f.id(), f.doc())).collect();
        let what = if meta.is_dir() { "this folder holds no model that is known" } else { "this file is no model that is known" };
        Error::new(ErrorKind::Input, what).in_file(path).help(format!("known formats: {}", known.join("; ")))
    })
}
