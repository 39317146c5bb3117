//! Passes over the weights before rounding: what they are told, and what comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use gravure_base::{Result, ResultExt};
use gravure_core::contracts::{Pass, Surroundings};
use gravure_core::{Encoding, Hessian, Inputs, Model, Needs, Tensor, TensorId};

use crate::engine::{LoadOptions, prepare};
use crate::hessians::{CalibrationText, Hessians, text_missing};
use crate::{Observer, catalog};

/// Applies passes in their order to a model in the neutral naming; each sees what the one before it left.
/// `encodings` has the one that each tensor will be stored in, by name. What was changed is told to the observer.
///
/// # Errors
/// `Request` for an unknown pass, and where one needs a text and there is none; those of the passes and of
/// running the model.
pub(crate) fn apply(
    ids: &[String],
    mut model: Model,
    encodings: &BTreeMap<String, &'static dyn Encoding>,
    options: &LoadOptions,
    text: Option<&CalibrationText>,
    observer: &dyn Observer,
) -> Result<Model> {
    for id in ids {
        let pass = catalog().pass(id)?;
        let place = model.source.path.clone();
        let changed = match pass.needs() {
            Needs::Nothing => run(pass, &model, encodings, None),
            Needs::Hessian => {
                let text = text.ok_or_else(text_missing)?;
                let engine = prepare(model.clone(), &LoadOptions { positions: text.context, ..options.clone() })?;
                run(pass, &model, encodings, Some(&Hessians::new(Arc::new(engine), text, observer)?))
            }
        };
        let changed = changed.in_file(&place)?;
        changed.notes.iter().for_each(|note| observer.note(&format!("{id}, {}: {}", note.subject, note.text)));
        model = changed.model;
    }
    Ok(model)
}

fn run(
    pass: &dyn Pass,
    model: &Model,
    encodings: &BTreeMap<String, &'static dyn Encoding>,
    hessians: Option<&Hessians<'_>>,
) -> Result<gravure_core::contracts::Changed> {
    pass.apply(model, &Around { floats: catalog().encoding("f32")?, encodings, hessians })
}

/// What a pass may ask.
struct Around<'a> {
    floats: &'static dyn Encoding,
    encodings: &'a BTreeMap<String, &'static dyn Encoding>,
    hessians: Option<&'a Hessians<'a>>,
}

impl Surroundings for Around<'_> {
    fn floats(&self) -> &'static dyn Encoding {
        self.floats
    }

    fn hessian(&self, id: &TensorId) -> Result<Option<Arc<Hessian>>> {
        self.hessians.map_or(Ok(None), |hessians| hessians.get(id))
    }

    fn error(&self, tensor: &Tensor, rows: &[f32], hessian: &Hessian) -> Result<f64> {
        // What is stored as it is loses nothing.
        let Some(encoding) = self.encodings.get(&tensor.name) else { return Ok(0.0) };
        let columns = hessian.columns();
        let importance = hessian.diagonal();
        let rounder = catalog().method("rtn")?.prepare(*encoding, columns, Inputs { importance: Some(&importance), hessian: None })?;
        let count = rows.len() / columns.max(1);
        let mut encoded = vec![0_u8; encoding.row_bytes(columns as u64)? as usize * count];
        rounder.encode(rows, &mut encoded)?;
        let mut changes = vec![0.0_f32; rows.len()];
        encoding.decode(&encoded, &mut changes)?;
        changes.iter_mut().zip(rows).for_each(|(d, w)| *d -= w);
        Ok(gravure_methods::output_errors(hessian, &changes).iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Mutex;

    use gravure_core::contracts::{Activations, CacheType, Chunk, Phase, Step, Wanted};
    use gravure_core::{Limits, Shape};
    use gravure_testing::tiny_model::{self, DESIGNS, Options, Size};

    use super::*;
    use crate::open::{OpenRequest, open};
    use crate::{Quiet, translate};

    /// Inputs of all sizes, and errors that fall from trial to trial: a pass that searches takes the last one.
    struct Strange<'a> {
        model: &'a Model,
        left: Mutex<f64>,
    }

    impl Surroundings for Strange<'_> {
        fn floats(&self) -> &'static dyn Encoding {
            catalog().encoding("f32").unwrap()
        }

        fn hessian(&self, id: &TensorId) -> Result<Option<Arc<Hessian>>> {
            let columns = self.model.tensors.iter().find(|t| t.id == Some(*id)).map_or(0, |t| t.shape.row_length()) as usize;
            let mut values = vec![0.0; columns * columns];
            (0..columns).for_each(|i| values[i * (columns + 1)] = 0.1 + (i * 7 % 19) as f32);
            Hessian::new(columns, values).map(|h| Some(Arc::new(h)))
        }

        fn error(&self, _: &Tensor, _: &[f32], _: &Hessian) -> Result<f64> {
            let mut left = self.left.lock().unwrap();
            *left *= 0.9;
            Ok(*left)
        }
    }

    /// What a model computes of some tokens, in 32 bits.
    fn outputs(model: &Model) -> Vec<f32> {
        let options = LoadOptions {
            threads: 1,
            positions: 64,
            activations: Activations::F32,
            cache: CacheType::F32,
            ..LoadOptions::new(&model.source.path)
        };
        let engine = prepare(model.clone(), &options).unwrap();
        let tokens: Vec<u32> = (0..24).map(|i| i * 13 % 300).collect();
        if let Some(encoder) = engine.loaded.encoder() {
            return encoder.encode(&tokens, &[]).unwrap();
        }
        let decoder = engine.decoder().unwrap();
        let sequence = decoder.open().unwrap();
        let chunks = [Chunk { sequence, tokens: &tokens, phase: Phase::Prefill, wanted: Wanted::From(0) }];
        let mut out = Vec::new();
        let mut keep = |row: gravure_core::contracts::LogitsRow<'_>| {
            out.extend_from_slice(row.values);
            Ok(())
        };
        decoder.step(Step::new(&chunks), &mut keep).unwrap();
        out
    }

    fn neutral(folder: &std::path::Path) -> Model {
        let opened = open(&OpenRequest { path: folder, format: None, lenient: false, limits: Limits::default() }).unwrap();
        translate::to_neutral(&opened, catalog(), gravure_formats::neutral_name).unwrap()
    }

    #[test]
    fn no_pass_changes_what_a_model_computes() {
        let folder = tempfile::tempdir().unwrap();
        let untied = |design: &str| Options {
            size: Size::Wide,
            config: [("tie_word_embeddings".to_owned(), serde_json::Value::Bool(false))]
                .into_iter()
                .filter(|_| design == "qwen2")
                .collect(),
            ..Options::default()
        };
        let seen = Cell::new(0);
        for design in DESIGNS {
            let place = folder.path().join(design);
            tiny_model::write(design, &untied(design), &place).unwrap();
            let model = neutral(&place);
            let expected = outputs(&model);
            let largest = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            for ids in [&["awq"][..], &["rotate"], &["rotate", "awq"]] {
                let mut changed = model.clone();
                for id in ids {
                    let around = Strange { model: &changed.clone(), left: Mutex::new(1.0) };
                    changed = catalog().pass(id).unwrap().apply(&changed, &around).unwrap().model;
                }
                let different = changed.tensors.iter().zip(&model.tensors).filter(|(a, b)| !Arc::ptr_eq(&a.data, &b.data)).count();
                assert!(different >= 4, "{design}, {ids:?}: {different} tensors changed");
                let found = outputs(&changed);
                assert_eq!(found.len(), expected.len());
                let most = found.iter().zip(&expected).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
                assert!(most < 1e-4 * largest, "{design}, {ids:?}: {most} of {largest}");
                seen.set(seen.get() + 1);
            }
        }
        assert_eq!(seen.get(), 3 * DESIGNS.len());
    }

    #[test]
    fn a_rotation_goes_through_all_layers_where_the_embedding_is_not_the_output_too() {
        let folder = tempfile::tempdir().unwrap();
        for (design, whole) in [("llama", true), ("qwen3", true), ("qwen2", false), ("gemma3", false), ("gpt2", false)] {
            let place = folder.path().join(design);
            tiny_model::write(design, &Options::default(), &place).unwrap();
            let model = neutral(&place);
            let around = Strange { model: &model, left: Mutex::new(1.0) };
            let changed = catalog().pass("rotate").unwrap().apply(&model, &around).unwrap();
            let told = changed.notes.iter().find(|n| n.subject == "between layers").unwrap();
            assert_eq!(told.text.starts_with("not rotated"), !whole, "{design}: {}", told.text);
        }
    }

    #[test]
    fn rows_that_are_read_in_parts_are_those_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        tiny_model::write("phi3", &Options { size: Size::Wide, ..Options::default() }, folder.path()).unwrap();
        let model = neutral(folder.path());
        let around = Strange { model: &model, left: Mutex::new(1.0) };
        let changed = catalog().pass("rotate").unwrap().apply(&model, &around).unwrap().model;
        for tensor in &changed.tensors {
            let (mut whole, mut part) = (Vec::new(), Vec::new());
            let rows = tensor.shape.rows();
            tensor.data.read_rows(0..rows, &mut whole).unwrap();
            assert_eq!(whole.len() as u64, tensor.bytes().unwrap(), "{}", tensor.name);
            let each = whole.len() / rows as usize;
            for start in (0..rows).step_by(7) {
                let end = (start + 5).min(rows);
                tensor.data.read_rows(start..end, &mut part).unwrap();
                assert!(part == whole[start as usize * each..end as usize * each], "{} {start}", tensor.name);
            }
        }
    }

    #[test]
    fn a_pass_without_its_text_or_without_a_graph_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        tiny_model::write("llama", &Options::default(), folder.path()).unwrap();
        let model = neutral(folder.path());
        let options = LoadOptions::new(folder.path());
        let refused = |ids: &[&str], model: &Model| {
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            apply(&ids, model.clone(), &BTreeMap::new(), &options, None, &Quiet).unwrap_err().to_string()
        };
        assert!(refused(&["awq"], &model).contains("text"));
        assert!(refused(&["magic"], &model).contains("unknown pass"));
        assert!(refused(&["rotate"], &Model { graph: None, ..model.clone() }).contains("no graph"));
        let mut short = model.clone();
        let output = short.tensors.iter_mut().find(|t| t.name.contains("attn_output.weight")).unwrap();
        output.shape = Shape::new([output.shape.rows(), 3]).unwrap();
        assert!(refused(&["rotate"], &short).contains("does not fit"));
    }
}
