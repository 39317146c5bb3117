//! Where test data lies.

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// A file or folder of the data set that is not part of the repository: under `GRAVURE_TEST_DATA`, or
/// in `shared/data` beside the repository. `None`, with a loud line, where it is absent.
pub fn test_data(relative: &str) -> Option<PathBuf> {
    let base = std::env::var_os("GRAVURE_TEST_DATA").map_or_else(|| workspace_root().join("../shared/data"), PathBuf::from);
    let path = base.join(relative);
    if path.exists() {
        return Some(path);
    }
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "SKIPPED: no test data at {} (set GRAVURE_TEST_DATA)", path.display());
    None
}
