//! From text to a checked value; errors say the line.

use std::path::Path;
use std::sync::OnceLock;

use gravure_base::{Error, Result, ResultExt};
use gravure_core::values::{RuntimeProfile, Target};
use serde::de::DeserializeOwned;

use crate::check;
use crate::registry::{DEVICES, RUNTIMES};

/// Longest file that is read: real ones have a few kilobytes.
const LONGEST: u64 = 1 << 20;

/// All runtime profiles of this build, in the order of the registry.
///
/// # Errors
/// `Bug` where a built-in file is broken; the tests of this crate read them all.
pub fn runtimes() -> Result<&'static [RuntimeProfile]> {
    static ALL: OnceLock<Vec<RuntimeProfile>> = OnceLock::new();
    if let Some(all) = ALL.get() {
        return Ok(all);
    }
    let all = RUNTIMES.iter().map(|(id, text)| parse_runtime(text).at_item(|| *id)).collect::<Result<Vec<_>>>()?;
    Ok(ALL.get_or_init(|| all))
}

/// The runtime profile called `id`.
///
/// # Errors
/// `Request`, with the known ones, where there is none.
pub fn runtime(id: &str) -> Result<&'static RuntimeProfile> {
    let all = runtimes()?;
    all.iter().find(|r| r.id == id).ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|r| r.id.as_str()).collect();
        Error::request(format!("unknown runtime `{id}`")).help(format!("known runtimes: {}", known.join(", ")))
    })
}

/// All targets of this build, in the order of the registry.
///
/// # Errors
/// As [`runtimes`].
pub fn targets() -> Result<&'static [Target]> {
    static ALL: OnceLock<Vec<Target>> = OnceLock::new();
    if let Some(all) = ALL.get() {
        return Ok(all);
    }
    let all = DEVICES.iter().map(|(id, text)| parse(text).at_item(|| *id)).collect::<Result<Vec<_>>>()?;
    Ok(ALL.get_or_init(|| all))
}

/// The built-in target called `id`.
///
/// # Errors
/// `Request`, with the nearest names, where there is none.
pub fn target(id: &str) -> Result<&'static Target> {
    let all = targets()?;
    let wanted = id.to_ascii_lowercase();
    all.iter().find(|t| t.id == wanted).ok_or_else(|| {
        let words: Vec<_> = wanted.split(['-', '_', ' ']).filter(|w| w.len() > 1).collect();
        let similar: Vec<_> = all.iter().filter(|t| words.iter().any(|w| t.id.contains(w))).map(|t| t.id.as_str()).collect();
        let help = if similar.is_empty() {
            format!("known targets: {}; or give the path of a TOML file", all.iter().map(|t| t.id.as_str()).collect::<Vec<_>>().join(", "))
        } else {
            format!("did you mean {}? `gravure targets` lists them all", similar.join(", "))
        };
        Error::request(format!("unknown target `{id}`")).help(help)
    })
}

/// A user's own target file.
///
/// # Errors
/// `NotFound` and `Environment` for the file, `Limit` where it is too long, and those of [`parse`].
pub fn read(path: &Path) -> Result<Target> {
    let bytes = std::fs::metadata(path).map_err(|e| Error::io("open the target", path, e))?.len();
    if bytes > LONGEST {
        return Err(Error::limit(format!("a target file of {bytes} bytes is longer than {LONGEST}")).in_file(path));
    }
    let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidData => Error::input("is no text in UTF-8").in_file(path),
        _ => Error::io("read the target", path, e),
    })?;
    parse(&text).map_err(|e| e.in_file(path).help("`gravure targets ID --toml` prints a file to begin with"))
}

/// A target from TOML.
///
/// # Errors
/// `Input` with the line for malformed TOML, an unknown or missing key or an ill-typed value, and with the
/// key for a figure without source, an impossible number, or a name of a unit, runtime or backend that
/// there is not.
pub fn parse(text: &str) -> Result<Target> {
    let target: Target = from_toml(text)?;
    check::target(&target, runtimes()?)?;
    Ok(target)
}

/// A runtime profile from TOML.
///
/// # Errors
/// As [`parse`].
pub fn parse_runtime(text: &str) -> Result<RuntimeProfile> {
    let profile: RuntimeProfile = from_toml(text)?;
    check::runtime(&profile)?;
    Ok(profile)
}

pub(crate) fn from_toml<T: DeserializeOwned>(text: &str) -> Result<T> {
    toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(1, |span| 1 + text.as_bytes().iter().take(span.start).filter(|b| **b == b'\n').count());
        Error::input(format!("line {line}: {}", e.message().trim_end().replace('\n', " ")))
    })
}
