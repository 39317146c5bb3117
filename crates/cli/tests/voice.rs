//! The tool's whole voice: help, plans, reports and errors, as a user sees them.

use std::io::Write;
use std::path::Path;
use std::process::Command;

mod common;

use common::{program, root, say};

struct Case {
    name: &'static str,
    args: &'static [&'static str],
}

fn check(cases: &[Case]) {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("models"), folder.path().join("models")).unwrap();
    std::fs::write(folder.path().join("text.txt"), "no model").unwrap();
    std::fs::write(folder.path().join("empty.gguf"), "").unwrap();
    std::fs::write(folder.path().join("cut.gguf"), b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\0\0\x01\0\0\0\0\0\0\0").unwrap();
    std::fs::write(folder.path().join("lfs.gguf"), "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n").unwrap();
    std::fs::create_dir(folder.path().join("nothing")).unwrap();
    copy_model(&folder.path().join("alien"), |config| {
        config.replace("LlamaForCausalLM", "AlienForCausalLM").replace("\"llama\"", "\"alien\"")
    });
    copy_model(&folder.path().join("odd-key"), |config| config.replacen('{', "{ \"attention_warp_factor\": 9,", 1));
    adapters(folder.path());
    std::fs::write(folder.path().join("bad-plan.toml"), "name = 3\n").unwrap();
    one_billion(&folder.path().join("one-billion"));
    std::fs::write(folder.path().join("bad-target.toml"), "id = \"mine\"\n\nspeed = 3\n").unwrap();
    for case in cases {
        let mut settings = insta::Settings::clone_current();
        settings.set_description(format!("gravure {}", case.args.join(" ")));
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(case.name, say(folder.path(), case.args)));
    }
}

/// Low-rank adapters of a tiny model, and of none.
fn adapters(folder: &Path) {
    use gravure_testing::tiny_model::{AdapterOptions, Options, write_adapter};
    let write = |name: &str, design: &str, options: &str| {
        let options = AdapterOptions::from_json(&serde_json::from_str(options).unwrap()).unwrap();
        write_adapter(design, &Options::default(), &options, &folder.join(name)).unwrap();
    };
    write("adapter", "llama", r#"{"targets": ["q_proj"]}"#);
    write("adapter-dora", "llama", r#"{"config": {"use_dora": true}}"#);
    write("adapter-vera", "llama", r#"{"config": {"peft_type": "VERA"}}"#);
    write("adapter-gpt2", "gpt2", "{}");
}

fn copy_model(to: &Path, change: impl Fn(String) -> String) {
    std::fs::create_dir(to).unwrap();
    let from = root().join("models/gravure-tiny");
    for name in ["model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::os::unix::fs::symlink(from.join(name), to.join(name)).unwrap();
    }
    let config = std::fs::read_to_string(from.join("config.json")).unwrap();
    std::fs::write(to.join("config.json"), change(config)).unwrap();
}

#[test]
fn help_and_tables() {
    check(&[
        Case { name: "help", args: &["--help"] },
        Case { name: "help_quantize", args: &["quantize", "--help"] },
        Case { name: "help_optimize", args: &["optimize", "--help"] },
        Case { name: "help_compare", args: &["compare", "--help"] },
        Case { name: "help_search", args: &["search", "--help"] },
        Case { name: "help_recommend", args: &["recommend", "--help"] },
        Case { name: "help_convert", args: &["convert", "--help"] },
        Case { name: "help_run", args: &["run", "--help"] },
        Case { name: "encodings", args: &["encodings"] },
        Case { name: "targets_of_a_name", args: &["targets", "raspberry-pi-5"] },
    ]);
}

#[test]
fn plans_and_reports() {
    check(&[
        Case { name: "quantize", args: &["-t", "2", "quantize", "models/gravure-tiny", "--type", "q4_k_m", "-o", "tiny.gguf"] },
        Case { name: "plan", args: &["-t", "2", "plan", "models/gravure-tiny", "--type", "Q3_K_S", "--prune-layers", "1,2,3,4,5,6"] },
        Case { name: "inspect", args: &["inspect", "models/gravure-tiny"] },
        Case { name: "scan", args: &["scan", "models/gravure-tiny"] },
        Case {
            name: "convert_dry_run",
            args: &["-t", "2", "convert", "models/gravure-tiny", "-o", "x.gguf", "--dtype", "f16", "--dry-run"],
        },
    ]);
}

#[test]
fn recommendations() {
    const TINY: &str = "models/gravure-tiny";
    check(&[
        Case { name: "recommend_tiny_raspberry_pi_5", args: &["recommend", TINY, "--target", "raspberry-pi-5"] },
        Case { name: "recommend_tiny_apple_m4", args: &["recommend", TINY, "--target", "apple-m4", "--max-size", "5MB"] },
        Case { name: "recommend_tiny_snapdragon_8_elite", args: &["recommend", TINY, "--target", "snapdragon-8-elite"] },
        Case { name: "recommend_tiny_impossible", args: &["recommend", TINY, "--target", "browser-wasm", "--max-size", "1MB"] },
        Case { name: "recommend_1b_raspberry_pi_4", args: &["recommend", "one-billion", "--target", "raspberry-pi-4", "-c", "2048"] },
        Case {
            name: "recommend_1b_raspberry_pi_5",
            args: &["recommend", "one-billion", "--target", "raspberry-pi-5", "--min-tokens-per-second", "12"],
        },
        Case { name: "recommend_1b_rtx_4060", args: &["recommend", "one-billion", "--target", "rtx-4060", "-c", "32768"] },
        Case { name: "recommend_1b_intel_lunar_lake", args: &["recommend", "one-billion", "--target", "intel-lunar-lake"] },
        Case { name: "recommend_1b_h100", args: &["recommend", "one-billion", "--target", "h100", "--all"] },
    ]);
}

/// Budgets that cannot be met or meant: refused before anything is measured.
#[test]
fn impossible_budgets() {
    check(&[
        Case {
            name: "optimize_without_a_budget",
            args: &[
                "optimize",
                "models/gravure-tiny",
                "-o",
                "out",
                "--calibration-data",
                "text.txt",
                "--eval-data",
                "models/gravure-tiny/README.md",
            ],
        },
        Case {
            name: "optimize_impossible_size",
            args: &[
                "optimize",
                "models/gravure-tiny",
                "-o",
                "out",
                "--calibration-data",
                "text.txt",
                "--eval-data",
                "models/gravure-tiny/README.md",
                "--max-size",
                "1MB",
            ],
        },
        Case {
            name: "optimize_impossible_tensors",
            args: &[
                "optimize",
                "models/gravure-tiny",
                "-o",
                "out",
                "--calibration-data",
                "text.txt",
                "--eval-data",
                "models/gravure-tiny/README.md",
                "--max-tensor-bytes",
                "1000000B",
            ],
        },
        Case {
            name: "optimize_impossible_bits",
            args: &[
                "optimize",
                "models/gravure-tiny",
                "-o",
                "out",
                "--calibration-data",
                "text.txt",
                "--eval-data",
                "models/gravure-tiny/README.md",
                "--bits-per-weight",
                "0.5",
            ],
        },
        Case {
            name: "optimize_impossible_memory",
            args: &[
                "optimize",
                "models/gravure-tiny",
                "-o",
                "out",
                "--calibration-data",
                "text.txt",
                "--eval-data",
                "models/gravure-tiny/README.md",
                "--max-memory",
                "5MiB",
                "--ctx",
                "1024",
            ],
        },
        Case {
            name: "optimize_impossible_speed",
            args: &[
                "optimize",
                "models/gravure-tiny",
                "-o",
                "out",
                "--calibration-data",
                "text.txt",
                "--eval-data",
                "models/gravure-tiny/README.md",
                "--min-tokens-per-second",
                "100000",
                "--target",
                "raspberry-pi-5",
            ],
        },
        Case {
            name: "optimize_speed_nowhere",
            args: &[
                "optimize",
                "models/gravure-tiny",
                "-o",
                "out",
                "--calibration-data",
                "text.txt",
                "--eval-data",
                "models/gravure-tiny/README.md",
                "--min-tokens-per-second",
                "10",
            ],
        },
        Case {
            name: "optimize_impossible_agreement",
            args: &[
                "optimize",
                "models/gravure-tiny",
                "-o",
                "out",
                "--calibration-data",
                "text.txt",
                "--eval-data",
                "models/gravure-tiny/README.md",
                "--min-top1",
                "95",
            ],
        },
        Case {
            name: "optimize_encoding_that_the_target_lacks",
            args: &[
                "optimize",
                "models/gravure-tiny",
                "-o",
                "out",
                "--calibration-data",
                "text.txt",
                "--eval-data",
                "models/gravure-tiny/README.md",
                "--max-size",
                "4MB",
                "--target",
                "h100",
                "--to",
                "safetensors",
                "--encodings",
                "f8_e5m2",
            ],
        },
        Case {
            name: "optimize_encoding_that_the_format_lacks",
            args: &[
                "optimize",
                "models/gravure-tiny",
                "-o",
                "out",
                "--calibration-data",
                "text.txt",
                "--eval-data",
                "models/gravure-tiny/README.md",
                "--max-size",
                "4MB",
                "--encodings",
                "f8_e4m3",
            ],
        },
        Case {
            name: "optimize_on_one_text",
            args: &[
                "optimize",
                "models/gravure-tiny",
                "-o",
                "out",
                "--calibration-data",
                "text.txt",
                "--eval-data",
                "text.txt",
                "--max-size",
                "4MB",
            ],
        },
    ]);
}

/// The model, the folder and two texts that every search is given.
macro_rules! search {
    ($($more:expr),*) => {
        &[
            "-t", "2", "search", "models/gravure-tiny", "-o", "out", "-c", "64", "--calibration-data", "models/gravure-tiny/train_tiny.py",
            "--eval-data", "models/gravure-tiny/README.md", $($more),*
        ]
    };
}

#[test]
fn searches() {
    check(&[
        Case { name: "search_dry_run", args: search!["--dry-run"] },
        Case {
            name: "search_dry_run_of_less",
            args: search![
                "--dry-run",
                "--sampler",
                "grid",
                "--methods",
                "rtn",
                "--objectives",
                "kld,size",
                "--max-size",
                "4MB",
                "--trials",
                "9"
            ],
        },
        Case { name: "search_by_no_sampler", args: search!["--sampler", "luck"] },
        Case { name: "search_for_no_objective", args: search!["--objectives", "kld,beauty"] },
        Case { name: "search_for_one_objective_twice", args: search!["--objectives", "kld,kld"] },
        Case { name: "search_of_no_method", args: search!["--methods", "magic", "--dry-run"] },
        Case { name: "search_without_time", args: search!["--time-limit", "soon"] },
        Case { name: "search_impossible_size", args: search!["--max-size", "1MB"] },
        Case {
            name: "search_on_one_text",
            args: &["search", "models/gravure-tiny", "-o", "out", "--calibration-data", "text.txt", "--eval-data", "text.txt"],
        },
    ]);
}

/// A checkpoint of Llama 3.2 1B's shape whose weights are a hole: sizes and plans need no weight.
fn one_billion(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let (width, forward, vocabulary, keys) = (2048, 8192, 128_256, 512);
    let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![vocabulary, width]), ("model.norm.weight".into(), vec![width])];
    for layer in 0..16 {
        let mut add = |name: &str, shape: &[u64]| tensors.push((format!("model.layers.{layer}.{name}.weight"), shape.to_vec()));
        add("input_layernorm", &[width]);
        add("post_attention_layernorm", &[width]);
        add("self_attn.q_proj", &[width, width]);
        add("self_attn.k_proj", &[keys, width]);
        add("self_attn.v_proj", &[keys, width]);
        add("self_attn.o_proj", &[width, width]);
        add("mlp.gate_proj", &[forward, width]);
        add("mlp.up_proj", &[forward, width]);
        add("mlp.down_proj", &[width, forward]);
    }
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors {
        let start = end;
        end += shape.iter().product::<u64>() * 2;
        header.insert(name, serde_json::json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = std::fs::File::create(folder.join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    file.set_len(8 + header.len() as u64 + end).unwrap();
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false, "mlp_bias": false, "head_dim": 64,
        "hidden_act": "silu", "hidden_size": width, "intermediate_size": forward, "max_position_embeddings": 131_072,
        "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 500_000.0,
        "tie_word_embeddings": true, "vocab_size": vocabulary, "torch_dtype": "bfloat16",
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

#[test]
fn wrong_use() {
    check(&[
        Case { name: "no_verb_of_that_name", args: &["quantise"] },
        Case { name: "unknown_type", args: &["quantize", "models/gravure-tiny", "--type", "q9_k", "-o", "x.gguf"] },
        Case { name: "missing_type", args: &["quantize", "models/gravure-tiny", "-o", "x.gguf"] },
        Case { name: "missing_file", args: &["quantize", "absent.gguf", "--type", "q8_0", "-o", "x.gguf"] },
        Case { name: "a_folder_without_a_model", args: &["quantize", "nothing", "--type", "q8_0", "-o", "x.gguf"] },
        Case { name: "a_file_that_is_no_model", args: &["inspect", "text.txt"] },
        Case { name: "an_empty_file", args: &["inspect", "empty.gguf"] },
        Case { name: "a_cut_file", args: &["inspect", "cut.gguf"] },
        Case { name: "a_pointer_file", args: &["inspect", "lfs.gguf"] },
        Case { name: "unknown_architecture", args: &["quantize", "alien", "--type", "q8_0", "-o", "x.gguf"] },
        Case { name: "unread_config_key", args: &["quantize", "odd-key", "--type", "q8_0", "-o", "x.gguf"] },
        Case { name: "unread_config_key_lenient", args: &["quantize", "odd-key", "--type", "q8_0", "-o", "x.gguf", "--lenient", "-q"] },
        Case { name: "no_such_folder", args: &["quantize", "models/gravure-tiny", "--type", "q8_0", "-o", "a/b/c.gguf"] },
        Case { name: "output_is_a_folder", args: &["quantize", "models/gravure-tiny", "--type", "q8_0", "-o", "nothing"] },
        Case { name: "needs_an_importance_matrix", args: &["quantize", "models/gravure-tiny", "--type", "iq2_xxs", "-o", "x.gguf"] },
        Case {
            name: "no_importance_matrix",
            args: &["quantize", "models/gravure-tiny", "--type", "q4_k", "-o", "x.gguf", "--imatrix", "text.txt"],
        },
        Case {
            name: "bad_tensor_type",
            args: &["quantize", "models/gravure-tiny", "--type", "q4_k", "-o", "x.gguf", "--tensor-type", "attn_q"],
        },
        Case {
            name: "bad_override",
            args: &["quantize", "models/gravure-tiny", "--type", "q4_k", "-o", "x.gguf", "--override-kv", "a=int:x"],
        },
        Case { name: "adapter_without_its_base", args: &["convert", "adapter", "-o", "x.gguf"] },
        Case { name: "adapter_of_another_base", args: &["convert", "adapter", "--base", "models/gravure-tiny", "-o", "x.gguf"] },
        Case { name: "adapter_of_an_unknown_module", args: &["convert", "adapter-gpt2", "--base", "models/gravure-tiny", "-o", "x.gguf"] },
        Case { name: "adapter_with_dora", args: &["convert", "adapter-dora", "--base", "models/gravure-tiny", "-o", "x.gguf"] },
        Case { name: "adapter_of_another_kind", args: &["convert", "adapter-vera", "--base", "models/gravure-tiny", "-o", "x.gguf"] },
        Case { name: "adapter_in_a_mixture", args: &["quantize", "adapter", "--type", "q4_k_m", "-o", "x.gguf"] },
        Case { name: "base_of_a_model", args: &["convert", "models/gravure-tiny", "--base", "models/gravure-tiny", "-o", "x.gguf"] },
        Case {
            name: "override_of_the_architecture",
            args: &["quantize", "models/gravure-tiny", "--type", "q4_k", "-o", "x.gguf", "--override-kv", "general.architecture=str:qwen2"],
        },
        Case { name: "bad_size", args: &["quantize", "models/gravure-tiny", "--type", "q4_k", "-o", "x.gguf", "--split-max-size", "many"] },
        Case { name: "bad_plan", args: &["quantize", "models/gravure-tiny", "--plan", "bad-plan.toml", "-o", "x.gguf"] },
        Case { name: "bad_dtype", args: &["convert", "models/gravure-tiny", "-o", "x.gguf", "--dtype", "f12"] },
        Case { name: "unknown_target", args: &["targets", "raspberry-pi-6"] },
        Case { name: "recommend_unknown_target", args: &["recommend", "models/gravure-tiny", "--target", "raspberry-pi-6"] },
        Case { name: "bad_target_file", args: &["targets", "bad-target.toml"] },
        Case { name: "run_without_a_prompt", args: &["run", "models/gravure-tiny"] },
        Case { name: "run_a_chat_without_a_template", args: &["run", "models/gravure-tiny", "-cnv", "-p", "Hello"] },
        Case { name: "run_with_a_template_that_is_none", args: &["run", "models/gravure-tiny", "-p", "x", "--chat-template", "{% for %}"] },
        Case {
            name: "run_with_a_template_that_refuses",
            args: &["run", "models/gravure-tiny", "-p", "x", "--chat-template", "{{ raise_exception('only tools may speak') }}"],
        },
        Case { name: "run_with_a_bad_grammar", args: &["run", "models/gravure-tiny", "-p", "x", "--grammar", "root ::= word"] },
        Case { name: "run_with_a_bad_schema", args: &["run", "models/gravure-tiny", "-p", "x", "-j", "{type: object}"] },
        Case { name: "run_with_an_unknown_schema", args: &["run", "models/gravure-tiny", "-p", "x", "-j", "{\"type\": \"thing\"}"] },
        Case { name: "run_with_a_bad_bias", args: &["run", "models/gravure-tiny", "-p", "x", "-l", "12"] },
        Case { name: "run_with_a_bias_of_no_token", args: &["run", "models/gravure-tiny", "-p", "x", "-l", "not one token+1"] },
        Case { name: "run_with_a_bad_top_p", args: &["run", "models/gravure-tiny", "-p", "x", "--top-p", "1.5"] },
        Case { name: "run_with_a_prompt_that_is_too_long", args: &["run", "models/gravure-tiny", "-p", "one two three four", "-c", "3"] },
        Case { name: "run_with_a_cache_that_is_none", args: &["run", "models/gravure-tiny", "-p", "x", "--prompt-cache", "text.txt"] },
        Case { name: "run_with_unlike_caches", args: &["run", "models/gravure-tiny", "-p", "x", "-ctk", "q8_0", "-ctv", "f32"] },
        Case { name: "run_as_json_with_an_error", args: &["--json", "run", "models/gravure-tiny", "-p", "x", "-c", "99999999999"] },
        Case { name: "error_as_json", args: &["--json", "quantize", "absent.gguf", "--type", "q8_0", "-o", "x.gguf"] },
    ]);
}

#[test]
fn a_read_only_folder_is_named() {
    // Root may write everywhere, so the folder is one that nobody may write to.
    let said = say(&root(), &["quantize", "models/gravure-tiny", "--type", "q8_0", "-o", "/proc/x.gguf"]);
    assert!(said.starts_with("exit 74") && said.contains("/proc"), "{said}");
}

#[test]
fn an_importance_matrix_of_another_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    // The legacy layout: entries of name, number of calls, values.
    let mut bytes = 1i32.to_le_bytes().to_vec();
    let name = "blk.0.attn_q.weight";
    bytes.extend((name.len() as i32).to_le_bytes());
    bytes.extend(name.as_bytes());
    bytes.extend(1i32.to_le_bytes());
    bytes.extend(64i32.to_le_bytes());
    bytes.extend(std::iter::repeat_n(1f32.to_le_bytes(), 64).flatten());
    std::fs::write(folder.path().join("other.dat"), bytes).unwrap();
    let model = root().join("models/gravure-tiny");
    let said = say(folder.path(), &["quantize", model.to_str().unwrap(), "--type", "q4_k", "-o", "x.gguf", "--imatrix", "other.dat"]);
    assert!(said.starts_with("exit 65") && said.contains(name) && said.contains("other.dat"), "{said}");
    assert!(!folder.path().join("x.gguf").exists());
}

#[test]
fn a_reply_follows_its_form_and_its_seed() {
    let run = |args: &[&str]| {
        let folder = root();
        let args = [&["run", "models/gravure-tiny", "-q", "-t", "2", "-p", "The king"], args].concat();
        say(&folder, &args)
    };
    let reply = run(&["-s", "7", "-n", "40"]);
    assert!(reply.starts_with("exit 0\n--- stdout\n") && reply.len() > 60, "{reply}");
    assert_eq!(reply, run(&["-s", "7", "-n", "40", "--lookup"]), "guesses change nothing");
    assert_eq!(reply, run(&["-s", "7", "-n", "40", "-md", "models/gravure-tiny"]), "nor do those of a model");
    assert_ne!(reply, run(&["-s", "8", "-n", "40"]));
    let greedy = run(&["--temp", "0", "-n", "40"]);
    assert_eq!(greedy, run(&["--top-k", "1", "-n", "40", "-s", "3"]));
    assert_ne!(greedy, run(&["--temp", "0", "-n", "40", "--presence-penalty", "5"]));
    let number = run(&["--regex", "[0-9]{3}"]);
    assert!(number.strip_prefix("exit 0\n--- stdout\n").is_some_and(|n| n.len() == 3 && n.parse::<u32>().is_ok()), "{number}");
    let answer = run(&["--grammar", "root ::= \"yes\" | \"no\""]);
    assert!(["exit 0\n--- stdout\nyes", "exit 0\n--- stdout\nno"].contains(&answer.as_str()), "{answer}");
    let document = run(&[
        "--json",
        "-n",
        "200",
        "-s",
        "1",
        "-j",
        r#"{"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}, "required": ["n"], "additionalProperties": false}"#,
    ]);
    let document: serde_json::Value = serde_json::from_str(document.strip_prefix("exit 0\n--- stdout\n").unwrap()).unwrap();
    let inner: serde_json::Value = serde_json::from_str(document["text"].as_str().unwrap()).unwrap();
    assert!(inner["n"].as_i64().unwrap() <= 9, "{inner}");
    assert_eq!((&document["stop"]["reason"], &document["seed"]), (&"constraint".into(), &1.into()));
}

#[test]
fn a_conversation_is_saved_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let model = root().join("models/gravure-tiny");
    let run = |prompt: &str, more: &[&str]| {
        let args = [&["run", model.to_str().unwrap(), "--json", "-t", "2", "--temp", "0", "-n", "12", "-p", prompt], more].concat();
        let said = say(folder.path(), &args);
        serde_json::from_str::<serde_json::Value>(said.split_once("--- stdout\n").unwrap().1).unwrap()
    };
    let cache = ["--prompt-cache", "king.cache"];
    let first = run("The king of England", &cache);
    assert_eq!(first["timings"]["reused_tokens"], 0);
    let second = run("The king of England was", &cache);
    assert!(second["timings"]["reused_tokens"].as_u64().unwrap() >= 3, "{second}");
    assert_eq!(second["tokens"], run("The king of England was", &[])["tokens"]);
    // Cut and damaged files are refused, or hold what they say.
    let bytes = std::fs::read(folder.path().join("king.cache")).unwrap();
    std::fs::write(folder.path().join("king.cache"), &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(run("The king", &cache)["error"]["kind"], "input");
}

/// Ctrl-C ends a reply with what there is, and the program says so by its exit code.
#[test]
fn a_reply_can_be_stopped() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_gravure"))
        .args(["run", "models/gravure-tiny", "-p", "The king", "-n", "-1", "--ignore-eos", "--context-shift", "-q"])
        .current_dir(root())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut first = [0; 16];
    std::io::Read::read_exact(&mut out, &mut first).unwrap();
    let stopped = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn an_instruction_set_that_the_processor_lacks_is_refused() {
    let run = |set: &str| program(&root(), &["encodings"]).env("GRAVURE_ISA", set).output().unwrap();
    for set in ["abacus", "AVX-1024", "\u{1b}[31m"] {
        let output = run(set);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains("GRAVURE_ISA") && said.contains("portable") && !said.contains('\u{1b}'), "{said}");
    }
    for set in ["", "portable", "scalar", "PORTABLE"] {
        assert!(run(set).status.success(), "{set}");
    }
}
