//! The generated parts of the README and of docs/targets.md are current. `UPDATE_DOCS=1 cargo test -p gravure-cli --test docs` renews it.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

const BEGIN: &str = "<!-- generated from the registries: UPDATE_DOCS=1 cargo test -p gravure-cli --test docs -->\n";
const END: &str = "<!-- end of the generated part -->";

fn ids(document: &serde_json::Value, key: &str) -> Vec<String> {
    document[key].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect()
}

fn generated() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gravure")).args(["--json", "encodings"]).output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let code = |items: &[String]| items.iter().map(|i| format!("`{i}`")).collect::<Vec<_>>().join(" ");
    let mut text = String::from("| | |\n|---|---|\n");
    let formats: Vec<String> = document["formats"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| format!("`{}` ({})", f["id"].as_str().unwrap(), f["doc"].as_str().unwrap()))
        .collect();
    text += &format!("| formats | {} |\n", formats.join("; "));
    text += &format!("| architectures | {} |\n", code(&ids(&document, "architectures")));
    text += &format!("| encodings | {} |\n", code(&ids(&document, "encodings")));
    text += &format!("| types for `quantize` | {} |\n", code(&ids(&document, "mixtures")));
    text
}

/// The generated part of docs/targets.md: every target in a line, and the figures of each with their sources.
fn generated_targets() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gravure")).args(["--json", "targets"]).output().unwrap();
    let targets: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let targets = targets.as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().replace('|', "/");
    let number = |figure: &serde_json::Value, scale: f64| {
        let mark = if figure["estimated"] == true { "~" } else { "" };
        let value = figure["value"].as_f64().unwrap() / scale;
        let digits = if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") };
        format!("{mark}{digits}")
    };
    let mut out = String::from("| target | device | memory, GB | for a model, GB | runtimes in order |\n|---|---|---|---|---|\n");
    for target in targets {
        let (memory, runtimes) = (&target["memory"], target["runtimes"].as_array().unwrap());
        let runtimes: Vec<_> = runtimes.iter().map(|r| format!("{} ({})", text(&r["runtime"]), text(&r["unit"]))).collect();
        let sizes = [number(&memory["total_bytes"], 1e9), number(&memory["usable_bytes"], 1e9)];
        out += &format!("| `{}` | {} | {} | {} |\n", text(&target["id"]), text(&target["name"]), sizes.join(" | "), runtimes.join(", "));
    }
    out += "\n| target | unit | GB/s | int8 TOPS | fp16 TFLOPS | fp32 TFLOPS | W | bandwidth from |\n|---|---|---|---|---|---|---|---|\n";
    for target in targets {
        for unit in target["units"].as_array().unwrap() {
            let operations = |kind: &str| unit["operations"].get(kind).map_or_else(|| "-".into(), |f| number(f, 1e12));
            let bandwidth = &unit["bandwidth"];
            let from = [&bandwidth["reasoning"], &bandwidth["source"]].map(text);
            let from: Vec<_> = from.iter().filter(|t| !t.is_empty()).map(String::as_str).collect();
            out += &format!(
                "| `{}` | {} | {} | {} | {} | {} | {} | {} |\n",
                text(&target["id"]),
                text(&unit["id"]),
                number(bandwidth, 1e9),
                operations("int8"),
                operations("fp16"),
                operations("fp32"),
                number(&unit["watts"], 1.0),
                from.join("; "),
            );
        }
    }
    out
}

/// Compares the part between the marks of a document with `expected`, or renews it.
fn check(document: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = text.find(BEGIN).unwrap_or_else(|| panic!("{document} has the begin mark")) + BEGIN.len();
    let end = text.find(END).unwrap_or_else(|| panic!("{document} has the end mark"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{}{expected}{}", &text[..begin], &text[end..])).unwrap();
        return;
    }
    assert_eq!(&text[begin..end], expected, "{document} is stale: UPDATE_DOCS=1 cargo test -p gravure-cli --test docs");
}

#[test]
fn the_table_of_targets_is_that_of_the_files() {
    check("docs/targets.md", &generated_targets());
}

#[test]
fn the_readme_lists_what_the_registries_hold() {
    check("README.md", &generated());
}

/// Every option of ours that the migration tables name is one of the verb that they name it with.
#[test]
fn the_options_in_the_migration_tables_exist() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/migration.md")).unwrap();
    let mut known: HashMap<String, String> = HashMap::new();
    let mut help = |verb: &str| {
        let asked = |verb: &str| {
            let output = Command::new(env!("CARGO_BIN_EXE_gravure")).args([verb, "--help"]).output().unwrap();
            assert!(output.status.success(), "there is no verb `{verb}`");
            String::from_utf8(output.stdout).unwrap()
        };
        known.entry(verb.to_owned()).or_insert_with(|| asked(verb)).clone()
    };
    let mut options = 0;
    for row in text.lines().filter(|l| l.starts_with("| ")) {
        let ours = row.trim_end_matches('|').rsplit(" | ").next().unwrap();
        let mut verb = "quantize".to_owned();
        // Code spans alone; a span that names a verb holds for those after it.
        for span in ours.split('`').skip(1).step_by(2) {
            let words: Vec<&str> = span.split(|c: char| c.is_whitespace() || c == '=').collect();
            if words.first() == Some(&"gravure") {
                verb = words[1].to_owned();
                help(&verb);
            }
            for option in words.iter().filter(|w| w.starts_with('-')) {
                let shown = help(&verb);
                // Recipes are those of `optimize`.
                let shown = if ours.starts_with("recipe: ") { help("optimize") } else { shown };
                let is = |w: &str| w.trim_end_matches([',', ']']) == *option;
                assert!(shown.split_whitespace().any(is), "`gravure {verb}` has no {option}: {row}");
                options += 1;
            }
        }
    }
    assert!(options > 60, "{options}");
}

/// What can be typed for `optimize` can stand in a recipe, and docs/recipes.md and its schema say how.
#[test]
fn the_recipe_keys_are_those_of_the_options() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let text = std::fs::read_to_string(docs.join("recipes.md")).unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&std::fs::read(docs.join("recipe.schema.json")).unwrap()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gravure")).args(["optimize", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let is_option = |line: &&str| line.trim_start().starts_with('-');
    let typed = help.lines().filter(is_option).filter_map(|line| line.split_whitespace().find(|w| w.starts_with("--")));
    // Those of the machine and of the moment.
    let apart = ["--recipe", "--print-recipe", "--help", "--json", "--threads", "--quiet", "--verbose...", "--output"];
    let mut missing: Vec<&str> = typed.filter(|o| !apart.contains(o) && !text.contains(&format!("`{o}`"))).collect();
    missing.dedup();
    assert!(missing.is_empty(), "docs/recipes.md and recipes do not know {missing:?}");
    let mut keys = Vec::new();
    for (name, inner) in schema["properties"].as_object().unwrap() {
        match inner["properties"].as_object() {
            Some(section) => keys.extend(section.keys().map(|key| format!("{name}.{key}"))),
            None => keys.push(name.clone()),
        }
    }
    let unlisted: Vec<_> = keys.iter().filter(|key| !text.contains(&format!("`{key}`"))).collect();
    assert!(unlisted.is_empty() && keys.len() > 25, "docs/recipes.md does not list {unlisted:?}");
}
