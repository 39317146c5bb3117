//! Recipes: a run of `optimize` as a TOML file. Keys are called as the options of the command line are;
//! paths are relative to the recipe. `docs/recipe.schema.json` is its schema.
//!
//! ```toml
//! model = "../models/gravure-tiny"
//! target = "raspberry-pi-5"
//! [budget]
//! max-size = "4MB"
//! [data]
//! calibration = "a.txt"
//! evaluation = "b.txt"
//! [gates]
//! top1 = 0.9
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use gravure_base::{Error, Result};
use gravure_core::Order;
use serde::{Deserialize, Serialize};

use crate::engine::{Activations, CacheType, LoadOptions};
use crate::optimize::{Budget, Elsewhere, Force, Gate, Gates, OptimizeRequest};
use crate::quantity::{Share, Size};
use crate::targets::{Measuring, find_target};
use crate::texts::BuiltInText;

/// Bytes of the longest recipe that is read.
const LONGEST: u64 = 1 << 20;

/// A run. What is not given has the default of the command line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// What it is for, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    /// The original.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// Folder for the artifact and its report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<PathBuf>,
    /// Format of the artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Device: an id of `gravure targets`, `host`, or a TOML file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Positions that memory and speed are planned for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctx: Option<u64>,
    /// Encodings to choose from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encodings: Option<Vec<String>>,
    /// How values are chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Passes over the weights before they are rounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passes: Option<Vec<String>>,
    /// In which order tensors are rounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<f64>,
    /// What must hold.
    #[serde(default, skip_serializing_if = "is_default")]
    pub budget: RecipeBudget,
    /// The texts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub data: RecipeData,
    /// What the field expects.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gates: RecipeGates,
    /// How models are loaded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub engine: RecipeEngine,
}

/// What must hold; any may be given together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecipeBudget {
    /// Bytes of all files at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Size>,
    /// Bytes of all tensors at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tensor_bytes: Option<Size>,
    /// Bits for each weight at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_per_weight: Option<f64>,
    /// Bytes of memory at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<Size>,
    /// Tokens that the target decodes in a second at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_tokens_per_second: Option<f64>,
    /// Mean divergence at most, in nats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_kld: Option<f64>,
    /// Share of positions with the original's most likely token at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_top1: Option<Share>,
}

/// The texts and how much of them is run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecipeData {
    /// Text of importance and sensitivity; built in where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<PathBuf>,
    /// Text of the scores; built in where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<PathBuf>,
    /// Tokens in a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctx_size: Option<usize>,
    /// Windows of the calibration text for importance, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration_chunks: Option<usize>,
    /// Windows of it for the sensitivity of each tensor, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitivity_chunks: Option<usize>,
    /// Windows of the evaluation text, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_chunks: Option<usize>,
}

/// Whether gates are judged, and what a missed default means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateMode {
    /// Judged and reported.
    Advisory,
    /// Missing any fails.
    Strict,
    /// Neither timed nor judged.
    Off,
}

/// What the field expects; a limit that is given binds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecipeGates {
    /// What a missed default means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<GateMode>,
    /// Top-1 agreement at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top1: Option<f64>,
    /// Times the original's decoding speed at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// Share of the original's memory saved at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// Share of the median by which the slowest 5 % of the tokens may lie above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
}

impl RecipeGates {
    fn slot(&mut self, gate: Gate) -> &mut Option<f64> {
        match gate {
            Gate::Top1 => &mut self.top1,
            Gate::Speed => &mut self.speed,
            Gate::Memory => &mut self.memory,
            Gate::Spread => &mut self.spread,
        }
    }

    /// Sets the limit of a gate.
    pub fn set(&mut self, gate: Gate, limit: f64) {
        *self.slot(gate) = Some(limit);
    }

    fn gates(&self) -> Gates {
        let all = [(Gate::Top1, self.top1), (Gate::Speed, self.speed), (Gate::Memory, self.memory), (Gate::Spread, self.spread)];
        let set = all.into_iter().filter_map(|(gate, limit)| Some((gate, limit?))).collect();
        match self.mode {
            Some(GateMode::Off) => Gates::Off,
            Some(GateMode::Strict) => Gates::On { set, others: Force::Binding },
            Some(GateMode::Advisory) | None => Gates::On { set, others: Force::Advisory },
        }
    }
}

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecipeCache {
    /// 32-bit floats.
    #[serde(rename = "f32")]
    F32,
    /// 16-bit floats.
    #[serde(rename = "f16")]
    F16,
    /// Blocks of 8-bit integers.
    #[serde(rename = "q8_0")]
    Q8,
}

/// How models are loaded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecipeEngine {
    /// How keys and values are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_type: Option<RecipeCache>,
    /// Whether inputs of matrices stay in 32-bit floats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,
    /// Whether the artifact is measured in the native engine alone, even where its other runtimes are installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native_only: Option<bool>,
    /// Format of the model, where it cannot be recognised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whether unknown keys and tensors are notes instead of errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lenient: Option<bool>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Recipe {
    /// Reads a recipe; its paths become relative to where the program runs.
    ///
    /// # Errors
    /// `NotFound`; `Input` for what is no recipe, with the file, the line and the key.
    pub fn read(path: &Path) -> Result<Self> {
        let meta = std::fs::metadata(path).map_err(|e| Error::io("open the recipe", path, e))?;
        if meta.len() > LONGEST {
            return Err(Error::limit(format!("the recipe has {} bytes, and at most {LONGEST} are read", meta.len())).in_file(path));
        }
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the recipe", path, e))?;
        let mut recipe = Self::parse(&text).map_err(|e| e.in_file(path).help("docs/recipes.md lists the keys"))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let data = &mut recipe.data;
        for place in [&mut recipe.model, &mut recipe.output, &mut data.calibration, &mut data.evaluation].into_iter().flatten() {
            *place = tidy(&folder.join(&*place));
        }
        if let Some(target) = recipe.target.as_mut().filter(|t| t.ends_with(".toml")) {
            *target = tidy(&folder.join(&*target)).to_string_lossy().into_owned();
        }
        Ok(recipe)
    }

    /// Reads the text of a recipe; paths stay as they are.
    ///
    /// # Errors
    /// `Input` with the line and the key.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|e: toml::de::Error| {
            let at = e.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count();
            let key = text.lines().nth(line).and_then(|l| l.split_once('=')).map(|(key, _)| key.trim());
            let error = Error::input(format!("line {}: {}", line + 1, e.message()));
            match key {
                Some(key) => error.at_item(key),
                None => error,
            }
        })
    }

    /// The recipe as TOML.
    ///
    /// # Errors
    /// `Bug`.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::bug(format!("the recipe cannot be written: {e}")))
    }

    /// This recipe where it says something, `other` elsewhere.
    pub fn or(self, other: Self) -> Self {
        let (a, b) = (self, other);
        Self {
            doc: a.doc.or(b.doc),
            model: a.model.or(b.model),
            output: a.output.or(b.output),
            to: a.to.or(b.to),
            target: a.target.or(b.target),
            ctx: a.ctx.or(b.ctx),
            encodings: a.encodings.or(b.encodings),
            method: a.method.or(b.method),
            passes: a.passes.or(b.passes),
            order: a.order.or(b.order),
            time_limit: a.time_limit.or(b.time_limit),
            budget: RecipeBudget {
                max_size: a.budget.max_size.or(b.budget.max_size),
                max_tensor_bytes: a.budget.max_tensor_bytes.or(b.budget.max_tensor_bytes),
                bits_per_weight: a.budget.bits_per_weight.or(b.budget.bits_per_weight),
                max_memory: a.budget.max_memory.or(b.budget.max_memory),
                min_tokens_per_second: a.budget.min_tokens_per_second.or(b.budget.min_tokens_per_second),
                max_kld: a.budget.max_kld.or(b.budget.max_kld),
                min_top1: a.budget.min_top1.or(b.budget.min_top1),
            },
            data: RecipeData {
                calibration: a.data.calibration.or(b.data.calibration),
                evaluation: a.data.evaluation.or(b.data.evaluation),
                ctx_size: a.data.ctx_size.or(b.data.ctx_size),
                calibration_chunks: a.data.calibration_chunks.or(b.data.calibration_chunks),
                sensitivity_chunks: a.data.sensitivity_chunks.or(b.data.sensitivity_chunks),
                eval_chunks: a.data.eval_chunks.or(b.data.eval_chunks),
            },
            gates: RecipeGates {
                mode: a.gates.mode.or(b.gates.mode),
                top1: a.gates.top1.or(b.gates.top1),
                speed: a.gates.speed.or(b.gates.speed),
                memory: a.gates.memory.or(b.gates.memory),
                spread: a.gates.spread.or(b.gates.spread),
            },
            engine: RecipeEngine {
                cache_type: a.engine.cache_type.or(b.engine.cache_type),
                exact: a.engine.exact.or(b.engine.exact),
                native_only: a.engine.native_only.or(b.engine.native_only),
                from: a.engine.from.or(b.engine.from),
                lenient: a.engine.lenient.or(b.engine.lenient),
            },
        }
    }

    /// What must hold.
    pub fn budget(&self) -> Budget {
        let b = &self.budget;
        let bytes = |size: &Option<Size>| size.as_ref().map(Size::bytes);
        Budget {
            max_size: bytes(&b.max_size),
            max_tensor_bytes: bytes(&b.max_tensor_bytes),
            bits_per_weight: b.bits_per_weight,
            max_memory: bytes(&b.max_memory),
            min_tokens_per_second: b.min_tokens_per_second,
            max_kl_divergence: b.max_kld,
            min_top1_agreement: b.min_top1.as_ref().map(Share::value),
        }
    }

    /// The run that it asks for, on `threads` threads (0 for one for each core). A target called `host` is
    /// measured. The texts are built in where none is named.
    ///
    /// # Errors
    /// `Request` where model or output is missing, where there is no budget, or a value cannot be meant;
    /// `NotFound` for an unknown target.
    pub fn request(&self, threads: usize) -> Result<OptimizeRequest> {
        let missing =
            |what: &str, key: &str| Error::request(format!("there is no {what}")).help(format!("name it, or set `{key}` in the recipe"));
        let model = self.model.as_ref().ok_or_else(|| missing("model", "model"))?;
        let output = self.output.as_ref().ok_or_else(|| missing("output folder: -o FOLDER", "output"))?;
        let budget = self.budget();
        if budget.is_empty() {
            return Err(Error::request("there is no budget").help(
                "give --max-size, --max-tensor-bytes, --bits-per-weight, --max-memory, --min-tokens-per-second, --max-kld or --min-top1",
            ));
        }
        let mut source = LoadOptions::new(model);
        source.threads = threads;
        source.format.clone_from(&self.engine.from);
        source.lenient = self.engine.lenient.unwrap_or(false);
        source.activations = if self.engine.exact.unwrap_or(false) { Activations::F32 } else { Activations::Fast };
        source.cache = match self.engine.cache_type {
            Some(RecipeCache::F32) => CacheType::F32,
            Some(RecipeCache::F16) | None => CacheType::F16,
            Some(RecipeCache::Q8) => CacheType::Q8,
        };
        let target = self.target.as_deref().map(|t| find_target(t, Measuring::Measure, threads)).transpose()?;
        let mut built_in = Vec::new();
        let calibration = BuiltInText::Calibration.instead_of(self.data.calibration.as_deref(), output, &mut built_in);
        let evaluation = BuiltInText::Evaluation.instead_of(self.data.evaluation.as_deref(), output, &mut built_in);
        let mut request = OptimizeRequest::new(source, output, calibration, evaluation);
        request.built_in = built_in;
        request.budget = budget;
        request.format = self.to.as_ref().map(|f| f.to_ascii_lowercase());
        request.target = target;
        request.positions = self.ctx;
        request.context = self.data.ctx_size.unwrap_or(request.context);
        request.calibration_windows = self.data.calibration_chunks.or(request.calibration_windows);
        request.sensitivity_windows = self.data.sensitivity_chunks.or(request.sensitivity_windows);
        request.evaluation_windows = self.data.eval_chunks;
        request.candidates = self.encodings.iter().flatten().map(|e| e.to_ascii_lowercase()).collect();
        request.method = self.method.as_ref().map(|m| m.to_ascii_lowercase());
        request.passes = self.passes.iter().flatten().map(|p| p.to_ascii_lowercase()).collect();
        request.order = self.order.unwrap_or_default();
        request.gates = self.gates.gates();
        if self.engine.native_only.unwrap_or(false) {
            request.elsewhere = Elsewhere::Nowhere;
        }
        request.time_limit = self.time_limit.map(seconds).transpose()?;
        request.recipe = Some(self.clone());
        Ok(request)
    }
}

/// A path without `.` and without the steps back that undo a step before them.
fn tidy(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

/// A duration that can be meant.
fn seconds(value: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(value).map_err(|_| Error::request(format!("`{value}` is no time limit")).help("write seconds: 600"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "model = \"m\"\ntarget = \"host\"\n\n[budget]\nmax-size = \"4MB\"\nmax-memory = 9000000\nmin-top1 = \"95%\"\n\n[gates]\nspeed = 2.0\n";

    #[test]
    fn what_is_read_is_written() {
        let recipe = Recipe::parse(TEXT).unwrap();
        assert_eq!(recipe.budget().max_size, Some(4_000_000));
        assert_eq!(recipe.budget().max_memory, Some(9_000_000));
        assert_eq!(recipe.budget().min_top1_agreement, Some(0.95));
        let written = recipe.to_toml().unwrap();
        assert!(written.contains("max-size = \"4MB\"") && written.contains("min-top1 = \"95%\""), "{written}");
        assert_eq!(Recipe::parse(&written).unwrap(), recipe);
    }

    #[test]
    fn errors_name_the_line_and_the_key() {
        for (text, line, key) in [
            ("model = \"m\"\n\nspeed = 3\n", "line 3: unknown field `speed`", "speed"),
            ("[budget]\nmax-size = \"4XB\"\n", "line 2: `4XB` is not a size", "max-size"),
            ("[budget]\nmin-top1 = 95\n", "line 2: `95` is not a share", "min-top1"),
            ("ctx = \"long\"", "line 1: invalid type", "ctx"),
            ("[gates]\nmode = \"lax\"\n", "line 2: unknown variant `lax`", "mode"),
        ] {
            let error = Recipe::parse(text).unwrap_err();
            assert!(error.message().starts_with(line), "{error}");
            assert_eq!(error.item(), Some(key), "{error}");
        }
        assert!(Recipe::parse("[wishes]\n").unwrap_err().message().contains("line 1: unknown field `wishes`"));
    }

    #[test]
    fn the_first_wins() {
        let typed = Recipe::parse("method = \"gptq\"\n[budget]\nmax-size = \"5MB\"\n").unwrap();
        let both = typed.or(Recipe::parse(TEXT).unwrap());
        assert_eq!(both.budget().max_size, Some(5_000_000));
        assert_eq!((both.method.as_deref(), both.target.as_deref(), both.gates.speed), (Some("gptq"), Some("host"), Some(2.0)));
    }

    #[test]
    fn paths_are_the_recipes() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("a");
        std::fs::create_dir(&at).unwrap();
        std::fs::write(at.join("r.toml"), "model = \"../m\"\ntarget = \"./t.toml\"\n[data]\nevaluation = \"/abs/e.txt\"\n").unwrap();
        let recipe = Recipe::read(&at.join("r.toml")).unwrap();
        assert_eq!(recipe.model, Some(folder.path().join("m")));
        assert_eq!(recipe.target, Some(at.join("t.toml").to_string_lossy().into_owned()));
        assert_eq!(recipe.data.evaluation, Some("/abs/e.txt".into()));
        assert_eq!(tidy(Path::new("../../a/./b/..")), Path::new("../../a"));
        assert_eq!(tidy(Path::new("a/..")), Path::new("."));
    }
}
