use gravure_base::MemoryReader;

use super::*;

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pytorch/fixtures").join(name)
}

fn scan_bytes(bytes: &[u8]) -> PickleScan {
    let source: Arc<dyn ReadAt> = Arc::new(MemoryReader::new(bytes.to_vec(), "test"));
    scan(&source, &Limits::default())
}

#[test]
fn weights_are_clean_and_classes_are_not() {
    let limits = Limits::default();
    for (name, container) in
        [("zip.pt", "zip"), ("legacy.pt", "legacy stream"), ("wrapped.pth", "zip"), ("state.th", "legacy stream"), ("protocol4.pt", "zip")]
    {
        let found = scan_pickle(&fixture(name), &limits).unwrap();
        assert!(found.is_clean(), "{name}: {found:?}");
        assert_eq!(found.container, container);
        assert!(found.globals.iter().any(|g| g.name.starts_with("torch._utils._rebuild")), "{name}");
    }
    let found = scan_pickle(&fixture("module.pt"), &limits).unwrap();
    let refused: Vec<_> = found.globals.iter().filter(|g| !g.allowed).map(|g| g.name.as_str()).collect();
    assert!(!found.is_clean() && refused.contains(&"torch.nn.modules.linear.Linear"), "{found:?}");
    assert_eq!(found.globals[0].entry.as_deref(), Some("module/data.pkl"));
}

#[test]
fn trailing_bytes_and_bare_pickles_are_seen() {
    let mut bytes = std::fs::read(fixture("state.th")).unwrap();
    bytes.extend(b"cos\nsystem\n.");
    assert_eq!(scan_bytes(&bytes).problems.len(), 1);
    let found = scan_bytes(b"cos\nsystem\n(S'id'\ntR.tail");
    assert_eq!((found.container, found.globals.len(), found.problems.len()), ("bare pickle", 1, 1));
    assert!(!scan_bytes(b"cos\nsystem\n(S'id'\ntR.").is_clean());
    assert!(!scan_bytes(b"PK\x03\x04").is_clean());
    assert!(!scan_bytes(b"").is_clean());
}

#[test]
fn a_real_checkpoint_is_clean() {
    let Some(path) = gravure_testing::test_data("models/resnet20-cifar10/resnet20-12fca82f.th") else { return };
    let found = scan_pickle(&path, &Limits::default()).unwrap();
    assert!(found.is_clean(), "{found:?}");
}
