//! Every format of this build.

use gravure_core::Format;

use crate::gguf::Gguf;
use crate::peft::Peft;
use crate::pytorch::PyTorch;
use crate::safetensors::HuggingFace;

/// All formats, most specific probe first.
pub static FORMATS: &[&dyn Format] = &[&Gguf, &HuggingFace, &PyTorch, &Peft];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::FORMATS;

    /// Folders of this crate that are no format of a model.
    const OTHER_FOLDERS: &[&str] = &["imatrix"];

    #[test]
    fn ids_are_unique_and_lower_case() {
        let mut seen = BTreeSet::new();
        for format in FORMATS {
            let id = format.id();
            assert!(seen.insert(id), "the id `{id}` is registered twice");
            assert!(!id.is_empty() && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "bad id `{id}`");
        }
    }

    #[test]
    fn every_format_says_what_it_is() {
        for format in FORMATS {
            let doc = format.doc();
            assert!(doc.len() > 10 && !doc.contains('\n') && !doc.ends_with('.'), "`{}` needs a one-line doc: {doc:?}", format.id());
            assert!(format.extension().is_none_or(|e| !e.starts_with('.')), "`{}` has an extension with a dot", format.id());
        }
    }

    #[test]
    fn every_folder_is_registered() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let folders: BTreeSet<String> = std::fs::read_dir(source)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().join("mod.rs").is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| !OTHER_FOLDERS.contains(&name.as_str()))
            .collect();
        let registered: BTreeSet<String> = FORMATS.iter().map(|f| f.id().to_owned()).collect();
        assert_eq!(folders, registered);
    }
}
