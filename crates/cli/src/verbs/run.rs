//! `gravure run MODEL -p TEXT`, and chat where there is no prompt. Options are spelled as llama.cpp's.

use std::borrow::Cow;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gravure::generate::{
    Chat, Endings, GenerateEvent, GenerateRequest, Generated, Generator, GeneratorRequest, GrammarSource, Mirostat, Overflow, Penalties,
    Prompt, Sampling, Speculation, Target,
};
use gravure::{Error, ErrorKind, Result};

use crate::arguments::{logit_bias, unescaped};
use crate::chat;
use crate::engine::{Cache, EngineArgs, RuntimeArgs};
use crate::printer::{Level, Printer};
use crate::progress::{Progress, interrupted};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model: GGUF file, Hugging Face folder
    pub(crate) model: PathBuf,
    /// Text to continue; a message to answer where the model has a chat template [default: standard input]
    #[arg(long, short, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// File that holds the prompt
    #[arg(long, short, value_name = "FILE", conflicts_with = "prompt")]
    file: Option<PathBuf>,
    /// System message of a chat (-sys)
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) system_prompt: Option<String>,
    /// Tokens that the conversation may hold [default: the model's own, at most 8192]
    #[arg(long, short, value_name = "N", default_value_t = 0, hide_default_value = true)]
    ctx_size: usize,
    /// Tokens to generate; -1 until the model ends or the context is full
    #[arg(long, visible_alias = "n-predict", short = 'n', value_name = "N", default_value_t = -1, allow_hyphen_values = true)]
    predict: i64,
    /// Text that ends the reply; may be repeated
    #[arg(long, short, value_name = "TEXT", allow_hyphen_values = true)]
    reverse_prompt: Vec<String>,
    /// Let the model's own ending not end the reply
    #[arg(long)]
    ignore_eos: bool,
    /// When the context is full, forget the older half and go on
    #[arg(long)]
    context_shift: bool,
    /// Tokens at the beginning that a shift keeps
    #[arg(long, value_name = "N", default_value_t = 0, requires = "context_shift")]
    keep: usize,
    /// Take backslashes in texts as they are
    #[arg(long)]
    no_escape: bool,
    /// Chat, even where there is a prompt (-cnv)
    #[arg(long, conflicts_with = "no_conversation")]
    conversation: bool,
    /// Continue the prompt as it is, without a chat template (-no-cnv)
    #[arg(long, visible_alias = "no-cnv")]
    no_conversation: bool,
    /// Jinja template of chats, in place of the model's
    #[arg(long, value_name = "JINJA", conflicts_with = "chat_template_file")]
    chat_template: Option<String>,
    /// File that holds it
    #[arg(long, value_name = "FILE")]
    chat_template_file: Option<PathBuf>,
    /// File of the computed conversation: read where it is there, written at the end
    #[arg(long, value_name = "FILE")]
    prompt_cache: Option<PathBuf>,
    /// Low-rank adapter (GGUF) that changes the model; may be repeated
    #[arg(long, value_name = "FILE")]
    lora: Vec<PathBuf>,
    /// The same, with its strength: `FILE:0.5`
    #[arg(long, value_name = "FILE:SCALE")]
    lora_scaled: Vec<String>,
    /// How values are kept, where it is named apart (-ctv): as keys are
    #[arg(long, value_name = "TYPE", hide = true)]
    cache_type_v: Option<Cache>,
    #[command(flatten)]
    runtime: RuntimeArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    constraint: ConstraintArgs,
    #[command(flatten)]
    guesses: GuessArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sampling")]
struct SamplingArgs {
    /// Seed of random numbers; -1 for another each time
    #[arg(long, short, value_name = "N", default_value_t = -1, allow_hyphen_values = true)]
    seed: i64,
    /// Temperature; 0 for the most likely token always
    #[arg(long, visible_alias = "temperature", value_name = "X", default_value_t = 0.8)]
    temp: f32,
    /// Choose among this many most likely tokens; 0 for all
    #[arg(long, value_name = "N", default_value_t = 40)]
    top_k: usize,
    /// Choose among the most likely tokens that together have this probability
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    top_p: f32,
    /// Choose among tokens with this share of the largest probability
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    min_p: f32,
    /// Choose among typical tokens that together have this probability
    #[arg(long, visible_alias = "typical-p", value_name = "P", default_value_t = 1.0)]
    typical: f32,
    /// Divide logits of recent tokens by this
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    repeat_penalty: f32,
    /// Tokens that count as recent; -1 for all
    #[arg(long, value_name = "N", default_value_t = 64, allow_hyphen_values = true)]
    repeat_last_n: i64,
    /// Take this from logits for each recent occurrence
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_hyphen_values = true)]
    frequency_penalty: f32,
    /// Take this from logits of recent tokens
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_hyphen_values = true)]
    presence_penalty: f32,
    /// Steer surprise: version 1 or 2; 0 for neither
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    mirostat: u8,
    /// Mirostat's learning rate
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    mirostat_lr: f32,
    /// Mirostat's surprise, in bits
    #[arg(long, value_name = "X", default_value_t = 5.0)]
    mirostat_ent: f32,
    /// Add to a token's logit: `15043+1`, `15043-inf`; may be repeated
    #[arg(long, short, value_name = "TOKEN(+|-)N")]
    logit_bias: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Form of the reply")]
#[group(multiple = false)]
struct ConstraintArgs {
    /// Grammar (GBNF) that the reply follows
    #[arg(long, value_name = "GBNF")]
    grammar: Option<String>,
    /// File that holds it
    #[arg(long, value_name = "FILE")]
    grammar_file: Option<PathBuf>,
    /// JSON schema that the reply follows; `{}` for any JSON
    #[arg(long, short, value_name = "SCHEMA")]
    json_schema: Option<String>,
    /// File that holds it (-jf)
    #[arg(long, value_name = "FILE")]
    json_schema_file: Option<PathBuf>,
    /// Regular expression that the whole reply matches
    #[arg(long, value_name = "REGEX")]
    regex: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Guesses: the same reply, sooner")]
struct GuessArgs {
    /// Smaller model with the same vocabulary that guesses tokens (-md)
    #[arg(long, value_name = "MODEL")]
    model_draft: Option<PathBuf>,
    /// Guess tokens from what was there before
    #[arg(long, conflicts_with = "model_draft")]
    lookup: bool,
    /// Tokens of a guess, at most
    #[arg(long, visible_aliases = ["draft", "draft-n"], value_name = "N", default_value_t = 8)]
    draft_max: usize,
    /// Probability below which a guess ends
    #[arg(long, value_name = "P", default_value_t = 0.5)]
    draft_p_min: f64,
}

/// What a reply is printed with, under `--json`.
#[derive(serde::Serialize)]
struct Document<'a> {
    model: &'a Path,
    seed: u64,
    #[serde(flatten)]
    reply: &'a Generated,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let prompt = args.prompt()?;
    let sampling = args.sampling()?;
    let grammar = args.constraint.source()?;
    let progress = Progress::new(printer);
    let generator = Generator::load(&args.generator(printer)?, &progress)?;
    let sampling = Sampling { logit_bias: args.biases(&generator)?, ..sampling };
    let seed = sampling.seed;
    let saved = args.prompt_cache.as_deref().filter(|path| path.exists());
    let mut conversation = match saved {
        Some(path) => generator.restore(path, sampling)?,
        None => generator.conversation(sampling)?,
    };
    let chats = args.conversation || (generator.can_chat() && !args.no_conversation);
    if (chats || prompt.is_none()) && !generator.can_chat() {
        return Err(Error::request("this model has no chat template, so it cannot chat")
            .in_file(&args.model)
            .help("give a text to continue by `-p`, or a template by `--chat-template-file`"));
    }
    let mut request = GenerateRequest {
        max_tokens: usize::try_from(args.predict).ok(),
        stops: args.reverse_prompt.iter().map(|text| args.text(text)).collect::<Result<_>>()?,
        endings: if args.ignore_eos { Endings::Forbidden } else { Endings::Heeded },
        overflow: if args.context_shift { Overflow::Shift { keep: args.keep } } else { Overflow::Stop },
        grammar,
        ..GenerateRequest::new(Prompt::Text(String::new()))
    };
    let mut messages = Chat::default();
    if let Some(system) = &args.system_prompt {
        messages.push("system", &args.text(system)?);
    }
    match prompt {
        Some(prompt) if !(args.conversation && std::io::stdin().is_terminal()) => {
            request.prompt = if chats {
                messages.push("user", &prompt);
                Prompt::Chat(messages)
            } else {
                Prompt::Text(prompt)
            };
            let reply = stream(printer, |events| conversation.reply(&request, &interrupted, events))?;
            finish(printer, &reply, seed);
            if printer.json {
                printer.json(&Document { model: &args.model, seed, reply: &reply })?;
            }
            if let Some(path) = &args.prompt_cache {
                conversation.save(path)?;
            }
            Ok(if reply.stop.reason == "cancelled" { ExitCode::from(ErrorKind::Interrupted.exit_code()) } else { ExitCode::SUCCESS })
        }
        prompt => {
            chat::talk(printer, &mut conversation, &mut request, messages, prompt)?;
            if let Some(path) = &args.prompt_cache {
                conversation.save(path)?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs a reply and writes its text as it comes.
pub(crate) fn stream(
    printer: &Printer,
    reply: impl FnOnce(&mut dyn FnMut(GenerateEvent<'_>) -> Result<()>) -> Result<Generated>,
) -> Result<Generated> {
    let shown = !printer.json;
    let mut out = std::io::stdout().lock();
    let terminal = out.is_terminal();
    let mut ends_line = true;
    let result = reply(&mut |event| {
        if let GenerateEvent::Text(text) = event
            && shown
        {
            ends_line = text.ends_with('\n');
            // A reader that went away wants no more.
            let harmless = if terminal { without_controls(text) } else { Cow::Borrowed(text) };
            let written = out.write_all(harmless.as_bytes()).and_then(|()| out.flush());
            written.map_err(|_| Error::new(ErrorKind::Interrupted, "nobody reads the reply"))?;
        }
        if let GenerateEvent::Shifted(tokens) = event {
            printer.note(&format!("the context is full: {tokens} older tokens are forgotten"));
        }
        Ok(())
    });
    if shown && !ends_line {
        let _ = writeln!(out);
    }
    result
}

/// A terminal obeys control characters, and a model may have learnt any.
fn without_controls(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(harmful) { text.replace(harmful, "\u{fffd}").into() } else { text.into() }
}

/// Says how a reply went.
pub(crate) fn finish(printer: &Printer, reply: &Generated, seed: u64) {
    if printer.level <= Level::Quiet || printer.json {
        return;
    }
    let t = &reply.timings;
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".into(), |r| format!("{r:.1}"));
    let guesses =
        if t.guessed_tokens > 0 { format!("; {} of {} guesses right", t.accepted_tokens, t.guessed_tokens) } else { String::new() };
    let reused = if t.reused_tokens > 0 { format!(" ({} held)", t.reused_tokens) } else { String::new() };
    let _ = writeln!(
        std::io::stderr().lock(),
        "\nprompt: {} tokens{reused}, {}/s; first after {:.0} ms; reply: {} tokens, {}/s{guesses}; ended by {}; seed {seed}",
        t.prompt_tokens,
        rate(t.prefill_tokens_per_second),
        t.first_token_seconds * 1e3,
        t.tokens,
        rate(t.tokens_per_second),
        reply.stop.reason.replace('_', " "),
    );
}

impl Args {
    /// The prompt: an option, a file, or what is piped in.
    fn prompt(&self) -> Result<Option<String>> {
        if let Some(text) = &self.prompt {
            return Ok(Some(self.text(text)?));
        }
        if let Some(path) = &self.file {
            return read(path, "read the prompt").map(Some);
        }
        let mut input = std::io::stdin().lock();
        if input.is_terminal() {
            return Ok(None);
        }
        let mut text = String::new();
        input.read_to_string(&mut text).map_err(|e| Error::io("read the prompt", Path::new("standard input"), e))?;
        Ok(Some(text))
    }

    fn text(&self, text: &str) -> Result<String> {
        if self.no_escape { Ok(text.to_owned()) } else { unescaped(text) }
    }

    fn sampling(&self) -> Result<Sampling> {
        let s = &self.sampling;
        let target = Target { surprise: s.mirostat_ent, rate: s.mirostat_lr };
        let seed = u64::try_from(s.seed).unwrap_or_else(|_| {
            use std::hash::BuildHasher;
            // Keys of hash maps are the standard library's only random numbers; 32 bits can be typed again.
            std::hash::RandomState::new().hash_one(0) & u64::from(u32::MAX)
        });
        let sampling = Sampling {
            seed,
            temperature: s.temp,
            top_k: s.top_k,
            top_p: s.top_p,
            min_p: s.min_p,
            typical_p: s.typical,
            penalties: Penalties {
                last: usize::try_from(s.repeat_last_n).unwrap_or(usize::MAX),
                repeat: s.repeat_penalty,
                frequency: s.frequency_penalty,
                presence: s.presence_penalty,
            },
            mirostat: match s.mirostat {
                1 => Mirostat::V1(target),
                2 => Mirostat::V2(target),
                _ => Mirostat::Off,
            },
            logit_bias: Vec::new(),
        };
        sampling.check()?;
        Ok(sampling)
    }

    fn biases(&self, generator: &Generator) -> Result<Vec<(u32, f32)>> {
        let one = |text: &String| {
            let (token, bias) = logit_bias(text)?;
            Ok((generator.token(token)?, bias))
        };
        self.sampling.logit_bias.iter().map(one).collect()
    }

    fn generator(&self, printer: &Printer) -> Result<GeneratorRequest> {
        if self.cache_type_v.is_some_and(|values| values != self.engine.cache_type.unwrap_or(Cache::F16)) {
            return Err(Error::request("keys and values are kept alike").help("give -ctk and -ctv the same type"));
        }
        let mut model = self.runtime.of(self.engine.options(&self.model, printer));
        model.positions = self.ctx_size;
        model.adapters = self.lora.iter().map(|path| (path.clone(), 1.0)).collect();
        for text in &self.lora_scaled {
            let parsed = text.rsplit_once(':').and_then(|(path, scale)| Some((path, scale.parse::<f32>().ok().filter(|s| s.is_finite())?)));
            let (path, scale) =
                parsed.ok_or_else(|| Error::request(format!("`{text}` is no file with a strength")).help("write FILE:0.5"))?;
            model.adapters.push((path.into(), scale));
        }
        let speculation = match &self.guesses.model_draft {
            Some(path) => {
                let mut draft = self.engine.options(path, printer);
                draft.positions = self.ctx_size;
                Speculation::Draft { model: Box::new(draft), most: self.guesses.draft_max, least: self.guesses.draft_p_min }
            }
            None if self.guesses.lookup => Speculation::Lookup { most: self.guesses.draft_max },
            None => Speculation::Off,
        };
        let chat_template = match &self.chat_template_file {
            Some(path) => Some(read(path, "read the chat template")?),
            None => self.chat_template.clone(),
        };
        Ok(GeneratorRequest { model, speculation, chat_template })
    }
}

impl ConstraintArgs {
    fn source(&self) -> Result<Option<GrammarSource>> {
        let schema = |text: &str| {
            serde_json::from_str(text)
                .map(|schema| Some(GrammarSource::JsonSchema(schema)))
                .map_err(|e| Error::request(format!("the JSON schema is no JSON: {e}")))
        };
        if let Some(text) = &self.grammar {
            return Ok(Some(GrammarSource::Gbnf(text.clone())));
        }
        if let Some(path) = &self.grammar_file {
            return Ok(Some(GrammarSource::Gbnf(read(path, "read the grammar")?)));
        }
        if let Some(text) = &self.json_schema {
            return schema(text);
        }
        if let Some(path) = &self.json_schema_file {
            return schema(&read(path, "read the JSON schema")?).map_err(|e| e.in_file(path));
        }
        Ok(self.regex.clone().map(GrammarSource::Regex))
    }
}

fn read(path: &Path, what: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidData => Error::input("the file is not UTF-8").in_file(path),
        _ => Error::io(what, path, e),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_but_text() {
        assert_eq!(without_controls("a\n\tb é"), "a\n\tb é");
        assert_eq!(without_controls("a\u{1b}[2Jb\r\u{7}\u{9b}c"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}c");
    }
}
