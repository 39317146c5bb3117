//! The values that a block can hold, for methods that choose codes and scales themselves.
//!
//! Every block is taken for the same thing: one or two factors for the whole block, a scale (and perhaps
//! an offset) for each group of weights, and a code for each weight or a lattice point for several:
//!
//! ```text
//! weight = scale * level(code) + offset
//! scale  = factor * (first + step * scale code) * multiplier
//! ```
//! All of it in `f32`, in this order, is exactly what [`Encoding::decode`](crate::Encoding::decode) gives.

/// How the scale or the offset of a group follows from the block's factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Steps {
    /// It is the factor; the group is the block.
    Factor,
    /// `factor * (first + step * code) * multiplier`.
    Codes {
        /// Lowest and highest code.
        range: (i32, i32),
        /// What code 0 stands for.
        first: f32,
        /// What one more in the code adds.
        step: f32,
        /// Applied last.
        multiplier: f32,
    },
}

impl Steps {
    /// The scale or offset under a factor.
    #[inline(always)]
    pub fn value(&self, factor: f32, code: i32) -> f32 {
        match *self {
            Self::Factor => factor,
            Self::Codes { first, step, multiplier, .. } => factor * (first + step * code as f32) * multiplier,
        }
    }

    /// Lowest and highest code; both 0 where there are no codes.
    pub fn range(&self) -> (i32, i32) {
        match *self {
            Self::Factor => (0, 0),
            Self::Codes { range, .. } => range,
        }
    }
}

/// Which signs the weights of a vector may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signs {
    /// Any.
    Free,
    /// An even number of each eight is negative.
    Even,
}

/// What codes stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Levels {
    /// Consecutive integers: `lowest + code`, for `count` codes.
    Even {
        /// Level of code 0.
        lowest: i32,
        /// Number of codes.
        count: usize,
    },
    /// The level of each code.
    Table(&'static [f32]),
    /// One code for several weights: magnitudes from a table, and a sign for each weight.
    Points {
        /// Weights that share a code; divides 8.
        coordinates: usize,
        /// The magnitudes of all points, one point after the other.
        table: &'static [f32],
        /// Which signs may be.
        signs: Signs,
    },
}

/// The shape of a block's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GridShape {
    /// Weights in a group.
    pub group: usize,
    /// Scales of groups, from the first factor.
    pub scale: Steps,
    /// Offsets of groups, from the second factor, where there are some.
    pub offset: Option<Steps>,
    /// What codes stand for.
    pub levels: Levels,
}

/// A block taken apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parts {
    /// Factors of the scales and of the offsets, as a block can store them.
    pub factors: [f32; 2],
    /// Scale code of each group.
    pub scales: Vec<i32>,
    /// Offset code of each group.
    pub offsets: Vec<i32>,
    /// Code of each weight, or of each point.
    pub codes: Vec<u16>,
    /// Signs of each eight weights, where levels are points: bit `i` is set where weight `i` is negative.
    pub signs: Vec<u8>,
}

impl Parts {
    /// Zeros for a block of `elements` weights.
    pub fn new(shape: &GridShape, elements: usize) -> Self {
        let groups = elements / shape.group.max(1);
        let (coordinates, eights) = match shape.levels {
            Levels::Points { coordinates, .. } => (coordinates.max(1), elements / 8),
            _ => (1, 0),
        };
        Self {
            factors: [0.0; 2],
            scales: vec![0; groups],
            offsets: vec![0; groups],
            codes: vec![0; elements / coordinates],
            signs: vec![0; eights],
        }
    }
}

/// Takes the blocks of an encoding apart and puts them together.
pub trait Grid: Send + Sync + std::fmt::Debug {
    /// The shape of every block's values.
    fn shape(&self) -> GridShape;

    /// The factor nearest to `value` that a block can store.
    fn nearest_factor(&self, value: f32) -> f32;

    /// Reads one block into parts of the right lengths (see [`Parts::new`]).
    fn unpack(&self, block: &[u8], parts: &mut Parts);

    /// Writes one block; the inverse of [`unpack`](Self::unpack). Every code is within its range, factors
    /// are [nearest](Self::nearest_factor) ones.
    fn pack(&self, parts: &Parts, block: &mut [u8]);
}
