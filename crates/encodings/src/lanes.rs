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
//! - [`search`]: the searches of [`search`](crate::search) on lanes; [`groups`]: all groups of a batch.
//! - [`lattice`]: the search of [`iq_search`](crate::iq_search) on lanes, which are spread otherwise.
//! - [`splits`]: the search of [`iq1_search`](crate::iq1_search) on lanes.
//! - one file for each encoding (or pair of like ones): which searches it needs, and how the block
//!   is finished. Finishing works on one block at a time with the scalar code's own functions,
//!   inlined into the vectorized caller, where the compiler makes vector code of their plain loops.
//!
//! # What it brings
//! Nanoseconds of CPU time a weight on one Zen 4 core that shared its machine
//! (`cargo run --release -p gravure-encodings --example encode_speed`), and for the reference, ggml's
//! `ggml_quantize_chunk` in its baseline build, the same hour:
//!
//! ```text
//!                      ggml   scalar  portable   AVX2  AVX-512
//! q4_k                 65.0     62.7      13.9    8.4      6.3
//! q4_k, importance    113.1    105.5      24.7   14.3     11.1
//! q6_k                 28.4     35.7       8.1    3.9      3.4
//! q5_k                 54.3     49.3      11.2    6.8      5.4
//! q2_k                 56.4     61.1      12.6    7.4      5.4
//! q3_k, importance     35.9     54.3      10.5    4.8      4.0
//! q4_0, importance     25.5     36.9       8.8    4.5      4.1
//! q4_1, importance    109.4    114.6      26.2   13.7     10.4
//! iq2_xs              763.9    592.8     401.2  107.5     96.8
//! iq2_xxs             383.9    299.0     235.2   84.4     76.8
//! iq3_xxs             476.1    254.0     336.7  101.5     97.0
//! iq3_s               327.5    171.7     202.1   66.9     65.7
//! iq2_s               210.1    163.8     133.5   51.5     48.3
//! iq1_m               129.5    298.4     237.5   57.4     46.0
//! iq1_m, importance   137.9    303.2     253.5   63.1     46.8
//! iq1_s               147.6    131.4     262.3   45.0     36.8
//! ```

pub(crate) mod affine32;
pub(crate) mod batch;
mod groups;
pub(crate) mod lattice;
pub(crate) mod q2_k;
pub(crate) mod q3_k;
pub(crate) mod q6_k;
mod search;
pub(crate) mod small;
pub(crate) mod splits;

#[cfg(test)]
mod tests;
