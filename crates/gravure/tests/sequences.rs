//! Ten thousand random steps over many sequences: opened, continued, forked, cut, stopped, saved, restored
//! and closed. Every sequence has the logits that its tokens have anew, and no page is lost.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Random, advance, bits, engine, room};
use gravure::ErrorKind;
use gravure::engine::{CacheType, LoadOptions};
use gravure_core::contracts::{Chunk, Decoder, Phase, SequenceId, Step, Wanted};
use gravure_testing::tiny_model::{self, Options};

const PAGE: usize = 64;
const PAGES: usize = 20;
const CONTEXT: usize = 190;
const MOST_OPEN: usize = 9;

/// What a sequence consists of: tokens, and how each was computed.
type History = Vec<(u32, Phase)>;

struct Subject<'a> {
    decoder: &'a dyn Decoder,
    /// Another engine, whose sequences are new each time.
    fresh: &'a dyn Decoder,
    vocabulary: usize,
    /// Phases that occur: where a sequence that grows long is computed anew, prefill alone.
    phases: &'a [Phase],
    open: Vec<(SequenceId, History)>,
    saved: Vec<(Vec<u8>, History)>,
    random: Random,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    compared: usize,
    stopped: usize,
    full: usize,
    beyond: usize,
    refused: usize,
    restored: usize,
    forked: usize,
}

/// Where a sequence's last position stands after its history alone.
fn anew(decoder: &dyn Decoder, history: &History) -> Vec<u32> {
    let sequence = decoder.open().unwrap();
    let mut last = Vec::new();
    for run in history.chunk_by(|a, b| a.1 == b.1) {
        let tokens: Vec<u32> = run.iter().map(|(token, _)| *token).collect();
        last = advance(decoder, sequence, &tokens, run[0].1, Wanted::Last).unwrap();
    }
    decoder.close(sequence).unwrap();
    last.pop().unwrap()
}

impl Subject<'_> {
    fn pick(&mut self) -> Option<usize> {
        (!self.open.is_empty()).then(|| self.random.below(self.open.len()))
    }

    fn act(&mut self) {
        match self.random.below(20) {
            0 | 1 if self.open.len() < MOST_OPEN => self.open.push((self.decoder.open().unwrap(), History::new())),
            2 if self.open.len() < MOST_OPEN => self.fork(),
            3 => self.cut(),
            4 => self.close(),
            5 => self.save(),
            6 if self.open.len() < MOST_OPEN => self.restore(),
            7 => self.ask_the_impossible(),
            _ => self.step(),
        }
    }

    fn fork(&mut self) {
        let Some(at) = self.pick() else { return };
        let positions = self.random.below(self.open[at].1.len() + 1);
        let child = self.decoder.fork(self.open[at].0, positions).unwrap();
        let history = self.open[at].1[..positions].to_vec();
        self.open.push((child, history));
        self.tally.forked += 1;
    }

    fn cut(&mut self) {
        let Some(at) = self.pick() else { return };
        let positions = self.random.below(self.open[at].1.len() + 1);
        self.decoder.truncate(self.open[at].0, positions).unwrap();
        self.open[at].1.truncate(positions);
    }

    fn close(&mut self) {
        let Some(at) = self.pick() else { return };
        let (sequence, _) = self.open.swap_remove(at);
        self.decoder.close(sequence).unwrap();
        assert_eq!(self.decoder.close(sequence).unwrap_err().kind(), ErrorKind::Request);
    }

    fn save(&mut self) {
        let Some(at) = self.pick() else { return };
        let mut bytes = Vec::new();
        self.decoder.save(self.open[at].0, &mut bytes).unwrap();
        let saved = (bytes, self.open[at].1.clone());
        if self.saved.len() < 4 {
            self.saved.push(saved);
        } else {
            let place = self.random.below(4);
            self.saved[place] = saved;
        }
    }

    fn restore(&mut self) {
        if self.saved.is_empty() {
            return;
        }
        let at = self.random.below(self.saved.len());
        let (bytes, history) = self.saved[at].clone();
        let pages = self.most_pages() + history.len().div_ceil(PAGE);
        match self.decoder.restore(&mut bytes.as_slice()) {
            Ok(sequence) => {
                self.open.push((sequence, history));
                self.tally.restored += 1;
            }
            Err(error) => {
                assert!(error.kind() == ErrorKind::Limit && pages > PAGES, "{error}");
                self.tally.full += 1;
            }
        }
    }

    fn ask_the_impossible(&mut self) {
        let Some(at) = self.pick() else { return };
        let (sequence, length) = (self.open[at].0, self.open[at].1.len());
        let chunk = |tokens| Chunk { sequence, tokens, phase: Phase::Prefill, wanted: Wanted::Last };
        let unknown = Chunk { sequence: SequenceId(u64::MAX), ..chunk(&[1]) };
        let beyond = [u32::MAX];
        let wrong: [&[Chunk<'_>]; 4] = [&[chunk(&[])], &[chunk(&[1]), chunk(&[2])], &[chunk(&[1]), unknown], &[chunk(&beyond)]];
        for chunks in wrong {
            let error = self.decoder.step(Step::new(chunks), &mut |_| panic!("no logits of a step that cannot be")).unwrap_err();
            assert!(error.kind() == ErrorKind::Request || (error.kind() == ErrorKind::Limit && length == CONTEXT), "{error}");
        }
        assert_eq!(self.decoder.fork(sequence, length + 1).unwrap_err().kind(), ErrorKind::Request);
        assert_eq!(self.decoder.truncate(sequence, length + 1).unwrap_err().kind(), ErrorKind::Request);
        self.tally.refused += 1;
    }

    /// Pages that all open sequences take where none is shared.
    fn most_pages(&self) -> usize {
        self.open.iter().map(|(_, history)| history.len().div_ceil(PAGE)).sum()
    }

    fn step(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let count = 1 + self.random.below(self.open.len().min(4));
        let mut places: Vec<usize> = (0..self.open.len()).collect();
        let mut parts = Vec::new();
        for _ in 0..count {
            let place = places.swap_remove(self.random.below(places.len()));
            let phase = self.phases[self.random.below(self.phases.len())];
            let length = match phase {
                Phase::Prefill | Phase::Scoring => 1 + self.random.below(40),
                Phase::Decode => 1 + self.random.below(3),
            };
            parts.push((place, phase, self.random.tokens(length, self.vocabulary)));
        }
        let chunks: Vec<Chunk<'_>> = parts
            .iter()
            .map(|(place, phase, tokens)| Chunk { sequence: self.open[*place].0, tokens, phase: *phase, wanted: Wanted::Last })
            .collect();
        let beyond = parts.iter().any(|(place, _, tokens)| self.open[*place].1.len() + tokens.len() > CONTEXT);
        let grown = |place: &usize, tokens: &[u32]| (self.open[*place].1.len() + tokens.len()).div_ceil(PAGE) + 1;
        let pages = self.most_pages() + parts.iter().map(|(place, _, tokens)| grown(place, tokens)).sum::<usize>();
        // One of four is stopped somewhere, by the user or by who takes the logits.
        let left = AtomicUsize::new(if self.random.below(4) == 0 { self.random.below(60) } else { usize::MAX });
        let cancelled = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |l| l.checked_sub(1)).is_err();
        let refusing = self.random.below(16) == 0;
        let mut rows = vec![None; chunks.len()];
        let step = Step { cancelled: &cancelled, ..Step::new(&chunks) };
        let result = self.decoder.step(step, &mut |row| {
            rows[row.chunk] = Some(bits(row.values));
            if refusing { Err(gravure::Error::new(ErrorKind::Interrupted, "no more")) } else { Ok(()) }
        });
        match result {
            Ok(()) => {
                assert!(!beyond && !refusing);
                for (place, phase, tokens) in &parts {
                    self.open[*place].1.extend(tokens.iter().map(|t| (*t, *phase)));
                }
                if self.random.below(3) == 0 {
                    let at = self.random.below(parts.len());
                    let history = &self.open[parts[at].0].1;
                    assert!(rows[at] == Some(anew(self.fresh, history)), "the logits after {} tokens are others", history.len());
                    self.tally.compared += 1;
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => self.tally.stopped += 1,
                ErrorKind::Limit if beyond => self.tally.beyond += 1,
                ErrorKind::Limit if pages > PAGES => self.tally.full += 1,
                _ => panic!("{error}"),
            },
        }
        for (place, ..) in &parts {
            let (sequence, history) = &self.open[*place];
            let tokens: Vec<u32> = history.iter().map(|(token, _)| *token).collect();
            assert_eq!(self.decoder.tokens(*sequence).unwrap(), tokens);
        }
    }

    fn close_all(&mut self) {
        for (sequence, _) in self.open.drain(..) {
            self.decoder.close(sequence).unwrap();
        }
        assert_eq!(room(self.decoder, 2 * PAGE), PAGES * PAGE, "pages are lost: {:?}", self.tally);
    }
}

fn play(design: &str, cache: CacheType, phases: &[Phase], steps: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(design);
    let config = [("max_position_embeddings".to_owned(), CONTEXT.into())].into();
    tiny_model::write(design, &Options { config, ..Options::default() }, &path).unwrap();
    let load = |path: &Path, threads, positions| {
        engine(path, |options: &mut LoadOptions| (options.cache, options.threads, options.positions) = (cache, threads, positions))
    };
    let (subject, fresh) = (load(&path, 2, PAGES * PAGE), load(&path, 1, CONTEXT));
    let mut subject = Subject {
        decoder: subject.decoder().unwrap(),
        fresh: fresh.decoder().unwrap(),
        vocabulary: subject.loaded.facts().width,
        phases,
        open: Vec::new(),
        saved: Vec::new(),
        random: Random(steps as u64),
        tally: Tally::default(),
    };
    for step in 0..steps {
        subject.act();
        if step % 500 == 499 {
            subject.close_all();
        }
    }
    subject.close_all();
    let Tally { compared, stopped, full, beyond, refused, restored, forked } = subject.tally;
    let least = [compared, stopped, full, beyond, refused, restored, forked].into_iter().min().unwrap();
    assert!(least > steps / 500, "every kind of end occurs: {:?}", subject.tally);
}

#[test]
fn ten_thousand_steps() {
    play("llama", CacheType::F16, &[Phase::Prefill, Phase::Scoring, Phase::Decode], 10_000);
}

#[test]
fn windows_and_blocks() {
    play("gemma3", CacheType::Q8, &[Phase::Prefill, Phase::Scoring, Phase::Decode], 2000);
}

/// A sequence that leaves the original context is computed anew.
#[test]
fn long_rotations() {
    play("phi3", CacheType::F32, &[Phase::Prefill], 2000);
}
