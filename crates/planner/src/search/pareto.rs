//! Which of many outcomes are the best where there are several figures. All figures are made small.
//!
//! Non-dominated sorting and crowding are those of Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist
//! multiobjective genetic algorithm: NSGA-II" (IEEE Transactions on Evolutionary Computation 6, 2002), limits
//! as its section VI has them: whatever keeps them goes before all that does not.

use std::cmp::Ordering;

use super::sampler::Outcome;

/// Whether `a` is nowhere worse than `b` and somewhere better.
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    let pairs = || a.iter().zip(b);
    pairs().all(|(a, b)| a <= b) && pairs().any(|(a, b)| a < b)
}

/// Indices of the points that none dominates, in order; of equal points all.
pub fn front(points: &[&[f64]]) -> Vec<usize> {
    (0..points.len()).filter(|&i| !points.iter().any(|other| dominates(other, points[i]))).collect()
}

/// The number of the front that each point is on: 0 for what nothing dominates, 1 for what only these do, ...
pub fn ranks(points: &[&[f64]]) -> Vec<usize> {
    let n = points.len();
    let mut beats: Vec<Vec<usize>> = vec![Vec::new(); n];
    let mut beaten_by = vec![0_usize; n];
    for i in 0..n {
        for j in i + 1..n {
            let (winner, loser) = if dominates(points[i], points[j]) {
                (i, j)
            } else if dominates(points[j], points[i]) {
                (j, i)
            } else {
                continue;
            };
            beats[winner].push(loser);
            beaten_by[loser] += 1;
        }
    }
    let mut ranks = vec![0; n];
    let mut now: Vec<usize> = (0..n).filter(|&i| beaten_by[i] == 0).collect();
    let mut rank = 0;
    while !now.is_empty() {
        let mut next = Vec::new();
        for &winner in &now {
            ranks[winner] = rank;
            for &loser in &beats[winner] {
                beaten_by[loser] -= 1;
                if beaten_by[loser] == 0 {
                    next.push(loser);
                }
            }
        }
        next.sort_unstable();
        now = next;
        rank += 1;
    }
    ranks
}

/// How much room each point has between its neighbours, by each figure's range; infinite at the ends.
pub fn crowding(points: &[&[f64]]) -> Vec<f64> {
    let n = points.len();
    let mut room = vec![0.0; n];
    let figures = points.first().map_or(0, |p| p.len());
    for figure in 0..figures {
        let at: Vec<f64> = points.iter().map(|p| p[figure]).collect();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| at[a].total_cmp(&at[b]).then(a.cmp(&b)));
        let (low, high) = (at[order[0]], at[order[n - 1]]);
        room[order[0]] = f64::INFINITY;
        room[order[n - 1]] = f64::INFINITY;
        if high <= low {
            continue;
        }
        for around in order.windows(3) {
            room[around[1]] += (at[around[2]] - at[around[0]]) / (high - low);
        }
    }
    room
}

/// Where an outcome stands among others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// Its front; outcomes without figures come after all that have some.
    pub rank: usize,
    /// Its room among those of the same rank.
    pub crowding: f64,
}

impl Standing {
    /// Better first: lower fronts, then more room.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank).then(other.crowding.total_cmp(&self.crowding))
    }
}

/// Where every outcome stands: what was measured by fronts, then what was refused by how much, then what failed.
pub fn standings(outcomes: &[&Outcome]) -> Vec<Standing> {
    let mut all = vec![Standing { rank: 0, crowding: 0.0 }; outcomes.len()];
    let measured: Vec<(usize, &[f64])> = outcomes
        .iter()
        .enumerate()
        .filter_map(|(i, o)| match o {
            Outcome::Measured(figures) => Some((i, figures.as_slice())),
            _ => None,
        })
        .collect();
    let figures: Vec<&[f64]> = measured.iter().map(|(_, f)| *f).collect();
    let ranks = ranks(&figures);
    let mut after = 0;
    for rank in 0..=ranks.iter().copied().max().unwrap_or(0) {
        let members: Vec<usize> = (0..figures.len()).filter(|&i| ranks[i] == rank).collect();
        let of: Vec<&[f64]> = members.iter().map(|&i| figures[i]).collect();
        for (member, crowding) in members.iter().zip(crowding(&of)) {
            all[measured[*member].0] = Standing { rank, crowding };
            after = rank + 1;
        }
    }
    let mut refused: Vec<(usize, f64)> = outcomes
        .iter()
        .enumerate()
        .filter_map(|(i, o)| match o {
            Outcome::Refused { by } => Some((i, *by)),
            _ => None,
        })
        .collect();
    refused.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    for (index, _) in &refused {
        all[*index].rank = after;
        after += 1;
    }
    for (index, outcome) in outcomes.iter().enumerate() {
        if matches!(outcome, Outcome::Failed { .. }) {
            all[index].rank = after;
        }
    }
    all
}

/// The volume that some points dominate below a reference point (the hypervolume of Zitzler and Thiele 1998), by
/// slices of the last figure: exact, for the few figures that a search has.
pub fn hypervolume(points: &[&[f64]], reference: &[f64]) -> f64 {
    let inside: Vec<&[f64]> = points.iter().copied().filter(|p| p.iter().zip(reference).all(|(p, r)| p < r)).collect();
    let Some((last, rest)) = reference.split_last() else { return 0.0 };
    if inside.is_empty() {
        return 0.0;
    }
    if rest.is_empty() {
        return last - inside.iter().map(|p| p[0]).fold(f64::INFINITY, f64::min);
    }
    let at = rest.len();
    let mut order = inside;
    order.sort_by(|a, b| a[at].total_cmp(&b[at]));
    let mut volume = 0.0;
    for index in 0..order.len() {
        let until = order.get(index + 1).map_or(*last, |p| p[at]);
        let thick = until - order[index][at];
        if thick > 0.0 {
            let slice: Vec<&[f64]> = order[..=index].iter().map(|p| &p[..at]).collect();
            volume += thick * hypervolume(&slice, rest);
        }
    }
    volume
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fronts_are_peeled_off() {
        let points: [&[f64]; 6] = [&[1.0, 4.0], &[2.0, 2.0], &[4.0, 1.0], &[3.0, 3.0], &[5.0, 5.0], &[2.0, 2.0]];
        assert_eq!(ranks(&points), [0, 0, 0, 1, 2, 0]);
        assert_eq!(front(&points), [0, 1, 2, 5]);
        assert!(!dominates(&[1.0, 1.0], &[1.0, 1.0]) && dominates(&[1.0, 1.0], &[1.0, 2.0]));
    }

    #[test]
    fn room_is_between_the_neighbours() {
        let points: [&[f64]; 4] = [&[0.0, 10.0], &[1.0, 4.0], &[4.0, 1.0], &[10.0, 0.0]];
        let room = crowding(&points);
        assert_eq!((room[0], room[3]), (f64::INFINITY, f64::INFINITY));
        assert!((room[1] - (0.4 + 0.9)).abs() < 1e-12 && (room[2] - (0.9 + 0.4)).abs() < 1e-12, "{room:?}");
        assert!(crowding(&[]).is_empty());
    }

    #[test]
    fn what_breaks_limits_comes_after_what_keeps_them() {
        let failed = Outcome::Failed { why: "x".into() };
        let refused = |by| Outcome::Refused { by };
        let outcomes = [failed, refused(2.0), Outcome::Measured(vec![9.0, 9.0]), refused(1.0), Outcome::Measured(vec![1.0, 1.0])];
        let standings = standings(&outcomes.iter().collect::<Vec<_>>());
        assert_eq!(standings.iter().map(|s| s.rank).collect::<Vec<_>>(), [4, 3, 1, 2, 0]);
    }

    #[test]
    fn volumes_are_those_of_boxes() {
        let flat: [&[f64]; 3] = [&[1.0, 3.0], &[2.0, 2.0], &[3.0, 1.0]];
        assert!((hypervolume(&flat, &[4.0, 4.0]) - 6.0).abs() < 1e-12);
        let deep: [&[f64]; 2] = [&[0.0, 0.0, 1.0], &[1.0, 1.0, 0.0]];
        assert!((hypervolume(&deep, &[2.0, 2.0, 2.0]) - (4.0 + 1.0)).abs() < 1e-12);
        assert_eq!(hypervolume(&[&[5.0, 0.0]], &[4.0, 4.0]), 0.0);
        assert_eq!(hypervolume(&[&[1.0]], &[4.0]), 3.0);
    }
}
