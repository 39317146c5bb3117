//! Saved sequences that are damaged, foreign or made up: each is refused with a typed error, takes no
//! page of the cache and little memory.

mod common;

use std::io::Read;

use common::{Random, advance, engine, room, tiny};
use gravure::ErrorKind;
use gravure::engine::{CacheType, Engine};
use gravure_core::contracts::{Decoder, Phase, Wanted};
use gravure_testing::tiny_model::{self, Options};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const POSITIONS: usize = 256;
/// Magic, version, fingerprint, types, number of tokens.
const HEADER: usize = 8 + 4 + 8 + 2 + 4;

fn load(path: &std::path::Path, cache: CacheType) -> Engine {
    engine(path, |options| (options.cache, options.threads, options.positions) = (cache, 1, POSITIONS))
}

/// A sequence of 70 tokens as it is saved.
fn saved(decoder: &dyn Decoder) -> Vec<u8> {
    let sequence = decoder.open().unwrap();
    advance(decoder, sequence, &Random(5).tokens(70, 300), Phase::Prefill, Wanted::Nothing).unwrap();
    let mut bytes = Vec::new();
    decoder.save(sequence, &mut bytes).unwrap();
    decoder.close(sequence).unwrap();
    bytes
}

/// An endless file that begins with some bytes, and how much of it was read.
struct Endless<'a> {
    beginning: &'a [u8],
    read: u64,
}

impl Read for Endless<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.beginning.read(out)?;
        out[count..].fill(0);
        self.read += out.len() as u64;
        Ok(out.len())
    }
}

/// One test: the peak of memory is the whole process's.
#[test]
fn saved_sequences() {
    what_is_damaged_is_refused();
    what_is_of_another_model_is_refused();
}

fn what_is_damaged_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), "llama", Some("q8_0"));
    for cache in [CacheType::F32, CacheType::F16, CacheType::Q8] {
        let engine = load(&path, cache);
        let decoder = engine.decoder().unwrap();
        let whole = saved(decoder);
        let restored = decoder.restore(&mut whole.as_slice()).unwrap();
        let mut again = Vec::new();
        decoder.save(restored, &mut again).unwrap();
        assert!(again == whole, "what was restored is saved as it was");
        decoder.close(restored).unwrap();

        let refuse = |what: String, bytes: &[u8]| {
            MEMORY.reset_peak_usage();
            let before = MEMORY.current_usage();
            let error = decoder.restore(&mut &*bytes).map(|_| ()).expect_err(&what);
            let kinds: &[ErrorKind] = if what.contains("claimed") || what.contains("of the count") {
                &[ErrorKind::Input, ErrorKind::Limit]
            } else {
                &[ErrorKind::Input]
            };
            assert!(kinds.contains(&error.kind()), "{what}: {error}");
            let taken = MEMORY.peak_usage().saturating_sub(before);
            assert!(taken < 1 << 20, "{what}: {taken} bytes");
        };
        let mut random = Random(9);
        let cuts = (0..HEADER + 16).chain((0..200).map(|_| random.below(whole.len()))).chain([whole.len() - 1]);
        cuts.for_each(|cut| refuse(format!("cut at {cut}"), &whole[..cut]));
        let mut random = Random(11);
        let flips = (0..(HEADER + 4) * 8).chain((0..500).map(|_| random.below(whole.len() * 8)));
        for bit in flips {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let part = if (HEADER - 4..HEADER).contains(&(bit / 8)) { "of the count " } else { "" };
            refuse(format!("bit {bit} {part}turned over"), &bytes);
        }
        // Counts that the file does not keep, and a file that never ends.
        for count in [0_u32, 1, 69, 71, 128, POSITIONS as u32, 512, 513, 1 << 20, u32::MAX] {
            let mut bytes = whole.clone();
            bytes[HEADER - 4..HEADER].copy_from_slice(&count.to_le_bytes());
            refuse(format!("{count} tokens claimed"), &bytes);
            let mut endless = Endless { beginning: &bytes[..HEADER], read: 0 };
            let error = decoder.restore(&mut endless).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Input | ErrorKind::Limit), "{error}");
            assert!(endless.read < 1 << 22, "{count} tokens claimed: {} bytes were read", endless.read);
        }
        assert_eq!(room(decoder, 512), POSITIONS, "no page is lost");
    }
}

/// Models that differ in one weight are different models, wherever it stands.
fn what_is_of_another_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny");
    tiny_model::write("llama", &Options::default(), &path).unwrap();
    let weights = path.join("model.safetensors");
    let original = std::fs::read(&weights).unwrap();
    let engine = load(&path, CacheType::F16);
    let bytes = saved(engine.decoder().unwrap());
    assert!(load(&path, CacheType::F16).decoder().unwrap().restore(&mut bytes.as_slice()).is_ok());
    let error = load(&path, CacheType::Q8).decoder().unwrap().restore(&mut bytes.as_slice()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input, "{error}");
    let start = 8 + u64::from_le_bytes(*original.first_chunk().unwrap()) as usize;
    let mut random = Random(13);
    for _ in 0..40 {
        let mut other = original.clone();
        // The lowest bit of a 32-bit float.
        let at = start + random.below((original.len() - start) / 4) * 4;
        other[at] ^= 1;
        // A new file: the engine that was saved from still reads the old one.
        std::fs::remove_file(&weights).unwrap();
        std::fs::write(&weights, other).unwrap();
        let error = load(&path, CacheType::F16).decoder().unwrap().restore(&mut bytes.as_slice()).unwrap_err();
        assert!(error.kind() == ErrorKind::Input && error.to_string().contains("another model"), "byte {at}: {error}");
    }
}
