//! From a path to a model that is ready to run.

use std::path::PathBuf;
use std::sync::Arc;

use gravure_base::{Error, ErrorKind, Limits, Result};
pub use gravure_core::contracts::{Activations, CacheType};
use gravure_core::contracts::{Decoder, LoadRequest, Loaded};
use gravure_core::{HyperKey, Model, Runtime};

use crate::open::{OpenRequest, open_by};
use crate::quantize::threads;
use crate::{Observer, adapter, catalog, translate};

/// What to load and how.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// File or folder.
    pub path: PathBuf,
    /// Format id, where the user names it; otherwise it is recognised.
    pub format: Option<String>,
    /// Runtime id; `None` for the first of the registry that can.
    pub runtime: Option<String>,
    /// Worker threads; 0 for one for each core.
    pub threads: usize,
    /// Positions that all sequences together may hold; 0 for the model's own context, at most
    /// [`LoadOptions::MOST_POSITIONS`].
    pub positions: usize,
    /// How keys and values are kept.
    pub cache: CacheType,
    /// Precision of inputs of linear maps.
    pub activations: Activations,
    /// Files of low-rank adapters, and how strong each is: 1 for what it was trained to be.
    pub adapters: Vec<(PathBuf, f32)>,
    /// Whether unknown keys and tensors are notes instead of errors.
    pub lenient: bool,
    /// Bounds for what the files may ask.
    pub limits: Limits,
}

impl LoadOptions {
    /// Positions that a model's own context stands for at most: contexts of 128 thousand would take
    /// gigabytes that nobody has asked for.
    pub const MOST_POSITIONS: usize = 8192;

    /// Defaults: all cores, the model's context, 16-bit keys and values.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: None,
            runtime: None,
            threads: 0,
            positions: 0,
            cache: CacheType::default(),
            activations: Activations::default(),
            adapters: Vec::new(),
            lenient: false,
            limits: Limits::default(),
        }
    }

    /// The same for a model that others are held against, or that they are made of: activations are rounded where weights are
    /// integers and nowhere else, on any processor.
    #[must_use]
    pub fn as_original(&self) -> Self {
        let activations = match self.activations {
            Activations::Fast => Activations::Original,
            asked => asked,
        };
        Self { activations, ..self.clone() }
    }
}

/// A model that is ready to run, and what it was made from.
#[derive(Debug)]
pub struct Engine {
    /// The model as it was read.
    pub model: Model,
    /// The runtime's handle.
    pub loaded: Box<dyn Loaded>,
    /// Id of the runtime.
    pub runtime: &'static str,
    /// Threads that it runs on.
    pub threads: usize,
}

impl Engine {
    /// What was loaded [as an original](LoadOptions::as_original) as `options` would run it, with the same weights in memory; `None`
    /// where that is no other way.
    ///
    /// # Errors
    /// As [`load`].
    pub fn at_work(&self, options: &LoadOptions) -> Result<Option<Self>> {
        if options.as_original().activations == options.activations || runtime(options)?.opens_files() {
            return Ok(None);
        }
        prepare(self.model.clone(), options).map(Some)
    }

    /// What continues texts.
    ///
    /// # Errors
    /// `Unsupported` where the model does not.
    pub fn decoder(&self) -> Result<&dyn Decoder> {
        self.loaded.decoder().ok_or_else(|| {
            Error::unsupported("this model makes embeddings and does not continue texts")
                .in_file(&self.model.source.path)
                .help("use `gravure embed`")
        })
    }

    /// Positions that all sequences together may hold.
    pub fn positions(&self) -> usize {
        self.loaded.facts().positions
    }
}

/// Opens a model and loads its weights.
///
/// # Errors
/// Those of opening; `Unsupported` where no runtime can execute the model, with what is missing;
/// `Input` for weights that are no numbers; `Limit` where memory does not suffice.
pub fn load(options: &LoadOptions, observer: &dyn Observer) -> Result<Engine> {
    let request = OpenRequest { path: &options.path, format: options.format.as_deref(), lenient: options.lenient, limits: options.limits };
    // What adapters add to the tokenizer is looked up in it, and what is passed over in a lenient reading is told at once.
    let later = options.adapters.is_empty() && !options.lenient;
    let (mut model, format) = open_by(&request, later)?;
    for note in &model.notes {
        observer.note(&format!("{}: {}", note.subject, note.text));
    }
    observer.go_on()?;
    if !later || model.tokenizer.is_some() {
        return prepare(model, options);
    }
    let (tokenizer, weights) = std::thread::scope(|scope| {
        let tokenizer = scope.spawn(|| format.tokenizer(&model, &options.limits));
        let weights = load_weights(&model, options);
        (tokenizer.join(), weights)
    });
    let tokenizer = tokenizer.map_err(|_| Error::bug("reading the tokenizer panicked"))?;
    match tokenizer {
        Ok(tokenizer) => model.tokenizer = tokenizer.map(Arc::new),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            observer.note(&format!("{}: {}", error.item().unwrap_or("tokenizer"), error.message()));
        }
        Err(error) => return Err(error.in_file(&model.source.path)),
    }
    let (loaded, runtime, threads) = weights?;
    Ok(Engine { model, loaded, runtime, threads })
}

/// Loads the weights of a model that is open already.
///
/// # Errors
/// As [`load`].
pub(crate) fn prepare(model: Model, options: &LoadOptions) -> Result<Engine> {
    let (loaded, runtime, threads) = load_weights(&model, options)?;
    Ok(Engine { model, loaded, runtime, threads })
}

/// The runtime that is asked for, or the registry's first.
pub(crate) fn runtime(options: &LoadOptions) -> Result<&'static dyn Runtime> {
    match &options.runtime {
        Some(id) => catalog().runtime(id),
        None => catalog().runtimes.first().copied().ok_or_else(|| Error::bug("no runtime is registered")),
    }
}

/// Refuses a file of another format than the one that the runtime's profiles name.
fn check_format(runtime: &dyn Runtime, model: &Model) -> Result<()> {
    let profiles = gravure_targets::runtimes()?;
    let formats: Vec<&str> = profiles.iter().filter(|p| p.registered.as_deref() == Some(runtime.id())).map(|p| p.format.as_str()).collect();
    if formats.contains(&model.source.format) {
        return Ok(());
    }
    Err(Error::unsupported(format!("{} reads {}, and this is {}", runtime.id(), formats.join(", "), model.source.format))
        .in_file(&model.source.path)
        .help("`gravure convert` makes such a file; the native runtime reads every format"))
}

/// The runtime's handle, its id, and the threads that it has.
fn load_weights(model: &Model, options: &LoadOptions) -> Result<(Box<dyn Loaded>, &'static str, usize)> {
    let runtime = runtime(options)?;
    let graph_model = if runtime.opens_files() {
        check_format(runtime, model)?;
        model.clone()
    } else {
        translate::to_graph(model, catalog(), gravure_formats::neutral_name)?
    };
    let context = model.hyperparameters.u64(HyperKey::ContextLength).ok().and_then(|c| usize::try_from(c).ok());
    let own = context.unwrap_or(LoadOptions::MOST_POSITIONS).min(LoadOptions::MOST_POSITIONS);
    let threads = threads(options.threads);
    let adapters = options.adapters.iter().map(|(path, strength)| adapter::read(path, *strength, &graph_model, options.limits));
    let adapters = adapters.collect::<Result<Vec<_>>>()?;
    let loaded = runtime.load(&LoadRequest {
        model: &graph_model,
        threads,
        positions: if options.positions > 0 { options.positions } else { own },
        cache: options.cache,
        activations: options.activations,
        adapters,
    });
    let loaded = loaded.map_err(|e| e.renamed(|item| stored_name(model, &graph_model, item)).in_file(&options.path))?;
    Ok((loaded, runtime.id(), threads))
}

/// The name that a tensor has in its file, for an item that ends with its neutral name.
fn stored_name(model: &Model, graph_model: &Model, item: &str) -> Option<String> {
    let neutral = item.rsplit(' ').next().filter(|name| model.tensor(name).is_none())?;
    let id = graph_model.tensor(neutral)?.id?;
    let map = model.architecture?.tensor_map(&model.hyperparameters).ok()?;
    let stored = model.tensors.iter().find(|t| map.identify(&t.name).is_some_and(|(own, _)| own == id))?;
    Some(format!("{}{}", item.strip_suffix(neutral)?, stored.name))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use gravure_core::contracts::Activations;
    use gravure_core::{Tensor, TensorData};
    use gravure_testing::tiny_model::{self, Options};

    use super::*;
    use crate::{PlanSource, QuantizeRequest, Quiet, Uniform};

    /// Counts the rows that are read.
    #[derive(Debug)]
    struct Counted {
        inner: Tensor,
        rows: Arc<AtomicU64>,
    }

    impl TensorData for Counted {
        fn read_rows(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
            self.rows.fetch_add(rows.end - rows.start, Ordering::Relaxed);
            self.inner.data.read_rows(rows, out)
        }
    }

    #[derive(Debug)]
    struct Zeros {
        row_bytes: u64,
    }

    impl TensorData for Zeros {
        fn read_rows(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
            out.clear();
            out.resize(((rows.end - rows.start) * self.row_bytes) as usize, 0);
            Ok(())
        }
    }

    /// A file whose tokenizer states a flag as a byte.
    fn damaged(folder: &std::path::Path) -> PathBuf {
        tiny_model::write("llama", &Options::default(), folder).unwrap();
        let path = folder.join("model.gguf");
        crate::quantize(&QuantizeRequest::new(folder, &path, PlanSource::Uniform(Uniform::F16)), &Quiet).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let key = b"tokenizer.ggml.add_bos_token";
        let kind = bytes.windows(key.len()).position(|w| w == key).unwrap() + key.len();
        assert_eq!(bytes[kind..kind + 4], [7, 0, 0, 0]);
        bytes[kind] = 0;
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn a_damaged_tokenizer_is_an_error_and_passed_over_where_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let options = LoadOptions { threads: 1, positions: 32, ..LoadOptions::new(damaged(folder.path())) };
        let error = load(&options, &Quiet).unwrap_err();
        assert_eq!((error.kind(), error.item()), (ErrorKind::Input, Some("tokenizer.ggml.add_bos_token")));
        let engine = load(&LoadOptions { lenient: true, ..options }, &Quiet).unwrap();
        assert!(engine.model.tokenizer.is_none());
    }

    #[test]
    fn models_that_are_loaded_side_by_side_share_what_they_have_in_common() {
        let folder = tempfile::tempdir().unwrap();
        tiny_model::write("llama", &Options::default(), folder.path()).unwrap();
        let opened = crate::open(&OpenRequest { path: folder.path(), format: None, lenient: false, limits: Limits::default() }).unwrap();
        let mut model = translate::to_neutral(&opened, catalog(), gravure_formats::neutral_name).unwrap();
        let rows = Arc::new(AtomicU64::new(0));
        let at = model.tensors.iter().position(|t| t.name.contains("ffn_down")).unwrap();
        let height = model.tensors[at].shape.rows();
        model.tensors[at].data = Arc::new(Counted { inner: model.tensors[at].clone(), rows: Arc::clone(&rows) });
        let read = |engine: Result<Engine>| (engine.unwrap(), rows.swap(0, Ordering::Relaxed));
        let options = LoadOptions { threads: 1, positions: 32, ..LoadOptions::new(folder.path()) };
        let (one, first) = read(prepare(model.clone(), &options));
        let (two, second) = read(prepare(model.clone(), &options));
        assert_eq!((first, second), (height, 0));
        // Floats serve all activations, integers those that are rounded.
        let with = |activations| LoadOptions { activations, ..options.clone() };
        assert_eq!(read(prepare(model.clone(), &with(Activations::F32))).1, 0);
        let mut packed = model.clone();
        let eight = catalog().encoding("q8_0").unwrap();
        let zeros = Arc::new(Zeros { row_bytes: eight.row_bytes(packed.tensors[at].shape.row_length()).unwrap() });
        packed.tensors[at].encoding = eight;
        packed.tensors[at].data =
            Arc::new(Counted { inner: Tensor { data: zeros, ..packed.tensors[at].clone() }, rows: Arc::clone(&rows) });
        let (_packed, fast) = read(prepare(packed.clone(), &options));
        let (_same, original) = read(prepare(packed.clone(), &with(Activations::Original)));
        let (_exact, exact) = read(prepare(packed, &with(Activations::F32)));
        assert_eq!((fast, original, exact), (height, 0, height));
        // Another tensor under the same name is another matrix.
        let mut other = model.clone();
        other.tensors[at].data = Arc::new(Counted { inner: model.tensors[at].clone(), rows: Arc::clone(&rows) });
        let (_other, fourth) = read(prepare(other, &options));
        assert_eq!(fourth, 2 * height);
        drop((one, two));
        assert_eq!(read(prepare(model, &options)).1, height);
    }
}
