//! In which format the artifact is written: the one that is asked for, or the one that suits the target.

use gravure_base::{Error, Result};
use gravure_core::values::Order;
use gravure_core::{Format, Model, Naming, Plan, Policy};
use gravure_planner::uniform::Uniform;

use super::OptimizeRequest;
use super::device::Device;
use super::space::{self, Space};
use crate::quantize::{QuantizePlan, not_in_turn};
use crate::{catalog, certificate, translate};

/// The format of this id.
///
/// # Errors
/// `Request` for an unknown one; `Unsupported` for one that is only read.
pub(super) fn writable(id: &str) -> Result<&'static dyn Format> {
    let format = catalog().format(id)?;
    if writes(format) {
        return Ok(format);
    }
    let ids: Vec<_> = catalog().formats.iter().filter(|f| writes(**f)).map(|f| f.id()).collect();
    Err(Error::unsupported(format!("{id} can only be read")).help(format!("formats that are written: {}", ids.join(", "))))
}

/// Whether this build writes models in a format.
fn writes(format: &dyn Format) -> bool {
    catalog().encodings.iter().any(|e| format.can_hold(*e))
}

/// Every tensor that a format stores, as a conversion to it would leave it.
///
/// # Errors
/// Those of [`Uniform`].
pub(super) fn converted(neutral: &Model, format: &dyn Format) -> Result<Plan> {
    let mut plan = Uniform::Auto.plan(neutral, catalog(), None)?;
    let not_stored = translate::not_stored(neutral, format.naming());
    plan.tensors.retain(|e| !not_stored.contains(&e.tensor));
    Ok(plan)
}

/// The format, and what the smallest plan makes in it: proof that the artifact can be written and the budget be met.
///
/// # Errors
/// `Request` for a budget that cannot be met, with the nearest one that can; `Unsupported` where the model cannot be
/// written so, or no runtime of the target reads it. Of several formats, what is wrong with the preferred one.
pub(super) fn choose(request: &OptimizeRequest, neutral: &Model) -> Result<(&'static dyn Format, QuantizePlan)> {
    let mut problem = None;
    for format in preferred(request)? {
        match smallest(request, neutral, format) {
            Ok(plan) => return Ok((format, plan)),
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    Err(problem.unwrap_or_else(|| Error::bug("no format is registered")))
}

/// The formats to try, the best first.
fn preferred(request: &OptimizeRequest) -> Result<Vec<&'static dyn Format>> {
    if let Some(id) = &request.format {
        return Ok(vec![writable(id)?]);
    }
    let mut all: Vec<&'static dyn Format> = Vec::new();
    for deployment in request.target.iter().flat_map(|t| &t.runtimes) {
        let reads = &gravure_targets::runtime(&deployment.runtime)?.format;
        let known = catalog().formats.iter().find(|f| f.id() == reads && writes(**f));
        all.extend(known.filter(|f| all.iter().all(|other| other.id() != f.id())));
    }
    if all.is_empty() {
        all.extend(catalog().formats.first());
    }
    Ok(all)
}

/// The smallest plan in a format, where it keeps the budget.
fn smallest(request: &OptimizeRequest, neutral: &Model, format: &'static dyn Format) -> Result<QuantizePlan> {
    if request.order == Order::InTurn && format.naming() != Naming::Neutral {
        return Err(not_in_turn(format));
    }
    let base = converted(neutral, format)?;
    let device = Device::new(request, neutral, format)?;
    let candidates = space::candidates(request, format, &device)?;
    let space = Space::new(request, format, neutral, &base, &candidates, certificate::room()?)?;
    space.check_possible(&device)?;
    space.describe(&space.least()?)
}

#[cfg(test)]
mod tests {
    use gravure_testing::tiny_model::{self, Options, Size};

    use super::*;
    use crate::engine::LoadOptions;
    use crate::optimize::Budget;
    use crate::targets::{Measuring, find_target};
    use crate::{OpenRequest, open};

    #[test]
    fn the_target_prefers_and_the_budget_decides() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        tiny_model::write("llama", &Options { size: Size::Wide, layers: 1, ..Options::default() }, &path).unwrap();
        let neutral = translate::to_neutral(&open(&OpenRequest::new(&path)).unwrap(), catalog(), gravure_formats::neutral_name).unwrap();
        let chosen = |target: Option<&str>, format: Option<&str>, bits: f64| {
            let request = OptimizeRequest {
                budget: Budget { bits_per_weight: Some(bits), ..Budget::default() },
                target: target.map(|t| find_target(t, Measuring::Estimate, 1).unwrap()),
                format: format.map(str::to_owned),
                ..OptimizeRequest::new(LoadOptions::new(&path), folder.path().join("out"), "a", "b")
            };
            choose(&request, &neutral).map(|(format, _)| format.id())
        };
        // (target, format that is asked for, bits for each weight, format or error)
        let cases = [
            (None, None, 4.5, Ok("gguf")),
            (None, Some("safetensors"), 12.0, Ok("safetensors")),
            (None, Some("safetensors"), 4.5, Err("in the smallest encodings the tensors take 8.")),
            (Some("raspberry-pi-5"), None, 12.0, Ok("gguf")),
            (Some("raspberry-pi-5"), Some("safetensors"), 12.0, Err("no runtime of the target `raspberry-pi-5` reads safetensors")),
            (Some("h100"), None, 16.5, Ok("safetensors")),
            (Some("h100"), None, 4.5, Ok("gguf")),
            (Some("h100"), None, 0.5, Err("in the smallest encodings the tensors take 8.")),
            (Some("h100"), Some("gguf"), 16.5, Ok("gguf")),
            (Some("rtx-4060"), None, 16.5, Ok("gguf")),
        ];
        let mut wrong = Vec::new();
        for (target, format, bits, expected) in cases {
            let found = chosen(target, format, bits);
            let matches = match (&found, expected) {
                (Ok(found), Ok(expected)) => *found == expected,
                (Err(error), Err(expected)) => error.to_string().contains(expected),
                _ => false,
            };
            if !matches {
                wrong.push(format!("{target:?} {format:?} {bits}: {found:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
