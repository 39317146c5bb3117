use std::collections::BTreeSet;
use std::path::Path;

use gravure_core::ErrorKind;
use gravure_core::values::{Figure, RuntimeProfile, Target};

use super::{DEVICES, RUNTIMES};
use crate::{parse, parse_runtime, runtime, runtimes, target, targets};

fn folder(name: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
    let files = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    files.map(|f| f.strip_suffix(".toml").unwrap_or_else(|| panic!("{f} is no TOML file")).to_owned()).collect()
}

#[test]
fn every_file_is_registered_once_under_its_own_id() {
    for (name, slice) in [("devices", DEVICES), ("runtimes", RUNTIMES)] {
        let ids: BTreeSet<String> = slice.iter().map(|(id, _)| (*id).to_owned()).collect();
        assert_eq!(ids.len(), slice.len(), "a file of {name} is registered twice");
        assert_eq!(ids, folder(name));
    }
    for ((id, _), target) in DEVICES.iter().zip(targets().unwrap()) {
        assert_eq!(*id, target.id);
        assert!(!target.doc.is_empty() && !target.name.is_empty(), "{id} has no doc");
    }
    for ((id, _), profile) in RUNTIMES.iter().zip(runtimes().unwrap()) {
        assert_eq!(*id, profile.id);
    }
}

/// Every figure of a target and a profile.
fn figures<'a>(target: &'a Target, profiles: &'a [RuntimeProfile]) -> Vec<&'a Figure> {
    let mut all = vec![&target.memory.total_bytes, &target.memory.usable_bytes];
    for unit in &target.units {
        all.extend([&unit.bandwidth, &unit.watts]);
        all.extend(unit.operations.values());
    }
    for deployment in &target.runtimes {
        all.extend(deployment.decode_efficiency.iter().chain(&deployment.prefill_efficiency));
    }
    for profile in profiles {
        all.push(&profile.overhead_bytes);
        all.extend(&profile.vocabulary_bytes);
        for backend in &profile.backends {
            all.extend([&backend.decode_efficiency, &backend.prefill_efficiency, &backend.fallback_slowdown]);
            all.extend(backend.largest_bytes.iter().chain(&backend.layer_seconds));
        }
    }
    all
}

#[test]
fn every_figure_says_where_it_is_from() {
    for target in targets().unwrap() {
        for figure in figures(target, runtimes().unwrap()) {
            let text = if figure.estimated { &figure.reasoning } else { &figure.source };
            assert!(text.as_ref().is_some_and(|t| t.len() > 8), "{}: {figure:?}", target.id);
        }
    }
}

#[test]
fn what_a_file_may_not_say_is_an_error_with_its_place() {
    let good = DEVICES[0].1;
    let cases = [
        (good.replacen("class =", "classes =", 1), "line 4: unknown field `classes`", None),
        (good.replacen("isa = [", "isa = [7, ", 1), "line 5: invalid type: integer `7`", None),
        (good.replacen("name = ", "name = name = ", 1), "line 2: ", None),
        (good.replacen("reasoning =", "source =", 1), "an estimate needs its `reasoning`", Some("memory.total_bytes")),
        (
            good.replacen("value = 16", "value = -16", 1).replacen("value = 17", "value = -17", 1),
            "is no positive number",
            Some("memory.total_bytes"),
        ),
        (good.replacen("backend = \"cpu-x86\"", "backend = \"abacus\"", 1), "has no backend `abacus`", Some("runtimes.llama.cpp")),
        (good.replacen("unit = \"cpu\"", "unit = \"npu\"", 1), "a unit `npu` that the target lacks", Some("runtimes.llama.cpp")),
        (good.replacen("id = \"", "id = \"X ", 1), "is no name", Some("id")),
    ];
    for (text, expected, item) in cases {
        let error = parse(&text).expect_err(expected);
        assert_eq!(error.kind(), ErrorKind::Input, "{error}");
        assert!(error.message().contains(expected), "{error} does not say {expected}");
        assert_eq!(error.item(), item, "{error}");
    }
    let profile = RUNTIMES[0].1;
    let error = parse_runtime(&profile.replacen("accelerated = [", "accelerated = [\"zz\", ", 1)).unwrap_err();
    assert!(error.message().contains("`zz` is not among the encodings"), "{error}");
}

#[test]
fn a_name_that_is_nearly_right_is_answered_with_the_right_ones() {
    let error = target("raspberry-pi-6").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    assert!(error.help_text().unwrap().contains("raspberry-pi-5"), "{error}");
    assert_eq!(target("Raspberry-Pi-5").unwrap().id, "raspberry-pi-5");
    assert!(runtime("abacus").unwrap_err().help_text().unwrap().contains("llama.cpp"));
}
