//! Allocation under two hard budgets at once: bytes, and something else that adds up over tensors, such as
//! the time that a device takes to read them.
//!
//! Where the best allocation for one budget breaks the other, both are folded into one by a weighted sum
//! (the surrogate relaxation of F. Glover, "Surrogate constraints", Operations Research 16, 1968), and the
//! weights are tried on a grid. A sum that fits does not show that each part does, so every answer is held
//! against both; folding by the larger of the two shares can only err on the safe side and ends the grid.

use gravure_core::{Error, Result};

use crate::budget::{Allocation, Choice, Item, allocate};

/// Weights of the second budget that are tried, in steps from all of the first to all of the second.
const WEIGHTS: u32 = 16;
/// What both budgets count as, once they are folded into one.
const WHOLE: f64 = (1_u64 << 40) as f64;

/// The choice of least predicted loss whose bytes are at most `bytes` and whose `costs` (one for each choice
/// of each item, at least zero) sum up to at most `most`.
///
/// # Errors
/// `Request` where no choice meets one of the budgets, or where none was found that meets both; otherwise as
/// [`allocate`].
pub fn allocate_both(items: &[Item], costs: &[Vec<f64>], bytes: u64, most: f64) -> Result<Allocation> {
    if items.len() != costs.len() || items.iter().zip(costs).any(|(item, costs)| item.choices.len() != costs.len()) {
        return Err(Error::bug("there is not one cost for each choice"));
    }
    let cost = |picks: &[usize]| costs.iter().zip(picks).map(|(costs, &p)| costs.get(p).copied().unwrap_or(f64::INFINITY)).sum::<f64>();
    let first = allocate(items, bytes)?;
    if cost(&first.picks) <= most {
        return Ok(first);
    }
    let mut best: Option<Allocation> = None;
    let folds = (1..=WEIGHTS).map(|step| Some(f64::from(step) / f64::from(WEIGHTS))).chain([None]);
    for weight in folds {
        let fold = |choice: &Choice, cost: f64| -> u64 {
            let (a, b) = (choice.bytes as f64 / bytes.max(1) as f64, cost / most.max(f64::MIN_POSITIVE));
            let share = weight.map_or_else(|| a.max(b), |w| (1.0 - w) * a + w * b);
            // What does not fit by itself need not be told apart.
            (share.min(2.0) * WHOLE).ceil() as u64
        };
        let folded = items.iter().zip(costs).map(|(item, costs)| Item {
            tensor: item.tensor.clone(),
            choices: item.choices.iter().zip(costs).map(|(c, &cost)| Choice { bytes: fold(c, cost), ..c.clone() }).collect(),
        });
        let folded: Vec<Item> = folded.collect();
        let Ok(found) = allocate(&folded, WHOLE as u64 + items.len() as u64) else { continue };
        let own: u64 = items.iter().zip(&found.picks).map(|(item, &p)| item.choices[p].bytes).sum();
        if own <= bytes && cost(&found.picks) <= most && best.as_ref().is_none_or(|b| found.loss < b.loss) {
            best = Some(Allocation { bytes: own, ..found });
        }
    }
    best.ok_or_else(|| Error::request("no choice of encodings was found that meets both the size and the speed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items(raw: &[Vec<(u64, u32, u32)>]) -> (Vec<Item>, Vec<Vec<f64>>) {
        let choice = |&(bytes, loss, _): &(u64, u32, u32)| Choice { encoding: "e".into(), bytes, loss: f64::from(loss) };
        let item = |raw: &Vec<(u64, u32, u32)>| Item { tensor: "t".into(), choices: raw.iter().map(choice).collect() };
        (raw.iter().map(item).collect(), raw.iter().map(|r| r.iter().map(|c| f64::from(c.2)).collect()).collect())
    }

    #[test]
    fn the_second_budget_decides_where_the_first_does_not() {
        // Large and quick, or small and slow: only the middle meets both.
        let raw = vec![vec![(100, 0, 1), (50, 5, 5), (10, 9, 50)]; 2];
        let (items, costs) = items(&raw);
        let found = allocate_both(&items, &costs, 120, 12.0).unwrap();
        assert_eq!((found.bytes, found.picks), (100, vec![1, 1]));
        assert!(allocate_both(&items, &costs, 19, 1000.0).is_err());
        assert!(allocate_both(&items, &costs, 25, 12.0).is_err());
    }

    proptest! {
        #[test]
        fn both_are_met_and_what_surely_fits_is_found(
            raw in proptest::collection::vec(proptest::collection::vec((1u64..500, 0u32..1000, 0u32..50), 1..4), 1..5),
            bytes in 1u64..1500,
            most in 1u32..150,
        ) {
            let (items, costs) = items(&raw);
            let least = |of: &dyn Fn(&(u64, u32, u32)) -> f64| raw.iter().map(|r| r.iter().map(of).fold(f64::INFINITY, f64::min)).sum::<f64>();
            let share = |c: &(u64, u32, u32)| (c.0 as f64 / bytes as f64).max(f64::from(c.2) / f64::from(most));
            match allocate_both(&items, &costs, bytes, f64::from(most)) {
                Ok(found) => {
                    let cost: f64 = costs.iter().zip(&found.picks).map(|(c, &p)| c[p]).sum();
                    let own: u64 = items.iter().zip(&found.picks).map(|(i, &p)| i.choices[p].bytes).sum();
                    prop_assert!(own <= bytes && own == found.bytes && cost <= f64::from(most));
                }
                Err(_) => prop_assert!(least(&share) > 1.0 - 1e-9),
            }
        }
    }
}
