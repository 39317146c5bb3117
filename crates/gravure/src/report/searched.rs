//! The page of one search.

use std::fmt::Write as _;

use super::html::{Page, bytes, escape, table, tiles};
use super::optimized::{millions, percent, shell};
use super::plot::{Kind, Plot, Point};
use crate::search::{FrontMember, Searched, Stopped, TrialLine};

/// The whole page.
pub(crate) fn searched(done: &Searched) -> String {
    let model = &done.plan.model;
    let name = model.path.file_name().map_or_else(|| model.path.display().to_string(), |n| n.to_string_lossy().into_owned());
    let architecture = model.architecture.as_deref().unwrap_or("architecture unknown");
    let lead = format!("{} weights, {architecture}; searched by Gravure {}", millions(model.parameters), done.gravure);
    let mut page = Page::new(&name, &lead);
    let verdict = match done.stopped {
        Stopped::Done => format!("{} trials, {} of which nothing beats.", done.trials.len(), done.front.len()),
        Stopped::TimeLimit => {
            format!("The time was over after {} trials; of these nothing beats {}.", done.trials.len(), done.front.len())
        }
    };
    page.raw(&format!("<p class=\"verdict {}\">{}</p>", if done.stopped == Stopped::Done { "good" } else { "bad" }, escape(&verdict)));
    page.raw(&tiles(&headline(done)));
    let objectives: Vec<&str> = done.plan.objectives.iter().map(|o| o.name()).collect();
    page.section(
        "Size against quality",
        "Filled points are the front: nothing that was tried is better by one objective and no worse by the others. Their divergence is \
         that on all of the evaluation text, where it was measured, with a bar of one standard error; grey points are the other trials.",
        &plot(done).svg(),
    );
    page.section("The front", &format!("By {}, the smallest file first.", objectives.join(", ")), &front(done));
    page.section("Every trial", "", &trials(done));
    page.section("What was searched", "", &space(done));
    page.section("How it was made", "", &provenance(done));
    page.raw("<footer>Made by gravure search. This page holds no script and fetches nothing.</footer>");
    page.finish()
}

fn headline(done: &Searched) -> Vec<(&'static str, String, String)> {
    let mut all = vec![("trials", done.trials.len().to_string(), done.plan.sampler.to_owned())];
    let ends = (done.front.first(), done.front.iter().min_by(|a, b| loss(a).total_cmp(&loss(b))));
    if let (Some(smallest), Some(best)) = ends {
        all.push(("smallest file", bytes(smallest.figures.file_bytes), format!("{:.5} nats", loss(smallest))));
        all.push(("least divergence", format!("{:.5} nats", loss(best)), bytes(best.figures.file_bytes)));
    }
    all.push(("original", bytes(done.plan.model.tensor_bytes), format!("{:.3} bits for each weight", done.plan.model.bits_per_weight)));
    all
}

fn loss(member: &FrontMember) -> f64 {
    member.best_known().kl_divergence
}

fn plot(done: &Searched) -> Plot {
    let others = done.trials.iter().filter(|t| !t.on_front).filter_map(|t| t.figures.as_ref());
    let mut points: Vec<Point> = others
        .map(|f| Point { bytes: f.tensor_bytes as f64, loss: f.kl_divergence, stderr: 0.0, label: String::new(), kind: Kind::Measured })
        .collect();
    points.extend(done.front.iter().map(|m| {
        let f = m.best_known();
        let label = format!("{}", m.trial);
        Point { bytes: f.tensor_bytes as f64, loss: f.kl_divergence, stderr: f.kl_divergence_stderr, label, kind: Kind::Result }
    }));
    // The line goes where size alone is traded for divergence.
    let mut frontier: Vec<(f64, f64)> = Vec::new();
    for member in &done.front {
        let f = member.best_known();
        if frontier.last().is_none_or(|(_, least)| f.kl_divergence < *least) {
            frontier.push((f.tensor_bytes as f64, f.kl_divergence));
        }
    }
    let mut legend = vec![(Kind::Result, "the front, measured")];
    if points.iter().any(|p| p.kind == Kind::Measured) {
        legend.push((Kind::Measured, "other trials"));
    }
    Plot { frontier, line: "least divergence of each size", points, legend, ..Plot::default() }
}

fn speed(milliseconds: Option<f64>) -> String {
    milliseconds.map_or_else(|| "-".into(), |t| format!("{:.1}", 1e3 / t.max(f64::MIN_POSITIVE)))
}

fn front(done: &Searched) -> String {
    let rows: Vec<Vec<String>> = done
        .front
        .iter()
        .map(|m| {
            let f = m.best_known();
            vec![
                m.trial.to_string(),
                m.point.to_string(),
                f.file_bytes.to_string(),
                format!("{:.3}", f.bits_per_weight),
                format!("{:.6} ± {:.6}", f.kl_divergence, f.kl_divergence_stderr),
                percent(f.top1_agreement),
                format!("{:.4}", f.perplexity),
                f.memory_bytes.to_string(),
                speed(m.figures.token_milliseconds),
                f.windows.to_string(),
            ]
        })
        .collect();
    let heads =
        ["trial", "point", ">file, bytes", ">bits", ">KL divergence", ">top-1", ">perplexity", ">memory, bytes", ">tokens/s", ">windows"];
    table(&heads, &rows)
}

fn trials(done: &Searched) -> String {
    let row = |t: &TrialLine| {
        let figure = |of: &dyn Fn(&crate::search::Figures) -> String| t.figures.as_ref().map_or_else(|| "-".into(), of);
        vec![
            t.id.to_string(),
            t.point.to_string(),
            t.windows.to_string(),
            t.why.clone().unwrap_or_else(|| if t.on_front { "on the front".into() } else { t.outcome.to_owned() }),
            figure(&|f| f.file_bytes.to_string()),
            figure(&|f| format!("{:.6}", f.kl_divergence)),
            figure(&|f| speed(f.token_milliseconds)),
            t.sha256.chars().take(12).collect(),
        ]
    };
    let heads = [">trial", "point", ">windows", "outcome", ">file, bytes", ">KL divergence", ">tokens/s", "sha256"];
    format!(
        "<details><summary>{} trials</summary>{}</details>",
        done.trials.len(),
        table(&heads, &done.trials.iter().map(row).collect::<Vec<_>>())
    )
}

fn space(done: &Searched) -> String {
    let rows: Vec<Vec<String>> = done.plan.parameters().map(|(name, values, when)| vec![name, values, when]).collect();
    table(&["parameter", "values", "where"], &rows)
}

fn provenance(done: &Searched) -> String {
    let settings = &done.plan.settings;
    let mut rows = vec![
        vec!["sampler".to_owned(), format!("{}: {}", done.plan.sampler, done.plan.doc)],
        vec!["seed".into(), settings.seed.to_string()],
        vec!["windows of a trial".into(), settings.fidelity.most.to_string()],
        vec!["positions of memory".into(), done.plan.positions.to_string()],
        vec!["energy".into(), if done.plan.energy { "measured where it is an objective" } else { "unavailable" }.into()],
    ];
    let kept = done.front.iter().flat_map(|m| &m.files);
    rows.extend(kept.map(|f| vec![f.name.clone(), format!("{} bytes, sha256 {}", f.bytes, f.sha256)]));
    rows.extend(done.environment.iter().map(|(name, found)| vec![name.clone(), found.clone()]));
    let stages: Vec<String> = done.stages.iter().map(|s| format!("{} {:.1} s", s.name, s.seconds)).collect();
    rows.push(vec!["time".into(), stages.join(", ")]);
    let mut out = table(&["", ""], &rows);
    if !done.command.is_empty() {
        let _ = write!(out, "<h3>Command</h3><pre>{}</pre>", escape(&shell(&done.command)));
    }
    out
}
