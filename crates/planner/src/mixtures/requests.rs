//! Everything that can be asked of a mixture, in one value. The options are llama-quantize's.

use gravure_core::{Error, ImportanceMatrix, Result};

use super::table::Mixture;

/// Whether the mixture's exceptions apply (`--pure`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spread {
    /// Sensitive tensors get more bits.
    #[default]
    Mixed,
    /// Every tensor that may be quantized gets the base encoding.
    Pure,
}

/// What happens to the output matrix (`--leave-output-tensor`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputMatrix {
    /// Quantized like any other, by its own rule.
    #[default]
    Quantized,
    /// Left in the source's encoding.
    Left,
}

/// Whether tensors that are quantized already may be quantized again (`--allow-requantize`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Requantize {
    /// An error that names the tensor: errors add up, and it is seldom meant.
    #[default]
    Refused,
    /// Decoded and rounded again.
    Allowed,
}

/// In which order tensors are written, and counted by rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TensorOrder {
    /// What is outside the layers first, then layer by layer, each by name.
    #[default]
    ByLayer,
    /// As in the source's files (`--keep-split`).
    AsStored,
}

/// Which entries of the importance matrix are used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ImportanceFilter {
    /// All.
    #[default]
    All,
    /// Those whose name contains one of these (`--include-weights`).
    Including(Vec<String>),
    /// Those whose name contains none of these (`--exclude-weights`).
    Excluding(Vec<String>),
}

impl ImportanceFilter {
    /// From the two options' values.
    ///
    /// # Errors
    /// `Request` where both are given.
    pub fn new(include: Vec<String>, exclude: Vec<String>) -> Result<Self> {
        match (include.is_empty(), exclude.is_empty()) {
            (true, true) => Ok(Self::All),
            (false, true) => Ok(Self::Including(include)),
            (true, false) => Ok(Self::Excluding(exclude)),
            (false, false) => {
                Err(Error::request("weights cannot be both included and excluded")
                    .help("give either --include-weights or --exclude-weights"))
            }
        }
    }

    fn keeps(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Including(parts) => parts.iter().any(|p| name.contains(&**p)),
            Self::Excluding(parts) => !parts.iter().any(|p| name.contains(&**p)),
        }
    }
}

/// An encoding for the tensors whose name matches a pattern (`--tensor-type PATTERN=TYPE`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorType {
    /// Regular expression, searched anywhere in the name. Lower case, as llama-quantize reads it.
    pub pattern: String,
    /// Encoding id, lower case.
    pub encoding: String,
}

impl TensorType {
    /// From `PATTERN=TYPE`.
    ///
    /// # Errors
    /// `Request` where a half is missing.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| Error::request(format!("{what} in `{text}`")).help("write PATTERN=TYPE, for example attn_q=q8_0");
        let (pattern, encoding) = text.split_once('=').ok_or_else(|| wrong("there is no `=`"))?;
        match (pattern.is_empty(), encoding.is_empty()) {
            (true, _) => Err(wrong("there is no tensor pattern")),
            (_, true) => Err(wrong("there is no type")),
            _ => Ok(Self { pattern: pattern.to_ascii_lowercase(), encoding: encoding.to_ascii_lowercase() }),
        }
    }

    /// From the text of a file of such rules, separated by white space (`--tensor-type-file`).
    ///
    /// # Errors
    /// As [`TensorType::parse`].
    pub fn parse_file(text: &str) -> Result<Vec<Self>> {
        text.split_ascii_whitespace().map(Self::parse).collect()
    }
}

/// Layers from `1,2,5` (`--prune-layers`), in ascending order and once each.
///
/// # Errors
/// `Request` where a part is no layer number.
pub fn parse_layers(text: &str) -> Result<Vec<u32>> {
    let mut layers = Vec::new();
    for part in text.split(',') {
        let layer = part.trim().parse().map_err(|_| Error::request(format!("`{part}` is no layer number")).help("write numbers: 1,2,5"))?;
        layers.push(layer);
    }
    layers.sort_unstable();
    layers.dedup();
    Ok(layers)
}

/// A mixture and its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MixtureRequest {
    /// Which.
    pub mixture: &'static Mixture,
    /// Whether its exceptions apply.
    pub spread: Spread,
    /// What happens to the output matrix.
    pub output_matrix: OutputMatrix,
    /// Encoding id for the output matrix, and for the embedding where that is the output matrix too
    /// (`--output-tensor-type`).
    pub output_type: Option<String>,
    /// Encoding id for the token embedding (`--token-embedding-type`).
    pub token_embedding_type: Option<String>,
    /// Rules by name; the first that matches counts. They apply where the base encoding is quantized.
    pub tensor_types: Vec<TensorType>,
    /// Layers to leave out, ascending and once each (see [`parse_layers`]).
    pub pruned_layers: Vec<u32>,
    /// Whether tensors that are quantized already may be quantized again.
    pub requantize: Requantize,
    /// Order of the output.
    pub order: TensorOrder,
    /// Which entries of the importance matrix are used.
    pub importance_filter: ImportanceFilter,
}

impl MixtureRequest {
    /// The mixture without any option.
    pub fn new(mixture: &'static Mixture) -> Self {
        Self {
            mixture,
            spread: Spread::default(),
            output_matrix: OutputMatrix::default(),
            output_type: None,
            token_embedding_type: None,
            tensor_types: Vec::new(),
            pruned_layers: Vec::new(),
            requantize: Requantize::default(),
            order: TensorOrder::default(),
            importance_filter: ImportanceFilter::default(),
        }
    }

    /// The matrix without the entries that the filter takes out; `None` where nothing is left, which
    /// is the same as having none.
    pub fn filter_importance(&self, mut matrix: ImportanceMatrix) -> Option<ImportanceMatrix> {
        matrix.entries.retain(|name, _| self.importance_filter.keeps(name));
        (!matrix.entries.is_empty()).then_some(matrix)
    }

    /// Whether the filter uses the entry of this tensor.
    pub(super) fn uses_importance_of(&self, name: &str) -> bool {
        self.importance_filter.keeps(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensor_types_are_read_as_the_peer_reads_them() {
        let rule = TensorType::parse("BLK\\.[0-3]\\.attn=Q8_0").unwrap();
        assert_eq!((&*rule.pattern, &*rule.encoding), ("blk\\.[0-3]\\.attn", "q8_0"));
        for wrong in ["attn_q", "=q8_0", "attn_q="] {
            assert!(TensorType::parse(wrong).is_err(), "{wrong}");
        }
        let rules = TensorType::parse_file("attn_q=q8_0\n\n ffn_up=iq4_xs\tx=f16\n").unwrap();
        assert_eq!(rules.len(), 3);
        assert!(TensorType::parse_file("attn_q=q8_0 nonsense").is_err());
    }

    #[test]
    fn layers_are_sorted() {
        assert_eq!(parse_layers("7,1,1,3").unwrap(), [1, 3, 7]);
        for wrong in ["", "1,,2", "-1", "a", "99999999999"] {
            assert!(parse_layers(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn filters_go_by_parts_of_names() {
        let mut matrix = ImportanceMatrix::default();
        for name in ["blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.1.ffn_up.weight"] {
            matrix.entries.insert(name.into(), gravure_core::values::ImportanceEntry { values: vec![1.0], counts: vec![1.0] });
        }
        let names = |filter| {
            let mut request = MixtureRequest::new(&super::super::table::MIXTURES[0]);
            request.importance_filter = filter;
            request.filter_importance(matrix.clone()).map(|m| m.entries.into_keys().collect::<Vec<_>>())
        };
        let list = |parts: &[&str]| parts.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(ImportanceFilter::All).unwrap().len(), 3);
        assert_eq!(
            names(ImportanceFilter::new(list(&["attn_q", "blk.1"]), vec![]).unwrap()).unwrap(),
            ["blk.0.attn_q.weight", "blk.1.ffn_up.weight"]
        );
        assert_eq!(names(ImportanceFilter::new(vec![], list(&["attn"])).unwrap()).unwrap(), ["blk.1.ffn_up.weight"]);
        assert_eq!(names(ImportanceFilter::new(list(&["nothing"]), vec![]).unwrap()), None);
        assert!(ImportanceFilter::new(list(&["a"]), list(&["b"])).is_err());
    }
}
