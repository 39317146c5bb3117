//! What is searched: every method of the registry, an allocation with its budget or a fixed mixture, and how keys and
//! values are kept. Nothing here names a member of a registry.

use gravure_base::{Error, Result};
use gravure_core::contracts::CacheType;
use gravure_planner::search::{Condition, Domain, Parameter, Point, Scale, Space, Value};

use super::request::{Objective, SearchRequest};
use crate::catalog;
use crate::optimize::ground::{Layout, Prospect, Setup};
use crate::recommend::cache_number;

/// Steps of the budget, in bits for each weight.
const STEP: f64 = 0.05;
/// Bits that tensors outside the layers keep at least.
const FLOORS: [&str; 3] = ["0", "4", "6"];
/// What stands for no pass, and between several.
const NO_PASS: &str = "none";
const AND: char = '+';
const ALLOCATED: &str = "allocated";
const MIXTURE: &str = "mixture";

/// Ways to keep keys and values, by the names that points have for them.
const CACHES: [(&str, CacheType); 3] = [("f32", CacheType::F32), ("f16", CacheType::F16), ("q8", CacheType::Q8)];

/// The methods to choose from.
///
/// # Errors
/// `Request` for an unknown one.
pub(super) fn methods(request: &SearchRequest) -> Result<Vec<String>> {
    if request.methods.is_empty() {
        return Ok(catalog().methods.iter().map(|m| m.id().to_owned()).collect());
    }
    request.methods.iter().map(|id| catalog().method(id).map(|m| m.id().to_owned())).collect()
}

/// The passes that a choice stands for.
///
/// # Errors
/// `Request` for an unknown one.
fn passes(choice: &str) -> Result<Vec<String>> {
    if choice == NO_PASS {
        return Ok(Vec::new());
    }
    choice.split(AND).map(|id| catalog().pass(id).map(|p| p.id().to_owned())).collect()
}

/// The space of a request.
///
/// # Errors
/// `Request` where nothing fits the limits.
pub(super) fn space(request: &SearchRequest, prospect: &Prospect) -> Result<Space> {
    let (least, most) = prospect.bits()?;
    // Steps of twentieths, whatever the smallest plan has: figures that people can compare.
    let low = (least / STEP).ceil() * STEP;
    let high = ((most / STEP).floor() * STEP).max(low);
    let round = |bits: f64| (bits * 1e6).round() / 1e6;
    let always = |name: &str, domain| Parameter { name: name.to_owned(), domain, when: None };
    let mixtures: Vec<String> = prospect.mixtures()?.into_keys().collect();
    let layouts: &[&str] = if mixtures.is_empty() { &[ALLOCATED] } else { &[ALLOCATED, MIXTURE] };
    let when = |layout: &str| Some(Condition { parameter: "layout".into(), among: vec![Value::Choice(layout.to_owned())] });
    let bits = Domain::Real { low: round(low), high: round(high), scale: Scale::Linear, step: Some(STEP) };
    let mut parameters = vec![
        always("method", Domain::Choice { of: methods(request)? }),
        always("layout", Domain::choice(layouts.iter().copied())),
        Parameter { when: when(ALLOCATED), ..always("bits", bits) },
        Parameter { when: when(ALLOCATED), ..always("outer_floor", Domain::choice(FLOORS)) },
    ];
    if !request.passes.is_empty() {
        request.passes.iter().try_for_each(|choice| passes(choice).map(drop))?;
        parameters.push(always("pass", Domain::Choice { of: request.passes.clone() }));
    }
    if !mixtures.is_empty() {
        parameters.push(Parameter { when: when(MIXTURE), ..always(MIXTURE, Domain::Choice { of: mixtures }) });
    }
    // Fewer bits for keys and values gain nothing where only divergence and the file count.
    let gains = request.objectives.iter().any(|o| !matches!(o, Objective::Kld | Objective::Size));
    let own = cache_number(request.source.cache);
    let caches = CACHES.iter().filter(|(_, c)| *c == request.source.cache || (gains && cache_number(*c) < own && own <= 2.0));
    parameters.push(always("cache", Domain::choice(caches.map(|(name, _)| *name))));
    Space::new(parameters)
}

/// What a point means.
///
/// # Errors
/// `Request` for a point of another space.
pub(super) fn setup(point: &Point) -> Result<Setup> {
    let missing = |what: &str| Error::request(format!("the point has no {what}")).help("it is not one of this search");
    let choice = |name: &str| point.choice(name).ok_or_else(|| missing(name));
    let layout = match choice("layout")? {
        MIXTURE => Layout::Mixture(choice(MIXTURE)?.to_owned()),
        _ => Layout::Allocated {
            bits: point.real("bits").ok_or_else(|| missing("bits"))?,
            outer_floor: choice("outer_floor")?.parse().map_err(|_| missing("outer_floor"))?,
        },
    };
    let cache = choice("cache")?;
    let cache = CACHES.iter().find(|(name, _)| *name == cache).map(|(_, c)| *c).ok_or_else(|| missing("cache"))?;
    let passes = point.choice("pass").map_or_else(|| Ok(Vec::new()), passes)?;
    Ok(Setup { method: choice("method")?.to_owned(), passes, layout, cache })
}
