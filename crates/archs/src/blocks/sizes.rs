//! The sizes that every transformer has, read and checked once.

use gravure_base::{Error, Limits, Result};
use gravure_core::{HyperKey, Hyperparameters, Value};

use crate::config::Config;

/// Layers that a model may have: five times the deepest known one; a graph has some dozens of nodes
/// for each.
const MOST_LAYERS: u64 = 5_000;
/// Longest head that a model may have: rotary factors are generated for each pair.
const LONGEST_HEAD: u64 = 1 << 16;

/// Sizes of a transformer under Hugging Face's usual names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) layers: u64,
    pub(crate) context: u64,
    pub(crate) width: u64,
    pub(crate) feed_forward: u64,
    pub(crate) heads: u64,
    pub(crate) kv_heads: u64,
    /// Length of a head: as the configuration says, or width by heads.
    pub(crate) head: u64,
    /// Whether the configuration or its class says it.
    pub(crate) head_is_given: bool,
    pub(crate) vocabulary: u64,
}

/// What a model's class in transformers takes where the configuration does not say; a size that is
/// `None` here must be said, or follows from others.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Defaults {
    pub(crate) context: u64,
    pub(crate) heads: Option<u64>,
    /// `None`: as many as there are heads.
    pub(crate) kv_heads: Option<u64>,
    /// `None`: width by heads.
    pub(crate) head: Option<u64>,
    pub(crate) vocabulary: Option<u64>,
}

impl Sizes {
    /// Reads the keys of the Llama family.
    pub(crate) fn read(config: &Config<'_>, defaults: Defaults) -> Result<Self> {
        let or = |key: &str, default: Option<u64>| match default {
            Some(default) => config.or(key, default),
            None => config.required(key),
        };
        let heads = or("num_attention_heads", defaults.heads)?;
        let width: u64 = config.required("hidden_size")?;
        let head = config.optional("head_dim")?.or(defaults.head);
        let sizes = Self {
            layers: config.required("num_hidden_layers")?,
            context: config.or("max_position_embeddings", defaults.context)?,
            width,
            feed_forward: config.required("intermediate_size")?,
            heads,
            kv_heads: config.or("num_key_value_heads", defaults.kv_heads.unwrap_or(heads))?,
            head: head.unwrap_or(width / heads.max(1)),
            head_is_given: head.is_some(),
            vocabulary: or("vocab_size", defaults.vocabulary)?,
        };
        sizes.check()?;
        Ok(sizes)
    }

    /// Refuses sizes that no model can have.
    pub(crate) fn check(&self) -> Result<()> {
        Limits::check(self.layers, MOST_LAYERS, "layers")?;
        Limits::check(self.head, LONGEST_HEAD, "length of a head")?;
        let all = [self.layers, self.context, self.width, self.feed_forward, self.heads, self.kv_heads, self.head, self.vocabulary];
        if all.iter().any(|&n| n == 0 || n > u64::from(u32::MAX)) {
            return Err(Error::input("a size of the model is zero or impossibly large").at_item("config.json"));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let message = format!("{} attention heads do not share {} key-value heads evenly", self.heads, self.kv_heads);
            return Err(Error::input(message).at_item("num_key_value_heads"));
        }
        if !self.head_is_given && !self.width.is_multiple_of(self.heads) {
            let message = format!("a width of {} is not a multiple of {} heads", self.width, self.heads);
            return Err(Error::input(message).at_item("hidden_size"));
        }
        Ok(())
    }
}

/// An unsigned hyperparameter; sizes were checked before.
pub(crate) fn u32_value(value: u64) -> Value {
    Value::U32(u32::try_from(value).unwrap_or(u32::MAX))
}

/// Setters by type.
pub(crate) trait Set {
    fn u32(&mut self, key: HyperKey, value: u64);
    fn f32(&mut self, key: HyperKey, value: f64);
    fn text(&mut self, key: HyperKey, value: &str);
    fn bool(&mut self, key: HyperKey, value: bool);
}

impl Set for Hyperparameters {
    fn u32(&mut self, key: HyperKey, value: u64) {
        self.set(key, u32_value(value));
    }

    fn f32(&mut self, key: HyperKey, value: f64) {
        self.set(key, Value::F32(value as f32));
    }

    fn text(&mut self, key: HyperKey, value: &str) {
        self.set(key, Value::String(value.to_owned()));
    }

    fn bool(&mut self, key: HyperKey, value: bool) {
        self.set(key, Value::Bool(value));
    }
}

/// A size, of hyperparameters that may come from any file: products of two sizes fit in 64 bits.
pub(crate) fn size(parameters: &Hyperparameters, key: HyperKey) -> Result<u64> {
    let size = parameters.u64(key)?;
    Limits::check(size, 1 << 30, &format!("{key:?}"))?;
    Ok(size)
}

/// The number of layers, of hyperparameters that may come from any file.
pub(crate) fn layers(parameters: &Hyperparameters) -> Result<u32> {
    let layers = parameters.u64(HyperKey::BlockCount)?;
    Limits::check(layers, MOST_LAYERS, "layers")?;
    u32::try_from(layers).map_err(|_| Error::input(format!("{layers} layers are impossible")))
}
