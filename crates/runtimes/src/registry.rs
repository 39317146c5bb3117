//! All runtimes of this build.

use gravure_core::Runtime;

/// The runtimes, in the order of preference.
pub static RUNTIMES: &[&dyn Runtime] = &[&crate::native::Native, &crate::llama_cpp::LlamaCpp];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_documented() {
        let mut ids: Vec<&str> = RUNTIMES.iter().map(|r| r.id()).collect();
        let plain = |id: &str| id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.');
        assert!(ids.iter().all(|id| !id.is_empty() && plain(id)), "{ids:?}");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), RUNTIMES.len());
        assert!(RUNTIMES.iter().all(|r| !r.doc().is_empty() && !r.doc().contains('\n')));
    }
}
