//! Tensors by name, taken out in groups and put back as one.

use std::collections::{HashMap, HashSet};

use gravure_base::{Error, Result};
use gravure_core::Tensor;

/// The tensors of a checkpoint while groups of them are replaced.
#[derive(Debug)]
pub(super) struct Groups {
    /// In file order; `None` where a tensor was taken.
    tensors: Vec<Option<Tensor>>,
    by_name: HashMap<String, usize>,
    /// Places of tensors that were put back, by name.
    put: HashSet<String>,
}

impl Groups {
    pub(super) fn new(tensors: Vec<Tensor>) -> Self {
        let by_name = tensors.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        Self { tensors: tensors.into_iter().map(Some).collect(), by_name, put: HashSet::new() }
    }

    /// Names without `suffix` of all tensors that end in it, in file order.
    pub(super) fn bases(&self, suffix: &str) -> Vec<String> {
        let names = self.tensors.iter().flatten().filter_map(|t| t.name.strip_suffix(suffix));
        names.map(str::to_owned).collect()
    }

    /// A tensor that stays where it is.
    pub(super) fn get(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name).and_then(|&i| self.tensors[i].as_ref())
    }

    /// Takes a tensor out.
    pub(super) fn take(&mut self, name: &str) -> Option<Tensor> {
        self.by_name.get(name).and_then(|&i| self.tensors[i].take())
    }

    /// Takes a tensor that must be there.
    pub(super) fn need(&mut self, name: &str) -> Result<Tensor> {
        self.take(name).ok_or_else(|| Error::input(format!("its tensor `{name}` is missing")))
    }

    /// Puts the decoded matrix where the tensor `base` + `marker` was.
    pub(super) fn put(&mut self, base: &str, marker: &str, tensor: Tensor) -> Result<()> {
        if self.get(&tensor.name).is_some() || !self.put.insert(tensor.name.clone()) {
            return Err(Error::input(format!("is there as `{}` and as quantized tensors too", tensor.name)));
        }
        let place = self.by_name.get(&format!("{base}{marker}")).copied();
        let place = place.filter(|&i| self.tensors[i].is_none()).ok_or_else(|| Error::bug("a decoded matrix has no place"))?;
        self.by_name.insert(tensor.name.clone(), place);
        self.tensors[place] = Some(tensor);
        Ok(())
    }

    /// Takes out all tensors with these suffixes; returns how many.
    pub(super) fn drop_suffixes(&mut self, suffixes: &[&str]) -> u64 {
        let mut count = 0;
        for slot in &mut self.tensors {
            if slot.as_ref().is_some_and(|t| suffixes.iter().any(|s| t.name.ends_with(s))) {
                *slot = None;
                count += 1;
            }
        }
        count
    }

    pub(super) fn finish(self) -> Vec<Tensor> {
        self.tensors.into_iter().flatten().collect()
    }
}
