//! Graphs against transformers: every architecture's graph, evaluated by the scalar operations on a
//! tiny model, gives the logits that transformers gives in 32 bits. `scripts/reference_logits.py`
//! made the fixtures.

mod common;

use std::collections::BTreeMap;

use common::{Tiny, fixtures};
use gravure_base::{Error, Result};
use gravure_core::values::Origin;
use gravure_core::{TensorId, Transform};
use gravure_ops::Array;
use gravure_testing::interpreter;

/// The weights in neutral form but for rotary rows, which the graph wants as they are stored.
fn weights(tiny: &Tiny) -> BTreeMap<TensorId, Array> {
    let map = tiny.architecture.tensor_map(&tiny.parameters).unwrap();
    let mut out = BTreeMap::new();
    for (name, shape, values) in tiny.tensors() {
        let Some((id, rule)) = map.identify(&name) else { continue };
        let array = match rule.transform {
            Transform::Identity | Transform::InterleaveRope { .. } => Array::new(shape, values),
            Transform::Add(constant) => Array::new(shape, values.iter().map(|v| v + constant).collect::<Vec<_>>()),
            Transform::Transpose => {
                let (rows, columns) = (shape[0], shape[1]);
                let turned: Vec<f32> =
                    (0..columns).flat_map(|c| (0..rows).map(move |r| (r, c))).map(|(r, c)| values[r * columns + c]).collect();
                Array::new([columns, rows], turned)
            }
        };
        out.insert(id, array.unwrap());
    }
    out.extend(map.generated.into_iter().map(|g| (g.id, Array::new([g.values.len()], g.values).unwrap())));
    out
}

#[test]
fn logits_are_transformers() {
    let mut failures = Vec::new();
    for (name, fixture) in fixtures("logits") {
        let tiny = Tiny::make(&fixture);
        let graph = tiny.architecture.graph(&tiny.parameters).unwrap();
        let weights = weights(&tiny);
        let floats =
            |value: &serde_json::Value| -> Vec<f32> { value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect() };
        let list = |values: Vec<f32>| Array::new([values.len()], values).unwrap();
        let tokens = floats(&fixture["tokens"]);
        let positions = (0..tokens.len()).map(|i| i as f32).collect();
        let mut inputs = BTreeMap::from([("tokens", list(tokens)), ("positions", list(positions))]);
        if !fixture["token_types"].is_null() {
            inputs.insert("token_types", list(floats(&fixture["token_types"])));
        }
        let mut weight = |id: &TensorId| -> Result<Array> {
            weights.get(id).cloned().ok_or_else(|| Error::bug("no such weight").at_item(interpreter::describe(id)))
        };
        let outputs = interpreter::run(&graph, &mut weight, &inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
        let output = outputs.values().next().unwrap();
        for (position, expected) in fixture["positions"].as_array().unwrap().iter().zip(fixture["rows"].as_array().unwrap()) {
            let expected = floats(expected);
            let got = output.rows().nth(position.as_u64().unwrap() as usize).unwrap();
            let scale = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            let worst = got.iter().zip(&expected).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
            if got.len() != expected.len() || worst.is_nan() || worst > 1e-4 * scale {
                failures.push(format!("{name}, position {position}: {worst} of {scale}"));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Each weight of a graph is a tensor that the map knows, and each required tensor is in the graph.
#[test]
fn graphs_and_maps_agree() {
    for (name, fixture) in fixtures("conversion") {
        let tiny = Tiny::make(&fixture);
        let graph = tiny.architecture.graph(&tiny.parameters).unwrap();
        let weights = weights(&tiny);
        let read: Vec<TensorId> = graph.weights().copied().collect();
        for id in &read {
            assert!(weights.contains_key(id), "{name}: the graph reads {}", interpreter::describe(id));
        }
        for id in weights.keys() {
            assert!(read.contains(id), "{name}: the graph does not read {}", interpreter::describe(id));
        }
        let mut names: Vec<&str> = graph.nodes.iter().map(|n| n.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), graph.nodes.len(), "{name}: two nodes have the same name");
        assert!(graph.origins.iter().all(|(_, o)| !matches!(o, Origin::Input(i) if i.is_empty())));
        assert!(graph.nodes.iter().all(|n| gravure_ops::find(n.op).is_some()));
    }
}
