//! Plans that were made for another model, or by someone who hopes that nobody checks.

use gravure_core::ErrorKind::{self, Input, Request, Unsupported};
use gravure_core::{Order, Plan, PlanEntry};

use super::{Class, Expect, Sample, Verb, importance_target};

/// An entry that keeps a tensor of [`importance_target`] as it is.
fn entry(tensor: &str, encoding: &str, method: &str) -> PlanEntry {
    PlanEntry { tensor: tensor.into(), source: None, encoding: encoding.into(), method: method.into(), reason: "by hand".into() }
}

/// The plan that quantizes [`importance_target`] honestly.
pub(super) fn honest() -> Plan {
    let tensors = ["token_embd.weight", "blk.0.ffn_down.weight", "blk.0.ffn_up.weight"];
    Plan {
        name: "by hand".into(),
        file_type: None,
        pruned_layers: Vec::new(),
        passes: Vec::new(),
        order: Order::default(),
        tensor_bytes: 0,
        tensors: tensors.iter().map(|t| entry(t, "q8_0", "rtn")).collect(),
    }
}

pub(super) fn sample(name: &str, class: Class, expect: Expect, change: &dyn Fn(&mut Plan)) -> Sample {
    let mut plan = honest();
    change(&mut plan);
    Sample {
        name: format!("plan: {name}"),
        class,
        files: vec![("model.gguf".into(), importance_target())],
        stretched: None,
        open: "model.gguf".into(),
        verb: Verb::Plan(Box::new(plan)),
        expect,
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let case = |name: &str, class: Class, kind: ErrorKind, change: &dyn Fn(&mut Plan)| sample(name, class, Expect::Refused(kind), change);
    vec![
        case("a tensor that is not there", Class::Contradiction, Request, &|p| p.tensors.push(entry("blk.9.ffn_up.weight", "q8_0", "rtn"))),
        case("an unknown encoding", Class::Unknown, Unsupported, &|p| p.tensors[0].encoding = "q9_9".into()),
        case("an encoding that is a path", Class::Traversal, Unsupported, &|p| p.tensors[0].encoding = "../q8_0".into()),
        case("an unknown method", Class::Unknown, Request, &|p| p.tensors[0].method = "magic".into()),
        case("an encoding that cannot be written", Class::Contradiction, Request, &|p| p.tensors[0].encoding = "f8_e4m3".into()),
        case("a tensor twice", Class::Duplicate, Input, &|p| {
            let again = p.tensors[0].clone();
            p.tensors.push(again);
        }),
        case("two tensors of one name", Class::Duplicate, Input, &|p| {
            p.tensors[2].source = Some("blk.0.ffn_up.weight".into());
            p.tensors[2].tensor = "blk.0.ffn_down.weight".into();
        }),
        case("a tensor that is left out", Class::Contradiction, Request, &|p| drop(p.tensors.pop())),
        case("a source that is not there", Class::Contradiction, Request, &|p| p.tensors[0].source = Some("nothing".into())),
        case("no tensors", Class::Contradiction, Request, &|p| p.tensors.clear()),
    ]
}
