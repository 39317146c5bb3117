//! The facade: one function and one request struct for each thing a user does.
//!
//! Skins (command line, server, Python) call this crate and nothing below it.
#![forbid(unsafe_code)]

mod adapter;
mod bench;
mod bench_kernels;
mod calibrate;
mod catalog;
mod certificate;
mod compare;
mod dimensions;
mod doctor;
mod embed;
pub mod engine;
mod evaluate;
mod execute;
pub mod generate;
mod hessians;
mod host;
mod in_turn;
mod inspect;
mod instruction_set;
mod observer;
mod open;
mod optimize;
mod output;
mod passes;
mod quantity;
mod quantize;
mod recipe;
mod recommend;
mod report;
mod rounded;
mod scan;
mod search;
mod sizing;
mod targets;
mod texts;
mod translate;
mod trial;
mod verify;

pub use bench::{BenchPoint, BenchReport, BenchRequest, bench};
pub use bench_kernels::{KernelSpeed, KernelsReport, KernelsRequest, bench_kernels};
pub use calibrate::{CalibrateRequest, Calibrated, Starved, calibrate};
pub use catalog::catalog;
pub use certificate::{CERTIFICATE_KEY, Certificate, CertifiedText, Score, Scores};
pub use compare::{CompareRequest, Compared, ComparedArtifact, ComparedTensor, ComparisonReference, MeasuredText, Timing, compare};
pub use doctor::{Check, DoctorReport, doctor};
pub use embed::{EmbedRequest, Embeddings, Pooling, Scaling, embed};
pub use evaluate::{EvaluateRequest, Evaluation, WorstText, evaluate_all, evaluate_loaded};
pub use gravure_base::{Disk, Error, ErrorKind, Limits, Result, ResultExt};
pub use gravure_core::values::{Deployment, Figure, ModelKind, NumberType, RuntimeProfile, Target};
pub use gravure_core::{
    Artifact, ArtifactFile, Catalog, Encoding, Format, ImportanceUse, Metadata, Model, Note, Order, Plan, PlanEntry, Value,
};
pub use gravure_eval::calibration::Watched;
pub use gravure_eval::quality::Comparison;
pub use gravure_eval::{Measurement, Speed, Spread};
pub use gravure_planner::mixtures;
pub use gravure_planner::search as samplers;
pub use gravure_planner::uniform::Uniform;
pub use gravure_targets::{runtime as runtime_profile, runtimes as runtime_profiles, targets};
pub use hessians::CalibrationText;
pub use inspect::{Inspection, TensorLine, WouldWeigh, inspect};
pub use instruction_set::instruction_set;
pub use observer::{Observer, Quiet};
pub use open::{OpenRequest, open};
pub use optimize::{
    AtWork, Bound, Budget, ChosenTensor, Drift, Elsewhere, FixedMixture, Force, FrontierPoint, Gate, Gates, OptimizeRequest, Optimized,
    OriginalFacts, Predicted, RuntimeScores, Stage, Standing, Unit, Verdict, failure, optimize,
};
pub use output::Split;
pub use quantity::{Share, Size};
pub use quantize::{Outcome, PlanSource, QuantizePlan, QuantizeRequest, TensorOutcome, TokenizerProof, plan_quantize, quantize};
pub use recipe::{GateMode, Recipe, RecipeBudget, RecipeCache, RecipeData, RecipeEngine, RecipeGates};
pub use recommend::{Candidate as SizedCandidate, Choice, Considered, Fallback, RecommendRequest, Recommendation, command, recommend};
pub use scan::{Finding, ScanReport, Severity, scan};
pub use search::{
    Figures, FrontMember, Keep, KeptFile, Objective, SearchPlan, SearchRequest, Searched, Stopped, TrialLine, measure_trials, plan_search,
    search,
};
pub use targets::{HOST, Measuring, find_target, target_file};
pub use texts::BuiltInText;
pub use trial::{Candidate, Trial, TrialRequest, Trials, try_all};
pub use verify::{Outcome as ProofOutcome, Proof, Verification, VerifyRequest, verify};
