//! One opaque error for the whole workspace: what is wrong, where, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Who can fix it. Decides the exit code of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request cannot be meant: an unknown type, contradicting options.
    Request,
    /// The input is malformed, inconsistent, or not what it claims to be.
    Input,
    /// The input is well-formed, but uses something that this build does not know.
    Unsupported,
    /// A named file or folder does not exist.
    NotFound,
    /// A resource limit would be exceeded.
    Limit,
    /// The machine refused: disk full, permission, I/O error.
    Environment,
    /// A quality gate failed.
    Gate,
    /// The user asked to stop.
    Interrupted,
    /// A broken invariant of ours.
    Bug,
}

impl ErrorKind {
    /// The process exit code, after BSD `sysexits.h`.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Gate => 1,
            Self::Request => 64,
            Self::Input => 65,
            Self::NotFound => 66,
            Self::Unsupported => 69,
            Self::Bug => 70,
            Self::Limit => 73,
            Self::Environment => 74,
            Self::Interrupted => 130,
        }
    }

    /// A stable lower-case word for JSON output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Input => "input",
            Self::Unsupported => "unsupported",
            Self::NotFound => "not_found",
            Self::Limit => "limit",
            Self::Environment => "environment",
            Self::Gate => "gate",
            Self::Interrupted => "interrupted",
            Self::Bug => "bug",
        }
    }
}

#[derive(Debug, Default)]
struct Location {
    file: Option<PathBuf>,
    item: Option<String>,
    offset: Option<u64>,
}

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    location: Location,
    help: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// An error that says what is wrong, where (file, tensor or key, byte offset), and what to do.
#[derive(Debug)]
pub struct Error(Box<Inner>);

impl Error {
    /// A new error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), location: Location::default(), help: None, source: None }))
    }

    /// Malformed input.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Input, message)
    }

    /// A request that cannot be meant.
    pub fn request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Request, message)
    }

    /// Well-formed input that this build does not know.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// A limit that would be exceeded.
    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Limit, message)
    }

    /// A broken invariant of ours.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Bug, message)
    }

    /// An operating-system error while doing `what` to `path`.
    pub fn io(what: &str, path: &Path, error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::UnexpectedEof => ErrorKind::Input,
            _ => ErrorKind::Environment,
        };
        let message = match error.kind() {
            std::io::ErrorKind::StorageFull => format!("cannot {what}: the disk is full"),
            std::io::ErrorKind::NotFound => format!("cannot {what}: no such file or folder"),
            std::io::ErrorKind::UnexpectedEof => format!("cannot {what}: the file is shorter than it should be"),
            std::io::ErrorKind::PermissionDenied => format!("cannot {what}: permission denied"),
            _ => format!("cannot {what}: {error}"),
        };
        Self::new(kind, message).in_file(path).caused_by(error)
    }

    /// Adds the file, unless one is already named.
    #[must_use]
    pub fn in_file(mut self, path: impl AsRef<Path>) -> Self {
        self.0.location.file.get_or_insert_with(|| path.as_ref().to_owned());
        self
    }

    /// Adds the tensor, key, node or other item, unless one is already named.
    #[must_use]
    pub fn at_item(mut self, item: impl Into<String>) -> Self {
        self.0.location.item.get_or_insert_with(|| item.into());
        self
    }

    /// Names the item as `better` does, where it knows a better name.
    #[must_use]
    pub fn renamed(mut self, better: impl FnOnce(&str) -> Option<String>) -> Self {
        if let Some(name) = self.0.location.item.as_deref().and_then(better) {
            self.0.location.item = Some(name);
        }
        self
    }

    /// Adds the byte offset, unless one is already named.
    #[must_use]
    pub fn at_offset(mut self, offset: u64) -> Self {
        self.0.location.offset.get_or_insert(offset);
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Adds the underlying error.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    /// Who can fix it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The file concerned.
    pub fn file(&self) -> Option<&Path> {
        self.0.location.file.as_deref()
    }

    /// The tensor, key or node concerned.
    pub fn item(&self) -> Option<&str> {
        self.0.location.item.as_deref()
    }

    /// The byte offset concerned.
    pub fn offset(&self) -> Option<u64> {
        self.0.location.offset
    }

    /// What to do about it.
    pub fn help_text(&self) -> Option<&str> {
        self.0.help.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0.message))?;
        if let Some(item) = &self.0.location.item {
            write!(f, "\n  at: {}", printable(item))?;
        }
        if let Some(file) = &self.0.location.file {
            write!(f, "\n  in: {}", printable(&file.display().to_string()))?;
            if let Some(offset) = self.0.location.offset {
                write!(f, ", byte {offset}")?;
            }
        } else if let Some(offset) = self.0.location.offset {
            write!(f, "\n  at byte {offset}")?;
        }
        if let Some(help) = &self.0.help {
            write!(f, "\n  help: {}", printable(help))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

/// Hostile names reach the terminal through messages: control characters are shown, not obeyed.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escape = c.is_control() && c != '\n';
            let shown: Vec<char> = if escape { c.escape_default().collect() } else { vec![c] };
            shown
        })
        .collect()
}

/// Adds a place to the error of a result.
pub trait ResultExt<T> {
    /// Adds the file.
    fn in_file(self, path: impl AsRef<Path>) -> Result<T>;
    /// Adds the item; the name is only made when there is an error.
    fn at_item<S: Into<String>>(self, item: impl FnOnce() -> S) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn in_file(self, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|e| e.in_file(path))
    }

    fn at_item<S: Into<String>>(self, item: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| e.at_item(item()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_where_and_what_to_do() {
        let e = Error::input("bad magic").in_file("a\u{1b}.gguf").at_offset(4).at_item("header").help("get it again");
        assert_eq!(e.to_string(), "bad magic\n  at: header\n  in: a\\u{1b}.gguf, byte 4\n  help: get it again");
        assert_eq!(e.kind().exit_code(), 65);
    }

    #[test]
    fn the_first_place_named_wins() {
        let e = Error::input("x").at_item("inner").at_item("outer");
        assert_eq!(e.item(), Some("inner"));
    }
}
