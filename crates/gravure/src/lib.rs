//! gravure
