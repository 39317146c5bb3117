//! Evaluation: what a model is worth on a text, and how far it is from a reference.

use std::path::{Path, PathBuf};
use std::time::Instant;

use gravure_base::{Error, Result, ResultExt};
use gravure_core::Model;
use gravure_eval::{Quality, QualityRequest, Subject, Windows, quality};
use gravure_text::Tokenizer;

use crate::Observer;
use crate::engine::{Engine, LoadOptions, load};

/// Tokens of context for a worst token's text.
const SHOWN_BEFORE: usize = 12;

/// What to evaluate, and on what.
#[derive(Debug, Clone)]
pub struct EvaluateRequest {
    /// The model.
    pub model: LoadOptions,
    /// The model that it is compared with.
    pub reference: Option<LoadOptions>,
    /// The text.
    pub data: PathBuf,
    /// Tokens in a window.
    pub context: usize,
    /// At most this many windows.
    pub windows: Option<usize>,
    /// How many of the worst tokens are listed.
    pub worst: usize,
}

impl EvaluateRequest {
    /// Windows of 512 tokens of all of `data`, no reference.
    pub fn new(model: LoadOptions, data: impl Into<PathBuf>) -> Self {
        Self { model, reference: None, data: data.into(), context: 512, windows: None, worst: 10 }
    }
}

/// A worst token with its text.
#[derive(Debug, Clone, serde::Serialize)]
pub struct WorstText {
    /// The text before it.
    pub before: String,
    /// The token's text.
    pub text: String,
    /// Window of the text.
    pub window: usize,
    /// Position in the window.
    pub position: usize,
    /// Its negative log-likelihood.
    pub nll: f64,
    /// Divergence at its position, where there is a reference.
    pub kl_divergence: Option<f64>,
}

/// What was measured.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Evaluation {
    /// The model's path.
    pub model: PathBuf,
    /// Id of the runtime that it ran in.
    pub runtime: String,
    /// The same of the reference, where there is one.
    pub reference_runtime: Option<String>,
    /// The text's path.
    pub data: PathBuf,
    /// Bytes of the model's tensors.
    pub tensor_bytes: u64,
    /// Bits for each weight.
    pub bits_per_weight: f64,
    /// Windows of the text.
    pub windows: usize,
    /// Tokens in a window.
    pub context: usize,
    /// Tokens that were scored.
    pub tokens: u64,
    /// Perplexity.
    pub perplexity: gravure_eval::Measurement,
    /// Divergence, agreement and the reference's own perplexity, where there is a reference.
    #[serde(flatten)]
    pub comparison: Option<gravure_eval::quality::Comparison>,
    /// The worst tokens: by divergence where there is a reference, else by likelihood.
    pub worst: Vec<WorstText>,
    /// Seconds of evaluation, without loading.
    pub seconds: f64,
}

/// The text of a data file.
///
/// # Errors
/// `NotFound`, `Limit` where it is larger than a text may be, `Input` where it is not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    /// Longest text: its tokens take four times as much.
    const LONGEST: u64 = 1 << 30;
    let meta = std::fs::metadata(path).map_err(|e| Error::io("open the text", path, e))?;
    if meta.len() > LONGEST {
        return Err(Error::limit(format!("the text has {} bytes, and at most {LONGEST} are read", meta.len())).in_file(path));
    }
    let bytes = std::fs::read(path).map_err(|e| Error::io("read the text", path, e))?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to() as u64;
        Error::input("the text is not UTF-8").in_file(path).at_offset(at)
    })
}

/// The tokenizer of a model, or an error that names it.
pub(crate) fn tokenizer(model: &Model) -> Result<&Tokenizer> {
    model.tokenizer.as_deref().ok_or_else(|| {
        Error::unsupported("this model has no tokenizer that is understood, so texts cannot be put to it").in_file(&model.source.path)
    })
}

/// The token that sequences begin with, where the vocabulary puts one.
pub(crate) fn first_token(tokenizer: &Tokenizer) -> Option<u32> {
    let begins = tokenizer.settings().add_bos == Some(true);
    begins.then(|| tokenizer.special(gravure_text::SpecialToken::Bos)).flatten()
}

/// A text as windows want it: its tokens with what the tokenizer puts around them.
pub(crate) fn text_tokens(model: &Model, path: &Path) -> Result<Vec<u32>> {
    let text = read_text(path)?;
    // Spellings of special tokens in a text are text: an evaluation must not meet end of sequence.
    let around = gravure_text::Around::Specials;
    tokenizer(model)?.encode_with(&text, around, gravure_text::SpecialText::Text).in_file(path)
}

/// Runs the windows of a text through models, and through their references where there are some; one that
/// is the reference of several is loaded once.
///
/// # Errors
/// Of the first that fails: those of loading; `Unsupported` where a model does not decode or has no
/// tokenizer; `Request` where the text is too short, or two models have different vocabularies; `Interrupted`.
pub fn evaluate_all(requests: &[EvaluateRequest], observer: &dyn Observer) -> Result<Vec<Evaluation>> {
    let mut reference: Option<(PathBuf, Engine)> = None;
    let mut out = Vec::with_capacity(requests.len());
    for request in requests {
        let with_context = |options: &LoadOptions| LoadOptions { positions: request.context, ..options.clone() };
        if let Some(wanted) = &request.reference
            && reference.as_ref().is_none_or(|(path, engine)| *path != wanted.path || engine.positions() < request.context)
        {
            reference = Some((wanted.path.clone(), load(&with_context(&wanted.as_original()), observer)?));
        }
        let engine = load(&with_context(&request.model), observer)?;
        let other = request.reference.as_ref().and(reference.as_ref()).map(|(_, engine)| engine);
        out.push(evaluate_loaded(request, &engine, other, observer)?);
    }
    Ok(out)
}

/// The same with models that are loaded already, with room for a window each.
///
/// # Errors
/// As [`evaluate_all`].
pub fn evaluate_loaded(
    request: &EvaluateRequest,
    engine: &Engine,
    reference: Option<&Engine>,
    observer: &dyn Observer,
) -> Result<Evaluation> {
    let tokens = text_tokens(&engine.model, &request.data)?;
    if let Some(reference) = reference
        && text_tokens(&reference.model, &request.data)? != tokens
    {
        return Err(Error::request("the model and its reference have different tokens for this text")
            .in_file(&reference.model.source.path)
            .help("compare a model with the one that it was made from"));
    }
    let tokenizer = tokenizer(&engine.model)?;
    let windows = Windows::new(&tokens, request.context, first_token(tokenizer), request.windows).in_file(&request.data)?;
    let measure = QualityRequest { windows, threads: engine.threads, worst: request.worst };
    let model = subject(engine)?;
    let other = reference.map(subject).transpose()?;
    let started = Instant::now();
    let bytes = std::fs::metadata(&request.data).map(|m| m.len()).unwrap_or_default();
    observer.begin("evaluate", 0, bytes);
    let share = bytes / windows.count() as u64;
    let measured = quality(&measure, &model, other.as_ref(), &mut |_, perplexity| {
        observer.advance(&format!("perplexity {perplexity:.4}"), share);
        observer.go_on()
    });
    observer.end();
    let Quality { windows, context, tokens, perplexity, comparison, worst } = measured?;
    let worst = worst.into_iter().map(|w| describe(tokenizer, w)).collect::<Result<_>>()?;
    let tensor_bytes = engine.model.tensors.iter().map(gravure_core::Tensor::stored_bytes).sum::<Result<u64>>()?;
    let bits_per_weight = tensor_bytes as f64 * 8.0 / engine.model.parameters().max(1) as f64;
    Ok(Evaluation {
        model: engine.model.source.path.clone(),
        runtime: engine.runtime.to_owned(),
        reference_runtime: reference.map(|r| r.runtime.to_owned()),
        data: request.data.clone(),
        tensor_bytes,
        bits_per_weight,
        windows,
        context,
        tokens,
        perplexity,
        comparison,
        worst,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// A model as evaluation wants it.
pub(crate) fn subject(engine: &Engine) -> Result<Subject<'_>> {
    Ok(Subject { decoder: engine.decoder()?, vocabulary: engine.loaded.facts().width })
}

fn describe(tokenizer: &Tokenizer, worst: gravure_eval::quality::WorstToken) -> Result<WorstText> {
    let start = worst.before.len().saturating_sub(SHOWN_BEFORE);
    Ok(WorstText {
        before: tokenizer.decode(&worst.before[start..])?,
        text: tokenizer.decode(&[worst.token])?,
        window: worst.window,
        position: worst.position,
        nll: worst.nll,
        kl_divergence: worst.kl_divergence,
    })
}
