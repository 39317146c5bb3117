//! One file for each verb.

pub(crate) mod bench;
pub(crate) mod calibrate;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod convert;
pub(crate) mod doctor;
pub(crate) mod embed;
pub(crate) mod encodings;
pub(crate) mod eval;
pub(crate) mod inspect;
pub(crate) mod optimize;
pub(crate) mod plan;
pub(crate) mod quantize;
pub(crate) mod recommend;
pub(crate) mod run;
pub(crate) mod scan;
pub(crate) mod search;
pub(crate) mod targets;
pub(crate) mod tensor_types;
pub(crate) mod trial;
pub(crate) mod verify;
