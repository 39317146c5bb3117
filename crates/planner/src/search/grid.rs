//! Every point of a grid, once. They come in an order that spreads over the whole grid from the beginning, so that
//! one that is stopped early has not seen a corner alone: strides of the golden section of the number of points.

use gravure_core::Result;

use super::sampler::{Ask, Outcome, Sampler, SamplerKind, Settings, Trial};
use super::space::{Point, Space};

/// The kind.
#[derive(Debug)]
pub struct Grid;

impl SamplerKind for Grid {
    fn id(&self) -> &'static str {
        "grid"
    }

    fn doc(&self) -> &'static str {
        "every combination once, ranges at some evenly spaced values"
    }

    fn start(&self, space: &Space, settings: &Settings) -> Result<Box<dyn Sampler>> {
        let points = space.points(settings.levels)?;
        let stride = stride(points.len());
        let start = (settings.seed % points.len().max(1) as u64) as usize;
        Ok(Box::new(Walk { points, stride, at: start, given: 0, fidelity: settings.fidelity.most }))
    }
}

#[derive(Debug)]
struct Walk {
    points: Vec<Point>,
    stride: usize,
    at: usize,
    given: usize,
    fidelity: u64,
}

/// The number nearest to the golden section of `count` that has no divisor with it.
fn stride(count: usize) -> usize {
    fn divisor(a: usize, b: usize) -> usize {
        if b == 0 { a } else { divisor(b, a % b) }
    }
    let middle = (count as f64 * 0.618_033_988_75) as usize;
    let near = (0..count).flat_map(|d| [middle + d, middle.saturating_sub(d)]);
    near.into_iter().find(|&s| s > 0 && divisor(count, s) == 1).unwrap_or(1)
}

impl Sampler for Walk {
    fn ask(&mut self, id: u64) -> Ask {
        if self.given == self.points.len() {
            return Ask::Done;
        }
        let point = self.points[self.at].clone();
        self.at = (self.at + self.stride) % self.points.len();
        self.given += 1;
        Ask::Trial(Trial { id, point, fidelity: self.fidelity, rung: 0, parent: None })
    }

    fn tell(&mut self, _: u64, _: &Outcome) {}
}
