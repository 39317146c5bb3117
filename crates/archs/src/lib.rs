//! archs
