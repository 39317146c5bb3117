//! What a model is worth: perplexity, divergence from a reference, calibration, speed, memory, energy.
#![forbid(unsafe_code)]
