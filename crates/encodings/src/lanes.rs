//! Encoders that search many groups of weights at once: one group in each vector lane.
//!
//! The search of a group is a chain of float operations whose order is part of the format (see
//! [`search`](crate::search)), so the weights of one group cannot be spread over lanes. But groups
//! know nothing of each other: put 16 of them side by side, transposed so that vector `i` holds
//! weight `i` of each, and every lane goes through exactly the scalar sequence. Branches become
//! masks; a lane that the scalar code would have left keeps its values. The bytes are the same on
//! every instruction set, because every operation is rounded by itself everywhere.
//!
//! Where an intermediate value leaves the range in which vector rounding equals the scalar trick
//! (more than 2^22, which ordinary weights never come near), the lane *declines*: the block is
//! encoded again by the scalar code. So the scalar code stays the only judge of odd input.
//!
//! - [`batch`]: the walk over rows, batches of blocks, and the blocks that were declined.
//! - [`search`]: the searches of [`search`](crate::search) on lanes.
//! - one file for each encoding (or pair of like ones): which searches it needs, and how the block
//!   is finished. Finishing works on one block at a time with the scalar code's own functions,
//!   inlined into the vectorized caller, where the compiler makes vector code of their plain loops.

pub(crate) mod affine32;
pub(crate) mod batch;
mod groups;
pub(crate) mod q2_k;
pub(crate) mod q3_k;
pub(crate) mod q6_k;
pub(crate) mod lattice;
mod search;
pub(crate) mod small;

#[cfg(test)]
mod tests;
