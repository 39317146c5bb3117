//! One self-contained page: style and drawings inside, no script, nothing fetched, light and dark.

use std::fmt::Write as _;

/// Text as it may stand in HTML, in attributes too. Control characters, which no page may hold, are shown as
/// what they are called.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {
                let _ = write!(out, "{}", c.escape_default());
            }
            c => out.push(c),
        }
    }
    out
}

/// A page in the making: everything that is added must be HTML already, or goes through [`escape`].
#[derive(Debug)]
pub(crate) struct Page {
    title: String,
    body: String,
}

impl Page {
    /// A page with a heading and a line under it.
    pub(crate) fn new(title: &str, lead: &str) -> Self {
        let body = format!("<header><h1>{}</h1><p class=\"lead\">{}</p></header>", escape(title), escape(lead));
        Self { title: title.to_owned(), body }
    }

    /// Adds HTML.
    pub(crate) fn raw(&mut self, html: &str) {
        self.body.push_str(html);
    }

    /// Adds a section; `note` says in a sentence or two what is to be seen.
    pub(crate) fn section(&mut self, heading: &str, note: &str, html: &str) {
        let note = if note.is_empty() { String::new() } else { format!("<p class=\"note\">{}</p>", escape(note)) };
        let _ = write!(self.body, "<section><h2>{}</h2>{note}{html}</section>", escape(heading));
    }

    /// The whole document.
    pub(crate) fn finish(self) -> String {
        // What a model's name or text may hold is put in last: no mark in it is looked for.
        let frame = include_str!("page.html").replace("{style}", include_str!("style.css"));
        let (head, rest) = frame.split_once("{title}").unwrap_or((&frame, ""));
        let (middle, foot) = rest.split_once("{body}").unwrap_or((rest, ""));
        [head, &escape(&self.title), middle, &self.body, foot].concat()
    }
}

/// A table; a heading that begins with `>` is of numbers. Cells are text.
pub(crate) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = String::from("<div class=\"scroll\"><table><thead><tr>");
    let number = |index: usize| heads.get(index).is_some_and(|h| h.starts_with('>'));
    let class = |index: usize| if number(index) { " class=\"n\"" } else { "" };
    for (index, head) in heads.iter().enumerate() {
        let _ = write!(out, "<th{}>{}</th>", class(index), escape(head.trim_start_matches('>')));
    }
    out += "</tr></thead><tbody>";
    for row in rows {
        out += "<tr>";
        for (index, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{}</td>", class(index), escape(cell));
        }
        out += "</tr>";
    }
    out + "</tbody></table></div>"
}

/// Figures that are to be seen first: name, value, and what it is against.
pub(crate) fn tiles(tiles: &[(&str, String, String)]) -> String {
    let mut out = String::from("<div class=\"tiles\">");
    for (name, value, against) in tiles {
        let _ = write!(
            out,
            "<div class=\"tile\"><span class=\"name\">{}</span><span class=\"value\">{}</span><span class=\"against\">{}</span></div>",
            escape(name),
            escape(value),
            escape(against)
        );
    }
    out + "</div>"
}

/// Bytes for people.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} B"),
        10_000..1_000_000 => format!("{:.1} KB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} MB", n as f64 / 1e6),
        _ => format!("{:.3} GB", n as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hostile_gets_through() {
        let mut page = Page::new("<script>alert(1)</script>", "a\u{1b}[31m&");
        page.section("x\"y", "", &table(&["a", ">b"], &[vec!["<img src=x>".into(), "1".into()]]));
        page.raw(&tiles(&[("n", "<b>".into(), String::new())]));
        let html = page.finish();
        assert!(!html.contains("<script") && !html.contains("<img") && !html.contains('\u{1b}') && !html.contains("<b>"), "{html}");
        assert!(html.contains("a\\u{1b}[31m&amp;") && html.contains("<td class=\"n\">1</td>"));
    }

    #[test]
    fn nothing_is_fetched_or_run() {
        let html = Page::new("t", "").finish();
        for forbidden in ["http://", "https://", "url(", "@import", "<script", "javascript:", "src=", "<link"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }
}
