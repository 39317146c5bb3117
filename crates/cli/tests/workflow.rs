//! From a recipe to a certified artifact and its comparison with others: what is said on the way, with the
//! digits of measurements taken out, and whether the documents keep their schemas.
//! `INSTA_UPDATE=always cargo test -p gravure-cli --test workflow` renews the snapshots.

mod common;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::schema::Schemas;
use common::{measured, program, root, say};
use serde_json::Value;

/// A folder with an optimized `gravure-tiny` in `out`, two fixed mixtures of it, and links to the repository's.
fn workshop() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        // Nobody drops what is static: the folder lies where the next run finds and empties it.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("workflow");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["models", "recipes"] {
            std::os::unix::fs::symlink(root().join(name), folder.join(name)).unwrap();
        }
        let text = std::fs::read_to_string(root().join("models/gravure-tiny/eval.txt")).unwrap();
        std::fs::write(folder.join("seen.txt"), &text[..20_000]).unwrap();
        std::fs::write(folder.join("unseen.txt"), &text[60_000..80_000]).unwrap();
        std::fs::write(folder.join("run.toml"), RECIPE).unwrap();
        for kind in ["q4_0", "q2_k"] {
            let output = format!("{kind}.gguf");
            run(&folder, &["-q", "quantize", "models/gravure-tiny", "--type", kind, "-o", &output]);
        }
        run(&folder, &["-q", "optimize", "--recipe", "run.toml", "-o", "out", "--max-size", "4MB"]);
        folder
    })
}

const RECIPE: &str = r#"doc = "a small run"
model = "models/gravure-tiny"
output = "elsewhere"
encodings = ["q2_k", "q4_k", "q8_0", "f16"]
method = "rtn"

[budget]
max-size = "5MB"

[data]
calibration = "seen.txt"
evaluation = "unseen.txt"
ctx-size = 64
calibration-chunks = 2
sensitivity-chunks = 1
eval-chunks = 2
"#;

/// Runs the program; it must succeed. What it printed.
fn run(folder: &Path, args: &[&str]) -> Vec<u8> {
    let output = program(folder, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn snapshot(name: &str, folder: &Path, args: &[&str]) {
    let mut settings = insta::Settings::clone_current();
    settings.set_description(format!("gravure {}", args.join(" ")));
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, measured(&say(folder, args))));
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn keeps(schema: &str, document: &Value) {
    let faults = Schemas::of(&root().join("docs")).faults(schema, document);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_comparison_says_what_it_found() {
    let folder = workshop();
    let quick = ["-c", "64", "--chunks", "2", "--untimed"];
    let all = ["compare", "models/gravure-tiny", "q4_0.gguf", "q2_k.gguf", "out/model.gguf"];
    snapshot("compare", folder, &[&all[..], &quick].concat());
    let named = ["compare", "q2_k.gguf", "q4_0.gguf", "--reference", "models/gravure-tiny", "--data", "unseen.txt", "-o", "side"];
    snapshot("compare_against_a_reference", folder, &[&named[..], &quick].concat());
    snapshot("compare_one", folder, &["compare", "q4_0.gguf"]);
    snapshot("compare_what_is_not_there", folder, &["compare", "q4_0.gguf", "absent.gguf"]);
    let html = std::fs::read_to_string(folder.join("side/report.html")).unwrap();
    for part in ["2 artifacts against gravure-tiny", "Size against quality", "Bits by layer", "q2_k.gguf"] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("<script") && !html.contains("http:") && !html.contains("https:"));
}

/// Models of other tokens are not held against each other, and keep their rows.
#[test]
fn a_comparison_with_a_stranger_keeps_its_row() {
    use gravure_testing::tiny_model::{Options, write};
    let folder = workshop();
    write("qwen2", &Options::default(), &folder.join("stranger")).unwrap();
    let args = ["compare", "stranger", "q2_k.gguf", "--reference", "models/gravure-tiny"];
    let args = [&args[..], &["-c", "64", "--chunks", "2", "--untimed", "-q", "--json"]].concat();
    let found = json(&run(folder, &args));
    keeps("report.schema.json", &found);
    let [stranger, ours] = found["artifacts"].as_array().unwrap().as_slice() else { panic!("{found}") };
    assert!(stranger["problem"].as_str().is_some_and(|p| p.contains("tokens")), "{stranger}");
    assert!(stranger["evaluation"].get("kl_divergence").is_none() && stranger["on_front"] == false);
    assert!(ours["problem"].is_null() && ours["evaluation"]["kl_divergence"]["value"].as_f64().unwrap() > 0.0);
}

#[test]
fn reports_keep_their_schema() {
    let folder = workshop();
    let optimized = json(&std::fs::read(folder.join("out/report.json")).unwrap());
    keeps("report.schema.json", &optimized);
    keeps("recipe.schema.json", &optimized["recipe"]);
    assert_eq!(optimized["recipe"]["budget"]["max-size"], "4MB", "what was typed wins");
    assert_eq!(optimized["recipe"]["data"]["evaluation"], "unseen.txt");
    let compared = json(&run(folder, &["compare", "q4_0.gguf", "q2_k.gguf", "-c", "64", "--chunks", "1", "-q", "--json"]));
    keeps("report.schema.json", &compared);
    assert_eq!(compared["reference"]["name"], "q4_0.gguf");
    assert!(compared["artifacts"][0]["at_work"]["decode"]["tokens_per_second"]["median"].as_f64().unwrap() > 0.0);
    // The reader of schemas finds faults.
    let schemas = Schemas::of(&root().join("docs"));
    let mut broken = compared;
    broken["artifacts"][0]["bits_per_weight"] = "many".into();
    assert!(!schemas.faults("report.schema.json", &broken).is_empty());
    assert!(!schemas.faults("recipe.schema.json", &serde_json::json!({"speed": 3})).is_empty());
}

#[test]
fn a_search_keeps_its_schema() {
    let folder = workshop();
    let args = ["search", "models/gravure-tiny", "-o", "searched", "--calibration-data", "seen.txt", "--eval-data", "unseen.txt"];
    let few = ["--trials", "3", "--keep", "front", "-c", "64", "--calibration-chunks", "2", "--sensitivity-chunks", "1"];
    let kinds = ["--trial-chunks", "1", "--eval-chunks", "2", "--encodings", "q2_k,q4_k", "--methods", "rtn", "-q", "--json"];
    let printed = json(&run(folder, &[&args[..], &few, &kinds].concat()));
    let kept = json(&std::fs::read(folder.join("searched/report.json")).unwrap());
    assert_eq!(printed, kept);
    keeps("search.schema.json", &kept);
    assert!(kept["front"][0]["files"][0]["bytes"].is_u64() && kept["front"][0]["proof"]["windows"] == 2, "{kept}");
    let mut broken = kept;
    broken["front"][0]["figures"]["top1_agreement"] = 1.5.into();
    assert!(!Schemas::of(&root().join("docs")).faults("search.schema.json", &broken).is_empty());
}

#[test]
fn a_search_without_texts_brings_its_own() {
    let folder = workshop();
    let search = ["-q", "search", "models/gravure-tiny", "-o", "own", "-c", "64", "--trials", "3", "--methods", "rtn"];
    let small = ["--encodings", "q4_k,q8_0", "--calibration-chunks", "2", "--sensitivity-chunks", "1", "--trial-chunks", "1"];
    let all = [&search[..], &small, &["--eval-chunks", "2"]].concat();
    run(folder, &[&all[..], &["--dry-run"]].concat());
    assert!(!folder.join("own").exists());
    run(folder, &all);
    for (name, text) in [("calibration.txt", gravure::BuiltInText::Calibration), ("evaluation.txt", gravure::BuiltInText::Evaluation)] {
        assert_eq!(std::fs::read_to_string(folder.join("own").join(name)).unwrap(), text.text());
    }
}

#[test]
fn recipes_speak() {
    let folder = workshop();
    std::fs::write(folder.join("odd.toml"), "model = \"m\"\n\n[budget]\nmax-size = \"4MB\"\nmax-beauty = 3\n").unwrap();
    std::fs::write(folder.join("wrong.toml"), "[budget]\nmax-size = \"4 loaves\"\n").unwrap();
    snapshot("recipe_with_an_unknown_key", folder, &["optimize", "--recipe", "odd.toml", "-o", "x"]);
    snapshot("recipe_with_a_wrong_value", folder, &["optimize", "--recipe", "wrong.toml", "-o", "x"]);
    snapshot("recipe_that_is_not_there", folder, &["optimize", "--recipe", "absent.toml", "-o", "x"]);
    snapshot("recipe_without_a_model", folder, &["optimize", "--recipe", "recipes/llama.toml", "-o", "x"]);
    let typed = ["optimize", "--recipe", "run.toml", "--max-size", "4MB", "--gate", "speed=3", "--exact", "--print-recipe"];
    snapshot("recipe_printed", folder, &typed);
    std::fs::write(folder.join("printed.toml"), run(folder, &typed)).unwrap();
    let again = run(folder, &["optimize", "--recipe", "printed.toml", "--print-recipe"]);
    assert_eq!(String::from_utf8(again).unwrap(), std::fs::read_to_string(folder.join("printed.toml")).unwrap());
}

/// One for each architecture that continues texts, each of which can be read and means a target that runs GGUF.
#[test]
fn the_recipes_of_the_families_hold() {
    let listed = json(&run(&root(), &["--json", "encodings"]));
    let known: Vec<&str> = listed["architectures"].as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap()).collect();
    let mut found: Vec<PathBuf> = std::fs::read_dir(root().join("recipes")).unwrap().map(|e| e.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    let stems: Vec<String> = found.iter().map(|p| p.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    // Embedding models have no perplexity to optimize.
    for architecture in known.iter().filter(|a| **a != "bert") {
        assert!(stems.iter().any(|s| s == architecture), "no recipe for {architecture}");
    }
    for (path, stem) in found.iter().zip(&stems) {
        let recipe = json(&run(&root(), &["--json", "optimize", "--recipe", path.to_str().unwrap(), "--print-recipe"]));
        keeps("recipe.schema.json", &recipe);
        assert!(recipe["doc"].is_string() && recipe["budget"].as_object().is_some_and(|b| !b.is_empty()), "{stem}");
        if let Some(target) = recipe["target"].as_str() {
            let shown = json(&run(&root(), &["--json", "targets", target]));
            let reads = shown["profiles"].as_array().unwrap().iter().any(|p| p["format"] == "gguf");
            assert!(reads, "no runtime of {target} reads what {stem} writes");
        }
    }
}

#[test]
fn certificates_are_verified() {
    let folder = workshop();
    let with = ["--reference", "models/gravure-tiny", "--data", "unseen.txt", "--calibration-data", "seen.txt"];
    snapshot("verify_good", folder, &[&["verify", "out/model.gguf"][..], &with].concat());
    // One digit of a score.
    let mut bytes = std::fs::read(folder.join("out/model.gguf")).unwrap();
    let key = b"\"kl_divergence\":{\"value\":0.";
    let at = bytes.windows(key.len()).position(|w| w == key).unwrap() + key.len();
    bytes[at] = if bytes[at] == b'9' { b'1' } else { bytes[at] + 1 };
    std::fs::write(folder.join("digit.gguf"), &bytes).unwrap();
    snapshot("verify_one_digit", folder, &["verify", "digit.gguf"]);
    // One bit of a weight.
    let mut bytes = std::fs::read(folder.join("out/model.gguf")).unwrap();
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    std::fs::write(folder.join("bit.gguf"), &bytes).unwrap();
    snapshot("verify_one_bit", folder, &["verify", "bit.gguf"]);
    snapshot("verify_without_a_certificate", folder, &["verify", "q4_0.gguf"]);
    // A folder for Hugging Face.
    let folder_of = ["--to", "safetensors", "--encodings", "f16,f8_e4m3", "--max-size", "12MB"];
    run(folder, &[&["-q", "optimize", "--recipe", "run.toml", "-o", "hf", "--no-gates"][..], &folder_of].concat());
    snapshot("verify_folder", folder, &[&["verify", "hf/model"][..], &with].concat());
    let too_few =
        ["optimize", "--recipe", "run.toml", "-o", "hf", "--to", "safetensors", "--encodings", "f16,f8_e4m3", "--max-size", "4MB"];
    snapshot("optimize_format_too_large", folder, &too_few);
    let compared = json(&run(
        folder,
        &["compare", "q4_0.gguf", "digit.gguf", "out/model.gguf", "-c", "64", "--chunks", "1", "--untimed", "-q", "--json"],
    ));
    let holds: Vec<_> = compared["artifacts"].as_array().unwrap().iter().map(|a| a["certificate_holds"].clone()).collect();
    assert_eq!(holds, [Value::Bool(false), Value::Bool(true)]);
}

#[test]
fn a_gate_that_is_missed_fails_and_keeps_the_artifact() {
    let folder = workshop();
    // What was measured for `out` lies there: only the end is run again.
    copy(&folder.join("out"), &folder.join("gated"));
    std::fs::remove_file(folder.join("gated/model.gguf")).unwrap();
    let args = ["-q", "optimize", "--recipe", "run.toml", "-o", "gated", "--max-size", "4MB", "--gate", "top1=0.999"];
    snapshot("optimize_gate_missed", folder, &args);
    assert!(folder.join("gated/model.gguf").exists() && folder.join("gated/report.html").exists());
    let promised = ["-q", "optimize", "--recipe", "run.toml", "-o", "gated", "--no-gates", "--max-size", "4MB", "--max-kld", "0.0001"];
    snapshot("optimize_promise_missed", folder, &promised);
    snapshot("optimize_no_such_gate", folder, &["optimize", "--recipe", "run.toml", "-o", "gated", "--gate", "beauty=1"]);
}

/// Whoever has the device's runtime is told whether it takes the artifact. An interpreter that greets and then dies stands in
/// for one: the real package is asked in tests/interop/runtimes.py.
#[test]
fn a_runtime_that_refuses_fails_and_one_that_is_missing_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = workshop();
    copy(&folder.join("out"), &folder.join("elsewhere"));
    let python = folder.join("python");
    std::fs::write(&python, "#!/bin/sh\nif [ \"$4\" = check ]; then echo '{\"version\":\"9\"}'; else echo boom >&2; exit 3; fi\n").unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    let args = ["-q", "--json", "optimize", "--recipe", "run.toml", "-o", "elsewhere", "--no-gates", "--target", "raspberry-pi-5"];
    let with = |python: &Path, more: &[&str]| {
        let output = program(folder, &[&args[..], more].concat()).env("GRAVURE_PYTHON", python).output().unwrap();
        let report = json(&output.stdout);
        keeps("report.schema.json", &report);
        let rows = report["runtimes"].as_array().unwrap();
        let row = |id: &str| rows.iter().find(|r| r["runtime"] == id).unwrap().clone();
        assert_eq!(row("gravure")["standing"], "measured");
        (output.status.code(), row("llama.cpp"), report["promises"].clone())
    };
    let (code, row, promises) = with(&python, &[]);
    assert_eq!((code, &row["standing"], &row["planned_for"]), (Some(1), &Value::from("failed"), &Value::from(true)));
    assert!(row["note"].as_str().is_some_and(|n| n.contains("boom")), "{row}");
    assert!(promises.as_array().unwrap().iter().any(|p| p["subject"] == "windows run in llama.cpp" && p["met"] == false), "{promises}");
    let (code, row, _) = with(Path::new("/nowhere/python3"), &[]);
    assert_eq!((code, &row["standing"]), (Some(0), &Value::from("missing")));
    assert!(row["note"].as_str().is_some_and(|n| n.contains("/nowhere/python3") && n.contains("pip install")), "{row}");
    let (code, row, _) = with(&python, &["--native-only"]);
    assert_eq!((code, &row["note"]), (Some(0), &Value::from("it was not asked for")));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
