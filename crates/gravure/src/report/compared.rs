//! The page of a comparison.

use std::fmt::Write as _;

use super::bitmap::{Cell, grid, ramp, range};
use super::html::{Page, bytes, escape, table, tiles};
use super::optimized::{millions, percent, shell, worst};
use super::plot::{Kind, Plot, Point};
use crate::compare::{Compared, ComparedArtifact};

/// The whole page.
pub(crate) fn comparison_page(done: &Compared) -> String {
    let reference = &done.reference.artifact;
    let title = match done.artifacts.as_slice() {
        [one] => format!("{} against {}", one.name, reference.name),
        all => format!("{} artifacts against {}", all.len(), reference.name),
    };
    let lead = format!(
        "{} weights, {}; compared by Gravure {}",
        millions(reference.parameters),
        reference.architecture.as_deref().unwrap_or("architecture unknown"),
        done.gravure
    );
    let mut page = Page::new(&title, &lead);
    let problems: Vec<String> = done.all().filter_map(|a| Some(format!("{}: {}", a.name, a.problem.as_ref()?))).collect();
    if !problems.is_empty() {
        page.raw(&format!("<p class=\"verdict bad\">Not measured in full: {}</p>", escape(&problems.join("; "))));
    }
    page.raw(&tiles(&headline(done)));
    page.section(
        "Size against quality",
        "Divergence from the reference on the evaluation text; bars are one standard error. The line joins those that no other beats in \
         both.",
        &plot(done).svg(),
    );
    page.section("Side by side", "Perplexity, divergence and agreement with their standard errors.", &side_by_side(done));
    let work = at_work(done);
    if !work.is_empty() {
        let positions = done.all().find_map(|a| a.positions).unwrap_or_default();
        let note = format!("On this machine, medians. Memory is of the weights and of the keys and values at {positions} positions.");
        page.section("Speed and memory", &note, &work);
    }
    page.section("Loss in detail", "", &details(done));
    page.section(
        "Bits by layer",
        "Each cell is one tensor: bits for each of its weights, in one scale for all. Hover for its name and bytes.",
        &maps(done),
    );
    page.section("Worst tokens", "Where each is furthest from the reference: the token that followed is marked.", &worst_tokens(done));
    page.section("How it was measured", "", &provenance(done));
    page.raw("<footer>Made by gravure compare. This page holds no script and fetches nothing.</footer>");
    page.finish()
}

/// The smallest, the nearest and the fastest of those that are compared.
fn headline(done: &Compared) -> Vec<(&'static str, String, String)> {
    let reference = &done.reference.artifact;
    let mut all =
        vec![("reference", reference.name.clone(), format!("{}, {:.2} bits", bytes(reference.file_bytes), reference.bits_per_weight))];
    if let Some(least) = done.artifacts.iter().min_by_key(|a| a.file_bytes) {
        let times = reference.tensor_bytes as f64 / least.tensor_bytes.max(1) as f64;
        all.push(("smallest", least.name.clone(), format!("{}, tensors {times:.2} times smaller", bytes(least.file_bytes))));
    }
    let loss = |a: &&ComparedArtifact| a.kl_divergence().map_or(f64::INFINITY, |m| m.value);
    if let Some(near) = done.artifacts.iter().filter(|a| a.kl_divergence().is_some()).min_by(|a, b| loss(a).total_cmp(&loss(b))) {
        all.push(("nearest", near.name.clone(), format!("{:.5} nats", loss(&near))));
    }
    let speed = |a: &&ComparedArtifact| a.speeds().1.unwrap_or(0.0);
    if let Some(fast) = done.artifacts.iter().filter(|a| a.speeds().1.is_some()).max_by(|a, b| speed(a).total_cmp(&speed(b))) {
        let times = reference.speeds().1.map_or_else(String::new, |own| format!(", {:.2} times the reference", speed(&fast) / own));
        all.push(("fastest here", fast.name.clone(), format!("{:.1} tok/s{times}", speed(&fast))));
    }
    all
}

fn plot(done: &Compared) -> Plot {
    let mut points = Vec::new();
    let mut front: Vec<(f64, f64)> = Vec::new();
    for artifact in done.all() {
        let is_reference = std::ptr::eq(artifact, &done.reference.artifact);
        let (loss, stderr) = match artifact.kl_divergence() {
            Some(m) => (m.value, m.stderr),
            None if is_reference => (0.0, 0.0),
            None => continue,
        };
        let at = artifact.tensor_bytes as f64;
        if artifact.on_front {
            front.push((at, loss));
        }
        let kind = if artifact.on_front { Kind::Result } else { Kind::Measured };
        points.push(Point { bytes: at, loss, stderr, label: artifact.name.clone(), kind });
    }
    front.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut legend = vec![(Kind::Result, "nothing is smaller and nearer")];
    if points.iter().any(|p| p.kind == Kind::Measured) {
        legend.push((Kind::Measured, "another is both"));
    }
    Plot { frontier: front, line: "best of these", points, legend, limit: None }
}

fn side_by_side(done: &Compared) -> String {
    let heads = ["", "format", ">file", ">bits", ">perplexity", ">KL divergence", ">top-1", ""];
    let row = |a: &ComparedArtifact| {
        let e = a.evaluation.as_ref();
        let c = e.and_then(|e| e.comparison.as_ref());
        let mut remarks = Vec::new();
        if std::ptr::eq(a, &done.reference.artifact) {
            remarks.push("reference");
        }
        match a.certificate_holds {
            Some(true) => remarks.push("certificate holds"),
            Some(false) => remarks.push("certificate BROKEN"),
            None => {}
        }
        let place = e.filter(|e| e.reference_runtime.as_ref().is_some_and(|r| *r != e.runtime)).map(|e| format!("in {}", e.runtime));
        remarks.extend(place.as_deref());
        vec![
            a.name.clone(),
            a.format.to_owned(),
            bytes(a.file_bytes),
            format!("{:.3}", a.bits_per_weight),
            e.map_or_else(none, |e| format!("{:.4} ± {:.4}", e.perplexity.value, e.perplexity.stderr)),
            c.map_or_else(none, |c| format!("{:.6} ± {:.6}", c.kl_divergence.value, c.kl_divergence.stderr)),
            c.map_or_else(none, |c| format!("{} ± {}", percent(c.top1_agreement.value), percent(c.top1_agreement.stderr))),
            remarks.join(", "),
        ]
    };
    table(&heads, &done.all().map(row).collect::<Vec<_>>())
}

/// Empty where nothing was timed.
fn at_work(done: &Compared) -> String {
    let energy = done.all().any(|a| a.at_work.as_ref().is_some_and(|w| w.speed.joules_per_token.is_some()));
    let mut heads = vec!["", ">prefill, tok/s", ">decode, tok/s", ">a token, median / 95 %", ">first token", ">weights", ">memory"];
    heads.extend(energy.then_some(">energy of a token"));
    let row = |a: &ComparedArtifact| {
        let work = a.at_work.as_ref()?;
        let (prefill, decode) = a.speeds();
        let rate = |r: Option<f64>| r.map_or_else(none, |r| format!("{r:.1}"));
        let speed = &work.speed;
        let mut cells = vec![
            a.name.clone(),
            rate(prefill),
            rate(decode),
            speed.token_milliseconds.as_ref().map_or_else(none, |s| format!("{:.2} / {:.2} ms", s.median, s.p95)),
            speed.first_token_milliseconds.as_ref().map_or_else(none, |s| format!("{:.2} ms", s.median)),
            bytes(work.weight_bytes),
            bytes(work.memory_bytes),
        ];
        cells.extend(energy.then(|| speed.joules_per_token.map_or_else(none, |j| format!("{j:.4} J"))));
        Some(cells)
    };
    let rows: Vec<_> = done.all().filter_map(row).collect();
    if rows.is_empty() { String::new() } else { table(&heads, &rows) }
}

fn none() -> String {
    "-".to_owned()
}

fn details(done: &Compared) -> String {
    let heads = ["", ">perplexity ratio, paired", ">KL median", ">KL 99 %", ">KL largest", "encodings"];
    let row = |a: &ComparedArtifact| {
        let c = a.evaluation.as_ref().and_then(|e| e.comparison.as_ref());
        let encodings: Vec<_> = a.encodings.iter().map(|(encoding, n)| format!("{n} {encoding}")).collect();
        vec![
            a.name.clone(),
            c.map_or_else(none, |c| format!("{:.5} ± {:.5}", c.perplexity_ratio.value, c.perplexity_ratio.stderr)),
            c.map_or_else(none, |c| format!("{:.6}", c.kl_divergence_median)),
            c.map_or_else(none, |c| format!("{:.5}", c.kl_divergence_p99)),
            c.map_or_else(none, |c| format!("{:.4}", c.kl_divergence_max)),
            encodings.join(", "),
        ]
    };
    table(&heads, &done.all().map(row).collect::<Vec<_>>())
}

fn cells(artifact: &ComparedArtifact) -> Vec<Cell<'_>> {
    let matrices = artifact.tensors.iter().filter(|t| t.matrix);
    matrices
        .map(|t| Cell {
            name: &t.tensor,
            family: &t.family,
            layer: t.layer,
            encoding: &t.encoding,
            bits: t.bits_per_weight,
            bytes: t.bytes,
        })
        .collect()
}

/// One map for each artifact; the reference's own is not drawn where all its matrices are alike.
fn maps(done: &Compared) -> String {
    let of_all: Vec<(&ComparedArtifact, Vec<Cell<'_>>)> = done.all().map(|a| (a, cells(a))).collect();
    let drawn = || of_all.iter().filter(|(a, cells)| !std::ptr::eq(*a, &done.reference.artifact) || !is_even(cells));
    let scale = range(drawn().flat_map(|(_, cells)| cells));
    let mut out = String::new();
    for (artifact, cells) in drawn() {
        let _ = write!(out, "<h3>{}: {:.3} bits</h3>{}", escape(&artifact.name), artifact.bits_per_weight, grid(cells, scale));
    }
    out + &scale.map_or_else(String::new, ramp)
}

fn is_even(cells: &[Cell<'_>]) -> bool {
    range(cells).is_none_or(|(low, high)| low >= high)
}

fn worst_tokens(done: &Compared) -> String {
    let mut out = String::new();
    for artifact in &done.artifacts {
        let Some(evaluation) = artifact.evaluation.as_ref().filter(|e| !e.worst.is_empty()) else { continue };
        let _ = write!(out, "<details open><summary>{}</summary>{}</details>", escape(&artifact.name), worst(&evaluation.worst));
    }
    out
}

fn provenance(done: &Compared) -> String {
    let d = &done.data;
    let mut rows = vec![vec!["text".to_owned(), format!("{}, {} windows of {}, sha256 {}", d.name, d.windows, d.context, d.sha256)]];
    rows.push(vec!["reference".into(), format!("{}: {}", done.reference.artifact.name, done.reference.chosen)]);
    rows.extend(done.all().map(|a| vec![a.name.clone(), format!("{}, tensors' sha256 {}", a.path.display(), a.tensors_sha256)]));
    rows.extend(done.environment.iter().map(|(name, found)| vec![name.clone(), found.clone()]));
    let stages: Vec<String> = done.stages.iter().map(|s| format!("{} {:.1} s", s.name, s.seconds)).collect();
    rows.push(vec!["time".into(), stages.join(", ")]);
    let mut out = table(&["", ""], &rows);
    if !done.command.is_empty() {
        let _ = write!(out, "<h3>Command</h3><pre>{}</pre>", escape(&shell(&done.command)));
    }
    out
}
