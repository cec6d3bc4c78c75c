//! A binding: alias -> one exact model and how PREDICT calls it. A query pins the binding it was planned with, so a re-bound
//! alias never changes work that has begun.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::DataType;
use whimbrel_proto::ids::{Alias, Digest, Generation};
use whimbrel_proto::{Error, ErrorCode};

use crate::signature::{ElementType, Signature, TensorSpec};

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
            _ => Err(Error::new(
                ErrorCode::Invalid,
                format!("'{text}' is not a runtime"),
            )),
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

/// The places of the signature's inputs that columns feed, in feeding order. `feature_names` are the names of all of them,
/// or empty: then an `[N]` or `[N,1]` input goes by its own name, and the columns of an `[N,k]` one by position.
pub fn elements(
    signature: &Signature,
    feature_names: &[String],
) -> Result<Vec<InputElement>, Error> {
    let mut elements = Vec::new();
    for (input, tensor) in signature.inputs.iter().enumerate() {
        let lanes = tensor.lanes().ok_or_else(|| unknown_width(tensor))?;
        elements.extend((0..lanes).map(|_| InputElement {
            name: tensor.name.clone(),
            named: lanes == 1,
            element: tensor.element,
            input,
        }));
    }
    if feature_names.is_empty() {
        return Ok(elements);
    }
    if feature_names.len() != elements.len() {
        let what = format!(
            "{} feature names for {} inputs",
            feature_names.len(),
            elements.len()
        );
        return Err(Error::new(ErrorCode::Invalid, what));
    }
    for (element, name) in elements.iter_mut().zip(feature_names) {
        element.name.clone_from(name);
        element.named = true;
    }
    Ok(elements)
}

fn unknown_width(tensor: &TensorSpec) -> Error {
    let name = &tensor.name;
    let (why, hint) = match tensor.shape.as_slice() {
        [_, _] => (
            "does not say how many columns it takes",
            "export it with a fixed width, such as [None, 9], or with its feature_names in the metadata",
        ),
        [] => (
            "is a single value, not one per row",
            "give it a value in the model",
        ),
        _ => (
            "has more than two dimensions",
            "PREDICT feeds [N], [N,1] and [N,k] tensors, a scalar column to each place",
        ),
    };
    Error::new(ErrorCode::Invalid, format!("input '{name}' {why}")).with_hint(hint)
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
