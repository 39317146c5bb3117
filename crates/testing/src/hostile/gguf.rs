//! A GGUF put together without any check.

/// A file under construction.
#[derive(Debug, Clone)]
pub struct Gguf {
    version: u32,
    counts: Option<(u64, u64)>,
    pairs: Vec<u8>,
    pair_count: u64,
    tensors: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
    alignment: usize,
}

impl Default for Gguf {
    fn default() -> Self {
        Self::new()
    }
}

impl Gguf {
    /// An empty file of version 3.
    pub fn new() -> Self {
        Self::of_version(3)
    }

    /// An empty file of any version; version 1 has lengths of 32 bits.
    pub fn of_version(version: u32) -> Self {
        Self {
            version,
            counts: None,
            pairs: Vec::new(),
            pair_count: 0,
            tensors: Vec::new(),
            tensor_count: 0,
            data: Vec::new(),
            alignment: 32,
        }
    }

    fn length(&self, value: u64) -> Vec<u8> {
        if self.version == 1 { (value as u32).to_le_bytes().to_vec() } else { value.to_le_bytes().to_vec() }
    }

    /// Adds a pair; `value` is a type number and the value.
    #[must_use]
    pub fn pair(self, key: &str, value: Vec<u8>) -> Self {
        self.raw_pair(key.as_bytes(), value)
    }

    /// Adds a pair whose key need not be text.
    #[must_use]
    pub fn raw_pair(mut self, key: &[u8], value: Vec<u8>) -> Self {
        let length = self.length(key.len() as u64);
        self.pairs.extend(length);
        self.pairs.extend(key);
        self.pairs.extend(value);
        self.pair_count += 1;
        self
    }

    /// Adds a tensor of `bytes` zero bytes behind the last; dimensions innermost first.
    #[must_use]
    pub fn tensor(self, name: &str, dimensions: &[u64], kind: u32, bytes: usize) -> Self {
        self.filled(name, dimensions, kind, vec![0; bytes])
    }

    /// Adds a tensor with these bytes.
    #[must_use]
    pub fn filled(mut self, name: &str, dimensions: &[u64], kind: u32, bytes: Vec<u8>) -> Self {
        let offset = self.data.len() as u64;
        self.data.extend(bytes);
        self.data.resize(self.data.len().next_multiple_of(self.alignment), 0);
        self.tensor_at(name.as_bytes(), dimensions, kind, offset)
    }

    /// Adds a line of the tensor table alone.
    #[must_use]
    pub fn tensor_at(mut self, name: &[u8], dimensions: &[u64], kind: u32, offset: u64) -> Self {
        let mut line = self.length(name.len() as u64);
        line.extend(name);
        line.extend((dimensions.len() as u32).to_le_bytes());
        for &dimension in dimensions {
            line.extend(self.length(dimension));
        }
        line.extend(kind.to_le_bytes());
        line.extend(offset.to_le_bytes());
        self.tensors.extend(line);
        self.tensor_count += 1;
        self
    }

    /// Bytes behind the table that no line speaks of.
    #[must_use]
    pub fn data(mut self, bytes: usize) -> Self {
        self.data.resize(self.data.len() + bytes, 0);
        self
    }

    /// States these numbers of tensors and pairs.
    #[must_use]
    pub fn counts(mut self, tensors: u64, pairs: u64) -> Self {
        self.counts = Some((tensors, pairs));
        self
    }

    /// Aligns what follows.
    #[must_use]
    pub fn aligned(mut self, alignment: usize) -> Self {
        self.alignment = alignment;
        self.pair("general.alignment", number(alignment as u32))
    }

    /// The bytes.
    pub fn build(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        let (tensors, pairs) = self.counts.unwrap_or((self.tensor_count, self.pair_count));
        out.extend(self.length(tensors));
        out.extend(self.length(pairs));
        out.extend(&self.pairs);
        out.extend(&self.tensors);
        if !self.data.is_empty() {
            out.resize(out.len().next_multiple_of(self.alignment), 0);
            out.extend(&self.data);
        }
        out
    }
}

/// A value of a type number and its bytes.
pub fn value(kind: u32, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], bytes].concat()
}

/// A `u32`.
pub fn number(n: u32) -> Vec<u8> {
    value(4, &n.to_le_bytes())
}

/// A string.
pub fn text(text: &str) -> Vec<u8> {
    value(8, &string(text.as_bytes()))
}

/// A string's length and bytes.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat()
}

/// An array: type of its elements, how many it says there are, and their bytes.
pub fn array(kind: u32, count: u64, bytes: &[u8]) -> Vec<u8> {
    value(9, &[&kind.to_le_bytes()[..], &count.to_le_bytes(), bytes].concat())
}

/// An array of strings.
pub fn strings(texts: &[&str]) -> Vec<u8> {
    let bytes: Vec<u8> = texts.iter().flat_map(|t| string(t.as_bytes())).collect();
    array(8, texts.len() as u64, &bytes)
}

/// An array of `f32`.
pub fn floats(values: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    array(6, values.len() as u64, &bytes)
}

/// An array of `i32`.
pub fn integers(values: &[i32]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    array(5, values.len() as u64, &bytes)
}
