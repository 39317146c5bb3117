//! Embeddings: texts as vectors.

use gravure_base::{Error, Result};
use gravure_core::HyperKey;
use gravure_text::{Around, SpecialText};

use crate::Observer;
use crate::engine::{LoadOptions, load};
use crate::evaluate::tokenizer;

/// How vectors of tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first token.
    First,
    /// That of the last token.
    Last,
}

/// Length of the vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// Divided by it: products are cosines.
    Unit,
    /// As the model gives them.
    Raw,
}

/// Which texts, and how.
#[derive(Debug, Clone)]
pub struct EmbedRequest {
    /// The model.
    pub model: LoadOptions,
    /// The texts.
    pub texts: Vec<String>,
    /// How tokens are pooled; `None` for what the model says of itself, or else the mean.
    pub pooling: Option<Pooling>,
    /// Length of the vectors.
    pub scaling: Scaling,
}

/// Texts as vectors.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Embeddings {
    /// Length of a vector.
    pub width: usize,
    /// How tokens were pooled.
    pub pooling: Pooling,
    /// Tokens of each text.
    pub tokens: Vec<usize>,
    /// A vector for each text.
    pub vectors: Vec<Vec<f32>>,
}

/// Turns texts into vectors.
///
/// # Errors
/// Those of loading; `Unsupported` where the model makes no embeddings; `Request` for a text that is
/// longer than the model's context; `Interrupted`.
pub fn embed(request: &EmbedRequest, observer: &dyn Observer) -> Result<Embeddings> {
    let engine = load(&request.model, observer)?;
    let tokenizer = tokenizer(&engine.model)?;
    let encoder = engine
        .loaded
        .encoder()
        .ok_or_else(|| Error::unsupported("this model continues texts and makes no embeddings").in_file(&engine.model.source.path))?;
    let stated = match engine.model.hyperparameters.u64(HyperKey::PoolingType).ok() {
        Some(2) => Pooling::First,
        Some(3) => Pooling::Last,
        _ => Pooling::Mean,
    };
    let pooling = request.pooling.unwrap_or(stated);
    let width = engine.loaded.facts().width;
    let mut out = Embeddings { width, pooling, tokens: Vec::new(), vectors: Vec::new() };
    for (index, text) in request.texts.iter().enumerate() {
        observer.go_on()?;
        let at = |e: Error| e.at_item(format!("text {index}"));
        let tokens = tokenizer.encode_with(text, Around::Specials, SpecialText::Text).map_err(at)?;
        let rows = encoder.encode(&tokens, &vec![0; tokens.len()]).map_err(at)?;
        out.vectors.push(pool(&rows, width, pooling, request.scaling));
        out.tokens.push(tokens.len());
    }
    Ok(out)
}

fn pool(rows: &[f32], width: usize, pooling: Pooling, scaling: Scaling) -> Vec<f32> {
    let mut rows = rows.chunks_exact(width.max(1));
    let count = rows.len().max(1) as f64;
    let mut sums = vec![0.0_f64; width];
    let mut add = |row: &[f32], weight: f64| sums.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v) * weight);
    match pooling {
        Pooling::Mean => rows.for_each(|row| add(row, 1.0 / count)),
        Pooling::First => rows.next().into_iter().for_each(|row| add(row, 1.0)),
        Pooling::Last => rows.next_back().into_iter().for_each(|row| add(row, 1.0)),
    }
    let length = sums.iter().map(|v| v * v).sum::<f64>().sqrt();
    let divisor = if scaling == Scaling::Unit && length > 0.0 { length } else { 1.0 };
    sums.into_iter().map(|v| (v / divisor) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_takes_the_rows_that_it_says() {
        let rows = [1.0, 0.0, 3.0, 4.0, 5.0, 8.0];
        assert_eq!(pool(&rows, 2, Pooling::Mean, Scaling::Raw), [3.0, 4.0]);
        assert_eq!(pool(&rows, 2, Pooling::Mean, Scaling::Unit), [0.6, 0.8]);
        assert_eq!(pool(&rows, 2, Pooling::First, Scaling::Raw), [1.0, 0.0]);
        assert_eq!(pool(&rows, 2, Pooling::Last, Scaling::Raw), [5.0, 8.0]);
        assert_eq!(pool(&[0.0, 0.0], 2, Pooling::Mean, Scaling::Unit), [0.0, 0.0]);
    }
}
