//! Whole models generate the tokens that transformers does. `scripts/reference_tokens.py` made the fixtures.

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
