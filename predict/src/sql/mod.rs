//! PREDICT as SQL: the statement's forms, the function that stands for it while names are resolved, and the rule that pins
//! every call to one binding and says which column feeds which input.

mod access;
mod bind;
mod bound;
mod failure;
mod scope;
mod statement;
mod stub;

pub(crate) use access::PartPlanner;
pub use bind::BindPredict;
pub use bound::{BoundCall, BoundPredict, Pinned};
pub use failure::explain_failure;
pub use statement::rewrite_statement;
pub use stub::{PredictStub, resolve};

/// The function's name in SQL, in any case.
pub const PREDICT_NAME: &str = "predict";

/// Columns that PREDICT adds to plans begin with this, and never reach a user.
pub(crate) const HIDDEN_PREFIX: &str = "__predict_";
