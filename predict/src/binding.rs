//! A binding: alias -> one exact model and how PREDICT calls it. A query pins the binding it was planned with, so a re-bound
//! alias never changes work that has begun.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use whimbrel_proto::ids::{Alias, Digest, Generation};
use whimbrel_proto::{Error, ErrorCode};

use crate::mapping::leaf;
use crate::options::BindOptions;
use crate::signature::{ElementType, Signature};
use crate::value::Value;

/// What runs the model on an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuntimeKind {
    /// Our own kernels; where they turn out to differ, ONNX Runtime.
    Native,
    /// ONNX Runtime through `ort`.
    Ort,
}

impl RuntimeKind {
    /// The name in plans, lists and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ort => "ort",
        }
    }
}

impl FromStr for RuntimeKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "native" => Ok(Self::Native),
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

/// One place of the model that one column feeds: the n-th column of an `[N,k]` input, the whole of an `[N]`/`[N,1]` one, or
/// the whole of a wider one, from a column of lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InputElement {
    /// The name columns are matched by: a feature name where the model has them, else the input's name.
    pub name: String,
    /// False where the model gives the place no name of its own (one `[N,k]` input without feature names): fed by position.
    pub named: bool,
    pub element: ElementType,
    /// Which of `signature.inputs` it belongs to.
    pub input: usize,
    /// The sizes of what one row feeds: none for a single value, else those of the row's list, -1 for one that may be any.
    pub shape: Vec<i64>,
    /// The model's signature says that a table may lack the column.
    pub optional: bool,
    /// What feeds the place where the column is absent, or NULL.
    pub default: Option<GivenValue>,
    /// No output depends on it: anything may feed the place, and its column is not read.
    pub unused: bool,
    /// Its values in the rows that were logged with the model, in their order; none, or as many as every place has.
    pub examples: Vec<GivenValue>,
}

impl InputElement {
    /// One value per row, which must be there.
    pub fn scalar(name: &str, named: bool, element: ElementType, input: usize) -> Self {
        Self {
            name: name.to_owned(),
            named,
            element,
            input,
            shape: Vec::new(),
            optional: false,
            default: None,
            unused: false,
            examples: Vec::new(),
        }
    }

    /// Whether a column of this type can be fed as it is: cast, if need be, it was before.
    pub fn takes(&self, column: &DataType) -> bool {
        if self.shape.is_empty() {
            return *column == self.element.arrow();
        }
        matches!(leaf(column), Some((depth, leaf)) if *leaf == self.element.arrow()
            && (depth == 1 || depth == self.shape.len()))
    }

    /// What messages say that it takes.
    pub fn wants(&self) -> String {
        match self.shape.as_slice() {
            [] => self.element.to_string(),
            [..0] => format!("a list of {}", self.element),
            sizes => {
                let sizes = sizes.iter().map(|size| match size {
                    ..0 => "?".to_owned(),
                    size => size.to_string(),
                });
                let sizes: Vec<_> = sizes.collect();
                format!("a list of {} {}", sizes.join(" x "), self.element)
            }
        }
    }

    /// How many values one row feeds, where the model says.
    pub fn width(&self) -> Option<usize> {
        let sizes = self.shape.iter().map(|size| usize::try_from(*size).ok());
        sizes.product()
    }
}

/// A value that somebody wrote down for a place, in the text that was checked to be of its type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GivenValue(String);

impl GivenValue {
    /// `text` as a value of the input.
    pub fn parse(text: &str, input: &InputElement) -> Result<Self, Error> {
        if !input.shape.is_empty() {
            let what = format!(
                "input '{}' takes a list, which can have no default",
                input.name
            );
            return Err(Error::new(ErrorCode::Invalid, what).with_hint("leave the default out"));
        }
        let value = Self(text.to_owned());
        match value.read(input.element) {
            Some(_) => Ok(value),
            None => {
                let (name, element) = (&input.name, input.element);
                let what = format!("the default '{text}' of input '{name}' is not {element}");
                Err(Error::new(ErrorCode::Invalid, what).with_hint("write a value of that type"))
            }
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The value; NULL only where another type is asked for than the one it was checked for.
    pub fn scalar(&self, element: ElementType) -> ScalarValue {
        self.read(element).unwrap_or(ScalarValue::Null)
    }

    fn read(&self, element: ElementType) -> Option<ScalarValue> {
        fn number<T: FromStr>(text: &str) -> Option<T> {
            text.trim().parse().ok()
        }
        let text = self.0.as_str();
        Some(match element {
            ElementType::Float32 => ScalarValue::Float32(Some(number(text)?)),
            ElementType::Float64 => ScalarValue::Float64(Some(number(text)?)),
            ElementType::Int8 => ScalarValue::Int8(Some(number(text)?)),
            ElementType::Int16 => ScalarValue::Int16(Some(number(text)?)),
            ElementType::Int32 => ScalarValue::Int32(Some(number(text)?)),
            ElementType::Int64 => ScalarValue::Int64(Some(number(text)?)),
            ElementType::UInt8 => ScalarValue::UInt8(Some(number(text)?)),
            ElementType::UInt16 => ScalarValue::UInt16(Some(number(text)?)),
            ElementType::UInt32 => ScalarValue::UInt32(Some(number(text)?)),
            ElementType::UInt64 => ScalarValue::UInt64(Some(number(text)?)),
            ElementType::Bool => ScalarValue::Boolean(Some(number(&text.to_ascii_lowercase())?)),
            ElementType::String => ScalarValue::Utf8(Some(text.to_owned())),
        })
    }
}

/// The places of the signature's inputs that columns feed, in feeding order. `feature_names` are the names of all of them,
/// or empty: then an input that one column feeds goes by its own name, and the columns of an `[N,k]` one by position.
pub fn elements(
    signature: &Signature,
    feature_names: &[String],
) -> Result<Vec<InputElement>, Error> {
    let mut elements = Vec::new();
    for (input, tensor) in signature.inputs.iter().enumerate() {
        let one = InputElement::scalar(&tensor.name, true, tensor.element, input);
        match (tensor.lanes(), tensor.shape.as_slice()) {
            (Some(1), _) => elements.push(one),
            (Some(lanes), _) => {
                let named = false;
                elements.extend((0..lanes).map(|_| InputElement {
                    named,
                    ..one.clone()
                }));
            }
            (None, [_, row @ ..]) => {
                if row.iter().filter(|size| **size < 0).count() > 1 {
                    let what = format!(
                        "input '{}' leaves more than one size of its rows open",
                        tensor.name
                    );
                    return Err(Error::new(ErrorCode::Invalid, what)
                        .with_hint("export it with fixed sizes, all but one at least"));
                }
                elements.push(InputElement {
                    shape: row.to_vec(),
                    ..one
                });
            }
            (None, []) => {
                let what = format!("input '{}' is a single value, not one per row", tensor.name);
                return Err(
                    Error::new(ErrorCode::Invalid, what).with_hint("give it a value in the model")
                );
            }
        }
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

/// alias -> model, with everything a query pins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    pub alias: Alias,
    /// Where the model was bound from, as it was asked for.
    pub uri: String,
    /// What that led to then: one path, or one version of a registry's entry.
    pub resolved: String,
    /// The version in the registry, where the model is in one.
    pub version: Option<String>,
    pub digest: Digest,
    pub generation: Generation,
    pub runtime: RuntimeKind,
    pub signature: Signature,
    /// The type of PREDICT's value.
    pub returns: DataType,
    /// How that value is made of the model's outputs.
    pub value: Value,
    /// The places that columns feed, in feeding order: all of input 0, then all of input 1, ...
    pub elements: Vec<InputElement>,
    /// `input=column` pairs given by the user at bind time; they come before matching by name.
    pub columns: Vec<(String, String)>,
    pub options: BindOptions,
    pub size_bytes: u64,
    pub bound_at_ms: i64,
    /// (library, version) of what the model was made with, as far as it is written down.
    pub recorded: Vec<(String, String)>,
    /// What a user should know of how the model was understood.
    pub notes: Vec<String>,
}

impl Binding {
    /// The same model with another value.
    pub fn returning(&self, value: Value) -> Self {
        Self {
            returns: value.data_type(),
            value,
            ..self.clone()
        }
    }

    /// The same model with its value as `returns`, made of the outputs that the options name.
    pub fn with_returns(&self, returns: &DataType) -> Result<Self, Error> {
        let output = self.options.output.as_deref();
        Value::resolve(&self.signature, output, Some(returns)).map(|value| self.returning(value))
    }
}

/// The bindings as of now, in memory: planning is synchronous and asks often.
pub trait BindingSource: Send + Sync + fmt::Debug {
    /// The binding that `alias` has now.
    fn binding(&self, alias: &str) -> Option<Arc<Binding>>;
    /// All aliases, sorted, to offer the nearest one.
    fn aliases(&self) -> Vec<String>;
}
