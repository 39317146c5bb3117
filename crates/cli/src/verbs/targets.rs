//! `gravure targets [ID]`: the devices that are known, or all about one of them.

use std::process::ExitCode;

use gravure::{Error, Figure, Measuring, Result, RuntimeProfile, Target, find_target, runtime_profile, target_file, targets};
use serde::Serialize;

use crate::printer::{Printer, Table, bytes};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Target: an id, `host` for this machine, or the path of a TOML file; all where it is left out
    target: Option<String>,
    /// Print the target's file, to begin one of your own with
    #[arg(long, requires = "target")]
    toml: bool,
    /// Time the memory and the products of this machine (`host`), some seconds
    #[arg(long, requires = "target")]
    measure: bool,
}

/// All about one target: its file, and the profiles of its runtimes.
#[derive(Serialize)]
struct Details<'a> {
    target: &'a Target,
    profiles: Vec<&'static RuntimeProfile>,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let Some(name) = &args.target else {
        let all = targets()?;
        if printer.json {
            printer.json(&all)?;
        } else {
            printer.result(&format!("{}\n`gravure targets ID` tells all about one, with the sources of its figures", table(all)));
        }
        return Ok(ExitCode::SUCCESS);
    };
    let measuring = if args.measure { Measuring::Measure } else { Measuring::Estimate };
    let target = find_target(name, measuring, printer.threads)?;
    if args.toml {
        let made = || toml::to_string(&target).map_err(|e| Error::bug(format!("the target cannot be printed: {e}")));
        printer.result(&target_file(&target.id).map_or_else(made, |text| Ok(text.to_owned()))?);
        return Ok(ExitCode::SUCCESS);
    }
    let profiles = profiles(&target)?;
    if printer.json {
        printer.json(&Details { target: &target, profiles })?;
    } else {
        printer.result(&details(&target, &profiles));
    }
    Ok(ExitCode::SUCCESS)
}

/// The profiles of a target's runtimes, each once, in order.
fn profiles(target: &Target) -> Result<Vec<&'static RuntimeProfile>> {
    let mut all: Vec<&'static RuntimeProfile> = Vec::new();
    for deployment in &target.runtimes {
        let profile = runtime_profile(&deployment.runtime)?;
        if !all.iter().any(|p| p.id == profile.id) {
            all.push(profile);
        }
    }
    Ok(all)
}

/// Every target in a line. A `~` marks an estimate.
fn table(targets: &[Target]) -> String {
    let mut table = Table::new(&["target", "device", ">memory", ">usable", ">bandwidth", "units", ">watts", "runtimes in order"]);
    for target in targets {
        let fastest = target.units.iter().max_by(|a, b| a.bandwidth.value.total_cmp(&b.bandwidth.value));
        let first = &target.units[0];
        let mut runtimes: Vec<&str> = target.runtimes.iter().map(|d| d.runtime.as_str()).collect();
        runtimes.dedup();
        table.row([
            target.id.clone(),
            target.name.clone(),
            gib(&target.memory.total_bytes),
            gib(&target.memory.usable_bytes),
            fastest.map(|u| rate(&u.bandwidth, "B/s")).unwrap_or_default(),
            target.units.iter().map(|u| u.id.as_str()).collect::<Vec<_>>().join(" "),
            shown(&first.watts, |w| format!("{w:.0}")),
            runtimes.join(", "),
        ]);
    }
    table.to_string()
}

fn details(target: &Target, profiles: &[&'static RuntimeProfile]) -> String {
    let mut text = format!("{}: {}\n{}\n", target.id, target.name, target.doc);
    for (what, list) in [("instructions", &target.isa), ("alignment", &target.alignment), ("note", &target.notes)] {
        if !list.is_empty() {
            text += &format!("{what}: {}\n", list.join("; "));
        }
    }
    let mut figures = Table::new(&["figure", ">value", "from"]);
    let mut row = |name: String, value: String, figure: &Figure| figures.row([name, value, origin(figure)]);
    row("memory".into(), gib(&target.memory.total_bytes), &target.memory.total_bytes);
    row("usable memory".into(), gib(&target.memory.usable_bytes), &target.memory.usable_bytes);
    for unit in &target.units {
        row(format!("{} bandwidth", unit.id), rate(&unit.bandwidth, "B/s"), &unit.bandwidth);
        for (kind, figure) in &unit.operations {
            row(format!("{} {}", unit.id, kind.name()), rate(figure, "OP/s"), figure);
        }
        row(format!("{} power", unit.id), shown(&unit.watts, |w| format!("{w:.1} W")), &unit.watts);
    }
    text += &format!("\n{figures}");
    for unit in &target.units {
        text += &format!("{}: {}\n", unit.id, unit.name);
    }
    let mut runtimes = Table::new(&["runtime", "unit", "format", ">decode", ">prefill", "why"]);
    let mut encodings = String::new();
    for deployment in &target.runtimes {
        let Some(profile) = profiles.iter().find(|p| p.id == deployment.runtime) else { continue };
        let Some(backend) = profile.backend(&deployment.backend) else { continue };
        let percent = |f: &Figure| shown(f, |v| format!("{:.0} %", v * 100.0));
        runtimes.row([
            format!("{} ({})", profile.name, backend.id),
            deployment.unit.clone(),
            profile.format.clone(),
            percent(deployment.decode_efficiency.as_ref().unwrap_or(&backend.decode_efficiency)),
            percent(deployment.prefill_efficiency.as_ref().unwrap_or(&backend.prefill_efficiency)),
            deployment.reason.clone(),
        ]);
        let others: Vec<&str> = profile.encodings.iter().filter(|e| !backend.accelerated.contains(e)).map(String::as_str).collect();
        encodings += &format!("\n{} ({}): {}\n", profile.name, backend.id, backend.doc);
        encodings += &format!("  accelerated: {}\n", or_none(&backend.accelerated.join(" ")));
        if !others.is_empty() {
            encodings += &format!("  supported:   {} ({})\n", others.join(" "), backend.fallback);
        }
        if !profile.precisions.is_empty() {
            let ids = profile
                .precisions
                .iter()
                .map(|p| p.id.as_str())
                .filter(|id| backend.ladder.is_empty() || backend.ladder.iter().any(|l| l == id));
            encodings += &format!("  precisions:  {}\n", or_none(&ids.collect::<Vec<_>>().join(" ")));
        }
        for fallback in &backend.fallback_ops {
            encodings += &format!("  {}: {}\n", fallback.op, fallback.instead);
        }
        if let Some(largest) = &backend.largest_bytes {
            encodings += &format!("  at most {} ({})\n", bytes(largest.value as u64), origin(largest));
        }
    }
    format!("{text}\n{runtimes}{encodings}")
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// A figure in its own words, `~` before an estimate.
fn shown(figure: &Figure, words: impl Fn(f64) -> String) -> String {
    format!("{}{}", if figure.estimated { "~" } else { "" }, words(figure.value))
}

fn gib(figure: &Figure) -> String {
    shown(figure, |v| format!("{:.1} GB", v / 1e9))
}

/// Something in a second, with the prefix that suits it.
fn rate(figure: &Figure, unit: &str) -> String {
    shown(figure, |v| if v >= 1e12 { format!("{:.2} T{unit}", v / 1e12) } else { format!("{:.1} G{unit}", v / 1e9) })
}

fn origin(figure: &Figure) -> String {
    let reasoning = figure.reasoning.as_ref().map(|r| format!("estimated: {r}"));
    [reasoning, figure.source.clone()].into_iter().flatten().collect::<Vec<_>>().join("; ")
}
