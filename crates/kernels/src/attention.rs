//! Attention over the pages of a [`Cache`], a tile of positions at a time (FlashAttention, Dao et al.
//! 2022): scores, their running maximum and sum, and the weighted sum of values stay in the caches of
//! the processor.
//!
//! Tiles begin at absolute positions, the pages' own, and each query sees its tiles in order, so that
//! its result depends neither on the queries that it is computed with nor on the threads. All query
//! heads of a key-value head share a tile once it is decoded.

use std::cell::RefCell;
use std::ops::Range;

use gravure_base::{Error, Result};
use gravure_simd::{F32s, Isa, Kernel, MAX_LANES, Simd, math};

use crate::cache::{Cache, PAGE};
use crate::dispatch::Level;
use crate::elementwise::softcap;
use crate::scores::{Mix, Products};
use crate::{Pool, SharedRows};

/// Queries (rows by heads) that share a decoded tile.
const QUERIES: usize = 64;

/// How rows see each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads, a multiple of the key-value heads.
    pub heads: usize,
    /// Factor of products of queries and keys.
    pub scale: f32,
    /// Whether a row sees only itself and those before.
    pub causal: bool,
    /// How many rows a row sees, itself among them.
    pub window: Option<usize>,
    /// Soft bound of scores.
    pub softcap: Option<f32>,
}

impl AttentionShape {
    /// Positions that `position` sees of a sequence of `end`.
    fn seen(&self, position: usize, end: usize) -> Range<usize> {
        let reach = self.window.map_or(usize::MAX, |w| w.max(1) - 1);
        let first = position.saturating_sub(reach);
        let last = if self.causal { position } else { position.saturating_add(reach).min(end - 1) };
        first..last + 1
    }
}

/// Consecutive queries of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct AttentionRows<'a> {
    /// The sequence's pages in order.
    pub pages: &'a [u32],
    /// Its first row in the queries and the output.
    pub first_row: usize,
    /// Number of rows.
    pub rows: usize,
    /// Position of the first row.
    pub position: usize,
    /// Positions of the sequence that the cache holds, the rows' own among them.
    pub end: usize,
}

/// One piece of work.
#[derive(Debug, Clone, Copy)]
struct Task<'a> {
    group: AttentionRows<'a>,
    head: usize,
    /// Rows of the group.
    from: usize,
    to: usize,
}

/// For each row and head of `queries [rows, heads * key length]`, the mean of the values that the row
/// sees, weighted by the softmax of its products with their keys: `out [rows, heads * value length]`.
/// Rows that no group names stay as they are.
///
/// # Errors
/// `Bug` where shapes or pages do not fit.
pub fn attention(
    pool: &Pool,
    cache: &Cache,
    layer: usize,
    shape: &AttentionShape,
    queries: &[f32],
    groups: &[AttentionRows<'_>],
    out: &mut [f32],
) -> Result<()> {
    let misfit = || Error::bug("attention of shapes that do not fit");
    let kept = cache.shape(layer).ok_or_else(misfit)?;
    let (width, out_width) = (shape.heads * kept.key_length, shape.heads * kept.value_length);
    let rows = queries.len().checked_div(width).ok_or_else(misfit)?;
    let fits =
        kept.kv_heads > 0 && shape.heads.is_multiple_of(kept.kv_heads) && queries.len() == rows * width && out.len() == rows * out_width;
    let fit = |g: &AttentionRows<'_>| {
        let known = g.pages.iter().all(|&p| (p as usize) < cache.pages());
        known && g.first_row + g.rows <= rows && g.position + g.rows <= g.end && g.end <= g.pages.len() * PAGE
    };
    if !fits || !groups.iter().all(fit) {
        return Err(misfit());
    }
    let per_task = (QUERIES / (shape.heads / kept.kv_heads)).max(1);
    let tasks: Vec<Task<'_>> = groups
        .iter()
        .flat_map(|&group| {
            let pieces = move |head| {
                (0..group.rows).step_by(per_task).map(move |from| Task { group, head, from, to: (from + per_task).min(group.rows) })
            };
            (0..kept.kv_heads).flat_map(pieces)
        })
        .collect();
    let (isa, out) = (Isa::detect(), SharedRows::new(out, out_width));
    let tiles = Tiles { cache, layer, shape, queries, width, isa, level: Level::of(isa) };
    pool.run(tasks.len(), &|i| {
        SCRATCH.with_borrow_mut(|scratch| {
            let group = shape.heads / kept.kv_heads;
            let task = tasks[i];
            let sizes = Sizes::new(kept.key_length, kept.value_length, group, (task.to - task.from) * group);
            let scratch = sizes.split(scratch);
            let results = tiles.run(&task, &sizes, scratch);
            for (q, row) in results.chunks_exact(sizes.padded).enumerate() {
                let (r, head) = (task.group.first_row + task.from + q / group, task.head * group + q % group);
                // SAFETY: each row and head belongs to one task.
                let cells = unsafe { out.part(r, head * kept.value_length..(head + 1) * kept.value_length) };
                cells.copy_from_slice(&row[..kept.value_length]);
            }
        });
    });
    Ok(())
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Copy)]
struct Sizes {
    length: usize,
    padded: usize,
    group: usize,
    queries: usize,
}

struct Scratch<'a> {
    keys: &'a mut [f32],
    values: &'a mut [f32],
    queries: &'a mut [f32],
    scores: &'a mut [f32],
    sums: &'a mut [f32],
    highest: &'a mut [f32],
    totals: &'a mut [f32],
}

impl Sizes {
    fn new(length: usize, value_length: usize, group: usize, queries: usize) -> Self {
        Self { length, padded: value_length.next_multiple_of(gravure_simd::MAX_LANES), group, queries }
    }

    fn split<'a>(&self, scratch: &'a mut Vec<f32>) -> Scratch<'a> {
        let sizes = [
            self.length * PAGE,
            self.padded * PAGE,
            self.length * self.queries,
            PAGE * self.queries,
            self.padded * self.queries,
            self.queries,
        ];
        let total = sizes.iter().sum::<usize>() + self.queries;
        if scratch.len() < total {
            scratch.resize(total, 0.0);
        }
        let (keys, rest) = scratch.split_at_mut(sizes[0]);
        let (values, rest) = rest.split_at_mut(sizes[1]);
        let (queries, rest) = rest.split_at_mut(sizes[2]);
        let (scores, rest) = rest.split_at_mut(sizes[3]);
        let (sums, rest) = rest.split_at_mut(sizes[4]);
        let (highest, rest) = rest.split_at_mut(sizes[5]);
        Scratch { keys, values, queries, scores, sums, highest, totals: &mut rest[..self.queries] }
    }
}

/// What a task reads.
#[derive(Clone, Copy)]
struct Tiles<'a> {
    cache: &'a Cache,
    layer: usize,
    shape: &'a AttentionShape,
    queries: &'a [f32],
    width: usize,
    isa: Isa,
    level: Level,
}

impl Tiles<'_> {
    /// The results of a task's queries, in rows of the padded length of values.
    fn run<'s>(&self, task: &Task<'_>, sizes: &Sizes, scratch: Scratch<'s>) -> &'s [f32] {
        let Self { cache, layer, shape, queries, width, isa, level } = *self;
        let Sizes { length, padded, group, .. } = *sizes;
        let Scratch { keys, values, queries: scaled, scores, sums, highest, totals } = scratch;
        let rows = task.group;
        for (q, to) in scaled.chunks_exact_mut(length).enumerate() {
            let (row, head) = (rows.first_row + task.from + q / group, task.head * group + q % group);
            let from = &queries[row * width + head * length..][..length];
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from * shape.scale);
        }
        sums.fill(0.0);
        highest.fill(f32::NEG_INFINITY);
        totals.fill(0.0);
        let first = shape.seen(rows.position + task.from, rows.end).start;
        let last = shape.seen(rows.position + task.to - 1, rows.end).end;
        for tile in first / PAGE..last.div_ceil(PAGE) {
            let start = tile * PAGE;
            let page = rows.pages[tile] as usize;
            let held = last.min(start + PAGE) - start;
            let keys = cache.keys(layer, page, task.head, keys);
            // SAFETY: the level was detected.
            unsafe { level.run(Products { queries: scaled, keys, length, held, scores }) };
            let visible = |q: usize| {
                let seen = shape.seen(rows.position + task.from + q / group, rows.end);
                seen.start.clamp(start, start + PAGE) - start..seen.end.clamp(start, start + PAGE) - start
            };
            isa.vectorize(Weigh { scores, visible, cap: shape.softcap, highest, totals, sums, padded });
            let values = cache.values(layer, page, task.head, held, values);
            // SAFETY: as above.
            unsafe { level.run(Mix { weights: scores, values, padded, held, sums }) };
        }
        for (sums, total) in sums.chunks_exact_mut(padded).zip(&*totals) {
            let inverse = 1.0 / total;
            sums.iter_mut().for_each(|s| *s *= inverse);
        }
        sums
    }
}

/// Turns the scores of a tile into weights, query by query, and scales what was summed before.
struct Weigh<'a, V> {
    scores: &'a mut [f32],
    /// Positions of the tile that a query sees.
    visible: V,
    cap: Option<f32>,
    highest: &'a mut [f32],
    totals: &'a mut [f32],
    sums: &'a mut [f32],
    padded: usize,
}

impl<V: Fn(usize) -> Range<usize>> Kernel for Weigh<'_, V> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, isa: S) {
        let rows = self.scores.chunks_exact_mut(PAGE).zip(self.highest).zip(self.totals).zip(self.sums.chunks_exact_mut(self.padded));
        for (q, (((scores, highest), total), sums)) in rows.enumerate() {
            let factor = weigh(isa, scores, (self.visible)(q), self.cap, highest, total);
            if factor != 1.0 {
                sums.iter_mut().for_each(|s| *s *= factor);
            }
        }
    }
}

/// Turns scores of a tile into weights relative to the highest score so far; what is not visible
/// weighs nothing. Returns the factor of what was summed before.
#[inline(always)]
fn weigh<S: Simd>(isa: S, scores: &mut [f32], visible: Range<usize>, cap: Option<f32>, highest: &mut f32, total: &mut f32) -> f32 {
    if visible.is_empty() {
        scores.fill(0.0);
        return 1.0;
    }
    if let Some(cap) = cap {
        for lanes in scores.chunks_exact_mut(S::LANES) {
            softcap(isa, F32s::load(isa, lanes), cap).store(lanes);
        }
    }
    scores[..visible.start].fill(f32::NEG_INFINITY);
    scores[visible.end..].fill(f32::NEG_INFINITY);
    let mut most = F32s::splat(isa, f32::NEG_INFINITY);
    for lanes in scores.chunks_exact(S::LANES) {
        most = most.max(F32s::load(isa, lanes));
    }
    let most = across(most, f32::max).max(*highest);
    let factor = if *highest == f32::NEG_INFINITY { 1.0 } else { exp_one(isa, *highest - most) };
    *highest = most;
    let mosts = F32s::splat(isa, most);
    let mut sum = F32s::splat(isa, 0.0);
    for lanes in scores.chunks_exact_mut(S::LANES) {
        let weight = math::exp(isa, F32s::load(isa, lanes) - mosts);
        sum = sum + weight;
        weight.store(lanes);
    }
    *total = *total * factor + across(sum, |a, b| a + b);
    factor
}

/// The lanes taken together, halves upon halves.
#[inline(always)]
fn across<S: Simd>(lanes: F32s<S>, join: impl Fn(f32, f32) -> f32) -> f32 {
    let array = lanes.to_array();
    let mut all = [0.0; MAX_LANES];
    let (mut count, from) = (S::LANES, array.as_ref());
    all[..count].copy_from_slice(from);
    while count > 1 {
        count /= 2;
        let (low, high) = all.split_at_mut(count);
        low.iter_mut().zip(high).for_each(|(a, b)| *a = join(*a, *b));
    }
    all[0]
}

#[inline(always)]
fn exp_one<S: Simd>(isa: S, x: f32) -> f32 {
    if x == 0.0 {
        return 1.0;
    }
    math::exp(isa, F32s::splat(isa, x)).to_array().as_ref()[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::CacheShape;
    use gravure_core::contracts::CacheType;

    fn noise(seed: usize, count: usize) -> Vec<f32> {
        (0..count).map(|i| ((seed * 7919 + i) as f32 * 0.7311).sin() * 1.5).collect()
    }

    struct Case {
        kept: CacheShape,
        shape: AttentionShape,
        positions: usize,
    }

    impl Case {
        fn cache(&self, kind: CacheType) -> (Cache, Vec<u32>) {
            let count = self.positions.div_ceil(PAGE);
            let mut cache = Cache::new(kind, &[self.kept], count + 1).unwrap();
            let pages: Vec<u32> = (0..count as u32).rev().map(|p| p + 1).collect();
            for p in 0..self.positions {
                let (key, value) = self.row(p);
                cache.write(0, pages[p / PAGE] as usize, p % PAGE, &key, &value);
            }
            (cache, pages)
        }

        fn row(&self, p: usize) -> (Vec<f32>, Vec<f32>) {
            (noise(p * 2, self.kept.kv_heads * self.kept.key_length), noise(p * 2 + 1, self.kept.kv_heads * self.kept.value_length))
        }

        fn exact(&self, queries: &[f32]) -> Vec<f32> {
            let (length, value_length) = (self.kept.key_length, self.kept.value_length);
            let mut out = Vec::new();
            for i in 0..self.positions {
                for h in 0..self.shape.heads {
                    let shared = h / (self.shape.heads / self.kept.kv_heads);
                    let query = &queries[(i * self.shape.heads + h) * length..][..length];
                    let w = self.shape.window.unwrap_or(1 << 40);
                    let seen: Vec<usize> = (0..self.positions)
                        .filter(|&j| if self.shape.causal { j <= i && j + w > i } else { j < i + w && i < j + w })
                        .collect();
                    let scores: Vec<f64> = seen
                        .iter()
                        .map(|&j| {
                            let key = &self.row(j).0[shared * length..][..length];
                            let dot: f64 = query.iter().zip(key).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                            let score = dot * f64::from(self.shape.scale);
                            self.shape.softcap.map_or(score, |c| f64::from(c) * (score / f64::from(c)).tanh())
                        })
                        .collect();
                    let most = scores.iter().copied().fold(f64::MIN, f64::max);
                    let total: f64 = scores.iter().map(|s| (s - most).exp()).sum();
                    for d in 0..value_length {
                        let sum: f64 = seen
                            .iter()
                            .zip(&scores)
                            .map(|(&j, s)| (s - most).exp() / total * f64::from(self.row(j).1[shared * value_length + d]))
                            .sum();
                        out.push(sum as f32);
                    }
                }
            }
            out
        }
    }

    fn cases() -> Vec<Case> {
        let kept = |kv_heads, key_length, value_length| CacheShape { kv_heads, key_length, value_length };
        let shape = |heads, causal, window, softcap| AttentionShape { heads, scale: 0.25, causal, window, softcap };
        vec![
            Case { kept: kept(1, 8, 8), shape: shape(1, true, None, None), positions: 3 },
            Case { kept: kept(2, 64, 64), shape: shape(6, true, None, None), positions: 150 },
            Case { kept: kept(1, 40, 24), shape: shape(5, true, Some(70), Some(2.0)), positions: 200 },
            Case { kept: kept(3, 16, 80), shape: shape(3, false, None, None), positions: 130 },
            Case { kept: kept(1, 16, 16), shape: shape(2, false, Some(5), None), positions: 90 },
            Case { kept: kept(1, 32, 128), shape: shape(1, true, Some(1), None), positions: 65 },
        ]
    }

    fn run(case: &Case, cache: &Cache, pages: &[u32], queries: &[f32], rows: &[usize], threads: usize) -> Vec<f32> {
        let width = case.shape.heads * case.kept.value_length;
        let mut out = vec![0.0; case.positions * width];
        let mut groups = Vec::new();
        let mut first = 0;
        for &count in rows {
            let end = if case.shape.causal { first + count } else { case.positions };
            groups.push(AttentionRows { pages, first_row: first, rows: count, position: first, end });
            first += count;
        }
        attention(&Pool::new(threads), cache, 0, &case.shape, queries, &groups, &mut out).unwrap();
        out
    }

    #[test]
    fn equals_double_precision() {
        for (n, case) in cases().iter().enumerate() {
            let queries = noise(5, case.positions * case.shape.heads * case.kept.key_length);
            let exact = case.exact(&queries);
            for (kind, tolerance) in [(CacheType::F32, 1e-5), (CacheType::F16, 2e-3), (CacheType::Q8, 4e-2)] {
                let (cache, pages) = case.cache(kind);
                let got = run(case, &cache, &pages, &queries, &[case.positions], 2);
                let worst = got.iter().zip(&exact).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
                assert!(worst < tolerance, "case {n}, {kind:?}: {worst}");
            }
        }
    }

    #[test]
    fn company_does_not_matter() {
        for case in cases() {
            let queries = noise(5, case.positions * case.shape.heads * case.kept.key_length);
            let (cache, pages) = case.cache(CacheType::F16);
            let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            let whole = bits(run(&case, &cache, &pages, &queries, &[case.positions], 1));
            assert_eq!(bits(run(&case, &cache, &pages, &queries, &vec![1; case.positions], 2)), whole);
            let mut pieces = vec![2, case.positions / 2];
            pieces.retain(|p| *p > 0 && *p < case.positions);
            let used: usize = pieces.iter().sum();
            if used < case.positions {
                pieces.push(case.positions - used);
                assert_eq!(bits(run(&case, &cache, &pages, &queries, &pieces, 2)), whole);
            }
        }
    }

    #[test]
    fn misfits_are_errors() {
        let case = &cases()[1];
        let (cache, pages) = case.cache(CacheType::F16);
        let queries = noise(5, case.positions * 6 * 64);
        let mut out = vec![0.0; queries.len()];
        let mut fails = |group: AttentionRows<'_>, layer| {
            assert!(attention(&Pool::new(1), &cache, layer, &case.shape, &queries, &[group], &mut out).is_err());
        };
        let good = AttentionRows { pages: &pages, first_row: 0, rows: 150, position: 0, end: 150 };
        fails(good, 1);
        fails(AttentionRows { first_row: 1, ..good }, 0);
        fails(AttentionRows { end: 149, ..good }, 0);
        fails(AttentionRows { pages: &pages[..2], ..good }, 0);
        fails(AttentionRows { pages: &[9, 9, 9], ..good }, 0);
    }
}
