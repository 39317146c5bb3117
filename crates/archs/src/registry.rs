//! All architectures of this build, in the order of tables.

use gravure_core::Architecture;

/// The architectures.
pub static ARCHITECTURES: &[&dyn Architecture] = &[
    &crate::llama::Llama,
    &crate::qwen2::Qwen2,
    &crate::qwen3::Qwen3,
    &crate::phi3::Phi3,
    &crate::gemma2::Gemma2,
    &crate::gemma3::Gemma3,
    &crate::gpt2::Gpt2,
    &crate::bert::Bert,
];

/// The architecture with this id, class name or model type.
pub fn find(name: &str) -> Option<&'static dyn Architecture> {
    ARCHITECTURES.iter().copied().find(|a| a.id() == name || a.aliases().contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_documented() {
        let mut seen = BTreeSet::new();
        for architecture in ARCHITECTURES {
            assert!(!architecture.doc().is_empty(), "{} has no doc", architecture.id());
            let own: BTreeSet<_> = architecture.aliases().iter().chain([&architecture.id()]).copied().collect();
            for name in own {
                assert!(seen.insert(name), "`{name}` is claimed twice");
            }
        }
    }

    #[test]
    fn every_file_is_registered() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_string_lossy().strip_suffix(".rs").map(str::to_owned))
            .filter(|name| !["lib", "registry", "config"].contains(&name.as_str()))
            .collect();
        let mut ids: Vec<String> = ARCHITECTURES.iter().map(|a| a.id().to_owned()).collect();
        files.sort();
        ids.sort();
        assert_eq!(files, ids);
    }
}
