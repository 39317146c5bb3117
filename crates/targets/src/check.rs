//! What types cannot say: names that must exist, numbers that must be possible, figures that must be sourced.

use gravure_base::{Error, Result};
use gravure_core::values::{Backend, Figure, RuntimeProfile, Target};

pub(crate) fn target(target: &Target, runtimes: &[RuntimeProfile]) -> Result<()> {
    name(&target.id, "id")?;
    for (text, key) in [(&target.name, "name"), (&target.doc, "doc"), (&target.class, "class")] {
        filled(text, key)?;
    }
    amount(&target.memory.total_bytes, "memory.total_bytes")?;
    amount(&target.memory.usable_bytes, "memory.usable_bytes")?;
    if target.memory.usable_bytes.value > target.memory.total_bytes.value {
        return Err(Error::input("is more than memory.total_bytes").at_item("memory.usable_bytes"));
    }
    if target.units.is_empty() {
        return Err(Error::input("a target needs a unit that computes").at_item("units"));
    }
    for (i, unit) in target.units.iter().enumerate() {
        name(&unit.id, "units.id")?;
        if target.units[..i].iter().any(|u| u.id == unit.id) {
            return Err(Error::input(format!("the unit `{}` is there twice", unit.id)).at_item("units"));
        }
        let key = |what: &str| format!("units.{}.{what}", unit.id);
        filled(&unit.name, &key("name"))?;
        amount(&unit.bandwidth, &key("bandwidth"))?;
        amount(&unit.watts, &key("watts"))?;
        for (kind, figure) in &unit.operations {
            amount(figure, &key(&format!("operations.{}", kind.name())))?;
        }
    }
    if target.runtimes.is_empty() {
        return Err(Error::input("a target needs a runtime").at_item("runtimes"));
    }
    for deployment in &target.runtimes {
        let key = format!("runtimes.{}", deployment.runtime);
        let profile = runtimes.iter().find(|r| r.id == deployment.runtime).ok_or_else(|| {
            let known: Vec<_> = runtimes.iter().map(|r| r.id.as_str()).collect();
            Error::input(format!("unknown runtime; known are {}", known.join(", "))).at_item(&*key)
        })?;
        let backend = profile.backend(&deployment.backend).ok_or_else(|| {
            let known: Vec<_> = profile.backends.iter().map(|b| b.id.as_str()).collect();
            Error::input(format!("has no backend `{}`; known are {}", deployment.backend, known.join(", "))).at_item(&*key)
        })?;
        let unit = target.unit(&deployment.unit).ok_or_else(|| {
            let known: Vec<_> = target.units.iter().map(|u| u.id.as_str()).collect();
            Error::input(format!("runs on a unit `{}` that the target lacks; it has {}", deployment.unit, known.join(", "))).at_item(&*key)
        })?;
        for kind in [backend.quantized_products, backend.float_products] {
            if !unit.operations.contains_key(&kind) {
                let message = format!("multiplies in {}, and the unit `{}` does not say how fast it does", kind.name(), unit.id);
                return Err(Error::input(message).at_item(&*key));
            }
        }
        filled(&deployment.reason, &format!("{key}.reason"))?;
        for (figure, what) in [(&deployment.decode_efficiency, "decode"), (&deployment.prefill_efficiency, "prefill")] {
            if let Some(figure) = figure {
                share(figure, &format!("{key}.{what}_efficiency"))?;
            }
        }
        for (encoding, figure) in &deployment.decode_efficiency_of {
            share(figure, &format!("{key}.decode_efficiency_of.{encoding}"))?;
        }
    }
    Ok(())
}

pub(crate) fn runtime(profile: &RuntimeProfile) -> Result<()> {
    name(&profile.id, "id")?;
    name(&profile.format, "format")?;
    for (text, key) in [(&profile.name, "name"), (&profile.doc, "doc"), (&profile.converter, "converter")] {
        filled(text, key)?;
    }
    amount(&profile.overhead_bytes, "overhead_bytes")?;
    if let Some(figure) = &profile.vocabulary_bytes {
        amount(figure, "vocabulary_bytes")?;
    }
    if profile.ladder.is_empty() && profile.precisions.is_empty() {
        return Err(Error::input("a runtime needs a ladder or precisions").at_item("ladder"));
    }
    if !profile.ladder.is_empty() && profile.ladder_source.as_ref().is_none_or(|s| s.trim().is_empty()) {
        return Err(Error::input("the order of the ladder needs a source").at_item("ladder_source"));
    }
    for precision in &profile.precisions {
        let bits = [Some(precision.bits_per_weight), precision.embedding_bits_per_weight, Some(precision.vector_bits)];
        if bits.iter().flatten().any(|b| !(0.5..=64.0).contains(b)) {
            return Err(Error::input("bits are between 0.5 and 64").at_item(format!("precisions.{}", precision.id)));
        }
    }
    profile.backends.iter().enumerate().try_for_each(|(i, b)| backend(profile, i, b))
}

fn backend(profile: &RuntimeProfile, index: usize, backend: &Backend) -> Result<()> {
    let key = |what: &str| format!("backends.{}.{what}", backend.id);
    if profile.backends[..index].iter().any(|b| b.id == backend.id) {
        return Err(Error::input(format!("the backend `{}` is there twice", backend.id)).at_item("backends"));
    }
    for (text, what) in [(&backend.doc, "doc"), (&backend.fallback, "fallback"), (&backend.source, "source")] {
        filled(text, &key(what))?;
    }
    share(&backend.decode_efficiency, &key("decode_efficiency"))?;
    share(&backend.prefill_efficiency, &key("prefill_efficiency"))?;
    amount(&backend.fallback_slowdown, &key("fallback_slowdown"))?;
    if let Some(figure) = &backend.layer_seconds {
        amount(figure, &key("layer_seconds"))?;
    }
    if let Some(figure) = &backend.largest_bytes {
        amount(figure, &key("largest_bytes"))?;
    }
    if let Some(unread) = backend.accelerated.iter().find(|id| !profile.encodings.contains(id)) {
        return Err(Error::input(format!("`{unread}` is not among the encodings that the runtime reads")).at_item(key("accelerated")));
    }
    let rungs = || profile.ladder.iter().chain(profile.precisions.iter().map(|p| &p.id));
    match backend.ladder.iter().find(|id| !rungs().any(|r| r == *id)) {
        Some(unknown) => {
            Err(Error::input(format!("`{unknown}` is neither on the runtime's ladder nor a precision")).at_item(key("ladder")))
        }
        None => Ok(()),
    }
}

/// Names are what users type: lower case, digits, `-`, `.`, `_`.
fn name(text: &str, key: &str) -> Result<()> {
    let good = !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c));
    if good { Ok(()) } else { Err(Error::input(format!("`{text}` is no name: lower-case letters, digits, `-`, `.` and `_`")).at_item(key)) }
}

fn filled(text: &str, key: &str) -> Result<()> {
    if text.trim().is_empty() { Err(Error::input("is empty").at_item(key)) } else { Ok(()) }
}

/// A positive number with its source.
fn amount(figure: &Figure, key: &str) -> Result<()> {
    if !(figure.value.is_finite() && figure.value > 0.0 && figure.value < 1e18) {
        return Err(Error::input(format!("{} is no positive number below 1e18", figure.value)).at_item(key));
    }
    sourced(figure, key)
}

/// A number between 0 and 1 with its source.
fn share(figure: &Figure, key: &str) -> Result<()> {
    if !(figure.value > 0.0 && figure.value <= 1.0) {
        return Err(Error::input(format!("{} is no share: more than 0, at most 1", figure.value)).at_item(key));
    }
    sourced(figure, key)
}

fn sourced(figure: &Figure, key: &str) -> Result<()> {
    let said = |text: &Option<String>| text.as_ref().is_some_and(|t| !t.trim().is_empty());
    match figure.estimated {
        true if said(&figure.reasoning) => Ok(()),
        true => Err(Error::input("an estimate needs its `reasoning`").at_item(key)),
        false if said(&figure.source) => Ok(()),
        false => Err(Error::input("a figure needs its `source`, or `estimated = true` and `reasoning`").at_item(key)),
    }
}
