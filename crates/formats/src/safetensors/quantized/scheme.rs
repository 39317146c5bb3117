//! What `config.json` says about the quantization.

use gravure_base::{Error, Result};
use gravure_core::{Catalog, Tensor};
use serde_json::{Map, Value as Json};

use super::compressed::{self, Compressed};
use super::groups::Groups;
use super::integers::{self, Awq, Gptq, Mlx};
use super::scaled;

type Object = Map<String, Json>;

/// A way of quantizing, with its settings.
#[derive(Debug)]
pub(super) enum Scheme {
    Gptq(Gptq),
    Awq(Awq),
    Mlx(Mlx),
    Compressed(Compressed),
    /// Float8 with the shape of its blocks, where it has some.
    Fp8(Option<[u64; 2]>),
}

/// Keys under which transformers and MLX describe it.
pub(super) const KEYS: [&str; 3] = ["quantization_config", "quantization", "compression_config"];

impl Scheme {
    /// Takes the description out of the configuration; `None` where there is none.
    pub(super) fn take(config: &mut Json) -> Result<Option<Self>> {
        let Json::Object(map) = config else { return Ok(None) };
        let found: Vec<(&str, Json)> =
            KEYS.iter().filter_map(|&key| Some((key, map.shift_remove(key)?))).filter(|(_, v)| !v.is_null()).collect();
        let Some((key, first)) = found.first() else { return Ok(None) };
        // MLX writes the same object under two names.
        if let Some((other, _)) = found.iter().find(|(_, value)| value != first) {
            return Err(Error::input(format!("`{key}` and `{other}` describe two quantizations")));
        }
        let Json::Object(object) = first else {
            return Err(Error::input("is no object").at_item(*key));
        };
        Self::parse(object).map(Some).map_err(|e| e.at_item(*key))
    }

    fn parse(object: &Object) -> Result<Self> {
        let method = match object.get("quant_method") {
            None => None,
            Some(Json::String(method)) => Some(method.as_str()),
            Some(_) => return Err(Error::input("`quant_method` is no string")),
        };
        match method {
            Some("gptq") => Gptq::parse(object).map(Self::Gptq),
            Some("awq") => Awq::parse(object).map(Self::Awq),
            Some("compressed-tensors") => Compressed::parse(object).map(Self::Compressed),
            Some("fp8") => Ok(Self::Fp8(block_shape(object)?)),
            None if object.contains_key("group_size") && object.contains_key("bits") => Mlx::parse(object).map(Self::Mlx),
            None => Err(Error::unsupported("the quantization of this checkpoint names no method")),
            Some(other) => Err(Error::unsupported(format!("checkpoints quantized by `{other}` are not known to this build"))
                .help("known: gptq, awq, compressed-tensors, fp8, and MLX's affine mode")),
        }
    }

    /// The end of the name by which a quantized matrix is recognised.
    pub(super) fn marker(&self) -> &'static str {
        match self {
            Self::Gptq(_) | Self::Awq(_) => ".qweight",
            Self::Mlx(_) => ".weight",
            Self::Compressed(compressed) => compressed.marker(),
            Self::Fp8(_) => ".weight",
        }
    }

    /// Whether every matrix is packed by its outputs, as that of a linear map, even where the module that it came from
    /// stores its inputs as rows (`Conv1D`): the packers turn such a weight first. The others keep the shape of the floats.
    pub(super) fn packs_linear_maps(&self) -> bool {
        matches!(self, Self::Gptq(_) | Self::Awq(_) | Self::Mlx(_))
    }

    /// Ends of names of tensors that do not concern the weights.
    pub(super) fn unused(&self) -> &'static [&'static str] {
        match self {
            Self::Gptq(_) | Self::Awq(_) | Self::Mlx(_) => &[],
            Self::Compressed(_) | Self::Fp8(_) => &[
                ".input_scale",
                ".input_zero_point",
                ".input_global_scale",
                ".output_scale",
                ".output_zero_point",
                ".k_scale",
                ".v_scale",
                ".q_scale",
                ".activation_scale",
            ],
        }
    }

    /// For notes.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Gptq(gptq) => gptq.describe(),
            Self::Awq(awq) => awq.describe(),
            Self::Mlx(mlx) => mlx.describe(),
            Self::Compressed(compressed) => compressed.describe(),
            Self::Fp8(None) => "fp8".to_owned(),
            Self::Fp8(Some([rows, columns])) => format!("fp8 in blocks of {rows} by {columns}"),
        }
    }

    /// The matrix `base`, or `None` where it is not quantized.
    pub(super) fn decode(&self, base: &str, groups: &mut Groups, catalog: &Catalog) -> Result<Option<Tensor>> {
        match self {
            Self::Gptq(gptq) => integers::gptq(gptq, base, groups, catalog).map(Some),
            Self::Awq(awq) => integers::awq(awq, base, groups, catalog).map(Some),
            Self::Mlx(mlx) => integers::mlx(mlx, base, groups, catalog),
            Self::Compressed(scheme) => compressed::decode(scheme, base, groups, catalog),
            Self::Fp8(block) => scaled::fp8(*block, base, groups, catalog),
        }
    }
}

fn block_shape(object: &Object) -> Result<Option<[u64; 2]>> {
    match object.get("weight_block_size") {
        None | Some(Json::Null) => Ok(None),
        Some(value) => {
            let sizes = value.as_array().map(|a| a.iter().map(Json::as_u64).collect::<Vec<_>>());
            match sizes.as_deref() {
                Some([Some(rows @ 1..), Some(columns @ 1..)]) => Ok(Some([*rows, *columns])),
                _ => Err(Error::input("`weight_block_size` is no pair of positive numbers")),
            }
        }
    }
}

/// A whole number under the first of `keys` that is there.
pub(super) fn number(object: &Object, keys: &[&str]) -> Result<i64> {
    let (key, value) = keys
        .iter()
        .find_map(|&key| object.get(key).map(|v| (key, v)))
        .ok_or_else(|| Error::input(format!("the quantization does not say its `{}`", keys[0])))?;
    value.as_i64().ok_or_else(|| Error::input(format!("`{key}` is {value} instead of a whole number")))
}

/// Bits of a code.
pub(super) fn bits(object: &Object, keys: &[&str]) -> Result<u32> {
    let bits = number(object, keys)?;
    u32::try_from(bits).ok().filter(|b| (1..=16).contains(b)).ok_or_else(|| Error::unsupported(format!("codes of {bits} bits")))
}

/// Columns in a group; `None` for -1, which means the whole row.
pub(super) fn group_size(object: &Object, keys: &[&str]) -> Result<Option<u64>> {
    match number(object, keys)? {
        -1 => Ok(None),
        n => u64::try_from(n).ok().filter(|&n| n > 0).map(Some).ok_or_else(|| Error::input(format!("groups of {n} weights"))),
    }
}
