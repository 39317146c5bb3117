//! A chat at a terminal.
//!
//! Lines are edited with arrow keys and history. A line that ends with a backslash goes on in the next.
//! Ctrl-C stops a reply and not the program; Ctrl-D leaves.

use std::path::Path;

use gravure::generate::{Chat, Conversation, GenerateRequest, Prompt};
use gravure::{Error, Result};
use rustyline::error::ReadlineError;

use crate::printer::{Level, Printer};
use crate::progress::{forget_interrupt, interrupted};
use crate::verbs::run::{finish, stream};

const HELP: &str = "/clear       forget the conversation
/save FILE   write the messages as JSON
/load FILE   go on with messages that were written
/help        this
Ctrl-C stops a reply, Ctrl-D leaves, a line that ends with \\ goes on in the next.";

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
enum Typed<'a> {
    Nothing,
    Message(&'a str),
    Clear,
    Save(&'a Path),
    Load(&'a Path),
    Help,
    Unknown(&'a str),
}

fn understand(text: &str) -> Typed<'_> {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()));
    match (word, rest) {
        ("", _) => Typed::Nothing,
        ("/clear", "") => Typed::Clear,
        ("/help" | "/?", "") => Typed::Help,
        ("/save", file) if !file.is_empty() => Typed::Save(Path::new(file)),
        ("/load", file) if !file.is_empty() => Typed::Load(Path::new(file)),
        // A path or a fraction is a message, a single word that begins like a command is a mistake.
        (word, "") if word.strip_prefix('/').is_some_and(|w| w.chars().all(char::is_alphabetic)) => Typed::Unknown(word),
        ("/save" | "/load", _) => Typed::Unknown(word),
        _ => Typed::Message(text),
    }
}

/// Talks until the user leaves. `first` is answered before anything is typed.
pub(crate) fn talk(
    printer: &Printer,
    conversation: &mut Conversation<'_>,
    request: &mut GenerateRequest,
    mut chat: Chat,
    first: Option<String>,
) -> Result<()> {
    let mut editor = rustyline::DefaultEditor::new().map_err(|e| Error::request(format!("a chat needs a terminal: {e}")))?;
    let system = chat.messages.clone();
    printer.note("type a message; /help shows what else");
    let mut waiting = first;
    loop {
        let text = match waiting.take() {
            Some(text) => text,
            None => match message(&mut editor)? {
                Some(text) => text,
                None => return Ok(()),
            },
        };
        match understand(&text) {
            Typed::Nothing => {}
            Typed::Clear => chat.messages.clone_from(&system),
            Typed::Help => printer.note(HELP),
            Typed::Unknown(word) => printer.note(&format!("{word} is no command, or wants a file; /help shows all")),
            Typed::Save(path) => report(printer, save(&chat, path)),
            Typed::Load(path) => report(printer, load(path).map(|messages| chat.messages = messages)),
            Typed::Message(message) => {
                chat.push("user", message);
                answer(printer, conversation, request, &mut chat)?;
            }
        }
    }
}

/// Generates the answer to the last message. A mistake of this turn is said, and the message taken back.
fn answer(printer: &Printer, conversation: &mut Conversation<'_>, request: &mut GenerateRequest, chat: &mut Chat) -> Result<()> {
    forget_interrupt();
    request.prompt = Prompt::Chat(chat.clone());
    let reply = stream(printer, |events| conversation.reply(request, &interrupted, events));
    forget_interrupt();
    match reply {
        Ok(reply) => {
            if printer.level > Level::Normal {
                finish(printer, &reply, conversation.seed());
            }
            if reply.stop.reason == "context" {
                printer.note("the context is full; /clear begins anew, --context-shift goes on");
            }
            chat.push("assistant", &reply.text);
            Ok(())
        }
        Err(error) if error.kind() == gravure::ErrorKind::Bug => Err(error),
        Err(error) => {
            chat.messages.pop();
            printer.error(&error);
            Ok(())
        }
    }
}

/// What the user types until a line without a backslash at its end; `None` at the end of input.
fn message(editor: &mut rustyline::DefaultEditor) -> Result<Option<String>> {
    let mut text = String::new();
    loop {
        match editor.readline(if text.is_empty() { "> " } else { ". " }) {
            Ok(line) => match line.strip_suffix('\\') {
                Some(more) => {
                    text += more;
                    text.push('\n');
                }
                None => {
                    text += &line;
                    // History is a convenience.
                    let _ = editor.add_history_entry(text.as_str());
                    return Ok(Some(text));
                }
            },
            Err(ReadlineError::Interrupted) => text.clear(),
            Err(ReadlineError::Eof) => return Ok(None),
            Err(error) => return Err(Error::new(gravure::ErrorKind::Environment, format!("cannot read from the terminal: {error}"))),
        }
    }
}

fn report(printer: &Printer, result: Result<()>) {
    match result {
        Ok(()) => printer.note("done"),
        Err(error) => printer.error(&error),
    }
}

fn save(chat: &Chat, path: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(&chat.messages).map_err(|e| Error::bug(format!("cannot write JSON: {e}")))?;
    std::fs::write(path, text + "\n").map_err(|e| Error::io("write the messages", path, e))
}

fn load(path: &Path) -> Result<Vec<serde_json::Value>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the messages", path, e))?;
    let messages: Vec<serde_json::Value> =
        serde_json::from_str(&text).map_err(|e| Error::input(format!("holds no messages: {e}")).in_file(path))?;
    match messages.iter().position(|m| m.get("role").and_then(serde_json::Value::as_str).is_none()) {
        Some(index) => Err(Error::input(format!("message {index} has no role")).in_file(path)),
        None => Ok(messages),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_messages() {
        let cases = [
            ("", Typed::Nothing),
            ("  hello there ", Typed::Message("hello there")),
            ("/clear", Typed::Clear),
            ("/help", Typed::Help),
            ("/save a b.json", Typed::Save(Path::new("a b.json"))),
            ("/load x", Typed::Load(Path::new("x"))),
            ("/save", Typed::Unknown("/save")),
            ("/quit", Typed::Unknown("/quit")),
            ("/etc/passwd", Typed::Message("/etc/passwd")),
            ("/clear the table", Typed::Message("/clear the table")),
            ("first\nsecond", Typed::Message("first\nsecond")),
        ];
        for (text, expected) in cases {
            assert_eq!(understand(text), expected, "{text:?}");
        }
    }

    #[test]
    fn messages_come_back_from_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.json");
        let mut chat = Chat::default();
        chat.push("user", "a\nb \"c\"");
        save(&chat, &path).unwrap();
        assert_eq!(load(&path).unwrap(), chat.messages);
        for text in ["", "{}", "[{\"content\": 1}]", "[1]"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(load(&path).unwrap_err().kind(), gravure::ErrorKind::Input, "{text:?}");
        }
    }
}
