//! Allocation under a hard budget: for every tensor one of its candidates, so that the predicted loss is
//! least and the bytes fit.
//!
//! This is the multiple-choice knapsack problem. Candidates that cost more bytes and lose more than
//! another are dropped; dynamic programming over the budget in steps (Dudzinski and Walukiewicz 1987)
//! finds the best choice up to the rounding of bytes to steps, and exchanges of single candidates and of
//! pairs use up the bytes that rounding left over. Losses of tensors add up.

use gravure_core::{Error, Result};

/// One way to store a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Encoding id.
    pub encoding: String,
    /// Bytes of the tensor.
    pub bytes: u64,
    /// Predicted loss, at least zero.
    pub loss: f64,
}

/// A tensor and the ways to store it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The tensor's name.
    pub tensor: String,
    /// At least one way.
    pub choices: Vec<Choice>,
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// For each item the index of its choice.
    pub picks: Vec<usize>,
    /// Bytes together.
    pub bytes: u64,
    /// Predicted loss together.
    pub loss: f64,
}

/// Steps that the part of the budget is divided into which is free to be spent.
const STEPS: usize = 1 << 15;
/// Memory of the table of picks, in bytes, at most: more items get fewer steps.
const TABLE: usize = 64 << 20;

/// The choice of least predicted loss whose bytes are at most `budget`.
///
/// # Errors
/// `Request` where even the smallest choices do not fit, naming the least possible budget; `Bug` where
/// an item has no choice, or a loss is negative or no number.
pub fn allocate(items: &[Item], budget: u64) -> Result<Allocation> {
    let mut fronts = Vec::with_capacity(items.len());
    for item in items {
        if item.choices.is_empty() || item.choices.iter().any(|c| !c.loss.is_finite() || c.loss < 0.0) {
            return Err(Error::bug("no choice, or a loss that is no number").at_item(&*item.tensor));
        }
        fronts.push(front(item));
    }
    let least: u64 = fronts.iter().zip(items).map(|(f, item)| item.choices[f[0]].bytes).sum();
    let Some(free) = budget.checked_sub(least) else {
        return Err(Error::request(format!("the budget of {budget} bytes for tensors cannot be met"))
            .help(format!("the smallest encodings take {least} bytes")));
    };
    let most: u64 = fronts.iter().zip(items).map(|(f, item)| item.choices[f[f.len() - 1]].bytes).sum();
    let mut picks: Vec<usize> = if most <= budget { fronts.iter().map(|f| f.len() - 1).collect() } else { table(items, &fronts, free) };
    if most > budget {
        exchange(items, &fronts, budget, &mut picks);
    }
    let picks: Vec<usize> = picks.iter().zip(&fronts).map(|(&p, f)| f[p]).collect();
    let bytes = items.iter().zip(&picks).map(|(item, &p)| item.choices[p].bytes).sum();
    let loss = items.iter().zip(&picks).map(|(item, &p)| item.choices[p].loss).sum();
    Ok(Allocation { picks, bytes, loss })
}

/// The fewest bytes whose predicted loss is at most `loss`.
///
/// # Errors
/// `Request` where no choice loses so little, naming the least loss possible; otherwise as [`allocate`].
pub fn allocate_for_loss(items: &[Item], loss: f64) -> Result<Allocation> {
    let sum = |of: &dyn Fn(&Item) -> u64| items.iter().map(of).sum::<u64>();
    let mut low = sum(&|i| i.choices.iter().map(|c| c.bytes).min().unwrap_or(0));
    let mut high = sum(&|i| i.choices.iter().map(|c| c.bytes).max().unwrap_or(0));
    let mut best = allocate(items, high)?;
    if best.loss > loss {
        return Err(Error::request(format!("a loss of {loss} cannot be promised"))
            .help(format!("the largest encodings are predicted to lose {:.6}", best.loss)));
    }
    // Forty halvings part any budget that fits a disk into bytes.
    for _ in 0..40 {
        if low >= high {
            break;
        }
        let middle = low + (high - low) / 2;
        let found = allocate(items, middle)?;
        if found.loss <= loss {
            high = found.bytes.min(middle);
            best = found;
        } else {
            low = middle + 1;
        }
    }
    Ok(best)
}

/// Indices of the choices worth having: by bytes upward, each losing less than all before.
fn front(item: &Item) -> Vec<usize> {
    let mut order: Vec<usize> = (0..item.choices.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&item.choices[a], &item.choices[b]);
        a.bytes.cmp(&b.bytes).then(a.loss.total_cmp(&b.loss))
    });
    let mut least = f64::INFINITY;
    order.retain(|&i| {
        let better = item.choices[i].loss < least;
        least = least.min(item.choices[i].loss);
        better
    });
    order
}

/// Picks (places in the fronts) by dynamic programming over steps of `free / STEPS` bytes, rounded up.
fn table(items: &[Item], fronts: &[Vec<usize>], free: u64) -> Vec<usize> {
    let steps = (TABLE / items.len().max(1)).min(STEPS).min(usize::try_from(free).unwrap_or(STEPS));
    let step = free.div_ceil(steps.max(1) as u64).max(1);
    let width = usize::try_from(free / step).unwrap_or(STEPS) + 1;
    // best[s]: the least loss of the items so far with at most s steps beyond the smallest choices.
    let mut best = vec![0.0_f64; width];
    let mut chosen = vec![0_u8; width * items.len()];
    for ((item, front), chosen) in items.iter().zip(fronts).zip(chosen.chunks_exact_mut(width)) {
        let least = item.choices[front[0]].bytes;
        let mut next = vec![f64::INFINITY; width];
        for (place, &choice) in front.iter().enumerate().take(usize::from(u8::MAX)) {
            let choice = &item.choices[choice];
            let Ok(cost) = usize::try_from((choice.bytes - least).div_ceil(step)) else { continue };
            for s in cost..width {
                let loss = best[s - cost] + choice.loss;
                if loss < next[s] {
                    next[s] = loss;
                    chosen[s] = place as u8;
                }
            }
        }
        best = next;
    }
    let mut left = width - 1;
    let mut picks = vec![0; items.len()];
    for index in (0..items.len()).rev() {
        let place = usize::from(chosen[index * width + left]);
        picks[index] = place;
        let (item, front) = (&items[index], &fronts[index]);
        let cost = (item.choices[front[place]].bytes - item.choices[front[0]].bytes).div_ceil(step);
        left -= usize::try_from(cost).unwrap_or(left).min(left);
    }
    picks
}

/// Better picks by changing one item, or two at once, while anything gets better.
fn exchange(items: &[Item], fronts: &[Vec<usize>], budget: u64, picks: &mut [usize]) {
    let choice = |item: usize, place: usize| &items[item].choices[fronts[item][place]];
    let mut bytes: u64 = (0..items.len()).map(|i| choice(i, picks[i]).bytes).sum();
    // Each round gains, and gains of less than this are not worth a round.
    let enough = 1e-12 * (0..items.len()).map(|i| choice(i, picks[i]).loss).sum::<f64>();
    loop {
        let mut best: Option<(f64, Vec<(usize, usize)>)> = None;
        let mut offer = |gain: f64, moves: &[(usize, usize)]| {
            if gain > enough && best.as_ref().is_none_or(|(g, _)| gain > *g) {
                best = Some((gain, moves.to_vec()));
            }
        };
        for i in 0..items.len() {
            let now = choice(i, picks[i]);
            for p in 0..fronts[i].len() {
                let then = choice(i, p);
                if p == picks[i] {
                    continue;
                }
                if bytes - now.bytes + then.bytes <= budget {
                    offer(now.loss - then.loss, &[(i, p)]);
                }
                // One item grows where another shrinks.
                if p > picks[i] {
                    let room = budget - bytes;
                    let Some(need) = (then.bytes - now.bytes).checked_sub(room).filter(|n| *n > 0) else { continue };
                    for j in (0..items.len()).filter(|&j| j != i) {
                        let other = choice(j, picks[j]);
                        for q in (0..picks[j]).rev() {
                            let smaller = choice(j, q);
                            if other.bytes - smaller.bytes >= need {
                                offer(now.loss - then.loss + other.loss - smaller.loss, &[(i, p), (j, q)]);
                                break;
                            }
                        }
                    }
                }
            }
        }
        let Some((_, moves)) = best else { return };
        for (i, p) in moves {
            bytes = bytes - choice(i, picks[i]).bytes + choice(i, p).bytes;
            picks[i] = p;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(choices: &[(u64, f64)]) -> Item {
        let choices = choices.iter().map(|&(bytes, loss)| Choice { encoding: format!("e{bytes}"), bytes, loss }).collect();
        Item { tensor: "t".into(), choices }
    }

    fn exhaustive(items: &[Item], budget: u64) -> Option<f64> {
        let mut best: Option<f64> = None;
        let total: usize = items.iter().map(|i| i.choices.len()).product();
        for mut code in 0..total {
            let (mut bytes, mut loss) = (0, 0.0);
            for item in items {
                let choice = &item.choices[code % item.choices.len()];
                code /= item.choices.len();
                bytes += choice.bytes;
                loss += choice.loss;
            }
            if bytes <= budget && best.is_none_or(|b| loss < b) {
                best = Some(loss);
            }
        }
        best
    }

    #[test]
    fn what_does_not_fit_names_what_would() {
        let items = [item(&[(10, 1.0), (20, 0.1)]), item(&[(5, 2.0)])];
        let error = allocate(&items, 14).unwrap_err();
        assert!(error.help_text().is_some_and(|h| h.contains("15 bytes")), "{error}");
        assert_eq!(allocate(&items, 15).unwrap().bytes, 15);
        assert_eq!(allocate(&items, 1000).unwrap().bytes, 25);
    }

    #[test]
    fn the_fewest_bytes_for_a_loss() {
        let items = [item(&[(10, 1.0), (20, 0.1), (40, 0.0)]), item(&[(5, 2.0), (6, 0.5), (60, 0.0)])];
        let found = allocate_for_loss(&items, 0.7).unwrap();
        assert_eq!((found.bytes, found.picks), (26, vec![1, 1]));
        assert!(allocate_for_loss(&items, 0.0).is_ok());
        assert!(allocate_for_loss(&[item(&[(1, 0.5)])], 0.4).is_err());
    }

    proptest! {
        #[test]
        fn it_is_the_best_of_all(
            sizes in proptest::collection::vec(proptest::collection::vec((1u64..5000, 0u32..1000), 1..5), 1..6),
            share in 0.0f64..1.1,
        ) {
            let items: Vec<Item> = sizes
                .iter()
                .map(|s| item(&s.iter().map(|&(b, l)| (b, f64::from(l))).collect::<Vec<_>>()))
                .collect();
            let most: u64 = items.iter().map(|i| i.choices.iter().map(|c| c.bytes).max().unwrap_or(0)).sum();
            let budget = (most as f64 * share) as u64;
            match (allocate(&items, budget), exhaustive(&items, budget)) {
                (Ok(found), Some(best)) => {
                    prop_assert!(found.bytes <= budget);
                    prop_assert!((found.loss - best).abs() < 1e-9, "{} and {}", found.loss, best);
                }
                (Err(_), None) => {}
                (found, best) => prop_assert!(false, "{found:?}, {best:?}"),
            }
        }
    }
}
