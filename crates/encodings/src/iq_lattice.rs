//! Codebooks of lattice points: which point stands for a vector of rounded weights.
//!
//! A point has `D` coordinates, each one of a few levels. A vector whose rounded levels are
//! themselves a point is stored as that point. For every other vector a list of near points is kept
//! (the nearest ones and those in the next shells of distance, within a shell by index), and the
//! one with the smallest weighted error is taken; the order decides ties, so it is part of the
//! format. Lists are made at the first use.

use gravure_simd::MAX_LANES;

/// Where the rounded levels of a vector lead.
#[derive(Debug, Clone, Copy)]
enum Entry {
    /// They are this point.
    Point(u16),
    /// They are none; `len` near points start at `start` of the list.
    Near { start: u32, len: u16 },
}

/// Where the packed levels of a vector lead, for searches that look at many near points at once.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found<'a> {
    /// They are this point.
    Point(u16),
    /// They are none; these are near, the last one repeated up to a multiple of [`MAX_LANES`].
    Near {
        /// Their packed levels.
        packed: &'a [u16],
        /// The points.
        points: &'a [u16],
    },
}

/// A codebook of points with `D` coordinates of `BITS` bits, of which `LEVELS` values occur.
#[derive(Debug)]
pub(crate) struct Lattice<const D: usize, const BITS: u32, const LEVELS: usize> {
    points: Vec<[u8; D]>,
    /// The same points, packed.
    packed: Vec<u16>,
    /// Indexed by packed levels.
    entries: Vec<Entry>,
    /// Each entry's near points; the last one repeated up to a multiple of [`MAX_LANES`].
    near: Vec<u16>,
    /// Packed levels of each of `near`.
    near_packed: Vec<u16>,
}

/// Squared distances for each coordinate and level: the error that a level would make there.
pub(crate) type Errors<const D: usize, const LEVELS: usize> = [[f32; LEVELS]; D];

impl<const D: usize, const BITS: u32, const LEVELS: usize> Lattice<D, BITS, LEVELS> {
    /// Unpacks the levels of a point.
    pub(crate) fn levels(packed: u16) -> [u8; D] {
        std::array::from_fn(|i| (packed >> (i as u32 * BITS) & ((1 << BITS) - 1)) as u8)
    }

    /// Packs levels.
    #[inline(always)]
    pub(crate) fn pack(levels: &[u8; D]) -> usize {
        levels.iter().rev().fold(0, |packed, &l| packed << BITS | usize::from(l))
    }

    /// The codebook of `packed` points; near points are those of the nearest `shells` distances.
    pub(crate) fn new(packed: &[u16], shells: usize) -> Self {
        let points: Vec<[u8; D]> = packed.iter().map(|&p| Self::levels(p)).collect();
        // One array for each coordinate, so that distances to many points are vector code.
        let columns: [Vec<u8>; D] = std::array::from_fn(|i| points.iter().map(|p| p[i]).collect());
        let mut entries = vec![Entry::Near { start: 0, len: 0 }; 1 << (BITS * D as u32)];
        for (i, point) in points.iter().enumerate() {
            entries[Self::pack(point)] = Entry::Point(i as u16);
        }
        let mut near = Vec::new();
        let mut distances = vec![0u16; points.len()];
        for (vector, entry) in entries.iter_mut().enumerate() {
            let levels = Self::levels(vector as u16);
            if matches!(entry, Entry::Point(_)) || levels.iter().any(|&l| usize::from(l) >= LEVELS) {
                continue;
            }
            distances.fill(0);
            for (&level, column) in levels.iter().zip(&columns) {
                for (distance, &other) in distances.iter_mut().zip(column) {
                    let difference = level.abs_diff(other);
                    *distance += u16::from(difference * difference);
                }
            }
            let start = near.len() as u32;
            let mut shell = None;
            for _ in 0..shells {
                let farther = distances.iter().copied().filter(|&d| shell.is_none_or(|s| d > s));
                let Some(next) = farther.min() else { break };
                near.extend((0u16..).zip(&distances).filter(|&(_, &d)| d == next).map(|(i, _)| i));
                shell = Some(next);
            }
            *entry = Entry::Near { start, len: (near.len() as u32 - start) as u16 };
            if let Some(&last) = near.last() {
                near.resize(near.len().next_multiple_of(MAX_LANES), last);
            }
        }
        let near_packed = near.iter().map(|&point| packed[usize::from(point)]).collect();
        Self { points, packed: packed.to_vec(), entries, near, near_packed }
    }

    /// The packed levels of a point.
    #[inline(always)]
    pub(crate) fn packed(&self, index: u16) -> u16 {
        self.packed[usize::from(index)]
    }

    /// Where packed levels lead.
    #[inline(always)]
    pub(crate) fn look_up(&self, packed: usize) -> Found<'_> {
        match self.entries[packed] {
            Entry::Point(index) => Found::Point(index),
            Entry::Near { start, len } => {
                let range = start as usize..start as usize + usize::from(len).next_multiple_of(MAX_LANES);
                Found::Near { packed: &self.near_packed[range.clone()], points: &self.near[range] }
            }
        }
    }

    /// The levels of a point.
    #[inline(always)]
    pub(crate) fn point(&self, index: u16) -> &[u8; D] {
        &self.points[usize::from(index)]
    }

    /// The point that stands for rounded `levels`, and whether they are that point. `errors` gives
    /// the weighted squared error of each level of each coordinate; it is called where needed.
    /// `None` where no error is a finite number.
    #[inline(always)]
    pub(crate) fn find(&self, levels: &[u8; D], errors: impl FnOnce() -> Errors<D, LEVELS>) -> Option<(u16, bool)> {
        match self.entries[Self::pack(levels)] {
            Entry::Point(index) => Some((index, true)),
            Entry::Near { start, len } => {
                let candidates = &self.near[start as usize..start as usize + usize::from(len)];
                Some((self.best(candidates, &errors())?, false))
            }
        }
    }

    /// The candidate with the smallest error, the first of equals. Coordinates are added up from
    /// first to last.
    #[inline(always)]
    fn best(&self, candidates: &[u16], errors: &Errors<D, LEVELS>) -> Option<u16> {
        let mut best = None;
        let mut smallest = f32::MAX;
        for &candidate in candidates {
            let point = self.point(candidate);
            let mut error = 0.0;
            for i in 0..D {
                error += errors[i][usize::from(point[i]) % LEVELS];
            }
            if error < smallest {
                smallest = error;
                best = Some(candidate);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_points_are_ordered_by_distance_then_index() {
        let lattice = Lattice::<4, 3, 8>::new(&[0o0000, 0o0002, 0o0020, 0o0022, 0o7777], 2);
        let Entry::Near { start, len } = lattice.entries[0o0001] else { panic!("0001 is no point") };
        assert_eq!(lattice.near[start as usize..][..usize::from(len)], [0, 1, 2, 3]);
        let Entry::Near { start, len } = lattice.entries[0o0003] else { panic!("0003 is no point") };
        assert_eq!(lattice.near[start as usize..][..usize::from(len)], [1, 3]);
        let (index, exact) = lattice.find(&[2, 2, 0, 0], || unreachable!("a point needs no errors")).unwrap();
        assert_eq!((index, exact, *lattice.point(index)), (3, true, [2, 2, 0, 0]));
    }

    #[test]
    fn errors_decide_and_the_first_wins() {
        let lattice = Lattice::<4, 3, 8>::new(&[0o0000, 0o0002, 0o0020, 0o0022], 2);
        assert_eq!(lattice.find(&[1, 0, 0, 0], || [[1.0; 8]; 4]), Some((0, false)));
        let mut errors = [[1.0; 8]; 4];
        errors[0][2] = 0.5;
        assert_eq!(lattice.find(&[1, 0, 0, 0], || errors), Some((1, false)));
        assert_eq!(lattice.find(&[1, 0, 0, 0], || [[f32::NAN; 8]; 4]), None);
    }
}
