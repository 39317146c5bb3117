//! The generated parts of the README and of docs/targets.md are current. `UPDATE_DOCS=1 cargo test -p gravure-cli --test docs` renews it.

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
