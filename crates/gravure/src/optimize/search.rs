//! From a budget to a plan: allocation over what the tensors cost.

use gravure_base::{Error, Result};
use gravure_core::Plan;
use gravure_core::values::{CandidateError, Sensitivity, TensorSensitivity};
use gravure_planner::budget::{Allocation, Choice, Item, allocate, allocate_for_loss};
use gravure_planner::two_budgets::allocate_both;

use super::device::Device;
use super::space::Space;

/// Times that the share of header and padding is found anew: it settles after two.
const ROUNDS: usize = 6;
/// A plan this near to the allowed size is not worth another round, in bytes.
const NEAR: u64 = 256;

/// Share of a loss that tensors may have, however high the floor.
const LEFT_BY_FLOOR: f64 = 0.25;

/// The knapsack.
pub(super) struct Search<'a> {
    space: &'a Space<'a>,
    device: &'a Device,
    items: Vec<Item>,
    /// Loss of every plan.
    floor: f64,
    /// Seconds for a token that each choice of each item takes to be read, where speed is asked for.
    seconds: Option<Vec<Vec<f64>>>,
}

/// A plan with what is predicted of it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) plan: Plan,
    /// Divergence, in nats.
    pub(super) loss: f64,
}

impl<'a> Search<'a> {
    pub(super) fn new(space: &'a Space<'a>, device: &'a Device, sensitivity: &Sensitivity) -> Result<Self> {
        let items: Vec<Item> = sensitivity.tensors.iter().map(item).collect();
        let seconds = match space.request.budget.min_tokens_per_second {
            None => None,
            Some(_) => {
                let each = |item: &Item| item.choices.iter().map(|c| device.read_seconds(&item.tensor, &c.encoding, c.bytes)).collect();
                Some(items.iter().map(each).collect::<Result<_>>()?)
            }
        };
        Ok(Self { space, device, items, floor: sensitivity.floor, seconds })
    }

    /// The plan that loses least under the budget's limits of bytes and seconds; where there are none, the
    /// smallest whose predicted loss is at most `loss`.
    ///
    /// # Errors
    /// `Request` where no plan does.
    pub(super) fn plan(&self, loss: f64) -> Result<Found> {
        let budget = &self.space.request.budget;
        if !budget.limits_resources() {
            let allocation = allocate_for_loss(&self.items, self.above_floor(loss))?;
            return self.found(&allocation);
        }
        let tensors = self.tensor_bytes_at_most();
        let Some(most) = budget.max_size else {
            return self.found(&self.within(tensors)?);
        };
        // A header has the same length whatever the encodings: its share is known after one plan, and only
        // the padding of tensors moves.
        let mut limit = tensors.min(most);
        let mut best = None;
        for _ in 0..ROUNDS {
            let found = self.found(&self.within(limit)?)?;
            let described = self.space.describe(&found.plan)?;
            let other = described.output_bytes.saturating_sub(found.plan.tensor_bytes);
            let room = most.saturating_sub(other).min(tensors);
            if described.output_bytes <= most {
                let slack = most - described.output_bytes;
                best = Some(found);
                if slack < NEAR || room <= limit {
                    break;
                }
                limit = room;
            } else {
                limit = room.min(limit.saturating_sub(1));
            }
        }
        best.ok_or_else(|| Error::request("the size cannot be met").help("allow some kilobytes more"))
    }

    /// What tensors may lose of a loss. The floor is an estimate: a loss below it is tried all the same.
    fn above_floor(&self, loss: f64) -> f64 {
        (loss - self.floor).max(loss * LEFT_BY_FLOOR)
    }

    /// The fewest bytes of tensors that are predicted to lose at most `loss`; `None` where nothing does.
    pub(super) fn bytes_for(&self, loss: f64) -> Option<u64> {
        allocate_for_loss(&self.items, self.above_floor(loss)).ok().map(|a| a.bytes + self.space.fixed_bytes)
    }

    /// The least loss that is predicted for at most `bytes` of tensors; `None` where that is too few.
    pub(super) fn loss_within(&self, bytes: u64) -> Option<f64> {
        allocate(&self.items, bytes.checked_sub(self.space.fixed_bytes)?).ok().map(|a| a.loss + self.floor)
    }

    /// Loss and bytes of tensors of the best plans between the smallest and the largest, `count` of them:
    /// what the allocation predicts for every size.
    ///
    /// # Errors
    /// Those of the allocation.
    pub(super) fn frontier(&self, count: u32) -> Result<Vec<(u64, f64)>> {
        let sum = |of: &dyn Fn(&Item) -> Option<u64>| self.items.iter().filter_map(of).sum::<u64>();
        let least = sum(&|i| i.choices.iter().map(|c| c.bytes).min());
        let most = sum(&|i| i.choices.iter().map(|c| c.bytes).max());
        let step = |n: u32| least + (most - least) * u64::from(n) / u64::from(count.saturating_sub(1).max(1));
        let point = |n| allocate(&self.items, step(n)).map(|a| (a.bytes + self.space.fixed_bytes, a.loss + self.floor));
        let mut points = (0..count).map(point).collect::<Result<Vec<_>>>()?;
        points.dedup_by_key(|(bytes, _)| *bytes);
        Ok(points)
    }

    /// Loss that is predicted for a plan by name of tensor and encoding; `None` where one was not measured.
    pub(super) fn loss_of(&self, encoding_of: impl Fn(&str) -> Option<String>) -> Option<f64> {
        let loss = |item: &Item| {
            let encoding = encoding_of(&item.tensor)?;
            item.choices.iter().filter(|c| c.encoding == encoding).map(|c| c.loss).reduce(f64::min)
        };
        self.items.iter().map(loss).sum::<Option<f64>>().map(|loss| loss + self.floor)
    }

    /// The tightest of the limits on tensors, those that are not up for choice among them.
    fn tensor_bytes_at_most(&self) -> u64 {
        let budget = &self.space.request.budget;
        let weights = self.space.neutral.parameters() as f64;
        let by_bits = budget.bits_per_weight.map(|b| (weights * b / 8.0) as u64);
        let by_memory = budget.max_memory.map(|m| m.saturating_sub(self.device.beside_weights()));
        [budget.max_tensor_bytes, by_bits, by_memory].into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    /// The least loss whose tensors have at most `limit` bytes together and are read in time.
    fn within(&self, limit: u64) -> Result<Allocation> {
        let free = limit.checked_sub(self.space.fixed_bytes).ok_or_else(|| {
            Error::request(format!("the budget of {limit} bytes cannot be met"))
                .help(format!("tensors that stay exact take {} bytes", self.space.fixed_bytes))
        })?;
        let (Some(seconds), Some(least)) = (&self.seconds, self.space.request.budget.min_tokens_per_second) else {
            return allocate(&self.items, free);
        };
        // All that takes time beside the reading of these tensors stays the same.
        let first = self.found(&allocate(&self.items, free)?)?;
        let speed = |plan: &Plan| Ok::<_, Error>(self.device.tokens_per_second(&self.space.stored(plan)?)?.unwrap_or(f64::INFINITY));
        let now = speed(&first.plan)?;
        let read: f64 = self.read_seconds(&first.plan)?;
        let mut most = read - (1.0 / now - 1.0 / least);
        for _ in 0..ROUNDS {
            let found = allocate_both(&self.items, seconds, free, most.max(0.0)).map_err(|e| {
                e.help(format!(
                    "allow a larger size or memory than {limit} bytes of tensors need, or fewer than {least} tokens in a second"
                ))
            })?;
            if speed(&self.found(&found)?.plan)? >= least {
                return Ok(found);
            }
            // Multipliers, not reading, bound the speed of some weights.
            most *= 0.98;
        }
        Err(Error::request(format!("{least} tokens in a second cannot be met at this size")).help("ask for fewer, or allow more bytes"))
    }

    fn read_seconds(&self, plan: &Plan) -> Result<f64> {
        let stored = self.space.stored(plan)?;
        let chosen = self.items.iter().filter_map(|item| stored.get_key_value(&item.tensor));
        chosen.map(|(name, (encoding, bytes))| self.device.read_seconds(name, encoding.id(), *bytes)).sum()
    }

    fn found(&self, allocation: &Allocation) -> Result<Found> {
        let plan = self.space.plan("optimized", |tensor| {
            let index = self.items.iter().position(|i| i.tensor == tensor.name)?;
            let choice = self.items.get(index)?.choices.get(*allocation.picks.get(index)?)?;
            Some((choice.encoding.clone(), format!("predicted to cost {:.2e} nats of divergence", choice.loss)))
        })?;
        Ok(Found { plan, loss: allocation.loss + self.floor })
    }
}

fn item(tensor: &TensorSensitivity) -> Item {
    let choice = |c: &CandidateError| Choice { encoding: c.encoding.clone(), bytes: c.bytes, loss: tensor.constant * c.error };
    Item { tensor: tensor.tensor.clone(), choices: tensor.candidates.iter().map(choice).collect() }
}
