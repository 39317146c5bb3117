//! `MODEL_CARD.md`: what somebody who finds the artifact should know, in Markdown.

use std::fmt::Write as _;

use super::optimized::{percent, shell};
use crate::optimize::{Optimized, Standing};

/// The card.
pub(crate) fn card(done: &Optimized) -> String {
    let name = |path: &std::path::Path| path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
    let (e, c) = (&done.evaluation, &done.certificate);
    let source = plain(&name(&done.model.path));
    let mut out = format!("# {source}, {:.2} bits for each weight\n\n", e.bits_per_weight);
    let target = done.predicted.target.as_deref().map_or_else(String::new, |t| format!(" for `{}`", plain(t)));
    let _ = writeln!(
        out,
        "Made from `{source}` ({} weights, {}){target} by [Gravure](https://crates.io/crates/gravure) {}: each tensor has the encoding that \
         loses least within the size of the whole, by measurement.\n",
        done.model.parameters,
        plain(done.model.architecture.as_deref().unwrap_or("architecture unknown")),
        done.gravure
    );
    out += "| | original | this artifact |\n|---|---:|---:|\n";
    let mut row = |name: &str, before: String, after: String| out += &format!("| {name} | {before} | {after} |\n");
    row("tensors, bytes", done.model.tensor_bytes.to_string(), e.tensor_bytes.to_string());
    row("file, bytes", String::new(), done.file_bytes.to_string());
    row("bits for each weight", format!("{:.3}", done.model.bits_per_weight), format!("{:.3}", e.bits_per_weight));
    let ppl = |m: &gravure_eval::Measurement| format!("{:.4} ± {:.4}", m.value, m.stderr);
    if let Some(c) = &e.comparison {
        row("perplexity", ppl(&c.reference_perplexity), ppl(&e.perplexity));
        row("KL divergence, nats", "0".into(), format!("{:.6} ± {:.6}", c.kl_divergence.value, c.kl_divergence.stderr));
        row("top-1 agreement", "100 %".into(), format!("{} ± {}", percent(c.top1_agreement.value), percent(c.top1_agreement.stderr)));
    }
    let _ = writeln!(
        out,
        "\nMeasured on {} tokens of `{}` (sha256 `{}`), a text that nothing was calibrated on.\n",
        e.tokens,
        plain(&c.evaluation.name),
        c.evaluation.sha256
    );
    for r in &done.runtimes {
        let told = match (r.standing, r.evaluation.as_ref().and_then(|e| e.comparison.as_ref())) {
            (Standing::Measured, Some(c)) => format!("{:.6} nats, top-1 {}", c.kl_divergence.value, percent(c.top1_agreement.value)),
            (Standing::Failed, _) => "**does not run it**".to_owned(),
            _ => "not measured".to_owned(),
        };
        let _ = writeln!(out, "- in {}: {told}", plain(&r.name));
    }
    out += "\n## Encodings\n\n";
    for (encoding, tensors) in &done.encodings {
        let _ = writeln!(out, "- {tensors} tensors in `{encoding}`");
    }
    out += "\n## Limits\n\n";
    for verdict in done.promises.iter().chain(&done.gates) {
        let _ = writeln!(out, "- {}{}", if verdict.met { "" } else { "**missed**: " }, plain(&verdict.to_string()));
    }
    out += "\n## Check it\n\n```sh\n";
    let artifact = name(&done.evaluation.model);
    let command = ["gravure", "verify", &artifact, "--reference", &c.source, "--data", &c.evaluation.name].map(str::to_owned);
    let _ = writeln!(out, "{}\n```\n", shell(&command));
    if !done.command.is_empty() {
        let _ = writeln!(out, "Made by:\n\n```sh\n{}\n```\n", shell(&done.command).replace("```", "` ` `"));
    }
    out += "What the original may be used for, and what it should not be, holds for this artifact, too: see its own card and licence.\n";
    out
}

/// Text that no Markdown is made of.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || "`|<>[]*_#".contains(c) && c != '_' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn hostile_names_make_no_markdown() {
        assert_eq!(super::plain("a`b|c<d>\n[e](f)_g"), "a b c d   e (f)_g");
    }
}
