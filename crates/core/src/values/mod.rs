//! The values, one file each.

mod artifact;
mod graph;
mod grouped;
mod hessian;
mod hyperparameters;
mod importance;
mod metadata;
mod model;
mod package;
mod plan;
mod role;
mod sensitivity;
mod target;
mod tensor;
mod tensor_map;

pub use artifact::{Artifact, ArtifactFile};
pub use graph::{Attribute, Edge, Graph, Node, Origin};
pub use grouped::{GroupedRows, Grouping, order_of_groups};
pub use hessian::Hessian;
pub use hyperparameters::{HyperKey, Hyperparameters};
pub use importance::{ImportanceEntry, ImportanceMatrix};
pub use metadata::{Metadata, Value, ValueType};
pub use model::{AdapterFacts, Invocation, Model, Naming, Note, Source};
pub use package::{ChunkStream, Package, PackageTensor};
pub use plan::{Order, Plan, PlanEntry};
pub use role::{Part, Role, TensorId};
pub use sensitivity::{CandidateError, Sensitivity, TensorSensitivity};
pub use target::{
    Backend, ComputeUnit, Deployment, FallbackOp, Figure, MemoryFacts, ModelKind, NumberType, Precision, RuntimeProfile, Target,
};
pub use tensor::{Shape, StoredTensor, Tensor, TensorData};
pub use tensor_map::{GeneratedTensor, TensorMap, TensorRule, Transform};
