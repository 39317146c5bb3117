//! From logits to text: sampling, stop strings, speculative decoding and the chat loop, over any
//! runtime that can decode.
#![forbid(unsafe_code)]
