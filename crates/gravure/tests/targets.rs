//! Names in the files of targets and runtimes are names of the registries, and the files say nothing impossible.

use gravure::{Measuring, catalog, find_target, mixtures, runtime_profiles, targets};
use gravure_base::ErrorKind;

#[test]
fn encodings_ladders_and_operations_are_registered() {
    let catalog = catalog();
    let known = |id: &str| catalog.encoding(id).is_ok() || catalog.plane_encoding(id).is_ok();
    for profile in runtime_profiles().unwrap() {
        for id in &profile.encodings {
            assert!(known(id), "{}: no encoding `{id}`", profile.id);
        }
        for id in &profile.ladder {
            let mixture = mixtures::find(id).unwrap();
            assert_eq!(mixture.id, id, "{}: an alias on the ladder", profile.id);
            assert!(mixture.base.is_some_and(|base| profile.encodings.iter().any(|e| e == base)), "{}: {id} is not read", profile.id);
        }
        assert!(profile.registered.as_deref().is_none_or(|id| catalog.runtime(id).is_ok()), "{}: not registered", profile.id);
        for backend in &profile.backends {
            for fallback in &backend.fallback_ops {
                let there = gravure_ops::OPS.iter().any(|op| op.id() == fallback.op);
                assert!(there, "{} {}: no operation `{}`", profile.id, backend.id, fallback.op);
            }
        }
    }
}

#[test]
fn every_target_is_found_by_name_and_reads_from_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    for target in targets().unwrap() {
        assert_eq!(&find_target(&target.id, Measuring::Estimate, 1).unwrap(), target);
        let path = folder.path().join(format!("{}.toml", target.id));
        std::fs::write(&path, gravure::target_file(&target.id).unwrap()).unwrap();
        assert_eq!(&find_target(path.to_str().unwrap(), Measuring::Estimate, 1).unwrap(), target);
    }
}

#[test]
fn a_file_of_ones_own_is_held_to_the_same_rules() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let name = path.to_str().unwrap();
    assert_eq!(find_target(name, Measuring::Estimate, 1).unwrap_err().kind(), ErrorKind::NotFound);
    std::fs::write(&path, "id = \"mine\"\n\nspeed = 3\n").unwrap();
    let error = find_target(name, Measuring::Estimate, 1).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Input, Some(path.as_path())));
    assert!(error.message().starts_with("line 3: unknown field `speed`"), "{error}");
    std::fs::write(&path, [0xff, 0xfe, 0]).unwrap();
    assert_eq!(find_target(name, Measuring::Estimate, 1).unwrap_err().kind(), ErrorKind::Input);
}
