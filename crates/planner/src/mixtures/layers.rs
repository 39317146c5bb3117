//! The layer in a tensor's name: the order of the output, and layers that are left out.

use std::collections::BTreeMap;

use gravure_core::{Error, Result};

/// Layer of a name that begins with `blk.N`.
pub(super) fn of(name: &str) -> Option<i64> {
    let digits = digits(name.strip_prefix("blk.")?);
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(i64::from(i32::MAX)))
}

/// Sorts as the output is written: what has no layer first, then by layer, each by the bytes of the name.
pub(super) fn order_key(name: &str) -> (i64, &[u8]) {
    (of(name).unwrap_or(-1), name.as_bytes())
}

fn digits(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())]
}

/// Where `blk.N.` stands in a name, wherever that is: the range of the number, and the number.
fn find(name: &str) -> Option<(std::ops::Range<usize>, &str)> {
    name.match_indices("blk.").find_map(|(at, found)| {
        let start = at + found.len();
        let number = digits(&name[start..]);
        let end = start + number.len();
        (!number.is_empty() && name[end..].starts_with('.')).then_some((start..end, number))
    })
}

/// Renumbering of layers when some are left out. Names must come in output order: later layers move
/// up in the order in which they are met.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    pruned: Vec<u32>,
    renamed: BTreeMap<u32, Option<u32>>,
    next: u32,
}

impl Pruning {
    pub(super) fn new(pruned: &[u32]) -> Self {
        let mut pruned = pruned.to_vec();
        pruned.sort_unstable();
        pruned.dedup();
        Self { pruned, ..Self::default() }
    }

    /// The name in the output, `None` where the tensor is left out.
    pub(super) fn rename(&mut self, name: &str) -> Result<Option<String>> {
        let Some(&first) = self.pruned.first() else { return Ok(Some(name.to_owned())) };
        let Some((range, number)) = find(name) else { return Ok(Some(name.to_owned())) };
        let layer: u32 = number.parse().map_err(|_| Error::unsupported("the layer number is impossibly large").at_item(name))?;
        let to = match self.renamed.get(&layer) {
            Some(to) => *to,
            None => {
                let to = if self.pruned.binary_search(&layer).is_ok() {
                    None
                } else if layer < first {
                    self.next = layer.saturating_add(1);
                    Some(layer)
                } else {
                    self.next = self.next.saturating_add(1);
                    Some(self.next - 1)
                };
                self.renamed.insert(layer, to);
                to
            }
        };
        Ok(to.map(|to| format!("{}{to}{}", &name[..range.start], &name[range.end..])))
    }

    /// An error where a layer to be left out was never met.
    pub(super) fn check(&self) -> Result<()> {
        match self.pruned.iter().find(|layer| !self.renamed.contains_key(layer)) {
            Some(layer) => {
                Err(Error::request(format!("layer {layer} cannot be left out: the model does not have it"))
                    .help("layers are counted from 0"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_order_is_numeric() {
        let mut names = ["blk.10.b", "token_embd.weight", "blk.2.b", "blk.2.a", "output.weight", "blk.x", "Zeta"];
        names.sort_by(|a, b| order_key(a).cmp(&order_key(b)));
        assert_eq!(names, ["Zeta", "blk.x", "output.weight", "token_embd.weight", "blk.2.a", "blk.2.b", "blk.10.b"]);
    }

    #[test]
    fn later_layers_move_up() {
        let mut pruning = Pruning::new(&[3, 1]);
        let names: Vec<_> = (0..6).map(|i| pruning.rename(&format!("blk.{i}.attn_q.weight")).unwrap()).collect();
        let name = |i: u32| Some(format!("blk.{i}.attn_q.weight"));
        assert_eq!(names, [name(0), None, name(1), None, name(2), name(3)]);
        assert_eq!(pruning.rename("output.weight").unwrap().as_deref(), Some("output.weight"));
        assert_eq!(pruning.rename("dec.blk.4.attn_q.weight").unwrap().as_deref(), Some("dec.blk.2.attn_q.weight"));
        pruning.check().unwrap();
        assert!(Pruning::new(&[9]).check().is_err());
    }
}
