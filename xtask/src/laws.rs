//! The laws that a machine can check: who imports whom, where `unsafe` may be, whose names stay in
//! whose room, how long a file may be.

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::sources::{self, Source, code};

/// Longest file, tests apart.
const MAX_LINES: usize = 600;
/// What a longer file says near its top, followed by the reason.
const LONG_FILE_MARK: &str = "Longer than 600 lines because";

/// Which crates of the workspace each crate may import (development dependencies apart).
const IMPORTS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("simd", &[]),
    ("text", &["base"]),
    ("ops", &["base"]),
    ("core", &["base", "text", "ops"]),
    ("encodings", &["base", "core", "simd"]),
    ("methods", &["base", "core", "simd"]),
    ("passes", &["base", "core", "ops"]),
    ("formats", &["base", "core", "text", "ops"]),
    ("archs", &["base", "core", "ops", "text"]),
    ("planner", &["base", "core"]),
    ("targets", &["base", "core"]),
    ("kernels", &["base", "core", "simd", "encodings"]),
    ("runtimes", &["base", "core", "simd", "ops", "kernels"]),
    ("generate", &["base", "core", "text"]),
    ("eval", &["base", "core", "simd"]),
    ("testing", &["base", "core", "ops"]),
    (
        "gravure",
        &[
            "base",
            "core",
            "simd",
            "encodings",
            "text",
            "ops",
            "formats",
            "archs",
            "planner",
            "targets",
            "methods",
            "passes",
            "kernels",
            "runtimes",
            "generate",
            "eval",
        ],
    ),
    ("cli", &["gravure"]),
];

/// Crates that may hold `unsafe` code; all others forbid it by the compiler's own word.
const MAY_BE_UNSAFE: &[&str] = &["simd", "kernels"];

/// Where `unsafe` may stand.
const UNSAFE_ROOMS: &[&str] = &["crates/simd/", "crates/kernels/", "crates/base/src/mapped.rs"];

pub(crate) fn run() -> ExitCode {
    let sources = sources::all();
    let mut broken = Vec::new();
    imports(&mut broken);
    unsafe_rooms(&sources, &mut broken);
    names(&sources, &mut broken);
    lengths(&sources, &mut broken);
    for line in &broken {
        eprintln!("{line}");
    }
    println!("laws: {} files read, {} broken", sources.len(), broken.len());
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Law 1: ground crates below, doers side by side.
fn imports(broken: &mut Vec<String>) {
    let folder = sources::root().join("crates");
    let known: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let Ok(entries) = std::fs::read_dir(&folder) else {
        broken.push("law 1: there is no folder crates/".into());
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(manifest) = std::fs::read_to_string(entry.path().join("Cargo.toml")) else { continue };
        let Some(allowed) = known.get(name.as_str()) else {
            broken.push(format!("law 1: crates/{name} is not in the table of imports (xtask/src/laws.rs)"));
            continue;
        };
        let mut in_dependencies = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                in_dependencies = line.trim() == "[dependencies]";
            }
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or("");
            let import = if dependency == "gravure" { Some("gravure") } else { dependency.strip_prefix("gravure-") };
            if let Some(import) = import.filter(|i| in_dependencies && !allowed.contains(i)) {
                broken.push(format!("law 1: crates/{name} may not import {import}"));
            }
        }
        if !MAY_BE_UNSAFE.contains(&name.as_str()) {
            let root = ["src/lib.rs", "src/main.rs"].iter().find_map(|root| std::fs::read_to_string(entry.path().join(root)).ok());
            if !root.is_some_and(|root| root.contains("#![forbid(unsafe_code)]")) {
                broken.push(format!("law 2: crates/{name} does not forbid unsafe code"));
            }
        }
    }
}

/// Law 2: `unsafe` lives in few rooms.
fn unsafe_rooms(sources: &[Source], broken: &mut Vec<String>) {
    for source in sources.iter().filter(|s| !UNSAFE_ROOMS.iter().any(|room| s.path.starts_with(room))) {
        for (number, line) in source.product.iter().enumerate() {
            let words = code(line).split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.into_iter().any(|w| w == "unsafe") {
                broken.push(format!("law 2: {}:{}: unsafe code outside its rooms", source.path, number + 1));
            }
        }
    }
}

/// Law 3: a member's name is spelled in its own room only. Members are found by their files; a name is a
/// whole string literal.
fn names(sources: &[Source], broken: &mut Vec<String>) {
    // Plain number types are everybody's.
    const PLAIN: &[&str] = &["f32", "f16", "bf16", "f64"];
    const NO_MEMBER: &[&str] = &["lib", "registry", "mod", "search", "integers", "config", "plain", "floats", "grid"];
    let axes: [(&str, &str, &[&str]); 2] = [
        (
            "encodings",
            "crates/encodings/src/",
            &[
                "crates/kernels/",
                // Users know by this name how keys and values are kept, on the command line and in recipes.
                "crates/cli/src/engine.rs",
                "crates/gravure/src/recipe.rs",
                "crates/planner/src/mixtures",
                "crates/planner/src/uniform",
                "/types.rs",
                "/dtypes.rs",
                "/quantized/",
            ],
        ),
        (
            "archs",
            "crates/archs/src/",
            &["crates/planner/src/mixtures", "crates/formats/src/gguf/tokenizer", "crates/text/", "crates/formats/src/gguf/arch"],
        ),
    ];
    for (krate, room, guests) in axes {
        let members: Vec<String> = sources
            .iter()
            .filter_map(|s| s.path.strip_prefix(room)?.strip_suffix(".rs").map(str::to_owned))
            .filter(|m| !m.contains('/') && !NO_MEMBER.contains(&m.as_str()) && !PLAIN.contains(&m.as_str()))
            .collect();
        let outside = sources.iter().filter(|s| s.krate() != krate && s.krate() != "testing" && !guests.iter().any(|g| s.path.contains(g)));
        for source in outside {
            for (number, line) in source.product.iter().enumerate() {
                for member in members.iter().filter(|m| code(line).contains(&format!("\"{m}\""))) {
                    broken.push(format!("law 3: {}:{}: names \"{member}\", a member of {krate}", source.path, number + 1));
                }
            }
        }
    }
    let devices: Vec<String> = std::fs::read_dir(sources::root().join("crates/targets/data/devices"))
        .map(|files| files.flatten().filter_map(|f| Some(f.file_name().to_str()?.strip_suffix(".toml")?.to_owned())).collect())
        .unwrap_or_default();
    for source in sources.iter().filter(|s| s.krate() != "targets") {
        for (number, line) in source.product.iter().enumerate() {
            for device in devices.iter().filter(|d| code(line).contains(&format!("\"{d}\""))) {
                broken.push(format!("law 3: {}:{}: names \"{device}\", a target", source.path, number + 1));
            }
        }
    }
    let formats: Vec<&str> =
        sources.iter().filter_map(|s| s.path.strip_prefix("crates/formats/src/")?.split_once('/').map(|(f, _)| f)).collect();
    for source in sources.iter().filter(|s| s.krate() != "formats" && s.krate() != "testing") {
        for (number, line) in source.product.iter().enumerate() {
            for format in formats.iter().filter(|f| code(line).contains(&format!("\"{f}\""))) {
                broken.push(format!("law 3: {}:{}: names \"{format}\", a format", source.path, number + 1));
            }
        }
    }
}

/// Law 4: a file is one thing.
fn lengths(sources: &[Source], broken: &mut Vec<String>) {
    for source in sources.iter().filter(|s| s.product.len() > MAX_LINES) {
        if !source.product.iter().take(30).any(|l| l.contains(LONG_FILE_MARK)) {
            broken.push(format!(
                "law 4: {}: {} lines without tests are more than {MAX_LINES}; split it, or say at its top `{LONG_FILE_MARK} ...`",
                source.path,
                source.product.len()
            ));
        }
    }
}
