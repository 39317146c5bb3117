//! One plain type for the whole model, as the reference converter chooses it tensor by tensor:
//! vectors, norms, routers, position embeddings and short convolutions stay in 32-bit floats, the
//! rest gets the type asked for, or 16-bit floats where its rows are no whole blocks of that.
//!
//! Reference: `prepare_tensors` in llama.cpp's `conversion/base.py` (`--outtype`).

use gravure_core::{
    Catalog, Encoding, Error, ImportanceMatrix, Model, Order, Part, Plan, PlanEntry, Policy, Result, ResultExt, Role, Tensor,
};

/// The type asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Uniform {
    F32,
    F16,
    Bf16,
    Q8_0,
    Tq1_0,
    Tq2_0,
    /// 16 bits as in the source: `bf16` or `f16`, whichever its first matrix in 16 bits has; `f16`
    /// where none has.
    Auto,
    /// What is usual where nothing is asked for: [`Uniform::Auto`] for a model, `f32` for an adapter.
    Usual,
}

impl Uniform {
    /// Every choice, with the name that users type.
    pub const ALL: &[(&str, Self)] = &[
        ("auto", Self::Auto),
        ("f32", Self::F32),
        ("f16", Self::F16),
        ("bf16", Self::Bf16),
        ("q8_0", Self::Q8_0),
        ("tq1_0", Self::Tq1_0),
        ("tq2_0", Self::Tq2_0),
    ];

    /// The choice of this name, in any case.
    ///
    /// # Errors
    /// `Request` where there is none.
    pub fn parse(text: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
            Error::request(format!("unknown type `{text}`")).help(format!("known types: {}", names.join(", ")))
        })
    }

    /// The choice with `auto` resolved by the source's encodings.
    pub fn resolve(self, model: &Model) -> Self {
        match self {
            Self::Auto => {}
            Self::Usual if model.adapter.is_some() => return Self::F32,
            Self::Usual => {}
            stated => return stated,
        }
        let mut matrices = model.tensors.iter().filter(|t| t.shape.dimensions().len() >= 2);
        matrices
            .find_map(|t| match t.encoding.id() {
                "bf16" => Some(Self::Bf16),
                "f16" => Some(Self::F16),
                _ => None,
            })
            .unwrap_or(Self::F16)
    }

    /// Encoding id and `general.file_type`.
    fn target(self) -> (&'static str, u32) {
        match self {
            Self::F32 => ("f32", 0),
            Self::F16 | Self::Auto | Self::Usual => ("f16", 1),
            Self::Bf16 => ("bf16", 32),
            Self::Q8_0 => ("q8_0", 7),
            Self::Tq1_0 => ("tq1_0", 36),
            Self::Tq2_0 => ("tq2_0", 37),
        }
    }
}

impl Policy for Uniform {
    /// Plans a conversion; tensors stay in the order of the model. The importance matrix is not used.
    ///
    /// # Errors
    /// `Unsupported` where the catalog lacks an encoding.
    fn plan(&self, model: &Model, catalog: &Catalog, _importance: Option<&ImportanceMatrix>) -> Result<Plan> {
        let choice = self.resolve(model);
        let (id, file_type) = choice.target();
        let base = catalog.encoding(id)?;
        let mut plan = Plan {
            name: id.to_owned(),
            file_type: Some(file_type),
            pruned_layers: Vec::new(),
            passes: Vec::new(),
            order: Order::default(),
            tensor_bytes: 0,
            tensors: Vec::new(),
        };
        for tensor in &model.tensors {
            let (encoding, reason) = self::choose(choice, base, tensor, catalog).at_item(|| &*tensor.name)?;
            let row = encoding.row_bytes(tensor.shape.row_length()).at_item(|| &*tensor.name)?;
            let bytes = row.checked_mul(tensor.shape.rows()).and_then(|bytes| plan.tensor_bytes.checked_add(bytes));
            plan.tensor_bytes = bytes.ok_or_else(|| Error::input("the tensors are impossibly large").at_item(&*tensor.name))?;
            let copied = encoding.id() == tensor.encoding.id();
            plan.tensors.push(PlanEntry {
                tensor: tensor.name.clone(),
                source: None,
                encoding: encoding.id().to_owned(),
                method: if copied { "copy" } else { "rtn" }.to_owned(),
                reason,
            });
        }
        Ok(plan)
    }
}

fn choose(choice: Uniform, base: &'static dyn Encoding, tensor: &Tensor, catalog: &Catalog) -> Result<(&'static dyn Encoding, String)> {
    if tensor.encoding.is_integer() {
        return Ok((tensor.encoding, "integers, not weights".into()));
    }
    if let Some(reason) = exact(tensor) {
        return Ok((catalog.encoding("f32")?, format!("{reason}: 32 bits")));
    }
    if matches!(choice, Uniform::Tq1_0 | Uniform::Tq2_0) && stays_float(tensor) {
        return Ok((catalog.encoding("f16")?, "not ternary: 16 bits".into()));
    }
    let (columns, block) = (tensor.shape.row_length(), base.layout().block_elements as u64);
    if !columns.is_multiple_of(block) {
        let reason = format!("rows of {columns} weights are no multiple of the {block} that a block of {} holds: 16 bits", base.id());
        return Ok((catalog.encoding("f16")?, reason));
    }
    Ok((base, format!("everything in {}", base.id())))
}

/// Why a tensor stays in 32 bits, `None` where it does not.
fn exact(tensor: &Tensor) -> Option<&'static str> {
    if tensor.shape.dimensions().len() <= 1 {
        return Some("a vector");
    }
    let Some(id) = tensor.id.filter(|id| id.role != Role::Other) else {
        // No table knows it: the reference goes by the ending of the name.
        return if tensor.name.ends_with("_norm.weight") {
            Some("a normalization gain")
        } else if [".weight", ".lora_a", ".lora_b"].iter().any(|ending| tensor.name.ends_with(ending)) {
            None
        } else {
            Some("not a matrix of weights")
        };
    };
    if id.part != Part::Weight {
        return Some("a bias");
    }
    match id.role {
        role if role.is_norm() => Some("a normalization gain"),
        Role::ExpertRouter | Role::SharedExpertRouter => Some("an expert router"),
        Role::PositionEmbedding | Role::TokenTypes => Some("position or type embeddings"),
        Role::StateConvolution
        | Role::StateConvolutionQuery
        | Role::StateConvolutionKey
        | Role::StateConvolutionValue
        | Role::ShortConvolution => Some("a short convolution"),
        Role::TimeMixFirst
        | Role::TimeMixW1
        | Role::TimeMixW2
        | Role::TimeMixDecayW1
        | Role::TimeMixDecayW2
        | Role::TimeMixLerpFused
        | Role::AltupCorrectCoefficients
        | Role::AltupPredictCoefficients
        | Role::IndexerProjection => Some("small and sensitive"),
        _ => None,
    }
}

/// Matrices of a ternary model that are not ternary.
fn stays_float(tensor: &Tensor) -> bool {
    tensor.id.is_some_and(|id| {
        matches!(
            id.role,
            Role::TokenEmbedding | Role::PerLayerTokenEmbedding | Role::Output | Role::AltupRouter | Role::LaurelLeft | Role::LaurelRight
        )
    })
}
