//! Small honest files, cut at every byte of their headers and with single bits turned over: each is
//! accepted or refused with a typed error.
//!
//! Files are changed in place and put back, so that a sweep writes little.

#![allow(clippy::print_stdout)] // How many were accepted and refused.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use gravure::mixtures::{self, MixtureRequest};
use gravure::{ErrorKind, Limits, OpenRequest, PlanSource, QuantizeRequest, Quiet, Result, inspect, plan_quantize, quantize, scan};
use gravure_testing::hostile::{self, pickle, zip};
use gravure_testing::tiny_model::{self, Options};

const FLIPS: usize = 2000;
const RANDOM_CUTS: usize = 300;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit.max(1)
    }
}

/// A folder with an honest sample, the file in it that is damaged, and how the sample is used.
struct Subject {
    _folder: tempfile::TempDir,
    damaged: PathBuf,
    /// Bytes of the file that describe the others.
    header: Range<u64>,
    act: Box<dyn Fn() -> Result<()>>,
}

#[derive(Default)]
struct Tally {
    accepted: usize,
    refused: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn count(&mut self, what: String, subject: &Subject) {
        match catch_unwind(AssertUnwindSafe(&subject.act)) {
            Err(_) => self.wrong.push(format!("{what}: panicked")),
            Ok(Ok(())) => self.accepted += 1,
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::Bug | ErrorKind::Environment) => {
                self.wrong.push(format!("{what}: {error}"))
            }
            Ok(Err(_)) => self.refused += 1,
        }
    }
}

/// Cuts and flips, and compares the sample with itself at the end.
fn sweep(name: &str, subject: &Subject) {
    let original = std::fs::read(&subject.damaged).expect("the sample");
    let length = original.len() as u64;
    (subject.act)().expect("the sample itself is honest");
    let mut file = OpenOptions::new().write(true).open(&subject.damaged).expect("the sample");
    let mut random = Random(length);
    let mut tally = Tally::default();

    let mut cuts: Vec<u64> = subject.header.clone().chain((0..RANDOM_CUTS).map(|_| random.below(length))).collect();
    cuts.sort_unstable();
    cuts.dedup();
    // From the end, so that each cut only shortens the file.
    for &cut in cuts.iter().rev() {
        file.set_len(cut).expect("a cut");
        tally.count(format!("{name} cut at {cut}"), subject);
    }
    put(&mut file, 0, &original);
    let (cut_accepted, cut_refused) = (tally.accepted, tally.refused);

    for turn in 0..FLIPS {
        // Three of four in the header, where they matter.
        let within = if turn % 4 == 3 { 0..length } else { subject.header.clone() };
        let at = within.start + random.below(within.end - within.start);
        let bit = random.below(8) as u8;
        let byte = original[at as usize];
        put(&mut file, at, &[byte ^ (1 << bit)]);
        tally.count(format!("{name} with bit {bit} of byte {at} turned over"), subject);
        put(&mut file, at, &[byte]);
    }
    let (flips_accepted, flips_refused) = (tally.accepted - cut_accepted, tally.refused - cut_refused);
    println!("{name}: cuts {cut_accepted} accepted, {cut_refused} refused; flips {flips_accepted} accepted, {flips_refused} refused");
    assert!(tally.wrong.is_empty(), "{} of {}:\n{}", tally.wrong.len(), cuts.len() + FLIPS, tally.wrong.join("\n"));
    assert!(cut_refused > 0 && flips_refused > 0, "{name}: nothing was refused, so nothing was read");
    assert!(std::fs::read(&subject.damaged).expect("the sample") == original, "{name} was not put back");
}

fn put(file: &mut File, at: u64, bytes: &[u8]) {
    file.seek(SeekFrom::Start(at)).expect("a place");
    file.write_all(bytes).expect("a write");
}

/// Opens, plans, and reads every block.
fn whole(path: &Path) -> Result<()> {
    inspect(&OpenRequest::new(path))?;
    let report = scan(path, &Limits::default(), true)?;
    assert!(!report.findings.is_empty());
    plan_quantize(&q8_0(path, &path.with_extension("out.gguf"))).map(|_| ())
}

fn q8_0(source: &Path, target: &Path) -> QuantizeRequest {
    let mixture = MixtureRequest::new(mixtures::find("q8_0").expect("a mixture of that name"));
    QuantizeRequest::new(source, target, PlanSource::Mixture(mixture))
}

fn tiny(folder: &Path) {
    tiny_model::write("llama", &Options { layers: 1, ..Options::default() }, folder).expect("a tiny model");
}

#[test]
fn gguf() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("source");
    tiny(&source);
    let path = folder.path().join("model.gguf");
    let made = quantize(&q8_0(&source, &path), &Quiet).expect("a quantized model");
    let length = std::fs::metadata(&path).expect("the model").len();
    let header = 0..length - made.plan.plan.tensor_bytes;
    let damaged = path.clone();
    sweep("gguf", &Subject { _folder: folder, damaged, header, act: Box::new(move || whole(&path)) });
}

/// A tiny folder of which one file is damaged.
fn folder_with(name: &str, file: &str, header: impl Fn(&[u8]) -> u64) {
    let folder = tempfile::tempdir().expect("a folder");
    tiny(folder.path());
    let damaged = folder.path().join(file);
    let bytes = std::fs::read(&damaged).expect("the file");
    let header = 0..header(&bytes);
    let path = folder.path().to_owned();
    sweep(name, &Subject { _folder: folder, damaged, header, act: Box::new(move || whole(&path)) });
}

#[test]
fn safetensors() {
    folder_with("safetensors", "model.safetensors", |bytes| 8 + u64::from_le_bytes(*bytes.first_chunk().expect("a length")));
}

#[test]
fn configuration() {
    folder_with("config.json", "config.json", |bytes| bytes.len() as u64);
}

#[test]
fn tokenizer() {
    // A short piece of the vocabulary stands for all of it; the components follow at the other end.
    folder_with("tokenizer.json", "tokenizer.json", |bytes| bytes.len().min(2500) as u64);
}

/// A state dictionary of two tensors of 64 floats.
fn state() -> Vec<u8> {
    let tensor = |key: &str| pickle::tensor(pickle::storage("FloatStorage", key, 64), 0, &[2, 32], &[32, 1]);
    pickle::pickle(&pickle::dict(&[(pickle::text("a.weight"), tensor("0")), (pickle::text("b.weight"), tensor("1"))]))
}

/// One file that is opened by itself.
fn file_alone(name: &str, file: &str, bytes: &[u8], header: Range<u64>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(file);
    std::fs::write(&path, bytes).expect("the sample");
    let damaged = path.clone();
    let act = move || {
        inspect(&OpenRequest::new(&path))?;
        scan(&path, &Limits::default(), true).map(|_| ())
    };
    sweep(name, &Subject { _folder: folder, damaged, header, act: Box::new(act) });
}

#[test]
fn torch_archive() {
    let entries = vec![
        zip::Entry::new("m/data.pkl", state()),
        zip::Entry::new("m/byteorder", b"little".to_vec()),
        zip::Entry::new("m/data/0", vec![0; 256]),
        zip::Entry::new("m/data/1", vec![0; 256]),
        zip::Entry::new("m/version", b"3\n".to_vec()),
    ];
    let bytes = zip::Zip::new(entries).build();
    file_alone("torch archive", "model.pt", &bytes, 0..bytes.len() as u64);
}

#[test]
fn torch_stream() {
    let magic = [&[0x8a, 0x0a][..], &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]].concat();
    let system = pickle::dict(&[(pickle::text("little_endian"), b"\x88".to_vec())]);
    let keys = [b"](".to_vec(), pickle::text("0"), pickle::text("1"), b"e".to_vec()].concat();
    let pickles = [magic, pickle::int(1001), system].map(|body| pickle::pickle(&body)).concat();
    let storage = [&64u64.to_le_bytes()[..], &[0; 256]].concat();
    let header = pickles.len() + state().len() + keys.len() + 11;
    let bytes = [pickles, state(), pickle::pickle(&keys), storage.repeat(2)].concat();
    file_alone("torch stream", "model.pt", &bytes, 0..header as u64);
}

/// An importance matrix that is damaged while a quantization with it is planned.
fn importance(name: &str, bytes: &[u8], header: Range<u64>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, damaged) = (folder.path().join("model.gguf"), folder.path().join("importance"));
    std::fs::write(&model, hostile::importance_target()).expect("a model");
    std::fs::write(&damaged, bytes).expect("the sample");
    let mut request = q8_0(&model, &folder.path().join("out.gguf"));
    request.importance = Some(damaged.clone());
    sweep(name, &Subject { _folder: folder, damaged, header, act: Box::new(move || plan_quantize(&request).map(|_| ())) });
}

#[test]
fn importance_matrices() {
    let honest = hostile::valid_samples();
    for (name, layout) in [("honest: imatrix: gguf", "gguf"), ("honest: imatrix: dat", "dat")] {
        let sample = honest.iter().find(|s| s.name == name).expect("a sample of that name");
        let (_, bytes) = &sample.files[0];
        let header = bytes.len() as u64 - 1024;
        importance(&format!("importance matrix ({layout})"), bytes, 0..header);
    }
}
