//! Generation: a model continues texts and conversations.

use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use gravure_base::{AtomicFile, Disk, Error, Result, ResultExt};
pub use gravure_generate::sampling::{Mirostat, Penalties, Sampling, Target};
use gravure_generate::speculation::{Draft, Lookup};
pub use gravure_generate::{Event as GenerateEvent, Overflow, Timings};
use gravure_generate::{Reply, Sampler, Session, Speculator, StopReason, Turn};
use gravure_text::chat::{ChatInput, ChatRenderer};
pub use gravure_text::grammar::GrammarSource;
use gravure_text::grammar::{Grammar, Grammars};
use gravure_text::{SpecialToken, TokenKind, Tokenizer};
use serde_json::{Map, Value as Json};

use crate::Observer;
use crate::engine::{Engine, LoadOptions, load};
use crate::evaluate::tokenizer;

/// How tokens are guessed beforehand. Guesses make replies faster and never others.
#[derive(Debug, Clone, Default)]
pub enum Speculation {
    /// They are not.
    #[default]
    Off,
    /// From the text so far.
    Lookup {
        /// Tokens of a guess, at most.
        most: usize,
    },
    /// By a smaller model with the same vocabulary.
    Draft {
        /// The model.
        model: Box<LoadOptions>,
        /// Tokens of a guess, at most.
        most: usize,
        /// A token that is less probable ends a guess.
        least: f64,
    },
}

/// What to generate with.
#[derive(Debug, Clone)]
pub struct GeneratorRequest {
    /// The model.
    pub model: LoadOptions,
    /// How tokens are guessed.
    pub speculation: Speculation,
    /// Jinja source that takes the place of the model's own chat template.
    pub chat_template: Option<String>,
}

/// A model that is ready to generate.
#[derive(Debug)]
pub struct Generator {
    engine: Engine,
    draft: Option<Engine>,
    speculation: Speculation,
    template: Option<ChatRenderer>,
    endings: Vec<u32>,
    /// Made at the first grammar: sorting a large vocabulary takes a tenth of a second.
    grammars: OnceLock<Grammars>,
}

/// What a reply continues.
#[derive(Debug, Clone)]
pub enum Prompt {
    /// A text. Spellings of special tokens in it are these tokens.
    Text(String),
    /// Messages of a chat, as the model's template puts them.
    Chat(Chat),
}

/// Messages of a chat.
#[derive(Debug, Clone, Default)]
pub struct Chat {
    /// Objects with `role` and `content`.
    pub messages: Vec<Json>,
    /// Functions that the model may call, as JSON schemas.
    pub tools: Option<Json>,
    /// Other variables of the template, such as `enable_thinking`.
    pub variables: Map<String, Json>,
}

impl Chat {
    /// Adds a message.
    pub fn push(&mut self, role: &str, content: &str) {
        self.messages.push(serde_json::json!({"role": role, "content": content}));
    }
}

/// One reply.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// What it continues.
    pub prompt: Prompt,
    /// Tokens at most; `None` for as many as the context holds, or without end where it shifts.
    pub max_tokens: Option<usize>,
    /// Texts that end it.
    pub stops: Vec<String>,
    /// Whether the model's own ending ends it.
    pub endings: Endings,
    /// When the context is full.
    pub overflow: Overflow,
    /// What its text has to follow.
    pub grammar: Option<GrammarSource>,
}

impl GenerateRequest {
    /// A reply that ends where the model ends it.
    pub fn new(prompt: Prompt) -> Self {
        Self { prompt, max_tokens: None, stops: Vec::new(), endings: Endings::Heeded, overflow: Overflow::Stop, grammar: None }
    }
}

/// What a model's own ending does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Endings {
    /// It ends the reply.
    #[default]
    Heeded,
    /// It cannot come.
    Forbidden,
}

/// A reply that was generated.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Generated {
    /// Its text.
    pub text: String,
    /// Its tokens, with the one that ended it.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub stop: Stop,
    /// How long it took.
    pub timings: GenerateTimings,
}

/// Why a reply ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Stop {
    /// `end`, `stop_string`, `max_tokens`, `context`, `constraint` or `cancelled`.
    pub reason: &'static str,
    /// The model's ending, where it was that.
    pub token: Option<u32>,
    /// The stop string, where it was one.
    pub string: Option<String>,
}

/// How long a reply took.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct GenerateTimings {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, how many were held from before.
    pub reused_tokens: usize,
    /// Seconds for the others.
    pub prefill_seconds: f64,
    /// The others in a second.
    pub prefill_tokens_per_second: Option<f64>,
    /// Seconds from the request to the first token.
    pub first_token_seconds: f64,
    /// Tokens of the reply.
    pub tokens: usize,
    /// Seconds from the first to the last.
    pub decode_seconds: f64,
    /// Tokens in a second after the first.
    pub tokens_per_second: Option<f64>,
    /// Tokens that were guessed.
    pub guessed_tokens: usize,
    /// Of these, how many were right.
    pub accepted_tokens: usize,
}

impl From<Timings> for GenerateTimings {
    fn from(t: Timings) -> Self {
        let rate = |count: usize, seconds: f64| (count > 0 && seconds > 0.0).then(|| count as f64 / seconds);
        Self {
            prompt_tokens: t.prompt_tokens,
            reused_tokens: t.reused_tokens,
            prefill_seconds: t.prefill,
            prefill_tokens_per_second: rate(t.prompt_tokens - t.reused_tokens, t.prefill),
            first_token_seconds: t.first_token,
            tokens: t.tokens,
            decode_seconds: t.decode,
            tokens_per_second: rate(t.tokens.saturating_sub(1), t.decode),
            guessed_tokens: t.guessed,
            accepted_tokens: t.accepted,
        }
    }
}

impl Generator {
    /// Loads the model, and the one that guesses.
    ///
    /// # Errors
    /// Those of loading; `Unsupported` where the model does not continue texts or has no tokenizer;
    /// `Request` where the guessing model has another vocabulary; those of the chat template.
    pub fn load(request: &GeneratorRequest, observer: &dyn Observer) -> Result<Self> {
        let engine = load(&request.model, observer)?;
        engine.decoder()?;
        let own = tokenizer(&engine.model)?;
        let draft = match &request.speculation {
            Speculation::Draft { model, .. } => Some(load(model, observer)?),
            Speculation::Off | Speculation::Lookup { .. } => None,
        };
        if let Some(draft) = &draft {
            draft.decoder()?;
            same_vocabulary(own, tokenizer(&draft.model)?).in_file(&draft.model.source.path)?;
        }
        let source = request.chat_template.as_deref();
        let source = source.or_else(|| own.chat_templates().first().map(|t| t.source.as_str()));
        let template = source.map(ChatRenderer::new).transpose().in_file(&engine.model.source.path)?;
        let mut endings = own.endings();
        endings.extend(stated_endings(&engine.model));
        endings.retain(|id| (*id as usize) < engine.loaded.facts().width);
        endings.sort_unstable();
        endings.dedup();
        Ok(Self { engine, draft, speculation: request.speculation.clone(), template, endings, grammars: OnceLock::new() })
    }

    /// The model.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether there is a chat template.
    pub fn can_chat(&self) -> bool {
        self.template.is_some()
    }

    /// Tokens that end a reply.
    pub fn endings(&self) -> &[u32] {
        &self.endings
    }

    /// Tokens that a conversation may hold.
    pub fn context(&self) -> usize {
        let facts = self.engine.loaded.facts();
        facts.positions.min(facts.context)
    }

    /// The tokens that a text stands for, or the one that a number names: what a logit bias is for.
    ///
    /// # Errors
    /// `Request` where it is no single token.
    pub fn token(&self, text: &str) -> Result<u32> {
        if let Ok(id) = text.parse::<u32>() {
            return Ok(id);
        }
        match tokenizer(&self.engine.model)?.encode(text)?.as_slice() {
            [id] => Ok(*id),
            several => Err(Error::request(format!("{text:?} is not one token but {}", several.len())).help("name the token by its number")),
        }
    }

    fn grammar(&self, source: &GrammarSource) -> Result<Grammar> {
        let grammars = match self.grammars.get() {
            Some(grammars) => grammars,
            None => {
                let made = Grammars::new(tokenizer(&self.engine.model)?, self.engine.loaded.facts().width, &self.endings)?;
                self.grammars.get_or_init(|| made)
            }
        };
        grammars.compile(source)
    }

    /// The tokens of a prompt.
    ///
    /// # Errors
    /// `Request` for a chat without a template, or messages that the template refuses.
    pub fn prompt_tokens(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        let tokenizer = tokenizer(&self.engine.model)?;
        match prompt {
            Prompt::Text(text) => Ok([tokenizer.beginning(), &tokenizer.encode(text)?].concat()),
            Prompt::Chat(chat) => tokenizer.encode(&self.chat_text(chat)?),
        }
    }

    /// The text that a chat's messages are put as.
    ///
    /// # Errors
    /// As [`Generator::prompt_tokens`].
    pub fn chat_text(&self, chat: &Chat) -> Result<String> {
        let template = self.template.as_ref().ok_or_else(|| {
            Error::request("this model has no chat template")
                .in_file(&self.engine.model.source.path)
                .help("give one, or continue a plain text")
        })?;
        let tokenizer = tokenizer(&self.engine.model)?;
        let special = |role| tokenizer.special(role).and_then(|id| tokenizer.vocabulary().text(id));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        template.render(&ChatInput {
            messages: &Json::Array(chat.messages.clone()),
            tools: chat.tools.as_ref(),
            add_generation_prompt: true,
            bos_token: special(SpecialToken::Bos),
            eos_token: special(SpecialToken::Eos),
            variables: &chat.variables,
            now: i64::try_from(now).unwrap_or(0),
        })
    }

    /// A new conversation, whose tokens are chosen as `sampling` says.
    ///
    /// # Errors
    /// `Request` for settings that cannot be meant; `Limit` where there are too many conversations.
    pub fn conversation(&self, sampling: Sampling) -> Result<Conversation<'_>> {
        let session = Session::new(self.engine.decoder()?, self.context())?;
        self.converse(session, sampling)
    }

    /// A conversation that [`Conversation::save`] wrote.
    ///
    /// # Errors
    /// `Input` where the file holds none, or one of another model.
    pub fn restore(&self, path: &Path, sampling: Sampling) -> Result<Conversation<'_>> {
        let file = std::fs::File::open(path).map_err(|e| Error::io("open the saved conversation", path, e))?;
        let mut reader = std::io::BufReader::new(file);
        let session = Session::restore(self.engine.decoder()?, self.context(), &mut reader).in_file(path)?;
        self.converse(session, sampling)
    }

    fn converse<'g>(&'g self, session: Session<'g>, sampling: Sampling) -> Result<Conversation<'g>> {
        let speculator: Option<Box<dyn Speculator + 'g>> = match (&self.speculation, &self.draft) {
            (Speculation::Lookup { most }, _) => Some(Box::new(Lookup { most: *most, ..Lookup::default() })),
            (Speculation::Draft { most, least, .. }, Some(draft)) => Some(Box::new(Draft::new(draft.decoder()?, *most, *least)?)),
            _ => None,
        };
        Ok(Conversation { generator: self, session, speculator, sampler: Sampler::new(sampling)? })
    }
}

/// A conversation with a model.
pub struct Conversation<'g> {
    generator: &'g Generator,
    session: Session<'g>,
    speculator: Option<Box<dyn Speculator + 'g>>,
    sampler: Sampler,
}

impl std::fmt::Debug for Conversation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversation").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Conversation<'_> {
    /// Generates a reply, telling `events` as it goes. What the prompt has in common with the turns
    /// before is not computed again.
    ///
    /// # Errors
    /// Those of the prompt; `Limit` for one that is longer than the context; what `events` says. That it
    /// was cancelled is a way to stop.
    pub fn reply(
        &mut self,
        request: &GenerateRequest,
        cancelled: &(dyn Fn() -> bool + Sync),
        events: &mut dyn FnMut(GenerateEvent<'_>) -> Result<()>,
    ) -> Result<Generated> {
        let prompt = self.generator.prompt_tokens(&request.prompt)?;
        if prompt.is_empty() {
            return Err(Error::request("the prompt has no tokens, so there is nothing to continue"));
        }
        let endings = self.generator.endings.as_slice();
        let mut grammar = request.grammar.as_ref().map(|source| self.generator.grammar(source)).transpose()?;
        self.sampler.forbid(if request.endings == Endings::Forbidden { endings } else { &[] });
        let turn = Turn {
            prompt: &prompt,
            sampler: &mut self.sampler,
            max_tokens: request.max_tokens.unwrap_or(usize::MAX),
            endings,
            stops: &request.stops,
            overflow: request.overflow,
            constraint: grammar.as_mut().map(|g| g as &mut dyn gravure_generate::Constraint),
            speculator: self.speculator.as_mut().map(|s| s.as_mut() as &mut dyn Speculator),
            cancelled,
        };
        let reply = self.session.reply(tokenizer(&self.generator.engine.model)?, turn, events)?;
        Ok(generated(reply, &request.stops))
    }

    /// Seed of its random numbers.
    pub fn seed(&self) -> u64 {
        self.sampler.seed()
    }

    /// Tokens that are computed.
    pub fn tokens(&self) -> &[u32] {
        self.session.tokens()
    }

    /// Writes the conversation, so that it can go on another day without computing it anew.
    ///
    /// # Errors
    /// Those of writing.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut writer = std::io::BufWriter::new(Saved(AtomicFile::create(std::sync::Arc::new(Disk), path)?));
        self.session.save(&mut writer).in_file(path)?;
        let saved = writer.into_inner().map_err(|e| Error::io("write the conversation", path, e.into_error()))?;
        saved.0.commit()
    }
}

/// An output file as the standard library's writers want it.
struct Saved(AtomicFile);

impl Write for Saved {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write_all(bytes).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn generated(reply: Reply, stops: &[String]) -> Generated {
    let (token, string) = match reply.stop {
        StopReason::Ending(token) => (Some(token), None),
        StopReason::StopString(index) => (None, stops.get(index).cloned()),
        _ => (None, None),
    };
    let stop = Stop { reason: reply.stop.as_str(), token, string };
    Generated { text: reply.text, tokens: reply.tokens, stop, timings: reply.timings.into() }
}

/// Guesses are tokens, so they must mean the same.
fn same_vocabulary(own: &Tokenizer, draft: &Tokenizer) -> Result<()> {
    let (own, draft) = (own.vocabulary(), draft.vocabulary());
    // Reserved and padding entries may differ in number.
    let differs = own.texts().zip(draft.texts()).zip(own.kinds()).position(|((a, b), kind)| a != b && *kind == TokenKind::Normal);
    match differs {
        Some(id) => Err(Error::request(format!("the guessing model has another vocabulary: token {id} differs"))
            .help("a model guesses for another only where both have the same tokenizer")),
        None if own.len().abs_diff(draft.len()) > 256 => {
            Err(Error::request(format!("the guessing model has {} tokens, the model {}", draft.len(), own.len())))
        }
        None => Ok(()),
    }
}

/// The endings that a model's generation defaults state.
fn stated_endings(model: &gravure_core::Model) -> Vec<u32> {
    let stated = model.metadata.get("generation.eos_token_id").and_then(gravure_core::Value::as_u64s);
    stated.into_iter().flatten().filter_map(|id| u32::try_from(id).ok()).collect()
}
