use std::path::{Path, PathBuf};

use gravure_base::ErrorKind;
use gravure_core::{Model, ReadRequest};

use super::super::HuggingFace;
use super::super::testing::{catalog, file, read};
use super::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/safetensors/quantized/fixtures")
}

fn values(model: &Model, name: &str, rows: std::ops::Range<u64>) -> Vec<f32> {
    let (mut scratch, mut out) = (Vec::new(), Vec::new());
    model.tensor(name).unwrap().decode_rows(rows, &mut scratch, &mut out).unwrap();
    out
}

const ALL: &[&str] = &[
    "gptq2",
    "gptq3",
    "gptq4",
    "gptq8",
    "awq",
    "compressed4",
    "compressed4_zero",
    "compressed8",
    "compressed_float",
    "fp8_blocks",
    "fp8_one",
    "mlx2",
    "mlx3",
    "mlx4",
    "mlx5",
    "mlx6",
    "mlx8",
];

#[test]
fn every_scheme_means_what_its_maker_says() {
    for name in ALL {
        let dir = fixtures().join(name);
        let model = read(&HuggingFace, &dir, false).unwrap();
        let expected = read(&HuggingFace, &dir.join("expected.safetensors"), false).unwrap();
        assert_eq!(model.tensors.len(), expected.tensors.len(), "{name}: {:?}", model.tensors.iter().map(|t| &t.name).collect::<Vec<_>>());
        for tensor in &expected.tensors {
            let got = model.tensor(&tensor.name).unwrap_or_else(|| panic!("{name} has no {}", tensor.name));
            assert_eq!(got.shape, tensor.shape, "{name} {}", tensor.name);
            let rows = tensor.shape.rows();
            let whole = values(&expected, &tensor.name, 0..rows);
            // MLX multiplies and adds in one rounding step; all others are exact.
            let close = |a: f32, b: f32| if name.starts_with("mlx") { (a - b).abs() <= b.abs().max(0.1) * 1e-6 } else { a == b };
            let check = |got: &[f32], expected: &[f32]| got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| close(*a, *b));
            assert!(check(&values(&model, &tensor.name, 0..rows), &whole), "{name} {}", tensor.name);
            // Any part is the same as in the whole.
            let columns = tensor.shape.row_length() as usize;
            for (start, end) in [(0, 1), (rows / 3, rows / 2 + 1), (rows - 1, rows), (rows, rows)] {
                let part = &whole[start as usize * columns..end as usize * columns];
                assert!(check(&values(&model, &tensor.name, start..end), part), "{name} {} {start}..{end}", tensor.name);
            }
        }
        assert!(model.notes.iter().any(|n| n.text.contains("are decoded from")), "{name}");
    }
}

/// Name, type, shape and bytes of a tensor.
type Stored = (String, String, Vec<u64>, Vec<u8>);

/// A folder of one matrix; each part of the fixture may be changed.
fn changed(name: &str, config: impl Fn(&mut serde_json::Value), tensors: impl Fn(&mut Vec<Stored>)) -> Result<Model> {
    let source = fixtures().join(name);
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(source.join("config.json")).unwrap()).unwrap();
    config(&mut json);
    let bytes = std::fs::read(source.join("model.safetensors")).unwrap();
    let stored = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut parts: Vec<_> = stored
        .iter()
        .map(|(name, view)| {
            (
                name.to_owned(),
                format!("{:?}", view.dtype()),
                view.shape().iter().map(|&d| d as u64).collect::<Vec<_>>(),
                view.data().to_vec(),
            )
        })
        .collect();
    parts.sort();
    tensors(&mut parts);
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, dtype, shape, bytes) in &parts {
        let start = data.len();
        data.extend(bytes);
        entries.push(format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{}]}}"#, data.len()));
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), serde_json::to_vec(&json).unwrap()).unwrap();
    std::fs::write(dir.path().join("model.safetensors"), file(&format!("{{{}}}", entries.join(",")), &data)).unwrap();
    let model = read(&HuggingFace, dir.path(), false)?;
    for tensor in &model.tensors {
        // Whatever was accepted can be read or says why not.
        let mut out = Vec::new();
        tensor.data.read_rows(0..tensor.shape.rows(), &mut out)?;
    }
    Ok(model)
}

#[test]
fn what_does_not_fit_is_refused() {
    for name in ALL {
        changed(name, |_| {}, |_| {}).unwrap();
        // Without the description the tensors are what they are.
        let raw = changed(
            name,
            |c| {
                c.as_object_mut().unwrap().retain(|k, _| k == "model_type");
            },
            |_| {},
        )
        .unwrap();
        assert!(raw.tensors.iter().any(|t| t.name.contains("scale")), "{name}");
        // A missing part of a group.
        let parts: &[&str] = if name.starts_with("gptq") || *name == "awq" {
            &[".scales"]
        } else if name.starts_with("mlx") {
            &[".biases"]
        } else if name.starts_with("compressed4") {
            &[".weight_scale", ".weight_shape"]
        } else {
            &[]
        };
        for part in parts {
            let error = changed(name, |_| {}, |t| t.retain(|(n, ..)| !n.ends_with(part))).unwrap_err();
            assert!(error.kind() == ErrorKind::Input && error.message().contains("missing"), "{name} {part}: {error}");
        }
        // Scales of another shape.
        let error = changed(
            name,
            |_| {},
            |t| {
                for (_, _, shape, bytes) in t.iter_mut().filter(|(n, ..)| n.contains("q.") && n.contains("scale") && !n.contains("input")) {
                    let element = bytes.len() / shape.iter().product::<u64>() as usize;
                    *bytes = vec![0; 7 * element];
                    *shape = vec![7];
                }
            },
        );
        assert!(error.is_err(), "{name}");
    }
}

#[test]
fn unknown_ways_are_named() {
    let set = |key: &'static str, value: serde_json::Value| {
        move |c: &mut serde_json::Value| {
            let field = if c.get("quantization").is_some() { "quantization" } else { "quantization_config" };
            c[field][key] = value.clone();
        }
    };
    let cases: Vec<(&str, &'static str, serde_json::Value, ErrorKind)> = vec![
        ("gptq4", "quant_method", "hqq".into(), ErrorKind::Unsupported),
        ("gptq4", "quant_method", 7.into(), ErrorKind::Input),
        ("gptq4", "checkpoint_format", "marlin".into(), ErrorKind::Unsupported),
        ("gptq4", "bits", 5.into(), ErrorKind::Unsupported),
        ("gptq4", "bits", 0.into(), ErrorKind::Unsupported),
        ("gptq4", "bits", "four".into(), ErrorKind::Input),
        ("gptq4", "group_size", 0.into(), ErrorKind::Input),
        ("gptq4", "group_size", (-2).into(), ErrorKind::Input),
        ("gptq4", "group_size", 16.into(), ErrorKind::Input),
        ("gptq4", "group_size", u64::MAX.into(), ErrorKind::Input),
        ("gptq4", "dynamic", serde_json::json!({"+:.*": {"bits": 8}}), ErrorKind::Unsupported),
        ("awq", "version", "gemv".into(), ErrorKind::Unsupported),
        ("awq", "bits", 8.into(), ErrorKind::Unsupported),
        ("mlx4", "mode", "mxfp4".into(), ErrorKind::Unsupported),
        ("mlx4", "bits", 5.into(), ErrorKind::Input),
        ("mlx4", "group_size", (-1).into(), ErrorKind::Input),
        ("mlx4", "model.layers.0.q", false.into(), ErrorKind::Input),
        ("compressed4", "format", "marlin-24".into(), ErrorKind::Unsupported),
        ("compressed4", "config_groups", serde_json::json!({}), ErrorKind::Input),
        (
            "compressed8",
            "config_groups",
            serde_json::json!({"a": {"weights": {"num_bits": 8}}, "b": {"weights": null}}),
            ErrorKind::Unsupported,
        ),
        ("fp8_blocks", "weight_block_size", serde_json::json!([0, 4]), ErrorKind::Input),
        ("fp8_blocks", "weight_block_size", serde_json::json!([8, 8]), ErrorKind::Input),
    ];
    for (name, key, value, kind) in cases {
        let shown = value.to_string();
        let error = changed(name, set(key, value), |_| {}).map(|_| ()).expect_err(&format!("{name} {key} {shown}"));
        assert_eq!(error.kind(), kind, "{name} {key} {shown}: {error}");
        assert!(error.item().is_some(), "{name} {key}: no item");
    }
    // Lenient reading shows the tensors as they are stored.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), r#"{"quantization_config": {"quant_method": "hqq"}}"#).unwrap();
    std::fs::copy(fixtures().join("awq/model.safetensors"), dir.path().join("model.safetensors")).unwrap();
    let limits = gravure_core::Limits::default();
    let model = super::super::HuggingFace;
    let lenient = gravure_core::Format::read(
        &model,
        &ReadRequest { path: dir.path(), catalog: catalog(), limits: &limits, lenient: true, tokenizer_later: false },
    )
    .unwrap();
    assert!(lenient.tensors.len() == 4 && lenient.notes.iter().any(|n| n.text.contains("hqq")));
}

#[test]
fn hostile_group_indices_and_shapes_are_errors() {
    let error = changed(
        "gptq4",
        |_| {},
        |t| {
            for (.., bytes) in t.iter_mut().filter(|(n, ..)| n.ends_with("g_idx")) {
                bytes[0] = 200;
            }
        },
    );
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Input);
    for shape in [[0u64, 0], [u64::MAX, u64::MAX], [16, 63], [1 << 40, 64], [16, 1 << 40]] {
        let result = changed(
            "compressed4",
            |_| {},
            |t| {
                for (.., bytes) in t.iter_mut().filter(|(n, ..)| n.ends_with("weight_shape")) {
                    *bytes = shape.iter().flat_map(|d| d.to_le_bytes()).collect();
                }
            },
        );
        // 63 columns are half a word less: that is a shape that fits.
        assert_eq!(result.is_ok(), shape == [16, 63], "{shape:?}");
    }
}

#[test]
fn settings_in_a_file_of_their_own_are_found() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), "{}").unwrap();
    std::fs::write(dir.path().join("quantize_config.json"), r#"{"bits": 4, "group_size": 32}"#).unwrap();
    std::fs::copy(fixtures().join("gptq4/model.safetensors"), dir.path().join("model.safetensors")).unwrap();
    let model = read(&HuggingFace, dir.path(), false).unwrap();
    assert!(model.tensor("model.layers.0.q.weight").is_some());
}
