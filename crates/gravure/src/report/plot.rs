//! A scatter plot of size against loss as inline SVG: the loss on a logarithmic axis, labels that stay clear
//! of each other, nothing that a browser has to fetch or to run.

use std::fmt::Write as _;

use super::html::escape;

/// Size of the drawing, and what is kept free around the axes.
const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 430.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 52.0;
/// Size of a letter of a label.
const LETTER: (f64, f64) = (6.4, 13.0);
/// A loss of nothing has no logarithm: it is drawn this many times below the least that has one.
const BELOW: f64 = 2.0;
/// Losses of less than this share of the largest are drawn on the lower edge: nobody tells them apart, and
/// they would press all others together.
const TELLING: f64 = 1e-5;

/// What a point is: decides its looks and its place in the legend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Predicted, of a fixed mixture.
    Mixture,
    /// Measured, of another artifact.
    Measured,
    /// What matters: what this run made, or what nothing else beats.
    Result,
    /// What was predicted of that.
    Predicted,
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Self::Mixture => "mixture",
            Self::Measured => "measured",
            Self::Result => "result",
            Self::Predicted => "predicted",
        }
    }
}

/// A point.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    /// Bytes.
    pub(crate) bytes: f64,
    /// Divergence in nats.
    pub(crate) loss: f64,
    /// Standard error of it; 0 for none.
    pub(crate) stderr: f64,
    pub(crate) label: String,
    pub(crate) kind: Kind,
}

/// All that is drawn.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Plot {
    /// The best of each size, as a line: bytes and loss.
    pub(crate) frontier: Vec<(f64, f64)>,
    /// What the legend calls the line.
    pub(crate) line: &'static str,
    pub(crate) points: Vec<Point>,
    /// Words of the legend.
    pub(crate) legend: Vec<(Kind, &'static str)>,
    /// Largest size that was allowed, where one was.
    pub(crate) limit: Option<f64>,
}

/// One axis: from values to places.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low).max(f64::MIN_POSITIVE);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }
}

/// A rectangle that a label or a mark takes.
#[derive(Clone, Copy)]
struct Taken {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Taken {
    fn meets(&self, other: &Self) -> bool {
        self.x < other.x + other.width && other.x < self.x + self.width && self.y < other.y + other.height && other.y < self.y + self.height
    }

    fn is_inside(&self) -> bool {
        self.x > LEFT && self.x + self.width < WIDTH - 2.0 && self.y > 2.0 && self.y + self.height < HEIGHT - BOTTOM
    }
}

impl Plot {
    /// The drawing; empty where there is nothing to draw.
    pub(crate) fn svg(&self) -> String {
        let sizes = || self.frontier.iter().map(|p| p.0).chain(self.points.iter().map(|p| p.bytes));
        let losses = || self.frontier.iter().map(|p| p.1).chain(self.points.iter().map(|p| p.loss)).filter(|l| *l > 0.0 && l.is_finite());
        let (low, high) = (sizes().fold(f64::INFINITY, f64::min), sizes().fold(0.0, f64::max));
        let (least, most) = (losses().fold(f64::INFINITY, f64::min), losses().fold(0.0, f64::max));
        if !(low.is_finite() && least.is_finite() && high > 0.0) {
            return String::new();
        }
        let room = ((high - low) * 0.04).max(high * 0.01);
        let x = Axis { low: (low - room).max(0.0), high: high + room, from: LEFT, to: WIDTH - RIGHT };
        let floor = (least / BELOW).max(most * TELLING);
        let y = Axis { low: (floor * 0.8).log10(), high: (most * 1.4).log10(), from: HEIGHT - BOTTOM, to: TOP };
        let place = |bytes: f64, loss: f64| (x.at(bytes), y.at(loss.max(floor).log10()));
        let mut out = format!(
            "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"size of the tensors against divergence from the original\">"
        );
        self.axes(&x, &y, &mut out);
        if let Some(limit) = self.limit.filter(|l| *l >= x.low && *l <= x.high) {
            let at = x.at(limit);
            let _ = write!(out, "<line class=\"limit\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>", HEIGHT - BOTTOM);
        }
        if self.frontier.len() > 1 {
            let path: Vec<String> = self.frontier.iter().map(|(b, l)| place(*b, *l)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = write!(out, "<polyline class=\"frontier\" points=\"{}\"/>", path.join(" "));
        }
        let mut taken: Vec<Taken> = self
            .points
            .iter()
            .map(|p| place(p.bytes, p.loss))
            .map(|(x, y)| Taken { x: x - 5.0, y: y - 5.0, width: 10.0, height: 10.0 })
            .collect();
        self.key(&mut taken, &mut out);
        let line: Vec<(f64, f64)> = self.frontier.iter().map(|(b, l)| place(*b, *l)).collect();
        taken.extend(line.windows(2).flat_map(|ends| along(ends[0], ends[1])));
        // What matters most gets its label first, and is drawn last.
        let mut order: Vec<&Point> = self.points.iter().collect();
        order.sort_by_key(|p| matches!(p.kind, Kind::Mixture | Kind::Measured));
        let mut labels = String::new();
        for point in &order {
            let (px, py) = place(point.bytes, point.loss);
            let wide = point.label.chars().count() as f64 * LETTER.0;
            let spots = [
                (px + 9.0, py - 7.0),
                (px - 9.0 - wide, py - 7.0),
                (px - wide / 2.0, py - 21.0),
                (px - wide / 2.0, py + 8.0),
                (px + 7.0, py - 20.0),
                (px + 7.0, py + 6.0),
            ];
            let free = spots
                .iter()
                .map(|&(x, y)| Taken { x, y, width: wide, height: LETTER.1 })
                .find(|spot| spot.is_inside() && taken.iter().all(|t| !t.meets(spot)));
            let Some(spot) = free.filter(|_| !point.label.is_empty()) else { continue };
            taken.push(spot);
            let _ = write!(
                labels,
                "<text class=\"label {}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                point.kind.class(),
                spot.x,
                spot.y + 10.5,
                escape(&point.label)
            );
        }
        order.reverse();
        for point in order {
            let (px, py) = place(point.bytes, point.loss);
            if point.stderr > 0.0 {
                let (top, bottom) = (place(0.0, point.loss + point.stderr).1, place(0.0, point.loss - point.stderr).1);
                let _ = write!(out, "<line class=\"error\" x1=\"{px:.1}\" x2=\"{px:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>");
            }
            let radius = if point.kind == Kind::Result { 6.0 } else { 4.0 };
            let _ = write!(
                out,
                "<circle class=\"{}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"{radius}\"><title>{}: {} bytes, {:.6} nats</title></circle>",
                point.kind.class(),
                escape(&point.label),
                point.bytes,
                point.loss
            );
        }
        out + &labels + "</svg>"
    }

    fn axes(&self, x: &Axis, y: &Axis, out: &mut String) {
        let (unit, scale) = if x.high >= 2e9 {
            ("GB", 1e9)
        } else if x.high >= 2e5 {
            ("MB", 1e6)
        } else {
            ("KB", 1e3)
        };
        let step = nice((x.high - x.low) / scale / 7.0);
        let mut tick = (x.low / scale / step).ceil() * step;
        while tick * scale <= x.high {
            let at = x.at(tick * scale);
            let digits = if step < 0.1 { 2 } else { usize::from(step < 1.0) };
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/><text class=\"tick\" text-anchor=\"middle\" \
                 x=\"{at:.1}\" y=\"{below:.1}\">{tick:.digits$}</text>",
                bottom = HEIGHT - BOTTOM,
                below = HEIGHT - BOTTOM + 18.0
            );
            tick += step;
        }
        let wide = y.high - y.low > 2.0;
        let mut decade = y.low.floor();
        while decade <= y.high {
            for part in if wide { [1.0, 0.0, 0.0] } else { [1.0, 2.0, 5.0] } {
                let value = 10f64.powf(decade) * part;
                if part == 0.0 || value.log10() < y.low || value.log10() > y.high {
                    continue;
                }
                let at = y.at(value.log10());
                let _ = write!(
                    out,
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"tick\" \
                     text-anchor=\"end\" x=\"{before:.1}\" y=\"{base:.1}\">{value}</text>",
                    right = WIDTH - RIGHT,
                    before = LEFT - 8.0,
                    base = at + 4.0,
                    value = short(value)
                );
            }
            decade += 1.0;
        }
        let (middle_x, middle_y) = ((LEFT + WIDTH - RIGHT) / 2.0, (TOP + HEIGHT - BOTTOM) / 2.0);
        let _ = write!(
            out,
            "<text class=\"axis\" text-anchor=\"middle\" x=\"{middle_x:.1}\" y=\"{:.1}\">tensors, {unit}</text><text class=\"axis\" \
             text-anchor=\"middle\" transform=\"translate(15 {middle_y:.1}) rotate(-90)\">KL divergence, nats</text>",
            HEIGHT - 12.0
        );
    }

    /// The legend, at the top right, where good plans are not.
    fn key(&self, taken: &mut Vec<Taken>, out: &mut String) {
        let mut rows: Vec<(&str, &str)> = Vec::new();
        if self.frontier.len() > 1 {
            rows.push(("frontier", self.line));
        }
        rows.extend(self.legend.iter().map(|(kind, text)| (kind.class(), *text)));
        if self.limit.is_some() {
            rows.push(("limit", "largest size allowed"));
        }
        let wide = rows.iter().map(|r| r.1.chars().count()).max().unwrap_or(0) as f64 * LETTER.0 + 40.0;
        let left = WIDTH - RIGHT - wide;
        let _ = write!(
            out,
            "<rect class=\"key\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{wide:.1}\" height=\"{:.1}\" rx=\"4\"/>",
            rows.len() as f64 * 19.0 + 10.0
        );
        for (index, (class, text)) in rows.iter().enumerate() {
            let at = TOP + 14.0 + index as f64 * 19.0;
            let mark = left + 17.0;
            let _ = match *class {
                "frontier" | "limit" => {
                    write!(out, "<line class=\"{class}\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>", mark - 9.0, mark + 9.0)
                }
                _ => write!(out, "<circle class=\"{class}\" cx=\"{mark:.1}\" cy=\"{at:.1}\" r=\"4.5\"/>"),
            };
            let _ = write!(out, "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", mark + 15.0, at + 4.0, escape(text));
        }
        taken.push(Taken { x: left, y: TOP, width: wide, height: rows.len() as f64 * 19.0 + 10.0 });
    }
}

/// What a line from one place to another takes: labels stay off it.
fn along(from: (f64, f64), to: (f64, f64)) -> impl Iterator<Item = Taken> {
    const STEP: f64 = 6.0;
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let steps = (dx.hypot(dy) / STEP).ceil().clamp(1.0, 500.0) as u32;
    (0..=steps).map(move |n| {
        let share = f64::from(n) / f64::from(steps);
        Taken { x: from.0 + dx * share - 1.0, y: from.1 + dy * share - 1.0, width: 2.0, height: 2.0 }
    })
}

/// The next larger of 1, 2 and 5 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10f64.powf(value.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * power).find(|v| *v >= value * 0.999).unwrap_or(10.0 * power)
}

/// A power of ten, or twice or five times one, without noise.
fn short(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("{value:.*}", (-value.log10()).ceil().clamp(1.0, 12.0) as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(bytes: f64, loss: f64, label: &str) -> Point {
        Point { bytes, loss, stderr: loss / 10.0, label: label.into(), kind: Kind::Mixture }
    }

    #[test]
    fn every_point_is_inside_and_named() {
        let plot = Plot {
            frontier: vec![(1e6, 0.5), (2e6, 0.05), (4e6, 0.0)],
            line: "best",
            points: vec![point(1.5e6, 0.2, "a<b"), point(3e6, 0.01, "x")],
            legend: vec![(Kind::Mixture, "mixtures")],
            limit: Some(2e6),
        };
        let svg = plot.svg();
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b") && svg.contains(">0.01<"), "{svg}");
        for part in svg.split("cx=\"").skip(1) {
            let at: f64 = part.split('"').next().unwrap().parse().unwrap();
            assert!((LEFT..=WIDTH).contains(&at), "{at}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn what_is_next_to_nothing_does_not_press_the_rest_together() {
        let svg = Plot { points: vec![point(1e6, 0.1, "a"), point(2e6, 1e-15, "b")], ..Plot::default() }.svg();
        assert!(svg.contains(">0.00001<") && !svg.contains(">0.0000001<"), "{svg}");
    }

    #[test]
    fn labels_do_not_meet() {
        let points = (0..30).map(|i| point(1e6 + f64::from(i) * 1e3, 0.1, "crowded")).collect();
        let svg = Plot { points, ..Plot::default() }.svg();
        let drawn = svg.matches("class=\"label").count();
        assert!((1..30).contains(&drawn), "{drawn}");
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(Plot::default().svg(), "");
        assert_eq!(Plot { points: vec![point(1.0, f64::NAN, "")], ..Plot::default() }.svg(), "");
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!([0.3, 1.0, 7.0, 12.0].map(nice), [0.5, 1.0, 10.0, 20.0]);
        assert_eq!([0.001, 0.05, 0.2, 1.0, 20.0].map(short), ["0.001", "0.05", "0.2", "1", "20"]);
    }
}
