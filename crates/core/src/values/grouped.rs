//! Integers in groups of columns that share a scale, as quantized Hugging Face checkpoints store matrices.

/// How rows are integers in groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grouping {
    /// Bits of a code.
    pub bits: u32,
    /// Columns of a group. The last group of a row may be shorter.
    pub columns: u64,
}

impl std::fmt::Display for Grouping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bits in groups of {}", self.bits, self.columns)
    }
}

/// Columns in the order of their groups, which `group_of` names for each; `None` where a group before the last has not
/// `size` of them, or there are more.
pub fn order_of_groups(group_of: &[usize], size: u64) -> Option<Vec<u32>> {
    let mut order: Vec<u32> = (0..u32::try_from(group_of.len()).ok()?).collect();
    order.sort_by_key(|column| group_of[*column as usize]);
    let fits = order.iter().zip(0..).all(|(column, place)| group_of[*column as usize] as u64 == place / size.max(1));
    fits.then_some(order)
}

/// Some rows of a matrix: `weight = scale * code - minimum`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupedRows {
    /// A code for each weight, row after row, in the order of [`crate::TensorData::group_order`].
    pub codes: Vec<u8>,
    /// A scale for each group, row after row.
    pub scales: Vec<f32>,
    /// A minimum for each group, row after row.
    pub minima: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_one_length_have_an_order() {
        assert_eq!(order_of_groups(&[0, 0, 1, 1, 2], 2), Some(vec![0, 1, 2, 3, 4]));
        assert_eq!(order_of_groups(&[1, 0, 1, 0, 2], 2), Some(vec![1, 3, 0, 2, 4]));
        for (group_of, size) in [(&[0, 0, 0, 1][..], 2), (&[0, 1, 1, 2], 2), (&[1, 1], 2), (&[0, 7], 1), (&[1], 0)] {
            assert_eq!(order_of_groups(group_of, size), None, "{group_of:?}");
        }
    }
}
