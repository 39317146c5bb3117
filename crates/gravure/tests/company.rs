//! Numbers do not depend on company: the logits of a sequence are the same, bit for bit, whatever the
//! threads, the other sequences of a step, the pieces of its prompt, and where its beginning came from.

mod common;

use std::path::{Path, PathBuf};

use common::{Random, advance, bits, engine, tiny};
use gravure::engine::{Activations, CacheType, Engine};
use gravure_core::TensorId;
use gravure_core::contracts::{Chunk, Decoder, Phase, SequenceId, Step, Tap, Taps, Wanted};

const PROMPT: usize = 150;
const FOLLOWING: usize = 6;

/// A sequence whose numbers are compared.
struct Case<'a> {
    name: String,
    prompt: &'a [u32],
    following: &'a [u32],
    vocabulary: usize,
    /// Whether the length of a sequence changes how its beginning is rotated.
    by_length: bool,
}

/// The logits of the prompt's positions and of those that follow.
#[derive(PartialEq)]
struct Logits(Vec<Vec<u32>>);

impl Case<'_> {
    fn decode(&self, decoder: &dyn Decoder, sequence: SequenceId, rows: &mut Vec<Vec<u32>>) {
        for token in self.following {
            rows.extend(advance(decoder, sequence, &[*token], Phase::Decode, Wanted::Last).unwrap());
        }
    }

    /// In one chunk, alone.
    fn plain(&self, decoder: &dyn Decoder) -> Logits {
        let sequence = decoder.open().unwrap();
        let mut rows = advance(decoder, sequence, self.prompt, Phase::Prefill, Wanted::From(0)).unwrap();
        self.decode(decoder, sequence, &mut rows);
        decoder.close(sequence).unwrap();
        Logits(rows)
    }

    /// In chunks of these lengths, again and again.
    fn chunked(&self, decoder: &dyn Decoder, lengths: &[usize]) -> Logits {
        let sequence = decoder.open().unwrap();
        let mut rows = Vec::new();
        let (mut rest, mut lengths) = (self.prompt, lengths.iter().cycle());
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rest.len().min(*lengths.next().unwrap()));
            rest = after;
            rows.extend(advance(decoder, sequence, chunk, Phase::Prefill, Wanted::From(0)).unwrap());
        }
        self.decode(decoder, sequence, &mut rows);
        decoder.close(sequence).unwrap();
        Logits(rows)
    }

    /// In steps with sixteen other sequences, some of which are decoded while it is in prefill.
    fn in_company(&self, decoder: &dyn Decoder) -> Logits {
        let mut random = Random(7);
        let others: Vec<SequenceId> = (0..16).map(|_| decoder.open().unwrap()).collect();
        let own = decoder.open().unwrap();
        let mut rows = Vec::new();
        let steps = std::iter::once((self.prompt, Phase::Prefill)).chain(self.following.chunks(1).map(|t| (t, Phase::Decode)));
        for (tokens, phase) in steps {
            let foreign: Vec<Vec<u32>> = others
                .iter()
                .map(|_| {
                    let count = if random.below(2) == 0 { 1 } else { 1 + random.below(12) };
                    random.tokens(count, self.vocabulary)
                })
                .collect();
            let mut chunks: Vec<Chunk<'_>> = others
                .iter()
                .zip(&foreign)
                .map(|(sequence, tokens)| {
                    let phase = if tokens.len() == 1 { Phase::Decode } else { Phase::Prefill };
                    let wanted = [Wanted::Nothing, Wanted::Last, Wanted::From(0)][tokens.len() % 3];
                    Chunk { sequence: *sequence, tokens, phase, wanted }
                })
                .collect();
            let at = random.below(chunks.len() + 1);
            chunks.insert(at, Chunk { sequence: own, tokens, phase, wanted: Wanted::From(0) });
            let mut token = 0;
            decoder
                .step(Step::new(&chunks), &mut |row| {
                    if row.chunk == at {
                        assert_eq!(row.token, token);
                        token += 1;
                        rows.push(bits(row.values));
                    }
                    Ok(())
                })
                .unwrap();
        }
        for sequence in others.into_iter().chain([own]) {
            decoder.close(sequence).unwrap();
        }
        Logits(rows)
    }

    /// With a beginning of `shared` tokens that another sequence has computed, and continues otherwise.
    fn after_fork(&self, decoder: &dyn Decoder, shared: usize) -> Logits {
        let parent = decoder.open().unwrap();
        let (beginning, rest) = self.prompt.split_at(shared);
        let mut rows = advance(decoder, parent, beginning, Phase::Prefill, Wanted::From(0)).unwrap();
        advance(decoder, parent, &[1, 2, 3], Phase::Prefill, Wanted::Nothing).unwrap();
        let child = decoder.fork(parent, shared).unwrap();
        advance(decoder, parent, &[4, 5, 6], Phase::Decode, Wanted::Nothing).unwrap();
        rows.extend(advance(decoder, child, rest, Phase::Prefill, Wanted::From(0)).unwrap());
        decoder.close(parent).unwrap();
        self.decode(decoder, child, &mut rows);
        decoder.close(child).unwrap();
        Logits(rows)
    }

    /// Saved after `kept` tokens of the prompt, and gone on with from what was saved, by `other`.
    fn restored(&self, decoder: &dyn Decoder, other: &dyn Decoder, kept: usize) -> Logits {
        let saved = decoder.open().unwrap();
        let (beginning, rest) = self.prompt.split_at(kept);
        let mut rows = advance(decoder, saved, beginning, Phase::Prefill, Wanted::From(0)).unwrap();
        let mut bytes = Vec::new();
        decoder.save(saved, &mut bytes).unwrap();
        decoder.close(saved).unwrap();
        let sequence = other.restore(&mut bytes.as_slice()).unwrap();
        assert_eq!(other.tokens(sequence).unwrap(), beginning);
        rows.extend(advance(other, sequence, rest, Phase::Prefill, Wanted::From(0)).unwrap());
        self.decode(other, sequence, &mut rows);
        other.close(sequence).unwrap();
        Logits(rows)
    }

    /// After something else was there, and was taken back.
    fn after_truncation(&self, decoder: &dyn Decoder, kept: usize) -> Logits {
        let sequence = decoder.open().unwrap();
        let (beginning, rest) = self.prompt.split_at(kept);
        let mut rows = advance(decoder, sequence, beginning, Phase::Prefill, Wanted::From(0)).unwrap();
        let wrong: Vec<u32> = (1..60).collect();
        advance(decoder, sequence, &wrong, Phase::Prefill, Wanted::Nothing).unwrap();
        decoder.truncate(sequence, kept).unwrap();
        // A step that fails leaves no trace either.
        let chunks = [Chunk { sequence, tokens: &wrong, phase: Phase::Prefill, wanted: Wanted::Last }];
        let stopped = Step { cancelled: &|| true, ..Step::new(&chunks) };
        assert!(decoder.step(stopped, &mut |_| Ok(())).is_err());
        rows.extend(advance(decoder, sequence, rest, Phase::Prefill, Wanted::From(0)).unwrap());
        self.decode(decoder, sequence, &mut rows);
        decoder.close(sequence).unwrap();
        Logits(rows)
    }

    /// With somebody who looks at every linear map's input.
    fn watched(&self, decoder: &dyn Decoder) -> Logits {
        struct Look(usize);
        impl Taps for Look {
            fn wants(&self, _: &str, weight: Option<TensorId>) -> bool {
                weight.is_some()
            }
            fn see(&mut self, tap: &Tap<'_>) -> gravure::Result<()> {
                self.0 += tap.values.len();
                Ok(())
            }
        }
        let sequence = decoder.open().unwrap();
        let (mut look, mut rows) = (Look(0), Vec::new());
        let steps = std::iter::once((self.prompt, Phase::Prefill)).chain(self.following.chunks(1).map(|t| (t, Phase::Decode)));
        for (tokens, phase) in steps {
            let chunks = [Chunk { sequence, tokens, phase, wanted: Wanted::From(0) }];
            let step = Step { taps: Some(&mut look), ..Step::new(&chunks) };
            decoder
                .step(step, &mut |row| {
                    rows.push(bits(row.values));
                    Ok(())
                })
                .unwrap();
        }
        assert!(look.0 > 0, "something was seen");
        decoder.close(sequence).unwrap();
        Logits(rows)
    }

    /// Compares `got` with `expected`; where the length matters, of the prompt its last position alone.
    fn same(&self, what: &str, got: &Logits, expected: &Logits, failures: &mut Vec<String>) {
        let from = if self.by_length { self.prompt.len() - 1 } else { 0 };
        let (got, expected) = (got.0.get(from..).unwrap_or_default(), &expected.0[from..]);
        if got.len() != expected.len() {
            failures.push(format!("{}, {what}: {} rows, not {}", self.name, got.len(), expected.len()));
        } else if let Some(row) = got.iter().zip(expected).position(|(a, b)| a != b) {
            failures.push(format!("{}, {what}: position {} differs first", self.name, from + row));
        }
    }
}

fn check(path: &Path, name: &str, cache: CacheType, activations: Activations, failures: &mut Vec<String>) {
    let load = |threads: usize| -> Engine {
        engine(path, |options| {
            (options.cache, options.activations, options.threads) = (cache, activations, threads);
            options.positions = 4096;
        })
    };
    let engines = [1, 2, 3].map(load);
    let [one, two, three] = engines.each_ref().map(|e| e.decoder().unwrap());
    let facts = engines[0].loaded.facts();
    // Room for the wrong tokens of a truncation.
    let length = PROMPT.min(facts.context - FOLLOWING - 60);
    let mut random = Random(3);
    let (prompt, following) = (random.tokens(length, facts.width), random.tokens(FOLLOWING, facts.width));
    let name = format!("{name}, cache {cache:?}, activations {activations:?}");
    let by_length = name.contains("phi3");
    let case = Case { name, prompt: &prompt, following: &following, vocabulary: facts.width, by_length };
    let expected = case.plain(one);
    assert_eq!(expected.0.len(), length + FOLLOWING);
    let mut same = |what: &str, got: Logits| case.same(what, &got, &expected, failures);
    same("again", case.plain(one));
    same("two threads", case.plain(two));
    same("three threads", case.plain(three));
    same("in company", case.in_company(one));
    same("in company, three threads", case.in_company(three));
    same("one token at a time", case.chunked(one, &[1]));
    same("odd chunks", case.chunked(two, &[7, 1, 31, 2, 64, 5]));
    for shared in [1, length / 3, 64.min(length - 1), length - 1] {
        same(&format!("after {shared} shared tokens"), case.after_fork(one, shared));
        same(&format!("after {shared} saved tokens"), case.restored(two, one, shared));
        same(&format!("after {shared} kept tokens"), case.after_truncation(one, shared));
    }
    same("watched", case.watched(two));
}

fn models(list: &[(&str, Option<&str>)]) -> (tempfile::TempDir, Vec<(String, PathBuf)>) {
    let folder = tempfile::tempdir().unwrap();
    let made = list
        .iter()
        .map(|(design, encoding)| (format!("{design} in {}", encoding.unwrap_or("f32")), tiny(folder.path(), design, *encoding)));
    let made = made.collect();
    (folder, made)
}

/// Every architecture that continues texts, plain and quantized.
#[test]
fn architectures() {
    let mut failures = Vec::new();
    let designs = ["llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3", "gpt2"];
    let list: Vec<_> = designs.iter().flat_map(|d| [(*d, None), (*d, Some("q4_k_m"))]).collect();
    let (_folder, models) = models(&list);
    for (name, path) in models {
        check(&path, &name, CacheType::F16, Activations::Fast, &mut failures);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Every family of encodings, with each type of cache.
#[test]
fn encodings_and_caches() {
    let mut failures = Vec::new();
    let names =
        ["f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k_m", "q5_k_m", "q6_k", "iq4_nl", "iq4_xs", "iq3_s", "tq2_0"];
    let mut list: Vec<_> = names.iter().map(|n| ("llama", Some(*n))).collect();
    list.push(("llama", None));
    let (_folder, models) = models(&list);
    for (index, (name, path)) in models.iter().enumerate() {
        let caches = [CacheType::F32, CacheType::F16, CacheType::Q8];
        check(path, name, caches[index % 3], Activations::Fast, &mut failures);
        if ["q8_0", "q4_0", "q6_k", "f32"].iter().any(|n| name.ends_with(n)) {
            check(path, name, caches[(index + 1) % 3], Activations::Fast, &mut failures);
            check(path, name, caches[(index + 2) % 3], Activations::F32, &mut failures);
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A trained model, whose numbers are not all alike.
#[test]
fn a_trained_model() {
    let mut failures = Vec::new();
    let path = gravure_testing::workspace_root().join("models/gravure-tiny");
    for cache in [CacheType::F32, CacheType::F16, CacheType::Q8] {
        check(&path, "gravure-tiny", cache, Activations::Fast, &mut failures);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
