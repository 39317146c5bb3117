//! Sequences that outlive the process.
//!
//! ```text
//! "GRAVSEQ\0"  version u32  fingerprint u64  cache type u8  long u8  tokens u32
//! tokens u32 each
//! for each layer, for each page: keys and values of its positions, as the cache keeps them
//! hash of all before u64
//! ```
//! All numbers are little-endian. The fingerprint is that of the model's tensors.

use std::io::{Read, Write};

use gravure_base::{Error, ErrorKind, Result};
use gravure_core::contracts::CacheType;
use gravure_kernels::{Cache, PAGE};

use super::fingerprint::Hash;
use super::pages::{Pages, Sequence};
use super::run::Machine;

const MAGIC: &[u8; 8] = b"GRAVSEQ\0";
const VERSION: u32 = 2;

/// What a sequence of this model may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) context: usize,
    pub(crate) vocabulary: usize,
}

fn tag(kind: CacheType) -> u8 {
    match kind {
        CacheType::F32 => 0,
        CacheType::F16 => 1,
        CacheType::Q8 => 2,
    }
}

struct Out<'a> {
    inner: &'a mut dyn Write,
    hash: Hash,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.add(bytes);
        self.inner.write_all(bytes).map_err(|e| Error::new(ErrorKind::Environment, format!("cannot write the sequence: {e}")))
    }
}

/// Writes a sequence.
pub(crate) fn save(machine: &Machine, cache: &Cache, sequence: &Sequence, out: &mut dyn Write) -> Result<()> {
    let mut out = Out { inner: out, hash: Hash::default() };
    let count = u32::try_from(sequence.tokens.len()).map_err(|_| Error::limit("a sequence too long to be saved"))?;
    out.put(MAGIC)?;
    out.put(&VERSION.to_le_bytes())?;
    out.put(&machine.fingerprint()?.to_le_bytes())?;
    out.put(&[tag(cache.kind()), u8::from(sequence.long)])?;
    out.put(&count.to_le_bytes())?;
    for token in &sequence.tokens {
        out.put(&token.to_le_bytes())?;
    }
    let mut bytes = Vec::new();
    for layer in 0..cache.shapes().count() {
        for (i, page) in sequence.pages.iter().enumerate() {
            bytes.clear();
            cache.export(layer, *page as usize, held(sequence.tokens.len(), i), &mut bytes);
            out.put(&bytes)?;
        }
    }
    let hash = out.hash.finish();
    out.put(&hash.to_le_bytes())
}

/// Positions of the `i`th page of a sequence of `length`.
fn held(length: usize, i: usize) -> usize {
    length.saturating_sub(i * PAGE).min(PAGE)
}

struct In<'a> {
    inner: &'a mut dyn Read,
    hash: Hash,
}

impl In<'_> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.inner.read_exact(bytes).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::input("the saved sequence ends early"),
            _ => Error::new(ErrorKind::Environment, format!("cannot read the sequence: {e}")),
        })?;
        self.hash.add(bytes);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}

/// Reads a sequence.
///
/// # Errors
/// `Input` where the bytes are no saved sequence of this model, `Limit` where the cache is full. The
/// cache's owners are as before then.
pub(crate) fn restore(machine: &Machine, bounds: &Bounds, cache: &mut Cache, pages: &mut Pages, input: &mut dyn Read) -> Result<Sequence> {
    let mut input = In { inner: input, hash: Hash::default() };
    if &input.array::<8>()? != MAGIC {
        return Err(Error::input("this is no saved sequence"));
    }
    let version = u32::from_le_bytes(input.array()?);
    if version != VERSION {
        return Err(Error::input(format!("a saved sequence of version {version}, and this build reads {VERSION}")));
    }
    if u64::from_le_bytes(input.array()?) != machine.fingerprint()? {
        return Err(Error::input("the sequence was saved with another model"));
    }
    let [kind, long] = input.array()?;
    if kind != tag(cache.kind()) {
        return Err(Error::input("the sequence was saved with another type of cache"));
    }
    let count = u32::from_le_bytes(input.array()?) as usize;
    if count > bounds.context {
        return Err(Error::input(format!("a sequence of {count} tokens, and the model's context is {}", bounds.context)));
    }
    let room = cache.pages() * PAGE;
    if count > room {
        return Err(Error::limit(format!("a sequence of {count} tokens, and the cache has {room} positions"))
            .help("load the model with more positions"));
    }
    let long = match (long, machine.fused().long_beyond) {
        (0, limit) if limit.is_none_or(|limit| count <= limit) => false,
        (1, Some(_)) => true,
        _ => return Err(Error::input("a sequence rotated for another length")),
    };
    let mut sequence = Sequence { long, ..Sequence::default() };
    let mut tokens = Vec::new();
    for _ in 0..count {
        let token = u32::from_le_bytes(input.array()?);
        if token as usize >= bounds.vocabulary {
            return Err(Error::input(format!("token {token} is beyond the vocabulary of {}", bounds.vocabulary)));
        }
        tokens.push(token);
    }
    let result = pages.grow(&mut sequence, count, cache).and_then(|()| fill(cache, &sequence, count, &mut input));
    match result {
        Ok(()) => Ok(Sequence { tokens, ..sequence }),
        Err(error) => {
            pages.truncate(&mut sequence, 0);
            Err(error)
        }
    }
}

fn fill(cache: &mut Cache, sequence: &Sequence, count: usize, input: &mut In<'_>) -> Result<()> {
    let mut bytes = Vec::new();
    for layer in 0..cache.shapes().count() {
        for (i, page) in sequence.pages.iter().enumerate() {
            let held = held(count, i);
            bytes.resize(cache.export_bytes(layer, held), 0);
            input.fill(&mut bytes)?;
            cache.import(layer, *page as usize, held, &bytes)?;
        }
    }
    let hash = input.hash.finish();
    if u64::from_le_bytes(input.array()?) != hash {
        return Err(Error::input("the saved sequence is damaged: its hash differs"));
    }
    Ok(())
}
