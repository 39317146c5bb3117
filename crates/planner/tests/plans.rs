//! Plans equal llama-quantize's: for random models of 26 architectures, every mixture with and
//! without an importance matrix, and the options. The expected plans were recorded from
//! `llama-quantize --dry-run` by `tests/interop/record_plans.py`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use gravure_core::contracts::Layout;
use gravure_core::values::{ImportanceEntry, Source};
use gravure_core::{
    Catalog, Encoding, ErrorKind, Importance, ImportanceMatrix, Metadata, Model, Naming, Policy, Result, Shape, Tensor, TensorData, Value,
};
use gravure_planner::mixtures::{self, MixtureRequest, OutputMatrix, Requantize, Spread, TensorType};
use gravure_planner::uniform::Uniform;
use serde::Deserialize;

#[allow(dead_code, unreachable_pub)]
#[path = "../../formats/src/gguf/names.rs"]
mod names;

/// Only the layout of an encoding: nothing is encoded here.
#[derive(Debug)]
struct Blocks(&'static str, usize, usize);

impl Encoding for Blocks {
    fn id(&self) -> &'static str {
        self.0
    }
    fn doc(&self) -> &'static str {
        ""
    }
    fn layout(&self) -> Layout {
        Layout { block_elements: self.1, block_bytes: self.2 }
    }
    fn encode(&self, _: &[f32], _: usize, _: Importance<'_>, _: &mut [u8]) -> Result<()> {
        unreachable!("plans need no weights")
    }
    fn decode(&self, _: &[u8], _: &mut [f32]) -> Result<()> {
        unreachable!("plans need no weights")
    }
}

static CATALOG: Catalog = Catalog {
    encodings: &[
        &Blocks("f32", 1, 4),
        &Blocks("f16", 1, 2),
        &Blocks("bf16", 1, 2),
        &Blocks("q1_0", 128, 18),
        &Blocks("q2_0", 64, 18),
        &Blocks("q4_0", 32, 18),
        &Blocks("q4_1", 32, 20),
        &Blocks("q5_0", 32, 22),
        &Blocks("q5_1", 32, 24),
        &Blocks("q8_0", 32, 34),
        &Blocks("q2_k", 256, 84),
        &Blocks("q3_k", 256, 110),
        &Blocks("q4_k", 256, 144),
        &Blocks("q5_k", 256, 176),
        &Blocks("q6_k", 256, 210),
        &Blocks("iq1_s", 256, 50),
        &Blocks("iq1_m", 256, 56),
        &Blocks("iq2_xxs", 256, 66),
        &Blocks("iq2_xs", 256, 74),
        &Blocks("iq2_s", 256, 82),
        &Blocks("iq3_xxs", 256, 98),
        &Blocks("iq3_s", 256, 110),
        &Blocks("iq4_nl", 32, 18),
        &Blocks("iq4_xs", 256, 136),
        &Blocks("tq1_0", 256, 54),
        &Blocks("tq2_0", 256, 66),
        &Blocks("mxfp4", 32, 17),
        &Blocks("nvfp4", 64, 36),
    ],
    formats: &[],
    architectures: &[],
    runtimes: &[],
    methods: &[],
    passes: &[],
    plane_encodings: &[],
};

#[derive(Debug)]
struct NoData;

impl TensorData for NoData {
    fn read_rows(&self, _: Range<u64>, _: &mut Vec<u8>) -> Result<()> {
        unreachable!("plans need no weights")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    architecture: String,
    metadata: BTreeMap<String, serde_json::Value>,
    letters: BTreeMap<char, String>,
    tensors: Vec<(String, Vec<u64>, String)>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    r#type: String,
    flags: Vec<String>,
    importance: bool,
    #[serde(default)]
    plan: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    needs_importance: bool,
    error: Option<String>,
}

/// Whether tensors come with their identity, or by name alone as from an architecture that no table knows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Identities {
    Known,
    Unknown,
}

impl Recorded {
    fn model(&self, identities: Identities) -> Model {
        let mut metadata = Metadata::new();
        for (key, value) in &self.metadata {
            let value = match value {
                serde_json::Value::Number(n) => Value::U32(n.as_u64().unwrap() as u32),
                serde_json::Value::Array(list) => Value::I32s(list.iter().map(|n| n.as_i64().unwrap() as i32).collect()),
                other => panic!("{key} = {other}"),
            };
            metadata.set(key.clone(), value);
        }
        let tensors = self.tensors.iter().map(|(name, shape, encoding)| Tensor {
            name: name.clone(),
            id: if identities == Identities::Known { names::identify(name) } else { None },
            shape: Shape::new(shape.clone()).unwrap(),
            encoding: CATALOG.encoding(encoding).unwrap(),
            data: Arc::new(NoData),
        });
        Model {
            source: Source { format: "gguf", detail: String::new(), path: "m.gguf".into(), files: Vec::new(), file_tensors: Vec::new() },
            architecture_id: Some(self.architecture.clone()),
            architecture: None,
            naming: Naming::Neutral,
            hyperparameters: Default::default(),
            metadata,
            tokenizer: None,
            graph: None,
            adapter: None,
            tensors: tensors.collect(),
            notes: Vec::new(),
        }
    }

    /// Every matrix has importance.
    fn importance(&self) -> ImportanceMatrix {
        let entries = self.tensors.iter().filter(|(_, shape, _)| shape.len() >= 2).map(|(name, shape, _)| {
            let matrices = if shape.len() == 3 { shape[0] } else { 1 };
            let length = (matrices * shape[shape.len() - 1]) as usize;
            (name.clone(), ImportanceEntry { values: vec![1.0; length], counts: vec![1.0] })
        });
        ImportanceMatrix { entries: entries.collect(), ..ImportanceMatrix::default() }
    }
}

fn request(case: &Case) -> MixtureRequest {
    let mut request = MixtureRequest::new(mixtures::find(&case.r#type).unwrap());
    let mut flags = case.flags.iter().map(String::as_str);
    while let Some(flag) = flags.next() {
        let mut value = || flags.next().unwrap();
        match flag {
            "--pure" => request.spread = Spread::Pure,
            "--leave-output-tensor" => request.output_matrix = OutputMatrix::Left,
            "--output-tensor-type" => request.output_type = Some(value().to_owned()),
            "--token-embedding-type" => request.token_embedding_type = Some(value().to_owned()),
            "--tensor-type" => request.tensor_types.push(TensorType::parse(value()).unwrap()),
            "--prune-layers" => request.pruned_layers = mixtures::parse_layers(value()).unwrap(),
            other => panic!("{other}"),
        }
    }
    request
}

/// What differs between the recorded and the made plan of one case.
fn difference(recorded: &Recorded, case: &Case, expected: &str, model: &Model) -> Option<String> {
    let importance = case.importance.then(|| recorded.importance());
    let made = request(case).plan(model, &CATALOG, importance.as_ref());
    let plan = match (made, &case.error) {
        (Ok(_), Some(error)) if error.starts_with("exit") => return None, // It crashed there: anything is better.
        (Ok(_), Some(error)) => return Some(format!("a plan instead of the error `{error}`")),
        (Err(_), Some(_)) => return None,
        (Err(error), None) if case.needs_importance => {
            let stated =
                error.kind() == ErrorKind::Request && error.message().contains("needs an importance matrix") && error.item().is_some();
            return (!stated).then(|| format!("the wrong refusal: {error}"));
        }
        (Err(error), None) => return Some(format!("an error: {error}")),
        (Ok(_), None) if case.needs_importance => return Some("a plan where an importance matrix is needed".into()),
        (Ok(plan), None) => plan,
    };
    if !case.names.is_empty() {
        let made: Vec<&str> = plan.tensors.iter().map(|e| e.tensor.as_str()).collect();
        if made != case.names {
            return Some(format!("names {made:?} instead of {:?}", case.names));
        }
    }
    let expected: Vec<&str> = expected.chars().map(|letter| recorded.letters[&letter].as_str()).collect();
    if plan.tensors.len() != expected.len() {
        return Some(format!("{} tensors instead of {}", plan.tensors.len(), expected.len()));
    }
    let wrong = plan.tensors.iter().zip(expected).find(|(made, expected)| made.encoding != *expected)?;
    Some(format!("{} is {} ({}) instead of {}", wrong.0.tensor, wrong.0.encoding, wrong.0.reason, wrong.1))
}

#[test]
fn plans_equal_the_peers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 26, "golden plans are missing: {} files", paths.len());
    let (mut cases, mut wrong) = (0, Vec::new());
    for path in paths {
        let recorded: Recorded = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for identities in [Identities::Known, Identities::Unknown] {
            let model = recorded.model(identities);
            let mut last = "";
            for case in &recorded.cases {
                let expected = if case.plan == "=" { last } else { &case.plan };
                last = expected;
                cases += 1;
                if let Some(text) = difference(&recorded, case, expected, &model) {
                    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                    let with = if case.importance { " with importance" } else { "" };
                    wrong.push(format!("{name}, {} {}{with}, identities {identities:?}: {text}", case.r#type, case.flags.join(" ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} plans differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn sizes_are_exact() {
    let recorded: Recorded = serde_json::from_str(include_str!("plans/llama-odd.json")).unwrap();
    let plan = MixtureRequest::new(mixtures::find("q4_k_m").unwrap()).plan(&recorded.model(Identities::Known), &CATALOG, None).unwrap();
    let mut expected = 0;
    for entry in &plan.tensors {
        let (_, shape, _) = recorded.tensors.iter().find(|(name, ..)| *name == entry.tensor).unwrap();
        let encoding = CATALOG.encoding(&entry.encoding).unwrap();
        let (columns, rows) = (shape[shape.len() - 1], shape[..shape.len() - 1].iter().product::<u64>());
        expected += columns / encoding.layout().block_elements as u64 * encoding.layout().block_bytes as u64 * rows;
    }
    assert_eq!(plan.tensor_bytes, expected);
    assert_eq!(plan.file_type, Some(15));
    assert!(plan.tensors.iter().all(|e| !e.reason.is_empty()));
}

/// Encodings that a uniform conversion gives the tensors with these names.
fn converted(file: &str, choice: Uniform, names: &[&str]) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans").join(file);
    let recorded: Recorded = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let plan = choice.plan(&recorded.model(Identities::Known), &CATALOG, None).unwrap();
    assert!(plan.tensors.iter().map(|e| &e.tensor).eq(recorded.tensors.iter().map(|(name, ..)| name)), "{file}: tensors are reordered");
    let of =
        |name: &&str| plan.tensors.iter().find(|e| e.tensor == *name).unwrap_or_else(|| panic!("{file} has no {name}")).encoding.clone();
    names.iter().map(of).collect()
}

#[test]
fn uniform_conversions_keep_what_must_stay_exact() {
    let mixtral = ["token_embd.weight", "blk.0.ffn_gate_inp.weight", "blk.0.ffn_up_exps.weight", "blk.0.attn_norm.weight", "output.weight"];
    assert_eq!(converted("mixtral.json", Uniform::F16, &mixtral), ["f16", "f32", "f16", "f32", "f16"]);
    assert_eq!(converted("mixtral.json", Uniform::Q8_0, &mixtral), ["q8_0", "f32", "q8_0", "f32", "q8_0"]);
    assert_eq!(converted("mixtral.json", Uniform::Tq2_0, &mixtral), ["f16", "f32", "tq2_0", "f32", "f16"]);
    let gpt2 = ["position_embd.weight", "blk.1.attn_qkv.weight", "blk.1.attn_qkv.bias"];
    assert_eq!(converted("gpt2.json", Uniform::Bf16, &gpt2), ["f32", "bf16", "f32"]);
    // Rows of 128 and of 172: no whole blocks.
    assert_eq!(converted("deepseek2.json", Uniform::Tq1_0, &["blk.1.attn_k_b.weight", "blk.1.attn_v_b.weight"]), ["f16", "tq1_0"]);
    assert_eq!(converted("llama-odd.json", Uniform::Q8_0, &["blk.0.ffn_down.weight", "blk.0.ffn_up.weight"]), ["f16", "q8_0"]);
    let jamba = ["blk.0.ssm_conv1d.weight", "blk.0.ssm_conv1d.bias", "blk.0.ssm_a", "blk.0.ssm_in.weight"];
    assert_eq!(converted("jamba.json", Uniform::F16, &jamba), ["f32", "f32", "f32", "f16"]);
}

#[test]
fn auto_takes_the_sixteen_bits_of_the_source() {
    assert_eq!(converted("qwen3.json", Uniform::Auto, &["token_embd.weight"]), ["bf16"]);
    assert_eq!(converted("falcon.json", Uniform::Auto, &["token_embd.weight"]), ["f16"]);
    assert_eq!(converted("llama.json", Uniform::Auto, &["token_embd.weight"]), ["f16"]);
}

/// The expected refusals of the issue, by request: what is wrong, where, what to do.
#[test]
fn refusals_say_what_is_wrong() {
    let recorded: Recorded = serde_json::from_str(include_str!("plans/mixtral.json")).unwrap();
    let model = recorded.model(Identities::Known);
    let plan = |change: &dyn Fn(&mut MixtureRequest), importance: Option<&ImportanceMatrix>| {
        let mut request = MixtureRequest::new(mixtures::find("iq2_xs").unwrap());
        change(&mut request);
        request.plan(&model, &CATALOG, importance).map(|_| ()).map_err(|e| format!("{:?}: {e}", e.kind()))
    };
    let none = |_: &mut MixtureRequest| {};
    let error = plan(&none, None).unwrap_err();
    assert!(error.starts_with("Request: iq2_xs needs an importance matrix"), "{error}");
    assert!(error.contains("at: blk.0.attn_q.weight") && error.contains("--imatrix"), "{error}");

    let full = recorded.importance();
    plan(&none, Some(&full)).unwrap();
    let mut partial = full.clone();
    partial.entries.remove("blk.3.ffn_up_exps.weight");
    let error = plan(&none, Some(&partial)).unwrap_err();
    assert!(error.contains("has nothing for this tensor") && error.contains("at: blk.3.ffn_up_exps.weight"), "{error}");

    let mut foreign = full.clone();
    foreign.entries.get_mut("blk.3.attn_q.weight").unwrap().values.push(1.0);
    let error = plan(&none, Some(&foreign)).unwrap_err();
    assert!(error.starts_with("Input: the importance matrix has 257 values for this tensor, which needs 256"), "{error}");

    let mut broken = full.clone();
    broken.entries.get_mut("blk.3.attn_q.weight").unwrap().values[7] = f32::INFINITY;
    assert!(plan(&none, Some(&broken)).unwrap_err().contains("not finite"));

    let error = plan(&|r| r.tensor_types.push(TensorType::parse("attn_(=q8_0").unwrap()), Some(&full)).unwrap_err();
    assert!(error.starts_with("Request: the tensor pattern `attn_(` is no regular expression"), "{error}");
    let error = plan(&|r| r.tensor_types.push(TensorType::parse("attn=q9_9").unwrap()), Some(&full)).unwrap_err();
    assert!(error.starts_with("Unsupported: unknown encoding `q9_9`"), "{error}");
    let error = plan(&|r| r.pruned_layers = vec![9], Some(&full)).unwrap_err();
    assert!(error.starts_with("Request: layer 9 cannot be left out"), "{error}");
}

#[test]
fn quantized_tensors_are_not_quantized_again_unasked() {
    let recorded: Recorded = serde_json::from_str(include_str!("plans/llama.json")).unwrap();
    let mut model = recorded.model(Identities::Known);
    let at = model.tensors.iter().position(|t| t.name == "blk.2.attn_q.weight").unwrap();
    model.tensors[at].encoding = CATALOG.encoding("q8_0").unwrap();
    let mut request = MixtureRequest::new(mixtures::find("q4_k_m").unwrap());
    let error = request.plan(&model, &CATALOG, None).unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Request, Some("blk.2.attn_q.weight")));
    assert!(error.help_text().unwrap().contains("--allow-requantize"));
    request.requantize = Requantize::Allowed;
    let plan = request.plan(&model, &CATALOG, None).unwrap();
    assert!(plan.tensors.iter().any(|e| e.tensor == "blk.2.attn_q.weight" && e.method == "rtn"));
    // The same encoding is a copy, whatever was asked.
    let request = MixtureRequest::new(mixtures::find("q8_0").unwrap());
    let plan = request.plan(&model, &CATALOG, None).unwrap();
    assert!(plan.tensors.iter().any(|e| e.tensor == "blk.2.attn_q.weight" && e.method == "copy"));
}

/// Every name of the table is treated alike with its identity and without: roles say all that names do.
#[test]
fn roles_say_what_names_say() {
    let mut all = Vec::new();
    let mut prefix = None;
    for line in include_str!("../../formats/src/gguf/names.rs").lines() {
        prefix = match line {
            "const GLOBAL: &[(Role, &str)] = &[" => Some(""),
            "const LAYER: &[(Role, &str)] = &[" => Some("blk.3."),
            "const ENCODER: &[(Role, &str)] = &[" => Some("enc.blk.3."),
            "const DECODER: &[(Role, &str)] = &[" => Some("dec.blk.3."),
            "];" => None,
            _ => prefix,
        };
        if let (Some(prefix), Some((_, stem))) = (prefix, line.trim().strip_suffix("\"),").and_then(|l| l.split_once('"'))) {
            all.extend(["weight", "bias"].map(|part| format!("{prefix}{stem}.{part}")));
        }
    }
    all.extend(["gate", "up", "down"].map(|m| format!("blk.3.ffn_{m}.5.weight")));
    assert!(all.len() > 300, "{} names", all.len());
    let mut recorded: Recorded = serde_json::from_str(include_str!("plans/llama.json")).unwrap();
    for shape in [vec![8, 256], vec![4, 8, 256], vec![256]] {
        recorded.tensors = all.iter().map(|name| (name.clone(), shape.clone(), "f32".to_owned())).collect();
        let (known, unknown) = (recorded.model(Identities::Known), recorded.model(Identities::Unknown));
        assert!(known.tensors.iter().all(|t| t.id.is_some()) && unknown.tensors.iter().all(|t| t.id.is_none()));
        let importance = recorded.importance();
        for mixture in mixtures::MIXTURES {
            let plan = |model| MixtureRequest::new(mixture).plan(model, &CATALOG, Some(&importance)).unwrap();
            for (a, b) in plan(&known).tensors.iter().zip(&plan(&unknown).tensors) {
                assert_eq!(
                    (&a.tensor, &a.encoding),
                    (&b.tensor, &b.encoding),
                    "{} of shape {shape:?}: {} / {}",
                    mixture.id,
                    a.reason,
                    b.reason
                );
            }
        }
    }
}
