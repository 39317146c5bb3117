//! Many short texts in one: a vocabulary and its merge rules are half a million of them, and as many strings take
//! four times the memory, and a call of the allocator each.

use std::fmt;

/// A list of texts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Texts {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Texts {
    /// An empty list with room for so many.
    pub fn with_capacity(count: usize) -> Self {
        Self { text: String::new(), ends: Vec::with_capacity(count) }
    }

    /// Adds one.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all together.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start..end)
    }

    /// All, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }
}

impl<T: AsRef<str>> FromIterator<T> for Texts {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let texts = texts.into_iter();
        let mut out = Self::with_capacity(texts.size_hint().0);
        texts.for_each(|text| out.push(text.as_ref()));
        out
    }
}

impl From<Vec<String>> for Texts {
    fn from(texts: Vec<String>) -> Self {
        texts.iter().collect()
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_apart() {
        let texts: Texts = ["a", "", "bc", "ü"].into_iter().collect();
        assert_eq!((texts.len(), texts.text_bytes(), texts.is_empty()), (4, 5, false));
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["a", "", "bc", "ü"]);
        assert_eq!((texts.get(2), texts.get(4)), (Some("bc"), None));
        assert_eq!(format!("{texts:?}"), r#"["a", "", "bc", "ü"]"#);
        assert_ne!(texts, ["ab", "", "c", "ü"].into_iter().collect());
        assert!(Texts::from(Vec::new()).is_empty());
    }
}
