//! Whole models generate the tokens that transformers does. `scripts/reference_tokens.py` made the fixtures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gravure::Quiet;
use gravure::engine::{Activations, CacheType, LoadOptions};
use gravure::generate::{GenerateRequest, Generator, GeneratorRequest, Prompt, Sampling, Speculation};
use serde_json::Value;

fn generator(model: &Path, change: impl Fn(&mut LoadOptions)) -> Generator {
    let mut model = LoadOptions::new(model);
    change(&mut model);
    Generator::load(&GeneratorRequest { model, speculation: Speculation::Off, chat_template: None }, &Quiet).unwrap()
}

fn greedy(generator: &Generator, prompt: &str, count: usize) -> Vec<u32> {
    let mut conversation = generator.conversation(Sampling::greedy()).unwrap();
    let request = GenerateRequest { max_tokens: Some(count), ..GenerateRequest::new(Prompt::Text(prompt.into())) };
    conversation.reply(&request, &|| false, &mut |_| Ok(())).unwrap().tokens
}

fn models() -> Vec<(&'static str, PathBuf)> {
    let bundled = gravure_testing::workspace_root().join("models/gravure-tiny");
    let stories = gravure_testing::test_data("models/stories260k-llama");
    [("gravure-tiny", Some(bundled)), ("stories260k-llama", stories)].into_iter().filter_map(|(n, p)| Some((n, p?))).collect()
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    for (name, path) in models() {
        let fixture = gravure_testing::workspace_root().join(format!("tests/fixtures/tokens/{name}.json"));
        let replies: Value = serde_json::from_slice(&std::fs::read(fixture).unwrap()).unwrap();
        let generator = generator(&path, |options| {
            options.activations = Activations::F32;
            options.cache = CacheType::F32;
        });
        for reply in replies.as_array().unwrap() {
            let list = |key: &str| reply[key].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect::<Vec<_>>();
            let prompt = reply["prompt"].as_str().unwrap();
            assert_eq!(generator.prompt_tokens(&Prompt::Text(prompt.into())).unwrap(), list("prompt_tokens"), "{name}");
            let (made, expected) = (greedy(&generator, prompt, 200), list("tokens"));
            // Transformers went on after its ending, a reply does not.
            assert!(made.len() == 200 || generator.endings().contains(made.last().unwrap()), "{name}");
            assert_eq!(made, expected[..made.len()], "{name}: {prompt}");
        }
    }
}

/// The same tokens for 1 and 2 threads, on the fast way.
#[test]
fn threads_change_no_token() {
    for (name, path) in models() {
        let one = greedy(&generator(&path, |options| options.threads = 1), "The king of England", 100);
        let two = greedy(&generator(&path, |options| options.threads = 2), "The king of England", 100);
        assert_eq!(one, two, "{name}");
    }
}

/// A GGUF file of 32-bit tensors and text or float values.
fn gguf(values: &[(&str, Result<&str, f32>)], tensors: &[(String, [usize; 2], Vec<f32>)]) -> Vec<u8> {
    let text = |t: &str| [&(t.len() as u64).to_le_bytes()[..], t.as_bytes()].concat();
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((values.len() as u64).to_le_bytes());
    for (key, value) in values {
        out.extend(text(key));
        match value {
            Ok(t) => out.extend([&8u32.to_le_bytes()[..], &text(t)].concat()),
            Err(number) => out.extend([&6u32.to_le_bytes()[..], &number.to_le_bytes()].concat()),
        }
    }
    let mut data = Vec::new();
    for (name, [rows, columns], numbers) in tensors {
        out.extend(text(name));
        out.extend(2u32.to_le_bytes());
        [columns, rows].iter().for_each(|d| out.extend((**d as u64).to_le_bytes()));
        out.extend(0u32.to_le_bytes());
        out.extend((data.len() as u64).to_le_bytes());
        data.extend(numbers.iter().flat_map(|v| v.to_le_bytes()));
        data.resize(data.len().next_multiple_of(32), 0);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(data);
    out
}

/// A model with an adapter is the model to whose weights the product was added.
#[test]
fn an_adapter_is_what_it_adds() {
    use gravure_testing::tiny_model::{Options, write};
    const RANK: usize = 2;
    let folder = tempfile::tempdir().unwrap();
    let (base, merged, file) = (folder.path().join("base"), folder.path().join("merged"), folder.path().join("adapter.gguf"));
    for path in [&base, &merged] {
        write("llama", &Options::default(), path).unwrap();
    }
    let number = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 1000.0 - 0.5;
    let weights = merged.join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut changed: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut tensors = Vec::new();
    // One matrix whose rows are turned in a GGUF, and one whose rows are not.
    for (name, neutral, heads) in [
        ("model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q", Some(4)),
        ("model.layers.1.mlp.down_proj.weight", "blk.1.ffn_down", None),
    ] {
        let view = stored.tensor(name).unwrap();
        let (rows, columns) = (view.shape()[0], view.shape()[1]);
        let a: Vec<f32> = (0..RANK * columns).map(number).collect();
        let b: Vec<f32> = (0..rows * RANK).map(|i| number(i + 77)).collect();
        let mut values: Vec<f32> = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        for (i, value) in values.iter_mut().enumerate() {
            let (row, column) = (i / columns, i % columns);
            // alpha / rank * strength is 6 / 2 * 0.5.
            *value += 1.5 * (0..RANK).map(|r| b[row * RANK + r] * a[r * columns + column]).sum::<f32>();
        }
        changed.insert(name.into(), values.iter().flat_map(|v| v.to_le_bytes()).collect());
        // In a GGUF the two halves of each head are interleaved.
        let half = heads.map_or(0, |heads| rows / heads / 2);
        let from = |row: usize| match heads {
            Some(_) => row / (2 * half) * 2 * half + row % 2 * half + row % (2 * half) / 2,
            None => row,
        };
        let turned = (0..rows).flat_map(|row| b[from(row) * RANK..][..RANK].to_vec()).collect();
        tensors.push((format!("{neutral}.weight.lora_a"), [RANK, columns], a));
        tensors.push((format!("{neutral}.weight.lora_b"), [rows, RANK], turned));
    }
    let views: Vec<(String, safetensors::tensor::TensorView<'_>)> = stored
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let data = changed.get(&name).map_or(view.data(), Vec::as_slice);
            let view = safetensors::tensor::TensorView::new(view.dtype(), view.shape().to_vec(), data).unwrap();
            (name, view)
        })
        .collect();
    std::fs::write(&weights, safetensors::serialize(views, None).unwrap()).unwrap();
    let values = |alpha| {
        [
            ("general.architecture", Ok("llama")),
            ("general.type", Ok("adapter")),
            ("adapter.type", Ok("lora")),
            ("adapter.lora.alpha", Err(alpha)),
        ]
    };
    std::fs::write(&file, gguf(&values(6.0), &tensors)).unwrap();

    let exact = |options: &mut LoadOptions| {
        options.activations = Activations::F32;
        options.cache = CacheType::F32;
    };
    let with = |strength: f32| {
        generator(&base, |options| {
            exact(options);
            options.adapters = vec![(file.clone(), strength)];
        })
    };
    let prompt = "the king";
    let expected = greedy(&generator(&merged, exact), prompt, 40);
    let plain = greedy(&generator(&base, exact), prompt, 40);
    assert_ne!(expected, plain, "the adapter changes the reply");
    assert_eq!(greedy(&with(0.5), prompt, 40), expected);
    assert_eq!(greedy(&with(0.0), prompt, 40), plain);
    // What was computed with it is nothing to go on from without it.
    let saved = folder.path().join("saved");
    let adapted = with(0.5);
    let mut conversation = adapted.conversation(Sampling::greedy()).unwrap();
    let request = GenerateRequest { max_tokens: Some(4), ..GenerateRequest::new(Prompt::Text(prompt.into())) };
    conversation.reply(&request, &|| false, &mut |_| Ok(())).unwrap();
    conversation.save(&saved).unwrap();
    assert!(with(0.5).restore(&saved, Sampling::greedy()).is_ok());
    for other in [generator(&base, exact), with(0.25)] {
        assert_eq!(other.restore(&saved, Sampling::greedy()).unwrap_err().kind(), gravure::ErrorKind::Input);
    }

    // What does not fit is refused.
    let load = |bytes: Vec<u8>| {
        std::fs::write(&file, bytes).unwrap();
        let mut model = LoadOptions::new(&base);
        model.adapters = vec![(file.clone(), 1.0)];
        let request = GeneratorRequest { model, speculation: Speculation::Off, chat_template: None };
        Generator::load(&request, &Quiet).map(|_| ()).unwrap_err()
    };
    let half = load(gguf(&values(6.0), &tensors[..1]));
    assert!(half.to_string().contains("alone"), "{half}");
    let mut other = tensors.clone();
    other[0].0 = "blk.9.attn_q.weight.lora_a".into();
    other[1].0 = "blk.9.attn_q.weight.lora_b".into();
    let other = load(gguf(&values(6.0), &other));
    assert!(other.to_string().contains("does not have"), "{other}");
    let model = load(gguf(&[("general.architecture", Ok("llama"))], &tensors));
    assert!(model.to_string().contains("no adapter"), "{model}");
    let alien = load(gguf(&[("general.architecture", Ok("gpt2")), ("general.type", Ok("adapter"))], &tensors));
    assert!(alien.to_string().contains("gpt2"), "{alien}");
}

/// Ten thousand replies that are stopped anywhere, in conversations that come and go: no position of the
/// cache is lost, and no reply is another than it would have been.
#[test]
fn stopping_and_beginning_anew_leaks_nothing() {
    use gravure_testing::tiny_model::{Options, write};
    use std::sync::atomic::{AtomicUsize, Ordering};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny");
    write("llama", &Options::default(), &path).unwrap();
    let generator = generator(&path, |options| options.positions = 192);
    let ask = |count| GenerateRequest { max_tokens: Some(count), ..GenerateRequest::new(Prompt::Text("the king".into())) };
    let expected = greedy(&generator, "the king", 170);
    assert_eq!(expected.len(), 170, "three pages of 64 positions are filled");
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut open = vec![generator.conversation(Sampling::greedy()).unwrap()];
    let mut stopped = 0;
    for _ in 0..10_000 {
        match random(10) {
            0 if open.len() < 3 => open.push(generator.conversation(Sampling::greedy()).unwrap()),
            1 if open.len() > 1 => drop(open.swap_remove(random(open.len() as u64) as usize)),
            _ => {
                let index = random(open.len() as u64) as usize;
                let left = AtomicUsize::new(random(60) as usize);
                let cancelled = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |l| l.checked_sub(1)).is_err();
                let count = 1 + random(4) as usize;
                let reply = open[index].reply(&ask(count), &cancelled, &mut |_| Ok(())).unwrap();
                assert!(expected.starts_with(&reply.tokens) && reply.tokens.len() <= count, "{reply:?}");
                stopped += usize::from(reply.stop.reason == "cancelled");
            }
        }
    }
    assert!(stopped > 1000, "{stopped}");
    drop(open);
    // The whole cache is free again.
    assert_eq!(greedy(&generator, "the king", 170), expected);
}
