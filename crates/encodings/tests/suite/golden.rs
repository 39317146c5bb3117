//! Bytes equal those of ggml, from files that `scripts/golden_encodings.py` made.

use std::path::PathBuf;

use gravure_core::{Encoding, ImportanceUse};
use gravure_encodings::ENCODINGS;

use crate::inputs::{COLUMNS, importance, rows};

/// What ggml wrote for one encoding.
struct Golden {
    kinds: u32,
    /// Encoded rows and the hash of the decoded floats: without importance, with.
    modes: [Option<(Vec<u8>, u64)>; 2],
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn read(encoding: &dyn Encoding) -> Option<Golden> {
    let bytes = std::fs::read(folder().join(format!("{}.bin", encoding.id()))).ok()?;
    assert_eq!((&bytes[..4], u32_at(&bytes, 4), u32_at(&bytes, 8)), (&b"GRVG"[..], 1, COLUMNS as u32), "{}", encoding.id());
    let (kinds, modes) = (u32_at(&bytes, 12), u32_at(&bytes, 16));
    let size = encoding.row_bytes(COLUMNS as u64).unwrap() as usize * kinds.count_ones() as usize;
    let mut at = 20;
    let mut take = |mode: u32| {
        (modes & mode != 0).then(|| {
            let encoded = bytes[at..at + size].to_vec();
            let hash = u64::from_le_bytes(bytes[at + size..at + size + 8].try_into().unwrap());
            at += size + 8;
            (encoded, hash)
        })
    };
    let modes = [take(1), take(2)];
    assert_eq!(at, bytes.len(), "{} has bytes left over", encoding.id());
    Some(Golden { kinds, modes })
}

fn fnv(values: &[f32]) -> u64 {
    let bytes = values.iter().flat_map(|v| if v.is_nan() { 0x7fc0_0000 } else { v.to_bits() }.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Every type of weights that the reference can write.
const REFERENCE_TYPES: &[&str] = &[
    "f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq1_s", "iq1_m", "iq2_xxs",
    "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "iq4_nl", "iq4_xs", "tq1_0", "tq2_0", "mxfp4", "nvfp4", "q1_0", "q2_0",
];

#[test]
fn every_type_of_the_reference_is_here_and_has_its_vectors() {
    for id in REFERENCE_TYPES {
        let encoding = ENCODINGS.iter().find(|e| e.id() == *id).unwrap_or_else(|| panic!("{id} is not registered"));
        let golden = read(*encoding).unwrap_or_else(|| panic!("{id} has no golden file"));
        assert!(golden.kinds.count_ones() >= 13, "{id} is tested on few kinds of rows");
        let with = golden.modes[1].is_some();
        assert!(with || encoding.importance() == ImportanceUse::Ignored, "{id} has no vectors with importance");
        assert!(golden.modes[0].is_some() || encoding.importance() == ImportanceUse::Required, "{id} has no vectors without importance");
    }
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(REFERENCE_TYPES.iter().any(|id| name == format!("{id}.bin")), "{name} belongs to nobody");
    }
}

#[test]
fn bytes_equal_the_reference() {
    let mut failures = Vec::new();
    let mut checked = 0;
    for encoding in ENCODINGS {
        let Some(golden) = read(*encoding) else { continue };
        let source = rows(golden.kinds);
        let columns = importance();
        let kinds: Vec<u32> = (0..32).filter(|kind| golden.kinds >> kind & 1 == 1).collect();
        for (name, columns, expected) in [("without", None, &golden.modes[0]), ("with", Some(&columns[..]), &golden.modes[1])] {
            let Some((expected, hash)) = expected else { continue };
            checked += 1;
            let mut out = vec![0; expected.len()];
            if let Err(error) = encoding.encode(&source, COLUMNS, columns, &mut out) {
                failures.push(format!("{} {name} importance: {error}", encoding.id()));
                continue;
            }
            let row_bytes = out.len() / kinds.len();
            let block = encoding.layout().block_bytes;
            for (i, kind) in kinds.iter().enumerate() {
                let (ours, theirs) = (&out[i * row_bytes..][..row_bytes], &expected[i * row_bytes..][..row_bytes]);
                let differing: Vec<_> = (0..row_bytes).filter(|&at| ours[at] != theirs[at]).map(|at| (at / block, at % block)).collect();
                if !differing.is_empty() {
                    let (count, first) = (differing.len(), &differing[..differing.len().min(4)]);
                    failures.push(format!(
                        "{} {name} importance, row kind {kind}: {count} bytes differ, at (block, byte) {first:?}",
                        encoding.id()
                    ));
                }
            }
            let mut decoded = vec![0.0; source.len()];
            encoding.decode(expected, &mut decoded).unwrap();
            if fnv(&decoded) != *hash {
                failures.push(format!("{} {name} importance: decoded floats differ", encoding.id()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(checked >= REFERENCE_TYPES.len(), "only {checked} vectors were found");
}
