//! Where the bits are: a grid of tensors by job and layer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::html::escape;

/// One tensor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell<'a> {
    pub(crate) name: &'a str,
    /// Its name without the layer.
    pub(crate) family: &'a str,
    pub(crate) layer: Option<u32>,
    pub(crate) encoding: &'a str,
    /// Bits for each weight.
    pub(crate) bits: f64,
    pub(crate) bytes: u64,
}

/// The fewest and the most bits of some cells; `None` where there are none.
pub(crate) fn range<'a>(cells: impl IntoIterator<Item = &'a Cell<'a>>) -> Option<(f64, f64)> {
    let (low, high) = cells.into_iter().fold((f64::INFINITY, 0.0_f64), |(a, b), c| (a.min(c.bits), b.max(c.bits)));
    low.is_finite().then_some((low, high))
}

/// A grid with its ramp, in the cells' own range.
pub(crate) fn map(cells: &[Cell<'_>]) -> String {
    let scale = range(cells);
    grid(cells, scale) + &scale.map_or_else(String::new, ramp)
}

/// What the colours of a scale mean.
pub(crate) fn ramp((low, high): (f64, f64)) -> String {
    format!("<div class=\"ramp\"><span>{} bits</span><i></i><span>{} bits</span></div>", digits(low), digits(high))
}

/// A grid of families by layers, with tensors of no layer below; empty without a scale of colours.
pub(crate) fn grid(cells: &[Cell<'_>], scale: Option<(f64, f64)>) -> String {
    let Some((low, high)) = scale else { return String::new() };
    let mut layers: Vec<u32> = cells.iter().filter_map(|c| c.layer).collect();
    layers.sort_unstable();
    layers.dedup();
    // By name: formats order tensors differently, and maps are compared.
    let families: BTreeSet<&str> = cells.iter().filter(|c| c.layer.is_some()).map(|c| c.family).collect();
    let columns = layers.len().max(1);
    let mut out = format!("<div class=\"map\" style=\"grid-template-columns:max-content repeat({columns},minmax(26px,1fr))\">");
    if !layers.is_empty() {
        out += "<div class=\"family\">layer</div>";
        layers.iter().for_each(|l| out += &format!("<div class=\"head\">{l}</div>"));
    }
    let by_place: BTreeMap<(&str, u32), &Cell<'_>> = cells.iter().filter_map(|c| Some(((c.family, c.layer?), c))).collect();
    for family in families {
        let _ = write!(out, "<div class=\"family\">{}</div>", escape(family));
        for layer in &layers {
            out += &by_place.get(&(family, *layer)).map_or_else(|| "<div></div>".to_owned(), |c| one(c, 1, (low, high)));
        }
    }
    for cell in cells.iter().filter(|c| c.layer.is_none()) {
        let _ = write!(out, "<div class=\"family\">{}</div>{}", escape(cell.family), one(cell, columns, (low, high)));
    }
    out + "</div>"
}

fn one(cell: &Cell<'_>, wide: usize, (low, high): (f64, f64)) -> String {
    let share = if high > low { ((cell.bits - low) / (high - low)).clamp(0.0, 1.0) } else { 1.0 };
    let ink = if share > 0.45 { "var(--cell-ink)" } else { "var(--ink)" };
    format!(
        "<div class=\"cell\" style=\"grid-column:span {wide};background:color-mix(in oklab,var(--map-high) {:.0}%,var(--map-low));\
         color:{ink}\" title=\"{}: {}, {} bytes\">{}</div>",
        share * 100.0,
        escape(cell.name),
        escape(cell.encoding),
        cell.bytes,
        digits(cell.bits)
    )
}

fn digits(bits: f64) -> String {
    let text = format!("{bits:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(family: &'static str, layer: Option<u32>) -> Cell<'static> {
        Cell { name: "<n>", family, layer, encoding: "e", bits: 4.5, bytes: 9 }
    }

    #[test]
    fn every_tensor_has_a_cell() {
        let html = map(&[cell("q", Some(0)), cell("q", Some(1)), cell("out", None)]);
        assert_eq!(html.matches("class=\"cell\"").count(), 3);
        assert!(html.contains("span 2") && html.contains("4.5") && !html.contains("<n>"), "{html}");
        assert_eq!(map(&[]), "");
    }

    #[test]
    fn the_scale_may_be_wider_than_the_cells() {
        let html = grid(&[cell("q", Some(0))], Some((2.0, 7.0)));
        assert!(html.contains("50%"), "{html}");
        assert!(ramp((2.0, 6.5625)).contains("2 bits") && ramp((2.0, 6.5625)).contains("6.6 bits"));
    }
}
