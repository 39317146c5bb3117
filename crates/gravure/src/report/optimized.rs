//! The page of one optimization.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::bitmap::{Cell, map};
use super::html::{Page, bytes, escape, table, tiles};
use super::plot::{Kind, Plot, Point};
use crate::evaluate::WorstText;
use crate::optimize::{Bound, ChosenTensor, FixedMixture, Force, Optimized, RuntimeScores, Standing, Verdict};
use crate::recipe::Recipe;

/// Families with the largest predicted share of the loss that get a bar.
const BARS: usize = 12;

/// The whole page.
pub(crate) fn page(done: &Optimized) -> String {
    let name = done.model.path.file_name().map_or_else(|| done.model.path.display().to_string(), |n| n.to_string_lossy().into_owned());
    let target = done.predicted.target.as_deref().map_or_else(String::new, |t| format!(" for {t}"));
    let lead = format!(
        "{} weights, {}; optimized{target} by Gravure {}",
        millions(done.model.parameters),
        done.model.architecture.as_deref().unwrap_or("architecture unknown"),
        done.gravure
    );
    let mut page = Page::new(&name, &lead);
    verdict(done, &mut page);
    page.raw(&tiles(&headline(done)));
    page.section("Promises and gates", "What had to hold, and what the field expects by default.", &limits(done));
    page.section(
        "Size against quality",
        "The line is the least divergence that the allocation predicts at each size; grey points are fixed mixtures as predicted by the \
         same measured sensitivities. The filled point was measured on the evaluation text, its bar is one standard error.",
        &plot(done).svg(),
    );
    page.section("Baseline and result", "", &comparison(done));
    page.section(
        "In each runtime",
        "What the artifact is worth where it will run, each against the original in Gravure's own engine, on the same windows.",
        &runtimes(done),
    );
    if !done.mixtures.is_empty() {
        page.section(
            "Against fixed mixtures",
            "What the same measured sensitivities predict of llama.cpp's mixtures, and of the best plan with no more bytes.",
            &mixtures(done),
        );
    }
    page.section(
        "Bits by layer",
        "Each cell is one tensor: bits for each weight in the encoding that was chosen for it. Hover for its name and bytes.",
        &map(&cells(&done.tensors)),
    );
    page.section(
        "Where the loss is predicted",
        "Divergence that each kind of tensor is predicted to cost in its encoding, summed over the layers.",
        &(bars(&done.tensors) + &every_tensor(done)),
    );
    if !done.drift.is_empty() {
        page.section(
            "Drift by stage",
            "What each step changes, against the original in 32-bit arithmetic, on some windows of the evaluation text.",
            &drift(done),
        );
    }
    page.section(
        "Worst tokens",
        "Where the artifact is furthest from the original: the token that followed is marked.",
        &worst(&done.evaluation.worst),
    );
    page.section("How it was made", "", &provenance(done));
    page.raw("<footer>Made by gravure optimize. This page holds no script and fetches nothing.</footer>");
    page.finish()
}

fn verdict(done: &Optimized, page: &mut Page) {
    let missed: Vec<String> = binding(done).filter(|v| !v.met).map(ToString::to_string).collect();
    if missed.is_empty() {
        page.raw("<p class=\"verdict good\">Every promise holds.</p>");
    } else {
        page.raw(&format!("<p class=\"verdict bad\">{} promised and not met: {}</p>", missed.len(), escape(&missed.join("; "))));
    }
}

fn binding(done: &Optimized) -> impl Iterator<Item = &Verdict> {
    done.promises.iter().chain(&done.gates).filter(|v| v.force == Force::Binding)
}

fn headline(done: &Optimized) -> Vec<(&'static str, String, String)> {
    let e = &done.evaluation;
    let smaller = done.model.tensor_bytes as f64 / e.tensor_bytes.max(1) as f64;
    let mut all = vec![
        ("file", bytes(done.file_bytes), format!("tensors {smaller:.2} times smaller")),
        ("bits for each weight", format!("{:.3}", e.bits_per_weight), format!("original {:.3}", done.model.bits_per_weight)),
    ];
    if let Some(c) = &e.comparison {
        all.push(("KL divergence", format!("{:.5}", c.kl_divergence.value), format!("±{:.5} nats", c.kl_divergence.stderr)));
        all.push(("top-1 agreement", percent(c.top1_agreement.value), format!("±{}", percent(c.top1_agreement.stderr))));
        all.push(("perplexity", format!("{:.4}", e.perplexity.value), format!("original {:.4}", c.reference_perplexity.value)));
    }
    if let (Some(before), Some(after)) = (&done.baseline, &done.at_work)
        && let (Some(a), Some(b)) = (&before.speed.token_milliseconds, &after.speed.token_milliseconds)
    {
        // By the median token, as the gate has it: one that waited for another program does not count.
        let (a, b) = (a.median.max(f64::MIN_POSITIVE), b.median.max(f64::MIN_POSITIVE));
        all.push(("decoding here", format!("{:.1} tok/s", 1e3 / b), format!("{:.2} times the original", a / b)));
    }
    all
}

/// The table of all limits.
fn limits(done: &Optimized) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table><thead><tr><th>limit</th><th class=\"n\">asked for</th><th class=\"n\">found</th><th></th>\
         <th>what would meet it</th></tr></thead><tbody>",
    );
    for v in done.promises.iter().chain(&done.gates) {
        let (class, word) = match (v.met, v.force) {
            (true, _) => ("met", "holds"),
            (false, Force::Binding) => ("missed", "missed"),
            (false, Force::Advisory) => ("below", "below the field's default"),
        };
        let bound = if v.bound == Bound::AtMost { "≤" } else { "≥" };
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{bound} {}</td><td class=\"n\">{}</td><td><span class=\"pill {class}\">{word}</span></td><td>{}</td></tr>",
            escape(&v.subject),
            escape(&v.unit.show(v.limit)),
            escape(&v.found.map_or_else(|| "not measured".into(), |f| v.unit.show(f))),
            escape(v.remedy.as_deref().unwrap_or_default())
        );
    }
    out + "</tbody></table></div>"
}

fn plot(done: &Optimized) -> Plot {
    let e = &done.evaluation;
    let mut points: Vec<Point> = done
        .mixtures
        .iter()
        .map(|m| Point {
            bytes: m.tensor_bytes as f64,
            loss: m.predicted_kl_divergence,
            stderr: 0.0,
            label: m.mixture.clone(),
            kind: Kind::Mixture,
        })
        .collect();
    let at = e.tensor_bytes as f64;
    points.push(Point { bytes: at, loss: done.predicted_kl_divergence, stderr: 0.0, label: String::new(), kind: Kind::Predicted });
    if let Some(c) = &e.comparison {
        let (loss, stderr) = (c.kl_divergence.value, c.kl_divergence.stderr);
        points.push(Point { bytes: at, loss, stderr, label: "this artifact".into(), kind: Kind::Result });
    }
    let mut legend = vec![(Kind::Result, "this artifact, measured"), (Kind::Predicted, "this artifact, predicted")];
    if !done.mixtures.is_empty() {
        legend.push((Kind::Mixture, "fixed mixtures, predicted"));
    }
    Plot {
        frontier: done.frontier.iter().map(|p| (p.tensor_bytes as f64, p.kl_divergence)).collect(),
        points,
        line: "best plans, predicted",
        legend,
        limit: done.budget.max_tensor_bytes.map(|b| b as f64),
    }
}

fn comparison(done: &Optimized) -> String {
    let e = &done.evaluation;
    let c = e.comparison.as_ref();
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, before: String, after: String| rows.push(vec![name.to_owned(), before, after]);
    row("tensors", format!("{} bytes", done.model.tensor_bytes), format!("{} bytes", e.tensor_bytes));
    row("file", "-".into(), format!("{} bytes", done.file_bytes));
    row("bits for each weight", format!("{:.4}", done.model.bits_per_weight), format!("{:.4}", e.bits_per_weight));
    let spread = |m: &gravure_eval::Measurement| format!("{:.4} ± {:.4}", m.value, m.stderr);
    row("perplexity", c.map_or_else(|| "-".into(), |c| spread(&c.reference_perplexity)), spread(&e.perplexity));
    if let Some(c) = c {
        let ratio = &c.perplexity_ratio;
        row("perplexity ratio, paired", "1".into(), format!("{:.5} ± {:.5}", ratio.value, ratio.stderr));
        row("KL divergence, mean", "0".into(), format!("{:.6} ± {:.6} nats", c.kl_divergence.value, c.kl_divergence.stderr));
        let (median, p99, most) = (c.kl_divergence_median, c.kl_divergence_p99, c.kl_divergence_max);
        row("KL divergence, median / 99 % / largest", "0".into(), format!("{median:.6} / {p99:.5} / {most:.4}"));
        row("top-1 agreement", "100 %".into(), format!("{} ± {}", percent(c.top1_agreement.value), percent(c.top1_agreement.stderr)));
    }
    row("KL divergence, predicted", "0".into(), format!("{:.6} nats", done.predicted_kl_divergence));
    if let (Some(before), Some(after)) = (&done.baseline, &done.at_work) {
        let (a, b) = (&before.speed, &after.speed);
        row("memory of weights", bytes(before.weight_bytes), bytes(after.weight_bytes));
        row(&format!("memory at {} positions", done.predicted.positions), bytes(before.memory_bytes), bytes(after.memory_bytes));
        let rate = |s: &Option<gravure_eval::speed::PhaseSpeed>| {
            s.as_ref().map_or_else(|| "-".into(), |s| format!("{:.1} tokens/s", s.tokens_per_second.median))
        };
        row("prefill, this machine", rate(&a.prefill), rate(&b.prefill));
        row("decode, this machine", rate(&a.decode), rate(&b.decode));
        let latency =
            |s: &Option<gravure_eval::Spread>| s.as_ref().map_or_else(|| "-".into(), |s| format!("{:.2} / {:.2} ms", s.median, s.p95));
        row("a token, median / 95 %", latency(&a.token_milliseconds), latency(&b.token_milliseconds));
        if a.joules_per_token.or(b.joules_per_token).is_some() {
            let energy = |j: Option<f64>| j.map_or_else(|| "-".into(), |j| format!("{j:.4} J"));
            row("energy of a token", energy(a.joules_per_token), energy(b.joules_per_token));
        }
    }
    if let (Some(target), Some(speed)) = (&done.predicted.target, done.predicted.tokens_per_second) {
        row(&format!("decode on {target}, predicted"), "-".into(), format!("{speed:.1} tokens/s"));
    }
    table(&["", ">original", ">artifact"], &rows)
}

fn runtimes(done: &Optimized) -> String {
    let row = |r: &RuntimeScores| {
        let name = if r.planned_for { format!("{}, which the plan is made for", r.name) } else { r.name.clone() };
        let cells = match (r.evaluation.as_ref(), r.evaluation.as_ref().and_then(|e| e.comparison.as_ref())) {
            (Some(e), Some(c)) => [
                format!("{:.4} ± {:.4}", e.perplexity.value, e.perplexity.stderr),
                format!("{:.6} ± {:.6}", c.kl_divergence.value, c.kl_divergence.stderr),
                format!("{} ± {}", percent(c.top1_agreement.value), percent(c.top1_agreement.stderr)),
            ],
            _ => ["-"; 3].map(str::to_owned),
        };
        let word = match r.standing {
            Standing::Measured => r.found.clone().unwrap_or_default(),
            Standing::Missing => format!("not measured: {}", r.note.as_deref().unwrap_or("it is not here")),
            Standing::Failed => format!("does not run it: {}", r.note.as_deref().unwrap_or("it did not say why")),
        };
        [vec![name], cells.to_vec(), vec![word]].concat()
    };
    table(&["runtime", ">perplexity", ">KL divergence", ">top-1", ""], &done.runtimes.iter().map(row).collect::<Vec<_>>())
}

fn mixtures(done: &Optimized) -> String {
    let mut order: Vec<_> = done.mixtures.iter().collect();
    order.sort_by_key(|m| m.tensor_bytes);
    let row = |m: &&FixedMixture| {
        let less = m.best_kl_divergence.filter(|_| m.predicted_kl_divergence > 0.0).map(|best| 1.0 - best / m.predicted_kl_divergence);
        vec![
            m.mixture.clone(),
            bytes(m.tensor_bytes),
            format!("{:.3}", m.tensor_bytes as f64 * 8.0 / done.model.parameters.max(1) as f64),
            format!("{:.6}", m.predicted_kl_divergence),
            m.best_kl_divergence.map_or_else(|| "-".into(), |best| format!("{best:.6}")),
            less.map_or_else(|| "-".into(), |less| format!("{:.0} %", less * 100.0)),
        ]
    };
    let heads = ["mixture", ">tensors", ">bits", ">its KL divergence", ">of the best plan", ">less"];
    table(&heads, &order.iter().map(row).collect::<Vec<_>>())
}

/// The tensors that were up for choice, as cells of a map.
fn cells(tensors: &[ChosenTensor]) -> Vec<Cell<'_>> {
    let chosen = tensors.iter().filter(|t| t.chosen);
    chosen
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

fn bars(tensors: &[ChosenTensor]) -> String {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for t in tensors {
        *sums.entry(&t.family).or_default() += t.predicted_kl_divergence.unwrap_or(0.0);
    }
    let total: f64 = sums.values().sum();
    let mut order: Vec<(&str, f64)> = sums.into_iter().filter(|(_, loss)| *loss > 0.0).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let most = order.first().map_or(1.0, |(_, loss)| *loss);
    let mut out = String::from("<div class=\"bars\">");
    for (family, loss) in order.iter().take(BARS) {
        let _ = write!(
            out,
            "<div>{}</div><div class=\"bar\" style=\"width:{:.1}%\"></div><div class=\"n\">{loss:.2e} nats, {:.0} %</div>",
            escape(family),
            loss / most * 100.0,
            loss / total * 100.0
        );
    }
    out + "</div>"
}

fn every_tensor(done: &Optimized) -> String {
    let constants: BTreeMap<&str, (f64, bool)> =
        done.sensitivity.tensors.iter().map(|t| (t.tensor.as_str(), (t.constant, t.measured))).collect();
    let rows: Vec<Vec<String>> = done
        .tensors
        .iter()
        .filter(|t| t.chosen)
        .map(|t| {
            let (constant, measured) = constants.get(t.tensor.as_str()).copied().unwrap_or((0.0, false));
            let how = if measured { "measured" } else { "interpolated" };
            let loss = t.predicted_kl_divergence.map_or_else(|| "-".into(), |l| format!("{l:.2e}"));
            vec![t.tensor.clone(), t.encoding.clone(), t.method.clone(), t.bytes.to_string(), loss, format!("{constant:.3e}"), how.into()]
        })
        .collect();
    let heads = ["tensor", "encoding", "method", ">bytes", ">predicted nats", ">nats for each unit of error", ""];
    format!("<details><summary>Every tensor</summary>{}</details>", table(&heads, &rows))
}

fn drift(done: &Optimized) -> String {
    let number = |v: Option<f64>, digits: usize| v.map_or_else(|| "-".into(), |v| format!("{v:.digits$}"));
    let mut rows: Vec<Vec<String>> = done
        .drift
        .iter()
        .map(|d| {
            let windows = if d.windows > 0 { d.windows.to_string() } else { "-".into() };
            let note = d.note.clone().unwrap_or_default();
            let doc = if note.is_empty() { d.doc.to_owned() } else { format!("{}: {note}", d.doc) };
            let agreement = d.top1_agreement.map_or_else(|| "-".into(), percent);
            vec![d.stage.to_owned(), doc, number(d.kl_divergence, 6), agreement, number(d.perplexity, 4), windows]
        })
        .collect();
    if let Some(c) = &done.evaluation.comparison {
        let e = &done.evaluation;
        let doc = "the artifact as it lies on the disk, all windows, against the original on fast kernels".to_owned();
        let agreement = percent(c.top1_agreement.value);
        let numbers = [number(Some(c.kl_divergence.value), 6), agreement, number(Some(e.perplexity.value), 4), e.windows.to_string()];
        rows.push([vec!["validation".to_owned(), doc], numbers.to_vec()].concat());
    }
    table(&["stage", "", ">KL divergence", ">top-1", ">perplexity", ">windows"], &rows)
}

/// Tokens in their context; whatever a token holds is text.
pub(crate) fn worst(tokens: &[WorstText]) -> String {
    let mut out = String::from("<ul class=\"worst\">");
    for w in tokens {
        let divergence = w.kl_divergence.map_or_else(String::new, |d| format!("{d:.3} nats; "));
        let _ = write!(
            out,
            "<li><span class=\"text\">{}<mark>{}</mark></span><span class=\"n\">{divergence}−ln p {:.2}</span></li>",
            escape(&on_one_line(&w.before)),
            escape(&on_one_line(&w.text)),
            w.nll
        );
    }
    out + "</ul>"
}

/// Ends of lines as a sign of their own.
fn on_one_line(text: &str) -> String {
    text.replace('\n', "⏎")
}

fn provenance(done: &Optimized) -> String {
    let c = &done.certificate;
    let text = |t: &crate::certificate::CertifiedText| format!("{}, {} windows of {}, sha256 {}", t.name, t.windows, t.context, t.sha256);
    let mut rows = vec![
        vec!["source's tensors".to_owned(), format!("sha256 {}", c.source_sha256)],
        vec!["artifact's tensors".into(), format!("sha256 {}", c.tensors_sha256)],
        vec!["plan".into(), format!("sha256 {}", c.plan_sha256)],
        vec!["calibration text".into(), text(&c.calibration)],
        vec!["evaluation text".into(), text(&c.evaluation)],
    ];
    rows.extend(done.artifact.files.iter().map(|f| {
        let name = f.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        vec![name, format!("{} bytes, sha256 {}", f.bytes, f.sha256)]
    }));
    rows.extend(done.environment.iter().map(|(name, found)| vec![name.clone(), found.clone()]));
    let stages: Vec<String> = done.stages.iter().map(|s| format!("{} {:.1} s", s.name, s.seconds)).collect();
    rows.push(vec!["time".into(), stages.join(", ")]);
    let mut out = table(&["", ""], &rows);
    if !done.command.is_empty() {
        let _ = write!(out, "<h3>Command</h3><pre>{}</pre>", escape(&shell(&done.command)));
    }
    if let Some(Ok(recipe)) = done.recipe.as_ref().map(Recipe::to_toml) {
        let _ = write!(out, "<h3>The same as a recipe</h3><pre>{}</pre>", escape(recipe.trim_end()));
    }
    out
}

/// A command as a shell takes it.
pub(crate) fn shell(words: &[String]) -> String {
    let plain = |w: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c));
    let quoted = words.iter().map(|w| if plain(w) { w.clone() } else { format!("'{}'", w.replace('\'', "'\\''")) });
    quoted.collect::<Vec<_>>().join(" ")
}

/// A share in percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

pub(crate) fn millions(parameters: u64) -> String {
    if parameters >= 1_000_000_000 { format!("{:.2} B", parameters as f64 / 1e9) } else { format!("{:.1} M", parameters as f64 / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted() {
        let words = ["gravure", "a b", "it's", "--max-size=4MB"].map(str::to_owned);
        assert_eq!(shell(&words), "gravure 'a b' 'it'\\''s' --max-size=4MB");
    }

    #[test]
    fn hostile_tokens_are_text() {
        let token =
            WorstText { before: "\n<script>".into(), text: "</mark>".into(), window: 0, position: 0, nll: 1.0, kl_divergence: None };
        let html = worst(&[token]);
        assert!(html.contains("⏎&lt;script&gt;<mark>&lt;/mark&gt;</mark>"), "{html}");
    }
}
