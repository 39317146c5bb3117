//! Both layouts, hostile ones, and what the reference tool has written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gravure_base::{Disk, MemoryReader};
use gravure_core::values::ImportanceEntry;
use gravure_core::{ErrorKind, ImportanceMatrix, Limits, Result};
use proptest::prelude::*;

use super::read::{read, read_importance_matrix};
use super::write::write_importance_matrix;
use crate::gguf::testing::CATALOG;

fn parse(bytes: &[u8]) -> Result<ImportanceMatrix> {
    read(&MemoryReader::new(bytes, "memory"), &CATALOG, &Limits::default())
}

fn int(out: &mut Vec<u8>, value: i32) {
    out.extend(value.to_le_bytes());
}

fn dat(entries: &[(&str, i32, &[f32])], tail: Option<(i32, &str)>) -> Vec<u8> {
    let mut out = Vec::new();
    int(&mut out, entries.len() as i32);
    for (name, calls, values) in entries {
        int(&mut out, name.len() as i32);
        out.extend(name.as_bytes());
        int(&mut out, *calls);
        int(&mut out, values.len() as i32);
        values.iter().for_each(|v| out.extend(v.to_le_bytes()));
    }
    if let Some((chunks, dataset)) = tail {
        int(&mut out, chunks);
        int(&mut out, dataset.len() as i32);
        out.extend(dataset.as_bytes());
    }
    out
}

/// A GGUF with these tensors of one dimension, and the three keys where `keys`.
fn gguf(tensors: &[(&str, &[f32])], keys: bool) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    };
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((if keys { 3u64 } else { 0 }).to_le_bytes());
    if keys {
        text(&mut out, "imatrix.datasets");
        out.extend([9, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        text(&mut out, "d.txt");
        for (key, value) in [("imatrix.chunk_count", 7u32), ("imatrix.chunk_size", 512)] {
            text(&mut out, key);
            out.extend(4u32.to_le_bytes());
            out.extend(value.to_le_bytes());
        }
    }
    let mut offset = 0u64;
    for (name, values) in tensors {
        text(&mut out, name);
        out.extend(1u32.to_le_bytes());
        out.extend((values.len() as u64).to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset += (values.len() as u64 * 4).next_multiple_of(32);
    }
    for (_, values) in tensors {
        out.resize(out.len().next_multiple_of(32), 0);
        values.iter().for_each(|v| out.extend(v.to_le_bytes()));
    }
    out
}

#[test]
fn sums_become_means_for_each_matrix() {
    let sums = [1.0, 2.0, 5.0, 7.0, 9.0, 9.0];
    let matrix = parse(&gguf(&[("a.weight.in_sum2", &sums), ("a.weight.counts", &[3.0, 0.0, 2.0])], true)).unwrap();
    let entry = &matrix.entries["a.weight"];
    assert_eq!(entry.values, [1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0, 4.5, 4.5]);
    assert_eq!(entry.counts, [3.0, 0.0, 2.0]);
    assert_eq!((matrix.chunk_count, matrix.chunk_size), (7, 512));
    assert_eq!((matrix.datasets, matrix.path), (vec!["d.txt".to_owned()], PathBuf::from("memory")));
}

#[test]
fn the_older_layout_is_read_with_and_without_its_tail() {
    let entries: &[(&str, i32, &[f32])] = &[("a.weight", 4, &[1.0, 3.0]), ("b.weight", 0, &[2.5])];
    let matrix = parse(&dat(entries, Some((9, "d.txt")))).unwrap();
    assert_eq!(matrix.entries["a.weight"].values, [0.25, 0.75]);
    assert_eq!(matrix.entries["b.weight"].values, [2.5]);
    assert_eq!((matrix.chunk_count, matrix.datasets), (9, vec!["d.txt".to_owned()]));
    let matrix = parse(&dat(entries, None)).unwrap();
    assert_eq!((matrix.chunk_count, matrix.datasets.len()), (0, 0));
}

#[test]
fn broken_matrices_are_refused_and_named() {
    let good: &[f32] = &[1.0, 2.0];
    let trailing = [dat(&[("a", 1, good)], Some((1, "d"))), vec![0]].concat();
    let cases: Vec<(&str, Vec<u8>, ErrorKind, &str)> = vec![
        ("empty", Vec::new(), ErrorKind::Input, "cannot fit"),
        ("no entries", dat(&[], None), ErrorKind::Input, "a number of 0 entries"),
        ("many entries", 0x7000_0000i32.to_le_bytes().to_vec(), ErrorKind::Limit, "entries"),
        ("more entries than bytes", [1000i32.to_le_bytes().to_vec(), vec![0; 100]].concat(), ErrorKind::Input, "cannot fit"),
        ("no name", dat(&[("", 1, good)], None), ErrorKind::Input, "a name of 0 bytes"),
        ("no values", dat(&[("a", 1, &[])], Some((1, "12345678"))), ErrorKind::Input, "a number of 0 values"),
        ("twice", dat(&[("a", 1, good), ("a", 1, good)], None), ErrorKind::Input, "twice"),
        ("not a number", dat(&[("a", 1, &[f32::NAN])], None), ErrorKind::Input, "NaN"),
        ("infinite", dat(&[("a", 1, &[f32::INFINITY])], None), ErrorKind::Input, "inf"),
        ("negative", dat(&[("a", 1, &[-1.0])], None), ErrorKind::Input, "-1"),
        ("trailing bytes", trailing, ErrorKind::Input, "1 bytes follow"),
        ("a model", gguf(&[("a.in_sum2", good)], false), ErrorKind::Input, "imatrix.datasets"),
        ("no tensors", gguf(&[], true), ErrorKind::Input, "no entries"),
        ("without counts", gguf(&[("a.in_sum2", good)], true), ErrorKind::Input, "without"),
        ("without sums", gguf(&[("a.counts", good)], true), ErrorKind::Input, "without"),
        ("another tensor", gguf(&[("a.weight", good)], true), ErrorKind::Unsupported, "neither"),
        ("odd counts", gguf(&[("a.in_sum2", &[1.0; 3]), ("a.counts", good)], true), ErrorKind::Input, "3 sums"),
        ("negative count", gguf(&[("a.in_sum2", good), ("a.counts", &[-1.0])], true), ErrorKind::Input, "a count of -1"),
    ];
    for (what, bytes, kind, message) in cases {
        let error = parse(&bytes).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(error.message().contains(message), "{what}: {error}");
    }
}

#[test]
fn every_truncation_is_an_error_or_an_older_file() {
    let entries: &[(&str, i32, &[f32])] = &[("a.weight", 4, &[1.0, 3.0]), ("b.weight", 2, &[2.5])];
    let bytes = dat(entries, Some((9, "d.txt")));
    let (without, with_chunks) = (dat(entries, None).len(), dat(entries, None).len() + 4);
    for length in 0..bytes.len() {
        assert_eq!(parse(&bytes[..length]).is_ok(), length == without || length == with_chunks, "cut at {length}");
    }
    let bytes = gguf(&[("a.in_sum2", &[1.0, 2.0]), ("a.counts", &[1.0])], true);
    for length in 0..bytes.len() {
        assert!(parse(&bytes[..length]).is_err(), "cut at {length}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_a_matrix(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Err(error) = parse(&bytes) {
            prop_assert_ne!(error.kind(), ErrorKind::Bug);
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = read_importance_matrix(Path::new("no/such.gguf"), &CATALOG, &Limits::default()).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::NotFound, Some(Path::new("no/such.gguf"))));
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imatrix.gguf");
    let mut matrix = ImportanceMatrix { datasets: vec!["a.txt".into()], chunk_count: 3, chunk_size: 512, ..ImportanceMatrix::default() };
    let entry = |values: &[f32], counts: &[f32]| ImportanceEntry { values: values.to_vec(), counts: counts.to_vec() };
    matrix.entries.insert("blk.0.attn_q.weight".into(), entry(&[0.25, 1.5, 0.1], &[1536.0]));
    matrix.entries.insert("blk.0.ffn_down_exps.weight".into(), entry(&[1.0, 2.0, 3.0, 4.0], &[7.0, 1529.0]));
    write_importance_matrix(&path, Arc::new(Disk), &CATALOG, &matrix).unwrap();
    let again = read_importance_matrix(&path, &CATALOG, &Limits::default()).unwrap();
    assert_eq!((&again.datasets, again.chunk_count, again.chunk_size), (&matrix.datasets, 3, 512));
    assert_eq!(again.entries.keys().collect::<Vec<_>>(), matrix.entries.keys().collect::<Vec<_>>());
    for (name, entry) in &matrix.entries {
        assert_eq!(again.entries[name].counts, entry.counts);
        for (a, b) in again.entries[name].values.iter().zip(&entry.values) {
            assert!((a - b).abs() <= b * 2e-7, "{name}: {a} was {b}");
        }
    }
    let odd = ImportanceMatrix { entries: [("x".to_owned(), entry(&[1.0, 2.0, 3.0], &[1.0, 1.0]))].into(), ..matrix };
    let error = write_importance_matrix(&path, Arc::new(Disk), &CATALOG, &odd).unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Input, Some("x")));
    assert_eq!(read_importance_matrix(&path, &CATALOG, &Limits::default()).unwrap(), again);
}
