//! From a package to files: version 3, in one file or in shards.
//!
//! Shards follow llama.cpp's rules: a tensor starts a new file when the tensors of the present one
//! would grow past the limit with it, or are as many as allowed. From a GGUF sizes count with their
//! padding, as in `llama-gguf-split`; otherwise without, as in gguf-py. The metadata stands in the
//! first file; the others have the keys of the split alone. Where everything fits in one file, it
//! is an ordinary one, though with a number in its name where the source's cut was to be kept.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use gravure_base::OutputFile;
use gravure_core::{Artifact, ArtifactFile, Error, Package, PackageTensor, Result, Value, WriteRequest};

use super::header::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MAX_DIMENSIONS, VERSION, check_alignment};
use super::pairs::{self, Manner, Pairs};
use super::sink::{Buffered, Count, Sink};
use super::value::{put_string, put_value};
use super::{shards, types};

/// llama.cpp refuses tensor names of this many bytes (`GGML_MAX_NAME`).
const NAME_LIMIT: usize = 64;

/// One file of the output.
struct Part<'a> {
    path: PathBuf,
    /// Its tensors, as indices into the package.
    tensors: Range<usize>,
    pairs: Pairs<'a>,
}

/// Everything about the output but the weights.
struct Outline<'a> {
    alignment: u64,
    manner: Manner,
    /// Bytes of each tensor of the package.
    sizes: Vec<u64>,
    parts: Vec<Part<'a>>,
}

impl<'a> Outline<'a> {
    fn new(package: &'a Package<'a>, request: &WriteRequest) -> Result<Self> {
        check_tensors(&package.tensors)?;
        let mut pairs = pairs::assemble(package)?;
        let alignment = match pairs.get(ALIGNMENT_KEY) {
            None => DEFAULT_ALIGNMENT,
            Some(value) => check_alignment(value).map_err(|e| e.at_item(ALIGNMENT_KEY))?,
        };
        let sizes: Vec<u64> = package.tensors.iter().map(PackageTensor::bytes).collect::<Result<_>>()?;
        let total = sizes.iter().try_fold(0u64, |sum, &size| sum.checked_add(size)?.checked_add(alignment));
        if total.is_none_or(|total| total > i64::MAX as u64) {
            return Err(Error::input("the tensors together are impossibly large"));
        }
        let padded = package.model.source.format == "gguf";
        let counted: Vec<u64> = sizes.iter().map(|&s| if padded { s.next_multiple_of(alignment) } else { s }).collect();
        let ranges = if request.file_tensors.is_empty() { request.divide(&counted) } else { given(&request.file_tensors, sizes.len())? };
        // Cut as the source was, even a single file has its number in its name, as the quantizer gives it.
        let numbered = ranges.len() > 1 || !request.file_tensors.is_empty();
        let parts = if numbered {
            parts(pairs, ranges, alignment, padded && package.file_type.is_none(), &request.path)?
        } else {
            ranges.into_iter().map(|tensors| Part { path: request.path.clone(), tensors, pairs: std::mem::take(&mut pairs) }).collect()
        };
        Ok(Self { alignment, manner: Manner::of(package), sizes, parts })
    }

    /// Writes everything before the data section.
    fn put_header(&self, part: &Part<'_>, tensors: &[PackageTensor], sink: &mut dyn Sink) -> Result<()> {
        sink.put(MAGIC)?;
        sink.put(&VERSION.to_le_bytes())?;
        sink.put(&(part.tensors.len() as u64).to_le_bytes())?;
        sink.put(&(part.pairs.iter().len() as u64).to_le_bytes())?;
        for (key, value) in part.pairs.iter() {
            put_string(sink, key)?;
            put_value(sink, value).map_err(|e| e.at_item(key))?;
        }
        let mut offset = 0u64;
        for index in part.tensors.clone() {
            let tensor = &tensors[index];
            put_string(sink, &tensor.name)?;
            let dimensions = self.dimensions(tensor);
            sink.put(&(dimensions.len() as u32).to_le_bytes())?;
            for dimension in dimensions {
                sink.put(&dimension.to_le_bytes())?;
            }
            sink.put(&type_of(tensor)?.to_le_bytes())?;
            sink.put(&offset.to_le_bytes())?;
            offset += self.sizes[index].next_multiple_of(self.alignment);
        }
        Ok(())
    }

    /// Innermost first. The quantizer drops outermost ones, the converter keeps them.
    fn dimensions(&self, tensor: &PackageTensor) -> Vec<u64> {
        let mut dimensions: Vec<u64> = tensor.shape.dimensions().iter().rev().copied().collect();
        if self.manner == Manner::Quantized {
            while dimensions.len() > 1 && dimensions.last() == Some(&1) {
                dimensions.pop();
            }
        }
        dimensions
    }

    /// Exact size of a file.
    fn bytes(&self, part: &Part<'_>, tensors: &[PackageTensor]) -> Result<u64> {
        let mut header = Count::default();
        self.put_header(part, tensors, &mut header)?;
        if part.tensors.is_empty() {
            return Ok(header.0);
        }
        let data: u64 = self.sizes[part.tensors.clone()].iter().map(|s| s.next_multiple_of(self.alignment)).sum();
        Ok(header.0.next_multiple_of(self.alignment) + data)
    }
}

fn type_of(tensor: &PackageTensor) -> Result<u32> {
    types::type_of(tensor.encoding)
        .ok_or_else(|| Error::unsupported(format!("GGUF has no tensor type for {}", tensor.encoding.id())).at_item(&*tensor.name))
}

fn check_tensors(tensors: &[PackageTensor]) -> Result<()> {
    let mut names = HashSet::with_capacity(tensors.len());
    for tensor in tensors {
        let at = |error: Error| Err(error.at_item(&*tensor.name));
        if tensor.name.is_empty() || tensor.name.len() >= NAME_LIMIT {
            let message = format!("a tensor name of {} bytes, where llama.cpp reads 1 to {}", tensor.name.len(), NAME_LIMIT - 1);
            return at(Error::unsupported(message));
        }
        if !names.insert(&tensor.name) {
            return at(Error::input("two tensors of the output have the same name"));
        }
        if tensor.shape.dimensions().len() > MAX_DIMENSIONS as usize {
            return at(Error::unsupported(format!("a tensor of shape {} has more dimensions than GGUF's {MAX_DIMENSIONS}", tensor.shape)));
        }
        type_of(tensor)?;
    }
    Ok(())
}

/// The files that are asked for, one after the other.
fn given(counts: &[u64], tensors: usize) -> Result<Vec<Range<usize>>> {
    let mut end = 0usize;
    let mut out = Vec::with_capacity(counts.len());
    for &count in counts {
        let start = end;
        end = usize::try_from(count).ok().and_then(|count| start.checked_add(count)).unwrap_or(usize::MAX);
        out.push(start..end);
    }
    if end != tensors {
        return Err(Error::bug(format!("{end} tensors are divided among files, but there are {tensors}")));
    }
    Ok(out)
}

fn parts<'a>(first: Pairs<'a>, ranges: Vec<Range<usize>>, alignment: u64, splits_only: bool, target: &Path) -> Result<Vec<Part<'a>>> {
    let count = ranges.len();
    let total = ranges.last().map_or(0, |r| r.end);
    let many = |_| Error::request(format!("{count} files or {total} tensors are more than a split GGUF can number"));
    let count_u64 = count as u64;
    let (shard_count, tensor_count) = (u16::try_from(count).map_err(many)?, i32::try_from(total).map_err(many)?);
    let file_name = target.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let prefix = file_name.strip_suffix(".gguf").unwrap_or(file_name);
    let mut first = Some(first);
    let mut out = Vec::with_capacity(count);
    for (index, range) in (0..shard_count).zip(ranges) {
        let mut pairs = first.take().unwrap_or_default();
        let path = target.with_file_name(shards::name(prefix, index.into(), count_u64));
        if count == 1 {
            out.push(Part { path, tensors: range, pairs });
            continue;
        }
        if index > 0 && alignment != DEFAULT_ALIGNMENT {
            pairs.set(ALIGNMENT_KEY, Value::U32(alignment as u32));
        }
        let count = (shards::COUNT_KEY, Value::U16(shard_count));
        let tensors = (shards::TENSORS_KEY, Value::I32(tensor_count));
        // The splitter sets the number of files last, the quantizer and the converter do not.
        let in_order = if splits_only { [tensors, count] } else { [count, tensors] };
        pairs.set(shards::NUMBER_KEY, Value::U16(index));
        in_order.into_iter().for_each(|(key, value)| pairs.set(key, value));
        out.push(Part { path, tensors: range, pairs });
    }
    Ok(out)
}

/// Names and exact sizes of the files.
pub(crate) fn layout(package: &Package<'_>, request: &WriteRequest) -> Result<Vec<(String, u64)>> {
    let outline = Outline::new(package, request)?;
    let mut out = Vec::with_capacity(outline.parts.len());
    for part in &outline.parts {
        let name = part.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        out.push((name, outline.bytes(part, &package.tensors)?));
    }
    Ok(out)
}

/// Writes all files under temporary names, then gives them their names, the first shard last. Goes
/// on where an interrupted run of the same request stopped.
pub(crate) fn write(package: &Package<'_>, request: &WriteRequest) -> Result<Artifact> {
    let outline = Outline::new(package, request)?;
    let mut writer =
        Writer { package, request, outline: &outline, part: 0, tensor: 0, kept: 0, written: 0, current: None, finished: Vec::new() };
    writer.open()?;
    // Whole tensors that are already there need not be made again.
    let first = writer.skip_kept()?;
    if first < package.tensors.len() {
        package.chunks.stream(first, &mut |index, bytes| writer.chunk(index, bytes))?;
    }
    writer.advance(package.tensors.len())?;
    writer.close()?;
    if writer.finished.len() != outline.parts.len() {
        return Err(Error::bug("not all files of the output were written"));
    }
    commit(writer.finished, request)
}

struct Writer<'a> {
    package: &'a Package<'a>,
    request: &'a WriteRequest,
    outline: &'a Outline<'a>,
    /// The file being written.
    part: usize,
    /// The tensor being written.
    tensor: usize,
    /// Tensors before this one were left whole in the present file by an interrupted run.
    kept: usize,
    /// Bytes of the present tensor so far.
    written: u64,
    current: Option<OutputFile>,
    finished: Vec<(OutputFile, PathBuf)>,
}

impl Writer<'_> {
    fn open(&mut self) -> Result<()> {
        let part = &self.outline.parts[self.part];
        let (mut file, kept) = OutputFile::begin(self.request.storage.clone(), &part.path, self.request.fingerprint.as_deref())?;
        if kept == 0 {
            let mut header = Buffered::new(&mut file);
            self.outline.put_header(part, &self.package.tensors, &mut header)?;
            header.flush()?;
            if !part.tensors.is_empty() {
                pad(&mut file, self.outline.alignment)?;
            }
        }
        self.kept = usize::try_from(kept).map_or(usize::MAX, |kept| part.tensors.start.saturating_add(kept));
        if self.kept > part.tensors.end {
            return Err(Error::bug("the journal of the output has more tensors than the output").in_file(&part.path));
        }
        self.current = Some(file);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let part = &self.outline.parts[self.part];
        let announced = self.outline.bytes(part, &self.package.tensors)?;
        let file = self.current.take().ok_or_else(|| Error::bug("no output file is open"))?;
        if file.written() != announced {
            return Err(Error::bug(format!("{} bytes were written where {announced} were announced", file.written())).in_file(&part.path));
        }
        self.finished.push((file, part.path.clone()));
        Ok(())
    }

    fn file(&mut self) -> Result<&mut OutputFile> {
        self.current.as_mut().ok_or_else(|| Error::bug("no output file is open"))
    }

    /// Passes over the tensors that are there already; returns the first that is not.
    fn skip_kept(&mut self) -> Result<usize> {
        loop {
            let before = self.tensor;
            self.advance(self.kept.max(before))?;
            if self.tensor == before {
                return Ok(before);
            }
        }
    }

    /// Ends all tensors before `next`: each must have all its bytes, and is padded.
    fn advance(&mut self, next: usize) -> Result<()> {
        while self.tensor < next {
            if self.tensor >= self.kept {
                let expected = self.outline.sizes[self.tensor];
                if self.written != expected {
                    let message = format!("{} bytes were made where {expected} were announced", self.written);
                    return Err(Error::bug(message).at_item(&*self.package.tensors[self.tensor].name));
                }
                let alignment = self.outline.alignment;
                let file = self.file()?;
                pad(file, alignment)?;
                file.end_unit()?;
            }
            self.tensor += 1;
            self.written = 0;
            if self.tensor == self.outline.parts[self.part].tensors.end && self.part + 1 < self.outline.parts.len() {
                self.close()?;
                self.part += 1;
                self.open()?;
            }
        }
        Ok(())
    }

    fn chunk(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        if index < self.tensor || index >= self.outline.sizes.len() {
            return Err(Error::bug(format!("a chunk of tensor {index} while tensor {} is written", self.tensor)));
        }
        self.advance(index)?;
        if index < self.kept {
            return Ok(());
        }
        self.written += bytes.len() as u64;
        if self.written > self.outline.sizes[index] {
            let message = format!("more than the {} bytes that were announced", self.outline.sizes[index]);
            return Err(Error::bug(message).at_item(&*self.package.tensors[index].name));
        }
        self.file()?.write_all(bytes)
    }
}

/// Zeros up to the next multiple of `alignment`.
fn pad(file: &mut OutputFile, alignment: u64) -> Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut missing = file.written().next_multiple_of(alignment) - file.written();
    while missing > 0 {
        let step = missing.min(ZEROS.len() as u64);
        file.write_all(&ZEROS[..step as usize])?;
        missing -= step;
    }
    Ok(())
}

/// Gives all files their names, once all are on the disk.
///
/// Shards get theirs from the last to the first, because a reader starts at the first. An older
/// first shard of the same name is removed before, so that a crash in between leaves no set that
/// is half old and half new.
fn commit(mut finished: Vec<(OutputFile, PathBuf)>, request: &WriteRequest) -> Result<Artifact> {
    for (file, _) in &mut finished {
        file.sync()?;
    }
    if finished.len() > 1 {
        request.storage.remove(&finished[0].1)?;
    }
    let mut files: Vec<ArtifactFile> = Vec::with_capacity(finished.len());
    let whole = finished.len();
    while let Some((file, path)) = finished.pop() {
        match file.commit() {
            Ok(done) => files.push(ArtifactFile { path, bytes: done.bytes, sha256: done.sha256 }),
            Err(error) => {
                if whole > 1 {
                    // A set without its first shard is of no use; the error is on its way already.
                    let _ = files.iter().map(|f| &f.path).chain([&path]).try_for_each(|path| request.storage.remove(path));
                }
                return Err(error);
            }
        }
    }
    files.reverse();
    Ok(Artifact { files })
}
