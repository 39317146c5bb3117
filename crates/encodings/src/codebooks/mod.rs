//! The codebooks: index tables from which lattice points are derived, and level tables, one file
//! each.

pub(crate) mod fp4;
pub(crate) mod iq1;
pub(crate) mod iq2;
pub(crate) mod iq2_s;
pub(crate) mod iq2_xs;
pub(crate) mod iq2_xxs;
pub(crate) mod iq3;
pub(crate) mod iq3_s;
pub(crate) mod iq3_xxs;
pub(crate) mod iq4;
