//! Exact sizes of many plans of one model, without touching a weight.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use gravure_base::{Disk, Error, Result};
use gravure_core::values::ImportanceEntry;
use gravure_core::{Encoding, Format, ImportanceMatrix, Metadata, Model, Naming, Package, PackageTensor, Plan, Policy};
use gravure_planner::mixtures::{Mixture, MixtureRequest};

use crate::execute::Executor;
use crate::open::{OpenRequest, open};
use crate::output::{Split, write_request};
use crate::quantize::{float_view, jobs};
use crate::{Quiet, catalog, translate};

/// A model, ready to be planned and measured in several ways.
#[derive(Debug)]
pub(crate) struct Sizing {
    /// As it was read.
    pub(crate) source: Model,
    /// In the neutral naming.
    pub(crate) neutral: Model,
    /// As policies see it.
    view: Model,
    /// An importance of one for every column: some mixtures are only planned when there is one.
    importance: ImportanceMatrix,
}

/// A plan and what it makes.
#[derive(Debug)]
pub(crate) struct Sized {
    /// Encoding and bytes of each tensor, by its name in the source's neutral form.
    pub(crate) tensors: BTreeMap<String, (&'static dyn Encoding, u64)>,
    /// Bytes of all files of the output.
    pub(crate) file_bytes: u64,
    /// Whether the mixture is refused without an importance matrix.
    pub(crate) needs_importance: bool,
}

impl Sizing {
    /// Opens a model.
    ///
    /// # Errors
    /// Those of opening; `Unsupported` where the architecture of a checkpoint has no file.
    pub(crate) fn new(request: &OpenRequest<'_>) -> Result<Self> {
        let source = open(request)?;
        let neutral = translate::to_neutral(&source, catalog(), gravure_formats::neutral_name)?;
        let view = float_view(source.naming, &neutral)?;
        let importance = even_importance(&neutral)?;
        Ok(Self { source, neutral, view, importance })
    }

    /// The model under the names of `format`.
    ///
    /// # Errors
    /// `Unsupported` where the architecture has none there.
    pub(crate) fn named_for(&self, format: &dyn Format) -> Result<Model> {
        match format.naming() {
            Naming::Neutral => Ok(self.neutral.clone()),
            Naming::HuggingFace => translate::to_hugging_face(&self.source, catalog()),
        }
    }

    /// What `mixture` makes of the model in `format`; `named` is the model under that format's names.
    ///
    /// # Errors
    /// Where the mixture does not suit the model, or the format cannot hold or write it.
    pub(crate) fn mixture(&self, mixture: &'static Mixture, format: &'static dyn Format, named: &Model) -> Result<Sized> {
        let request = MixtureRequest::new(mixture);
        let (mut plan, needs_importance) = match request.plan(&self.view, catalog(), None) {
            Ok(plan) => (plan, false),
            Err(error) => match request.plan(&self.view, catalog(), Some(&self.importance)) {
                Ok(plan) => (plan, true),
                Err(_) => return Err(error),
            },
        };
        if format.naming() == Naming::HuggingFace {
            // What is computed from the configuration is not stored in a checkpoint.
            let generated = |name: &str| self.neutral.tensor(name).and_then(|t| t.id).is_some_and(|id| translate::is_generated(id.role));
            plan.tensors.retain(|e| !generated(&e.tensor));
        }
        self.measure(&plan, format, named, needs_importance)
    }

    fn measure(&self, plan: &Plan, format: &'static dyn Format, named: &Model, needs_importance: bool) -> Result<Sized> {
        let write = write_request(Path::new("model"), Arc::new(Disk), Split::Single, &self.source, plan);
        let (jobs, package_tensors) = jobs(named, plan, format, None)?;
        let executor = Executor { jobs: &jobs, threads: 1, observer: &Quiet, hessians: None };
        let package = Package {
            model: named,
            file_type: plan.file_type,
            pruned_layers: 0,
            overrides: Metadata::new(),
            importance: None,
            naming: named.naming,
            tensors: package_tensors.clone(),
            chunks: &executor,
        };
        let files = format.layout(&package, &write)?;
        let mut tensors = BTreeMap::new();
        for (entry, tensor) in plan.tensors.iter().zip(&package_tensors) {
            let PackageTensor { encoding, .. } = tensor;
            tensors.insert(entry.source.clone().unwrap_or_else(|| entry.tensor.clone()), (*encoding, tensor.bytes()?));
        }
        let total = files.iter().try_fold(0u64, |sum, (_, bytes)| sum.checked_add(*bytes));
        let file_bytes = total.ok_or_else(|| Error::input("the files are impossibly large"))?;
        Ok(Sized { tensors, file_bytes, needs_importance })
    }
}

/// An importance of one for every column of every matrix: what stands for a calibration where only sizes and
/// encodings matter.
///
/// # Errors
/// `Limit` where a row is longer than any may be.
pub(crate) fn even_importance(neutral: &Model) -> Result<ImportanceMatrix> {
    let mut importance = ImportanceMatrix::default();
    for tensor in neutral.tensors.iter().filter(|t| t.shape.dimensions().len() >= 2) {
        let dimensions = tensor.shape.dimensions();
        let matrices = dimensions.len().checked_sub(3).and_then(|at| dimensions.get(at)).copied().unwrap_or(1);
        let columns = usize::try_from(tensor.shape.row_length().saturating_mul(matrices)).unwrap_or(usize::MAX);
        gravure_base::Limits::check(columns as u64, crate::execute::LONGEST_ROW, "weights in a row")
            .map_err(|e| e.at_item(&*tensor.name))?;
        importance.entries.insert(tensor.name.clone(), ImportanceEntry { values: vec![1.0; columns], counts: vec![1.0] });
    }
    Ok(importance)
}
