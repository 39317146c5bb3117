//! Do the tensors have the shapes that the configuration says?
//!
//! A checkpoint whose `config.json` belongs to another model would otherwise be converted without a
//! word into an artifact that no program can run, or that one runs past the end of its weights.
//! Only sizes that are one number for all layers, of architectures that have a file here, are
//! compared; a matrix may be stored either way around.

use gravure_base::{Error, Result};
use gravure_core::{HyperKey, Model, Naming, Part, Role, Tensor, Value};

/// The sizes that shapes follow from; `None` where they differ by layer or are not stated.
struct Sizes {
    width: Option<u64>,
    vocabulary: Option<u64>,
    feed_forward: Option<u64>,
    queries: Option<u64>,
    keys: Option<u64>,
    values: Option<u64>,
    mixed: Option<u64>,
}

impl Sizes {
    fn of(model: &Model) -> Self {
        let size = |key| model.hyperparameters.get(key).and_then(Value::as_u64);
        let (width, heads) = (size(HyperKey::EmbeddingLength), size(HyperKey::HeadCount));
        let kv_heads = match model.hyperparameters.get(HyperKey::HeadCountKv) {
            None => heads,
            Some(value) => value.as_u64(),
        };
        let head = width.zip(heads).and_then(|(width, heads)| width.checked_div(heads));
        let (key, value) = (size(HyperKey::KeyLength).or(head), size(HyperKey::ValueLength).or(head));
        let product = |a: Option<u64>, b: Option<u64>| a?.checked_mul(b?);
        let dense = size(HyperKey::ExpertCount).unwrap_or(0) == 0;
        Self {
            width,
            // A GGUF may state another number than it has tokens; readers count the tokens.
            vocabulary: size(HyperKey::VocabSize).filter(|_| model.naming == Naming::HuggingFace),
            feed_forward: size(HyperKey::FeedForwardLength).filter(|_| dense),
            queries: product(heads, key),
            keys: product(kv_heads, key),
            values: product(kv_heads, value),
            mixed: product(heads, value),
        }
    }

    /// Rows and columns of a matrix, where both are known.
    fn matrix(&self, role: Role) -> Option<(u64, u64)> {
        let width = self.width?;
        match role {
            Role::TokenEmbedding => Some((self.vocabulary?, width)),
            Role::AttentionQuery => Some((self.queries?, width)),
            Role::AttentionKey => Some((self.keys?, width)),
            Role::AttentionValue => Some((self.values?, width)),
            Role::AttentionQkv => Some((self.queries?.checked_add(self.keys?)?.checked_add(self.values?)?, width)),
            Role::AttentionOutput => Some((width, self.mixed?)),
            Role::FeedForwardGate | Role::FeedForwardUp => Some((self.feed_forward?, width)),
            Role::FeedForwardDown => Some((width, self.feed_forward?)),
            _ => None,
        }
    }
}

/// Compares the shapes of a model's tensors with its hyperparameters.
///
/// # Errors
/// `Input` for the first tensor that contradicts them.
pub(crate) fn check(model: &Model) -> Result<()> {
    if model.architecture.is_none() {
        return Ok(());
    }
    let sizes = Sizes::of(model);
    for tensor in &model.tensors {
        let Some(id) = tensor.id.filter(|id| id.part == Part::Weight && id.expert.is_none()) else { continue };
        match (tensor.shape.dimensions(), sizes.matrix(id.role), sizes.width) {
            (&[rows, columns], Some((a, b)), _) => {
                // Some architectures store gate and up in one.
                let fused = id.role == Role::FeedForwardUp && (rows, columns) == (a.saturating_mul(2), b);
                if (rows, columns) != (a, b) && (columns, rows) != (a, b) && !fused {
                    return Err(contradiction(model, tensor, &format!("[{a}, {b}]")));
                }
            }
            (&[_, columns], None, Some(width)) if matches!(id.role, Role::TokenEmbedding | Role::Output) && columns != width => {
                return Err(contradiction(model, tensor, &format!("rows of {width}")));
            }
            (&[length], _, Some(width))
                if matches!(id.role, Role::AttentionNorm | Role::FeedForwardNorm | Role::OutputNorm) && length != width =>
            {
                return Err(contradiction(model, tensor, &format!("a length of {width}")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Compares one half of an adapter's pair with the weight of this role that it changes; `base` is that weight's model.
///
/// # Errors
/// `Input` where the weight has another number of rows or columns.
pub(crate) fn check_half(half: &Tensor, is_a: bool, role: Role, base: &Model) -> Result<()> {
    let sizes = Sizes::of(base);
    let size = |key| base.hyperparameters.get(key).and_then(Value::as_u64);
    let (expected, what) = match (role, is_a) {
        // Looked up, not multiplied: the pair is the table turned.
        (Role::TokenEmbedding, true) => (size(HyperKey::VocabSize), "tokens"),
        (Role::TokenEmbedding, false) => (sizes.width, "columns"),
        (Role::Output, true) => (sizes.width, "columns"),
        (Role::Output, false) => (size(HyperKey::VocabSize), "rows"),
        (role, true) => (sizes.matrix(role).map(|(_, columns)| columns), "columns"),
        (role, false) => (sizes.matrix(role).map(|(rows, _)| rows), "rows"),
    };
    let dimensions = half.shape.dimensions();
    let found = if is_a { dimensions.last() } else { dimensions.first() };
    let (Some(expected), Some(&found)) = (expected, found) else { return Ok(()) };
    // Some architectures store gate and up in one.
    if found == expected || role == Role::FeedForwardUp && !is_a && found == expected.saturating_mul(2) {
        return Ok(());
    }
    Err(Error::input(format!("is for a weight of {found} {what}, where the base model's has {expected}"))
        .help("the adapter is for another base model"))
}

fn contradiction(model: &Model, tensor: &Tensor, expected: &str) -> Error {
    Error::input(format!("has the shape {}, where the model's configuration asks for {expected}", tensor.shape))
        .at_item(&*tensor.name)
        .in_file(&model.source.path)
        .help("the configuration belongs to another model, or the download is mixed up")
}
