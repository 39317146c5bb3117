//! The writer: a folder that is built beside its target and swapped in as a whole.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use gravure_base::{AtomicFolder, FileReader, OutputFile, ReadAt, Sha256, Storage, journal_path, partial_path};
use gravure_core::{Artifact, ArtifactFile, Error, Package, Result, WriteRequest};

use super::outline::{self, Content, Outline, Shard};

/// Copied files travel in pieces of this size.
const PIECE: usize = 1 << 20;

/// Names and exact sizes of the files.
pub(super) fn layout(package: &Package<'_>, request: &WriteRequest) -> Result<Vec<(String, u64)>> {
    Ok(Outline::new(package, request)?.layout())
}

/// Writes the package.
pub(super) fn write(package: &Package<'_>, request: &WriteRequest) -> Result<Artifact> {
    let outline = Outline::new(package, request)?;
    if outline::is_bare(&request.path) {
        return write_bare(package, request, &outline);
    }
    let storage = &request.storage;
    // Partial shards and their journals of an interrupted run of the same request are gone on with.
    let kept: BTreeSet<String> = match &request.fingerprint {
        None => BTreeSet::new(),
        Some(_) => outline
            .shards
            .iter()
            .flat_map(|s| [partial_path(Path::new(&s.name)), journal_path(Path::new(&s.name))])
            .map(|p| p.display().to_string())
            .collect(),
    };
    let folder = AtomicFolder::begin(Arc::clone(storage), &request.path, &outline::is_ours, &|name| kept.contains(name))?;
    let mut files = Vec::new();
    for (name, content) in &outline.files {
        let finished = write_small(storage.as_ref(), folder.path(), name, content)?;
        files.push(ArtifactFile { path: request.path.join(name), ..finished });
    }
    let mut shards = Vec::new();
    for shard in &outline.shards {
        shards.push(write_shard(package, &outline, shard, &folder.path().join(&shard.name), request)?);
    }
    for (file, shard) in shards.into_iter().zip(&outline.shards) {
        let finished = file.commit()?;
        files.push(ArtifactFile { path: request.path.join(&shard.name), bytes: finished.bytes, sha256: finished.sha256 });
    }
    folder.commit()?;
    Ok(Artifact { files })
}

fn write_bare(package: &Package<'_>, request: &WriteRequest, outline: &Outline) -> Result<Artifact> {
    let [shard] = &outline.shards[..] else { return Err(Error::bug("a bare file of several shards")) };
    let finished = write_shard(package, outline, shard, &request.path, request)?.commit()?;
    Ok(Artifact { files: vec![ArtifactFile { path: request.path.clone(), bytes: finished.bytes, sha256: finished.sha256 }] })
}

/// A file beside the weights; the path of the result is the hidden one.
fn write_small(storage: &dyn Storage, folder: &Path, name: &str, content: &Content) -> Result<ArtifactFile> {
    let path = folder.join(name);
    if let Some((sub, _)) = name.split_once('/') {
        storage.create_folder(&folder.join(sub))?;
    }
    let mut handle = storage.open(&path, 0)?;
    let mut digest = Sha256::new();
    let mut put = |bytes: &[u8]| {
        digest.update(bytes);
        handle.write_all(bytes)
    };
    match content {
        Content::Bytes(bytes) => put(bytes)?,
        Content::Copy(from, length) => {
            let source = FileReader::open(from)?;
            if source.len() != *length {
                return Err(Error::input("the file has changed since it was looked at").in_file(from));
            }
            let mut at = 0;
            let mut piece = vec![0; PIECE.min(*length as usize)];
            while at < *length {
                let n = PIECE.min((length - at) as usize);
                source.read_exact_at(&mut piece[..n], at)?;
                put(&piece[..n])?;
                at += n as u64;
            }
        }
    }
    handle.sync()?;
    drop(handle);
    if let Some(parent) = path.parent().filter(|p| *p != folder) {
        storage.sync_folder(parent)?;
    }
    Ok(ArtifactFile { path, bytes: content.len(), sha256: digest.finish() })
}

/// Writes one shard under its temporary name and syncs it.
fn write_shard(package: &Package<'_>, outline: &Outline, shard: &Shard, path: &Path, request: &WriteRequest) -> Result<OutputFile> {
    let (mut file, kept) = OutputFile::begin(Arc::clone(&request.storage), path, request.fingerprint.as_deref())?;
    if kept == 0 {
        file.write_all(&shard.header)?;
    }
    let kept = usize::try_from(kept).ok().filter(|&n| n <= shard.order.len());
    let kept = kept.ok_or_else(|| Error::bug("the journal of the output has more tensors than the output").in_file(path))?;
    // Tensors come in the package's order; where the shard's differs, run by run.
    for run in shard.order[kept..].chunk_by(|a, b| a + 1 == *b) {
        let (Some(&first), Some(&last)) = (run.first(), run.last()) else { continue };
        write_run(package, outline, first, last, &mut file)?;
    }
    let announced = shard.header.len() as u64 + shard.data_bytes;
    if file.written() != announced {
        return Err(Error::bug(format!("{} bytes were written where {announced} were announced", file.written())).in_file(path));
    }
    file.sync()?;
    Ok(file)
}

/// Writes the tensors `first ..= last` of the package.
fn write_run(package: &Package<'_>, outline: &Outline, first: usize, last: usize, file: &mut OutputFile) -> Result<()> {
    let (mut current, mut written, mut beyond) = (first, 0u64, false);
    // Ends the tensors before `next`: each must have all its bytes.
    fn advance(
        package: &Package<'_>,
        sizes: &[u64],
        current: &mut usize,
        written: &mut u64,
        next: usize,
        file: &mut OutputFile,
    ) -> Result<()> {
        while *current < next {
            if *written != sizes[*current] {
                let message = format!("{written} bytes were made where {} were announced", sizes[*current]);
                return Err(Error::bug(message).at_item(&*package.tensors[*current].name));
            }
            file.end_unit()?;
            *current += 1;
            *written = 0;
        }
        Ok(())
    }
    let result = package.chunks.stream(first, &mut |index, bytes| {
        if index > last {
            beyond = true;
            return Err(Error::bug("the end of a run of tensors"));
        }
        if index < current {
            return Err(Error::bug("the tensors do not come in order"));
        }
        advance(package, &outline.sizes, &mut current, &mut written, index, file)?;
        written += bytes.len() as u64;
        file.write_all(bytes)
    });
    if !beyond {
        result?;
    }
    advance(package, &outline.sizes, &mut current, &mut written, last + 1, file)
}

#[cfg(test)]
mod tests;
