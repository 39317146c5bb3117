//! The generated part of the README is current. `UPDATE_DOCS=1 cargo test -p gravure-cli --test docs` renews it.

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

#[test]
fn the_readme_lists_what_the_registries_hold() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let begin = readme.find(BEGIN).expect("the README has the begin mark") + BEGIN.len();
    let end = readme.find(END).expect("the README has the end mark");
    let expected = generated();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{}{expected}{}", &readme[..begin], &readme[end..])).unwrap();
        return;
    }
    assert_eq!(&readme[begin..end], expected, "the README is stale: UPDATE_DOCS=1 cargo test -p gravure-cli --test docs");
}
