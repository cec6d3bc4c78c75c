//! Why a model is not scored here: its file cannot be read, or it does something that these kernels do not.

use std::fmt;

/// The first two are reasons to hand the model to ONNX Runtime, which may know better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes are not the model that they should be.
    Damaged(String),
    /// The model is fine as far as it was read, but has a part that is not covered.
    NotCovered(String),
    /// The caller's columns or outputs are not the model's.
    Call(String),
    /// Rows that the model fails for, or that only ONNX Runtime can score.
    Rows(String),
}

impl Error {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    pub(crate) fn not_covered(what: impl Into<String>) -> Self {
        Self::NotCovered(what.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => write!(f, "the model's file is damaged: {what}"),
            Self::Call(what) => write!(f, "the call does not fit the model: {what}"),
            Self::Rows(what) => write!(f, "the rows do not fit the model: {what}"),
            Self::NotCovered(what) => write!(f, "not native: {what}"),
        }
    }
}

impl std::error::Error for Error {}
