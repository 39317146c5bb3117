//! From a model and a request to a plan.

use fancy_regex::Regex;
use gravure_core::{
    Catalog, Encoding, Error, HyperKey, ImportanceMatrix, Model, Order, Plan, PlanEntry, Policy, Result, ResultExt, Tensor, Value,
};

use super::categories::{self, Category};
use super::facts::Facts;
use super::rules::{Choice, Rules, Seen, Subject};
use super::table::{Kind, MIXTURES};
use super::{MixtureRequest, OutputMatrix, Requantize, Spread, TensorOrder, fallback, importance, layers};

/// Set in `general.file_type` where the number was derived from the tensors.
const GUESSED: u32 = 1024;

impl Policy for MixtureRequest {
    /// Plans as llama-quantize would. `model` is in the neutral naming.
    ///
    /// # Errors
    /// `Request` where options do not fit the model or each other, where an importance matrix is needed
    /// and not there, or where a tensor is quantized already; `Input` where the matrix is of another
    /// model; `Unsupported` where a tensor's rows fit no encoding that the rules allow.
    fn plan(&self, model: &Model, catalog: &Catalog, importance: Option<&ImportanceMatrix>) -> Result<Plan> {
        Planner::new(self, model, catalog, importance)?.plan(model)
    }
}

/// A tensor of the output.
struct Item<'a> {
    tensor: &'a Tensor,
    name: String,
    category: Category,
}

struct Planner<'a> {
    request: &'a MixtureRequest,
    catalog: &'a Catalog,
    /// The matrix, where one is given and its filter leaves something.
    importance: Option<&'a ImportanceMatrix>,
    base: Option<&'static dyn Encoding>,
    output_type: Option<&'static dyn Encoding>,
    embedding_type: Option<&'static dyn Encoding>,
    tensor_types: Vec<(Regex, &'static dyn Encoding)>,
    facts: Facts,
}

impl<'a> Planner<'a> {
    fn new(request: &'a MixtureRequest, model: &Model, catalog: &'a Catalog, matrix: Option<&'a ImportanceMatrix>) -> Result<Self> {
        let named = |id: &Option<String>| id.as_deref().map(|id| target(catalog, id)).transpose();
        let tensor_types = request.tensor_types.iter().map(|rule| {
            let regex = Regex::new(&rule.pattern).map_err(|e| {
                Error::request(format!("the tensor pattern `{}` is no regular expression", rule.pattern))
                    .caused_by(e)
                    .help("a plain part of a name, such as attn_q, is one too")
            })?;
            Ok((regex, target(catalog, &rule.encoding)?))
        });
        let importance = matrix.filter(|m| m.entries.keys().any(|name| request.uses_importance_of(name)));
        if let Some(matrix) = importance {
            importance::check(matrix)?;
        }
        Ok(Self {
            request,
            catalog,
            importance,
            base: request.mixture.base.map(|id| catalog.encoding(id)).transpose()?,
            output_type: named(&request.output_type)?,
            embedding_type: named(&request.token_embedding_type)?,
            tensor_types: tensor_types.collect::<Result<_>>()?,
            facts: Facts::of(model),
        })
    }

    fn plan(&self, model: &Model) -> Result<Plan> {
        let items = self.items(model)?;
        let base = self.base.filter(|base| is_quantized(*base));
        let mut rules = Rules {
            mixture: self.request.mixture,
            facts: &self.facts,
            has_importance: self.importance.is_some(),
            tied: !items.iter().any(|item| item.category == Category::Output),
            output_type: self.output_type.map(|e| e.id()),
            values: items.iter().filter(|item| item.category == Category::Value).count() as i64,
            base_block: base.map_or(1, |base| base.layout().block_elements as u64),
            seen: Seen::default(),
        };
        let mut entries = Vec::with_capacity(items.len());
        let mut tensor_bytes: u64 = 0;
        for item in &items {
            let (encoding, reason) = self.choose(item, &mut rules).at_item(|| &*item.name)?;
            self.check(item, encoding).at_item(|| &*item.name)?;
            let row = encoding.row_bytes(item.tensor.shape.row_length()).at_item(|| &*item.name)?;
            let bytes = row.checked_mul(item.tensor.shape.rows()).and_then(|bytes| tensor_bytes.checked_add(bytes));
            tensor_bytes = bytes.ok_or_else(|| Error::input("the tensors are impossibly large").at_item(&*item.name))?;
            let copied = encoding.id() == item.tensor.encoding.id();
            entries.push(PlanEntry {
                tensor: item.name.clone(),
                source: (item.name != item.tensor.name).then(|| item.tensor.name.clone()),
                encoding: encoding.id().to_owned(),
                method: if copied { "copy" } else { "rtn" }.to_owned(),
                reason,
            });
        }
        Ok(Plan {
            name: self.request.mixture.id.to_owned(),
            file_type: Some(self.request.mixture.file_type.unwrap_or_else(|| own_file_type(model))),
            pruned_layers: self.request.pruned_layers.clone(),
            passes: Vec::new(),
            order: Order::default(),
            tensor_bytes,
            tensors: entries,
        })
    }

    /// The output's tensors in order, renamed where layers are left out.
    fn items<'m>(&self, model: &'m Model) -> Result<Vec<Item<'m>>> {
        let mut order: Vec<usize> = (0..model.tensors.len()).collect();
        order.sort_by(|&a, &b| layers::order_key(&model.tensors[a].name).cmp(&layers::order_key(&model.tensors[b].name)));
        let mut pruning = layers::Pruning::new(&self.request.pruned_layers);
        let mut items = Vec::with_capacity(order.len());
        for index in order {
            let tensor = &model.tensors[index];
            if let Some(name) = pruning.rename(&tensor.name)? {
                items.push((index, Item { tensor, name, category: categories::of(tensor) }));
            }
        }
        pruning.check()?;
        if self.request.order == TensorOrder::AsStored {
            items.sort_by_key(|(index, _)| *index);
        }
        Ok(items.into_iter().map(|(_, item)| item).collect())
    }

    fn choose(&self, item: &Item<'_>, rules: &mut Rules<'_>) -> Result<(&'static dyn Encoding, String)> {
        let (tensor, category) = (item.tensor, item.category);
        let keep = |reason: &str| Ok((tensor.encoding, reason.to_owned()));
        let Some(base) = self.base else { return keep("copied as it is") };
        if let Some(reason) = categories::kept(tensor, &self.facts.architecture) {
            return keep(reason);
        }
        if category == Category::Output && self.request.output_matrix == OutputMatrix::Left {
            return keep("the output matrix: left as it is, as asked");
        }
        let asked = self.asked_for(item)?;
        if let (Category::Embedding, Some(encoding)) = (category, self.embedding_type) {
            // The per-layer table is large: a rule that names it goes first.
            let named = item.name == "per_layer_token_embd.weight" && asked.is_some();
            if !named {
                return Ok((encoding, "the token embedding: asked for".into()));
            }
        }
        if let (Category::Output, Some(encoding)) = (category, self.output_type) {
            return Ok((encoding, "the output matrix: asked for".into()));
        }
        if !is_quantized(base) {
            return Ok((base, format!("everything in {}", base.id())));
        }
        let (id, reason): Choice = match asked {
            Some((encoding, pattern)) => (encoding.id(), format!("asked for by the pattern `{pattern}`")),
            None if self.request.spread == Spread::Pure => (base.id(), format!("everything in {}", base.id())),
            None => rules.choose(base.id(), &subject(item))?,
        };
        let (encoding, misfit) = fallback::fit(self.catalog.encoding(id)?, tensor.shape.row_length(), self.catalog)?;
        Ok((encoding, misfit.map_or(reason.clone(), |misfit| format!("{reason}; {misfit}"))))
    }

    /// The first rule whose pattern is found in the name.
    fn asked_for(&self, item: &Item<'_>) -> Result<Option<(&'static dyn Encoding, &str)>> {
        for (regex, encoding) in &self.tensor_types {
            let found = regex.is_match(&item.name).map_err(|e| {
                Error::limit(format!("the tensor pattern `{}` takes too long", regex.as_str())).caused_by(e).help("write a simpler pattern")
            })?;
            if found {
                return Ok(Some((*encoding, regex.as_str())));
            }
        }
        Ok(None)
    }

    /// Whether the chosen encoding can be made from this tensor with this importance matrix.
    fn check(&self, item: &Item<'_>, encoding: &'static dyn Encoding) -> Result<()> {
        let tensor = item.tensor;
        let may_change = self.base.is_some() && categories::kept(tensor, &self.facts.architecture).is_none();
        let required = may_change && self.requires_importance(item, encoding);
        if required && self.importance.is_none() {
            return Err(Error::request(format!("{} needs an importance matrix: without one the result is garbage", encoding.id()))
                .help("make one with llama-imatrix and give it with --imatrix; or choose a larger type"));
        }
        if encoding.id() == tensor.encoding.id() {
            return Ok(());
        }
        if let Some(matrix) = self.importance {
            let used = self.request.uses_importance_of(&tensor.name);
            let found = if used { importance::importance_of(matrix, &tensor.name, &tensor.shape)? } else { None };
            if required && found.is_none() {
                let message = format!("the importance matrix has nothing for this tensor, and {} needs it", encoding.id());
                return Err(Error::request(message).in_file(&matrix.path).help(
                    "calibrate with more text (an expert may never have run), or give this tensor a larger type with --tensor-type",
                ));
            }
        }
        if is_quantized(tensor.encoding) && self.request.requantize == Requantize::Refused {
            let message = format!("the tensor is quantized already ({}), and rounding twice adds up", tensor.encoding.id());
            return Err(Error::request(message).help("start from the original weights, or give --allow-requantize"));
        }
        Ok(())
    }

    /// Whether rounding to `encoding` without importance gives garbage. Embedding and output matrix
    /// are exempt: no calibration run sees what goes into the first.
    fn requires_importance(&self, item: &Item<'_>, encoding: &'static dyn Encoding) -> bool {
        if matches!(item.category, Category::Embedding | Category::Output) {
            return false;
        }
        match encoding.id() {
            "iq3_xxs" | "iq2_xxs" | "iq2_xs" | "iq2_s" | "iq1_m" | "iq1_s" => true,
            "q2_k" => self.request.mixture.kind == Kind::Q2KS,
            _ => false,
        }
    }
}

fn subject<'i>(item: &'i Item<'_>) -> Subject<'i> {
    let dimensions = item.tensor.shape.dimensions();
    Subject {
        name: &item.name,
        category: item.category,
        layer: layers::of(&item.name),
        columns: item.tensor.shape.row_length(),
        matrices: dimensions.len().checked_sub(3).and_then(|at| dimensions.get(at)).copied().unwrap_or(1),
    }
}

/// An encoding that a user asked for.
fn target(catalog: &Catalog, id: &str) -> Result<&'static dyn Encoding> {
    let encoding = catalog.encoding(&id.to_ascii_lowercase())?;
    if encoding.is_integer() {
        return Err(Error::request(format!("weights cannot be stored as {}", encoding.id())));
    }
    Ok(encoding)
}

fn is_quantized(encoding: &dyn Encoding) -> bool {
    encoding.layout().block_elements > 1
}

/// The number of a model that is copied: its own, else a guess from what most of its tensors are.
fn own_file_type(model: &Model) -> u32 {
    let stored = model.metadata.get("general.file_type").or_else(|| model.hyperparameters.get(HyperKey::FileType));
    if let Some(number) = stored.and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()) {
        return number;
    }
    let mut counts: Vec<(&str, usize)> = Vec::new();
    let mut names: Vec<&Tensor> = model.tensors.iter().collect();
    names.sort_by(|a, b| layers::order_key(&a.name).cmp(&layers::order_key(&b.name)));
    let mut most = ("f32", 0);
    for tensor in names {
        let id = tensor.encoding.id();
        let count = match counts.iter_mut().find(|(other, _)| *other == id) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                counts.push((id, 1));
                1
            }
        };
        if count > most.1 {
            most = (id, count);
        }
    }
    // Of the mixtures in one encoding the medium one, as llama.cpp guesses.
    let number = match most.0 {
        "q3_k" => Some(12),
        "q4_k" => Some(15),
        "q5_k" => Some(17),
        "mxfp4" => None,
        "nvfp4" => Some(39),
        id => MIXTURES.iter().find(|m| m.id == id).and_then(|m| m.file_type),
    };
    number.unwrap_or(0) | GUESSED
}
