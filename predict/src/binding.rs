//! A binding: alias -> one exact model and how PREDICT calls it. A query pins the binding it was planned with, so a re-bound
//! alias never changes work that has begun.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::DataType;
use whimbrel_proto::ids::{Alias, Digest, Generation};
use whimbrel_proto::{Error, ErrorCode};

use crate::signature::{ElementType, Signature};

/// What runs the model on an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuntimeKind {
    /// ONNX Runtime through `ort`.
    Ort,
}

impl RuntimeKind {
    /// The name in plans, lists and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ort => "ort",
        }
    }
}

impl FromStr for RuntimeKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "ort" => Ok(Self::Ort),
            _ => Err(Error::new(ErrorCode::Invalid, format!("'{text}' is not a runtime"))),
        }
    }
}

impl fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One place of the model that one column feeds: the n-th column of an `[N,k]` input, or the whole of an `[N]`/`[N,1]` one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InputElement {
    /// The name columns are matched by: a feature name where the model has them, else the input's name.
    pub name: String,
    /// False where the model gives the place no name of its own (one `[N,k]` input without feature names): fed by position.
    pub named: bool,
    pub element: ElementType,
    /// Which of `signature.inputs` it belongs to.
    pub input: usize,
}

/// alias -> model, with everything a query pins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    pub alias: Alias,
    pub uri: String,
    pub digest: Digest,
    pub generation: Generation,
    pub runtime: RuntimeKind,
    pub signature: Signature,
    /// The type of PREDICT's value.
    pub returns: DataType,
    /// The places that columns feed, in feeding order: all of input 0, then all of input 1, ...
    pub elements: Vec<InputElement>,
    /// `input=column` pairs given by the user at bind time; they come before matching by name.
    pub columns: Vec<(String, String)>,
    pub size_bytes: u64,
    pub bound_at_ms: i64,
}

/// The bindings as of now, in memory: planning is synchronous and asks often.
pub trait BindingSource: Send + Sync + fmt::Debug {
    /// The binding that `alias` has now.
    fn binding(&self, alias: &str) -> Option<Arc<Binding>>;
    /// All aliases, sorted, to offer the nearest one.
    fn aliases(&self) -> Vec<String>;
}
