//! Laws of the registry itself.

use std::collections::BTreeSet;
use std::path::PathBuf;

use gravure_core::ImportanceUse;
use gravure_encodings::ENCODINGS;

/// Files that are no encoding: the registry, walks over blocks, searches, tables.
const SHARED: &[&str] = &[
    "blocks",
    "codebooks",
    "grid",
    "iq1_search",
    "iq4_levels",
    "iq_blocks",
    "iq_lattice",
    "iq_search",
    "lanes",
    "lib",
    "numbers",
    "registry",
    "search",
    "small_blocks",
    "super_blocks",
    "ternary",
    "vectorized",
];

#[test]
fn ids_are_unique_and_lower_case() {
    let mut seen = BTreeSet::new();
    for encoding in ENCODINGS {
        let id = encoding.id();
        assert!(seen.insert(id), "{id} is there twice");
        assert!(id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{id}");
    }
}

#[test]
fn everyone_has_a_line_of_documentation() {
    for encoding in ENCODINGS {
        let doc = encoding.doc();
        assert!(doc.len() > 15 && !doc.contains('\n') && !doc.ends_with('.'), "{}: {doc:?}", encoding.id());
    }
}

#[test]
fn layouts_are_sound() {
    for encoding in ENCODINGS {
        let layout = encoding.layout();
        assert!(layout.block_elements > 0 && layout.block_bytes > 0, "{}", encoding.id());
        assert!((1.0..=64.0).contains(&encoding.bits_per_weight()), "{}", encoding.id());
        assert_eq!(encoding.row_bytes(3 * layout.block_elements as u64).unwrap(), 3 * layout.block_bytes as u64);
        if layout.block_elements > 1 {
            assert!(encoding.row_bytes(layout.block_elements as u64 + 1).is_err(), "{}", encoding.id());
        }
    }
}

#[test]
fn whoever_uses_importance_can_be_written() {
    for encoding in ENCODINGS {
        assert!(encoding.can_encode() || encoding.importance() == ImportanceUse::Ignored, "{}", encoding.id());
    }
}

#[test]
fn the_folder_equals_the_registry() {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let registry = std::fs::read_to_string(source.join("registry.rs")).unwrap();
    for entry in std::fs::read_dir(&source).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let listed = registry.contains(&format!("crate::{name}::"));
        assert!(listed != SHARED.contains(&&*name), "{name} is no shared module and has no line in registry.rs, or is both");
    }
}
