//! Conversations with a tiny random model, computed by the scalar reference.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Reference, tiny};
use gravure_base::{ErrorKind, Result};
use gravure_generate::speculation::{Draft, Lookup};
use gravure_generate::{Constraint, Event, Overflow, Random, Reply, Sampler, Sampling, Session, Speculator, StopReason, Turn};
use gravure_text::Tokenizer;

const PROMPT: [u32; 7] = [5, 90, 17, 5, 90, 17, 44];

/// What a test changes of a turn.
struct Setting<'a> {
    sampling: Sampling,
    max_tokens: usize,
    endings: &'a [u32],
    stops: &'a [String],
    overflow: Overflow,
    constraint: Option<&'a mut dyn Constraint>,
    speculator: Option<&'a mut dyn Speculator>,
    cancelled: &'a (dyn Fn() -> bool + Sync),
}

fn never() -> bool {
    false
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Self {
            sampling: Sampling::greedy(),
            max_tokens: 24,
            endings: &[],
            stops: &[],
            overflow: Overflow::Stop,
            constraint: None,
            speculator: None,
            cancelled: &never,
        }
    }
}

/// Continues `prompt`, and checks that events tell what the reply says.
fn reply(session: &mut Session<'_>, tokenizer: &Tokenizer, prompt: &[u32], setting: Setting<'_>) -> Result<Reply> {
    let mut sampler = Sampler::new(setting.sampling)?;
    let turn = Turn {
        prompt,
        sampler: &mut sampler,
        max_tokens: setting.max_tokens,
        endings: setting.endings,
        stops: setting.stops,
        overflow: setting.overflow,
        constraint: setting.constraint.map(|c| c as &mut dyn Constraint),
        speculator: setting.speculator.map(|s| s as &mut dyn Speculator),
        cancelled: setting.cancelled,
    };
    let (mut tokens, mut text) = (Vec::new(), String::new());
    let reply = session.reply(tokenizer, turn, &mut |event| {
        match event {
            Event::Token(token) => tokens.push(token),
            Event::Text(more) => text += more,
            Event::Prefill { done, total } => assert!(done <= total),
            Event::Shifted(_) => {}
        }
        Ok(())
    })?;
    assert_eq!((&reply.tokens, &reply.text), (&tokens, &text));
    Ok(reply)
}

fn fresh(model: &Reference, tokenizer: &Tokenizer, prompt: &[u32], setting: Setting<'_>) -> Reply {
    let mut session = Session::new(model, 64).unwrap();
    reply(&mut session, tokenizer, prompt, setting).unwrap()
}

fn warm(seed: u64) -> Sampling {
    // Warm enough to wander, cold enough that guesses are right at times.
    Sampling { seed, temperature: 0.6, top_k: 8, ..Sampling::default() }
}

#[test]
fn a_reply_is_the_argmax_of_each_step() {
    let (model, tokenizer) = tiny(2, 64);
    let made = fresh(&model, &tokenizer, &PROMPT, Setting::default());
    assert_eq!((made.tokens.len(), made.stop), (24, StopReason::MaxTokens));
    // By hand: one sequence at a time, no session.
    use gravure_core::contracts::{Chunk, Decoder, Phase, Step, Wanted};
    let mut all = PROMPT.to_vec();
    for token in &made.tokens {
        let sequence = model.open().unwrap();
        let chunks = [Chunk { sequence, tokens: &all, phase: Phase::Prefill, wanted: Wanted::Last }];
        let mut best = 0;
        model
            .step(Step::new(&chunks), &mut |row| {
                best = (0..row.values.len()).fold(0, |best, i| if row.values[i] > row.values[best] { i } else { best });
                Ok(())
            })
            .unwrap();
        assert_eq!(best as u32, *token, "after {all:?}");
        all.push(*token);
        model.close(sequence).unwrap();
    }
    assert_eq!(model.open_sequences(), 0, "sessions close their sequences");
}

#[test]
fn guesses_change_nothing_but_the_number_of_steps() {
    let (model, tokenizer) = tiny(2, 64);
    let (smaller, _) = tiny(1, 32);
    for sampling in [Sampling::greedy(), warm(1), warm(2), warm(3)] {
        let setting = || Setting { sampling: sampling.clone(), max_tokens: 40, ..Setting::default() };
        let plain = fresh(&model, &tokenizer, &PROMPT, setting());
        let mut lookup = Lookup { longest: 3, shortest: 1, most: 5 };
        let mut twin = Draft::new(&model, 4, 0.0).unwrap();
        let mut draft = Draft::new(&smaller, 4, 0.0).unwrap();
        let speculators: [(&str, &mut dyn Speculator); 3] = [("lookup", &mut lookup), ("twin", &mut twin), ("smaller model", &mut draft)];
        for (name, speculator) in speculators {
            let made = fresh(&model, &tokenizer, &PROMPT, Setting { speculator: Some(speculator), ..setting() });
            assert_eq!((&made.tokens, &made.text, made.stop), (&plain.tokens, &plain.text, plain.stop), "{name}, {sampling:?}");
            assert!(made.timings.guessed > 0, "{name} never guesses");
            if name == "twin" && sampling == Sampling::greedy() {
                assert_eq!(made.timings.accepted, made.timings.guessed, "the model itself guesses right");
            }
        }
    }
}

#[test]
fn a_session_holds_no_wrong_guess() {
    let (model, tokenizer) = tiny(2, 64);
    let mut session = Session::new(&model, 64).unwrap();
    for (turn, seed) in (10..16).enumerate() {
        let mut lookup = Lookup { longest: 2, shortest: 1, most: 6 };
        let prompt: Vec<u32> = session.tokens().iter().copied().chain([7, 9, 7]).collect();
        let setting = || Setting { sampling: warm(seed), max_tokens: 5, ..Setting::default() };
        let made = reply(&mut session, &tokenizer, &prompt, Setting { speculator: Some(&mut lookup), ..setting() }).unwrap();
        assert_eq!(made.tokens, fresh(&model, &tokenizer, &prompt, setting()).tokens, "turn {turn}");
        // The last token was chosen and not computed.
        let expected: Vec<u32> = prompt.iter().chain(&made.tokens[..4]).copied().collect();
        assert_eq!(session.tokens(), expected);
    }
}

#[test]
fn what_was_computed_is_not_computed_again() {
    let (model, tokenizer) = tiny(2, 64);
    let mut session = Session::new(&model, 64).unwrap();
    let first = reply(&mut session, &tokenizer, &PROMPT, Setting::default()).unwrap();
    assert_eq!((first.timings.prompt_tokens, first.timings.reused_tokens), (7, 0));
    let longer: Vec<u32> = PROMPT.iter().chain(&first.tokens).copied().chain([3, 4]).collect();
    let before = model.computed.load(Ordering::Relaxed);
    let second = reply(&mut session, &tokenizer, &longer, Setting { max_tokens: 1, ..Setting::default() }).unwrap();
    // All but the last chosen token, which was not computed, and the two new ones.
    assert_eq!(second.timings.reused_tokens, longer.len() - 3);
    assert_eq!(model.computed.load(Ordering::Relaxed) - before, 3);
    assert_eq!(second.tokens, fresh(&model, &tokenizer, &longer, Setting { max_tokens: 1, ..Setting::default() }).tokens);
    // The same prompt once more, and one that parts early.
    let again = reply(&mut session, &tokenizer, &PROMPT, Setting::default()).unwrap();
    assert_eq!((again.tokens, again.timings.reused_tokens), (first.tokens, 6));
    let parts = [5, 90, 18, 1];
    let made = reply(&mut session, &tokenizer, &parts, Setting::default()).unwrap();
    assert_eq!(made.timings.reused_tokens, 2);
    assert_eq!(made.tokens, fresh(&model, &tokenizer, &parts, Setting::default()).tokens);
}

#[test]
fn a_full_context_ends_the_reply_or_shifts() {
    let (model, tokenizer) = tiny(2, 64);
    let mut session = Session::new(&model, 12).unwrap();
    let made = reply(&mut session, &tokenizer, &PROMPT, Setting::default()).unwrap();
    // 12 positions hold the prompt and five tokens; the sixth is chosen and finds no room.
    assert_eq!((made.tokens.len(), made.stop), (6, StopReason::Context));
    let error = reply(&mut session, &tokenizer, &[1; 13], Setting::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);

    let shifting = || Setting { overflow: Overflow::Shift { keep: 3 }, ..Setting::default() };
    let made = reply(&mut session, &tokenizer, &PROMPT, shifting()).unwrap();
    assert_eq!((made.tokens.len(), made.stop), (24, StopReason::MaxTokens));
    // After a shift the reply is that of the shorter text: 3 tokens, the newer half of the 9 others.
    let full: Vec<u32> = PROMPT.iter().chain(&made.tokens[..5]).copied().collect();
    let short: Vec<u32> = full[..3].iter().chain(&full[8..]).chain(&made.tokens[5..6]).copied().collect();
    let next = fresh(&model, &tokenizer, &short, Setting { max_tokens: 5, ..Setting::default() });
    assert_eq!(next.tokens, made.tokens[6..11]);
    // A prompt that is too long is shortened in the same way, and guesses keep to the context.
    let mut lookup = Lookup { longest: 2, shortest: 1, most: 6 };
    let made = reply(&mut session, &tokenizer, &[4; 40], Setting { speculator: Some(&mut lookup), ..shifting() }).unwrap();
    assert_eq!(made.tokens.len(), 24);
    assert!(made.timings.prompt_tokens < 12);
}

#[test]
fn replies_end_where_they_should() {
    let (model, tokenizer) = tiny(2, 64);
    let plain = fresh(&model, &tokenizer, &PROMPT, Setting { sampling: warm(4), ..Setting::default() });
    let ending = plain.tokens[10];
    let at = plain.tokens.iter().position(|t| *t == ending).unwrap();
    let made = fresh(&model, &tokenizer, &PROMPT, Setting { sampling: warm(4), endings: &[ending], ..Setting::default() });
    assert_eq!((made.tokens.as_slice(), made.stop), (&plain.tokens[..=at], StopReason::Ending(ending)));
    assert!(plain.text.starts_with(&made.text), "the ending has no text");

    let letters: Vec<char> = plain.text.chars().collect();
    assert!(letters.len() > 8, "{:?}", plain.text);
    let stop: String = letters[5..8].iter().collect();
    let before = plain.text.find(&stop).unwrap();
    let made = fresh(&model, &tokenizer, &PROMPT, Setting { sampling: warm(4), stops: &["?!?".into(), stop], ..Setting::default() });
    assert_eq!((made.text.as_str(), made.stop), (&plain.text[..before], StopReason::StopString(1)));

    let nothing = fresh(&model, &tokenizer, &PROMPT, Setting { max_tokens: 0, ..Setting::default() });
    assert_eq!((nothing.tokens.len(), nothing.stop), (0, StopReason::MaxTokens));
    let mut session = Session::new(&model, 64).unwrap();
    assert_eq!(reply(&mut session, &tokenizer, &[], Setting::default()).unwrap_err().kind(), ErrorKind::Request);
    assert_eq!(reply(&mut session, &tokenizer, &[4_000_000], Setting::default()).err().map(|e| e.kind()), Some(ErrorKind::Input));
    // An error leaves the session as it was.
    assert_eq!(reply(&mut session, &tokenizer, &PROMPT, Setting::default()).unwrap().tokens.len(), 24);
}

#[test]
fn stopping_anywhere_leaves_a_session_that_goes_on() {
    let (model, tokenizer) = tiny(1, 64);
    let expected = fresh(&model, &tokenizer, &PROMPT, Setting::default());
    let mut session = Session::new(&model, 64).unwrap();
    let mut random = Random::new(5);
    let mut stopped = 0;
    for _ in 0..300 {
        let left = AtomicUsize::new((random.bits() % 70) as usize);
        let cancelled = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |l| l.checked_sub(1)).is_err();
        let mut lookup = Lookup { longest: 2, shortest: 1, most: 4 };
        let speculator: Option<&mut dyn Speculator> = if random.bits().is_multiple_of(2) { Some(&mut lookup) } else { None };
        let made = reply(&mut session, &tokenizer, &PROMPT, Setting { cancelled: &cancelled, speculator, ..Setting::default() }).unwrap();
        stopped += usize::from(made.stop == StopReason::Cancelled);
        assert!(expected.tokens.starts_with(&made.tokens), "{:?}", made.tokens);
    }
    assert!((100..300).contains(&stopped), "{stopped}");
    assert_eq!(reply(&mut session, &tokenizer, &PROMPT, Setting::default()).unwrap().tokens, expected.tokens);
    drop(session);
    assert_eq!(model.open_sequences(), 0);
}

#[test]
fn a_saved_session_goes_on_as_it_would_have() {
    let (model, tokenizer) = tiny(2, 64);
    let mut session = Session::new(&model, 64).unwrap();
    reply(&mut session, &tokenizer, &PROMPT, Setting::default()).unwrap();
    let mut file = Vec::new();
    session.save(&mut file).unwrap();
    let mut restored = Session::restore(&model, 64, &mut file.as_slice()).unwrap();
    assert_eq!(restored.tokens(), session.tokens());
    let prompt: Vec<u32> = session.tokens().iter().copied().chain([8]).collect();
    let made = reply(&mut restored, &tokenizer, &prompt, Setting::default()).unwrap();
    assert_eq!(made.timings.reused_tokens, prompt.len() - 1);
    assert_eq!(made.tokens, reply(&mut session, &tokenizer, &prompt, Setting::default()).unwrap().tokens);
}

/// Only even tokens, five of them.
struct Even(usize);

impl Constraint for Even {
    fn mask(&mut self, logits: &mut [f32]) -> Result<()> {
        logits.iter_mut().skip(1).step_by(2).for_each(|l| *l = f32::NEG_INFINITY);
        Ok(())
    }

    fn accept(&mut self, token: u32) -> Result<()> {
        assert!(token.is_multiple_of(2));
        self.0 += 1;
        Ok(())
    }

    fn finished(&mut self) -> bool {
        self.0 == 5
    }
}

#[test]
fn a_constraint_is_kept_with_guesses_and_without() {
    let (model, tokenizer) = tiny(2, 64);
    let plain = fresh(&model, &tokenizer, &PROMPT, Setting { sampling: warm(1), constraint: Some(&mut Even(0)), ..Setting::default() });
    assert_eq!((plain.tokens.len(), plain.stop), (5, StopReason::Constraint));
    let mut lookup = Lookup { longest: 1, shortest: 1, most: 6 };
    let setting = Setting { sampling: warm(1), constraint: Some(&mut Even(0)), speculator: Some(&mut lookup), ..Setting::default() };
    let guessed = fresh(&model, &tokenizer, &PROMPT, setting);
    assert_eq!((guessed.tokens, guessed.stop), (plain.tokens, plain.stop));
}
