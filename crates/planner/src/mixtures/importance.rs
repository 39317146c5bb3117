//! The importance of one tensor's columns, out of a matrix, with every check that keeps a matrix of
//! another model from being used unnoticed.

use gravure_core::{Error, ImportanceMatrix, Result, Shape};

/// An error where a value is NaN or infinite: rounding would be weighted with garbage.
pub(super) fn check(matrix: &ImportanceMatrix) -> Result<()> {
    for (name, entry) in &matrix.entries {
        if let Some(value) = entry.values.iter().find(|v| !v.is_finite()) {
            return Err(Error::input(format!("the importance matrix holds a value that is not finite: {value}"))
                .at_item(&**name)
                .in_file(&matrix.path)
                .help("make it again: the calibration run overflowed"));
        }
    }
    Ok(())
}

/// Importance of the tensor called `name` (in the source) of this `shape`: one slice of a row's length
/// for each matrix (expert) in it, one after the other; `None` where the matrix has no entry.
///
/// # Errors
/// `Input` where the sizes differ, naming both. Token embeddings are the exception: their entry is
/// ignored then, because a calibration run may have seen them as a lookup.
pub fn importance_of<'a>(matrix: &'a ImportanceMatrix, name: &str, shape: &Shape) -> Result<Option<&'a [f32]>> {
    let Some(entry) = matrix.entries.get(name) else { return Ok(None) };
    let dimensions = shape.dimensions();
    let matrices = dimensions.len().checked_sub(3).and_then(|at| dimensions.get(at)).copied().unwrap_or(1);
    let expected = shape.row_length().checked_mul(matrices);
    if expected == Some(entry.values.len() as u64) {
        return Ok(Some(&entry.values));
    }
    if matches!(name, "token_embd.weight" | "per_layer_token_embd.weight") {
        return Ok(None);
    }
    let columns = shape.row_length();
    let wanted = if matrices == 1 { format!("{columns}") } else { format!("{matrices} times {columns}") };
    Err(Error::input(format!("the importance matrix has {} values for this tensor, which needs {wanted}", entry.values.len()))
        .at_item(name)
        .in_file(&matrix.path)
        .help("it was made for another model: calibrate this one"))
}

/// The part of [`importance_of`]'s answer for one matrix (expert) of `columns` columns.
pub fn expert_slice(importance: &[f32], columns: usize, expert: usize) -> Option<&[f32]> {
    let start = expert.checked_mul(columns)?;
    importance.get(start..start.checked_add(columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gravure_core::values::ImportanceEntry;

    fn matrix(name: &str, values: usize) -> ImportanceMatrix {
        let mut matrix = ImportanceMatrix { path: "m.imatrix".into(), ..ImportanceMatrix::default() };
        matrix.entries.insert(name.into(), ImportanceEntry { values: vec![1.0; values], counts: vec![1.0] });
        matrix
    }

    #[test]
    fn sizes_must_agree() {
        let experts = Shape::new([4, 8, 32]).unwrap();
        let m = matrix("e", 128);
        let all = importance_of(&m, "e", &experts).unwrap().unwrap();
        assert_eq!(expert_slice(all, 32, 3).map(<[f32]>::len), Some(32));
        assert_eq!(expert_slice(all, 32, 4), None);
        assert_eq!(importance_of(&m, "other", &experts).unwrap(), None);
        let error = importance_of(&matrix("e", 32), "e", &experts).unwrap_err();
        assert_eq!(error.message(), "the importance matrix has 32 values for this tensor, which needs 4 times 32");
        assert_eq!(importance_of(&matrix("token_embd.weight", 3), "token_embd.weight", &Shape::new([2, 32]).unwrap()).unwrap(), None);
    }

    #[test]
    fn values_must_be_finite() {
        let mut m = matrix("e", 4);
        check(&m).unwrap();
        m.entries.get_mut("e").unwrap().values[2] = f32::NAN;
        assert_eq!(check(&m).unwrap_err().item(), Some("e"));
    }
}
