//! Properties that hold for all encodings and all rows.

use gravure_core::{Encoding, ErrorKind, ImportanceUse};
use gravure_encodings::ENCODINGS;
use proptest::prelude::*;

use crate::inputs::{COLUMNS, EXTREME, KINDS, importance, row, rows};

/// Encodings that hold weights and can be written.
fn writable() -> impl Iterator<Item = &'static dyn Encoding> {
    ENCODINGS.iter().copied().filter(|e| e.can_encode() && !e.is_integer())
}

fn columns_for<'a>(encoding: &dyn Encoding, columns: &'a [f32]) -> Option<&'a [f32]> {
    (encoding.importance() != ImportanceUse::Ignored).then_some(columns)
}

fn encode(encoding: &dyn Encoding, source: &[f32], columns: Option<&[f32]>) -> Vec<u8> {
    let rows = source.len() / COLUMNS;
    let mut out = vec![0xa5; rows * encoding.row_bytes(COLUMNS as u64).unwrap() as usize];
    encoding.encode(source, COLUMNS, columns, &mut out).unwrap_or_else(|e| panic!("{}: {e}", encoding.id()));
    out
}

fn decode(encoding: &dyn Encoding, bytes: &[u8]) -> Vec<f32> {
    let layout = encoding.layout();
    let mut out = vec![f32::NAN; bytes.len() / layout.block_bytes * layout.block_elements];
    encoding.decode(bytes, &mut out).unwrap_or_else(|e| panic!("{}: {e}", encoding.id()));
    out
}

/// Row kinds that stand for weights of models.
fn ordinary() -> u32 {
    ((1 << KINDS) - 1) & !EXTREME
}

/// Root of the mean squared error over the root of the mean square.
fn relative_error(source: &[f32], decoded: &[f32]) -> f64 {
    let (mut error, mut total) = (0.0, 0.0);
    for (&x, &y) in source.iter().zip(decoded) {
        error += (f64::from(x) - f64::from(y)).powi(2);
        total += f64::from(x).powi(2);
    }
    (error / total).sqrt()
}

#[test]
fn errors_are_as_small_as_the_bits_allow() {
    for encoding in writable() {
        let bits = encoding.bits_per_weight();
        // Rounding a bell to 2^b levels errs by about 2^-b of its deviation times a small factor;
        // the fewest bits still beat writing zeros. A plain float spends at most half of its bits
        // on the exponent.
        let is_float = encoding.layout().block_elements == 1;
        let bound = if is_float { 2f64.powf(-bits / 2.0) } else { (3.4 * 2f64.powf(-bits)).min(0.75) };
        let source = row(0);
        let error = relative_error(&source, &decode(encoding, &encode(encoding, &source, columns_for(encoding, &[1.0; COLUMNS]))));
        assert!(error < bound, "{}: relative error {error:.5} over the bound {bound:.5}", encoding.id());
    }
}

#[test]
fn a_second_round_trip_changes_little() {
    let columns = importance();
    for encoding in writable() {
        let source = row(0);
        let columns = columns_for(encoding, &columns);
        let once = decode(encoding, &encode(encoding, &source, columns));
        let twice = decode(encoding, &encode(encoding, &once, columns));
        let (first, second) = (relative_error(&source, &once), relative_error(&once, &twice));
        assert!(second <= first.max(1e-12), "{}: {first:.5} then {second:.5}", encoding.id());
    }
}

#[test]
fn rows_do_not_depend_on_their_neighbours() {
    let columns = importance();
    let source = rows(ordinary());
    for encoding in writable() {
        for columns in [None, Some(&columns[..])] {
            if columns.is_none() && encoding.importance() == ImportanceUse::Required {
                continue;
            }
            let together = encode(encoding, &source, columns);
            let apart: Vec<u8> = source.chunks(COLUMNS).flat_map(|row| encode(encoding, row, columns)).collect();
            assert!(together == apart, "{} depends on how rows are grouped", encoding.id());
            let whole = decode(encoding, &together);
            let parts: Vec<f32> = together.chunks(encoding.layout().block_bytes).flat_map(|block| decode(encoding, block)).collect();
            assert!(
                whole.iter().zip(&parts).all(|(a, b)| a.to_bits() == b.to_bits()),
                "{} depends on how blocks are grouped",
                encoding.id()
            );
        }
    }
}

#[test]
fn importance_is_used_as_declared() {
    let columns = importance();
    let source = rows(1);
    for encoding in writable() {
        let mut out = vec![0; encoding.row_bytes(COLUMNS as u64).unwrap() as usize];
        let without = encoding.encode(&source, COLUMNS, None, &mut out).map(|()| out.clone());
        let with = encode(encoding, &source, Some(&columns));
        match encoding.importance() {
            ImportanceUse::Ignored => assert!(without.unwrap() == with, "{} uses importance", encoding.id()),
            ImportanceUse::Optional | ImportanceUse::Expected => assert!(without.unwrap() != with, "{} ignores importance", encoding.id()),
            ImportanceUse::Required => assert_eq!(without.unwrap_err().kind(), ErrorKind::Request, "{}", encoding.id()),
        }
    }
}

#[test]
fn wrong_lengths_are_errors() {
    let columns = [1.0; COLUMNS];
    for encoding in writable() {
        let id = encoding.id();
        let columns = columns_for(encoding, &columns);
        let bytes = encoding.row_bytes(COLUMNS as u64).unwrap() as usize;
        let source = vec![0.5; COLUMNS];
        let mut out = vec![0; bytes];
        assert!(encoding.encode(&source, COLUMNS, columns, &mut out[1..]).is_err(), "{id}");
        assert!(encoding.encode(&source[1..], COLUMNS, columns, &mut out).is_err(), "{id}");
        assert!(encoding.encode(&source, 0, columns, &mut out).is_err(), "{id}");
        if let Some(columns) = columns {
            assert!(encoding.encode(&source, COLUMNS, Some(&columns[1..]), &mut out).is_err(), "{id}");
        }
        let mut weights = vec![0.0; COLUMNS];
        assert!(encoding.decode(&out[..bytes - 1], &mut weights).is_err(), "{id}");
        assert!(encoding.decode(&out, &mut weights[1..]).is_err(), "{id}");
        if encoding.layout().block_bytes > 1 {
            assert!(encoding.validate(&out[1..]).is_err(), "{id}");
        }
    }
}

#[test]
fn what_was_encoded_is_valid_and_what_is_not_finite_is_refused() {
    let columns = importance();
    for encoding in writable() {
        let columns = columns_for(encoding, &columns);
        encoding.validate(&encode(encoding, &rows(ordinary()), columns)).unwrap_or_else(|e| panic!("{}: {e}", encoding.id()));
        if encoding.layout().block_elements == 1 {
            continue;
        }
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut source = row(0);
            source[300] = value;
            let mut out = vec![0; encoding.row_bytes(COLUMNS as u64).unwrap() as usize];
            let error = encoding.encode(&source, COLUMNS, columns, &mut out).expect_err(encoding.id());
            assert_eq!(error.kind(), ErrorKind::Input, "{}", encoding.id());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_finite_row_can_be_encoded(seed in any::<u64>(), exponent in -40i32..36, spread in 1u32..30) {
        let mut random = crate::inputs::Random::new(seed);
        let mut value = || {
            let magnitude = 2f32.powi(exponent - (random.bits() % u64::from(spread)) as i32);
            random.bell() * magnitude
        };
        let source: Vec<f32> = (0..COLUMNS).map(|_| value()).collect();
        let columns: Vec<f32> = (0..COLUMNS).map(|_| value().abs()).collect();
        for encoding in writable() {
            let layout = encoding.layout();
            let mut out = vec![0; encoding.row_bytes(COLUMNS as u64).unwrap() as usize];
            match encoding.encode(&source, COLUMNS, columns_for(encoding, &columns), &mut out) {
                Ok(()) => {
                    let decoded = decode(encoding, &out);
                    prop_assert!(encoding.validate(&out).is_err() || decoded.iter().all(|v| v.is_finite()), "{}", encoding.id());
                }
                // Eight-bit floats have no room for large weights.
                Err(error) => prop_assert!(layout.block_elements == 1 && error.kind() == ErrorKind::Input, "{}: {error}", encoding.id()),
            }
        }
    }

    #[test]
    fn any_bytes_can_be_decoded(bytes in proptest::collection::vec(any::<u8>(), 512..1024)) {
        for encoding in ENCODINGS {
            let layout = encoding.layout();
            let blocks = bytes.len() / layout.block_bytes;
            let mut out = vec![0.0; blocks * layout.block_elements];
            let result = encoding.decode(&bytes[..blocks * layout.block_bytes], &mut out);
            prop_assert!(result.is_ok() || encoding.is_integer(), "{}", encoding.id());
            let _ = encoding.validate(&bytes[..blocks * layout.block_bytes]);
        }
    }
}
