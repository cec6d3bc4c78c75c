//! Which runtime scores a model: our own kernels where they cover all that is asked of it, else ONNX Runtime. What is no ONNX
//! file is theirs alone.

use std::str::FromStr;

use whimbrel_graph::{Element, Format, Model};
use whimbrel_predict::binding::{InputElement, RuntimeKind};
use whimbrel_predict::signature::{ElementType, OutputSpec};
use whimbrel_proto::{Error, ErrorCode};

use super::inspect::converter;

/// What a user says of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Whatever is fastest.
    Any,
    This(RuntimeKind),
}

impl FromStr for Asked {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "" | "onnx" => Ok(Self::Any),
            name => name
                .parse()
                .map(Self::This)
                .map_err(|error: Error| error.with_hint("say native or ort, or leave it out")),
        }
    }
}

/// What is asked of a model: the columns that feed it, and the outputs that are read.
pub(super) struct Use<'a> {
    pub(super) elements: &'a [InputElement],
    pub(super) outputs: Vec<&'a OutputSpec>,
}

/// What was chosen.
pub(super) struct Choice {
    pub(super) runtime: RuntimeKind,
    /// What a user should know where it is the slower one.
    pub(super) note: Option<String>,
    /// For each column that feeds the model whether no output depends on it; empty where nobody knows.
    pub(super) unused: Vec<bool>,
}

impl Choice {
    fn ort(note: Option<String>) -> Self {
        Self {
            runtime: RuntimeKind::Ort,
            note,
            unused: Vec::new(),
        }
    }

    fn native(model: &Model) -> Self {
        Self {
            runtime: RuntimeKind::Native,
            note: None,
            unused: model.unused_columns(),
        }
    }
}

/// The runtime for what is asked.
pub(super) fn choose(asked: Asked, file: &[u8], wanted: &Use<'_>) -> Result<Choice, Error> {
    match (Format::of(file), asked) {
        (Format::Onnx, Asked::This(RuntimeKind::Ort)) => Ok(Choice::ort(None)),
        (Format::Onnx, Asked::Any | Asked::This(RuntimeKind::Native)) => {
            for_graph(asked, file, wanted)
        }
        (format @ (Format::LightGbm | Format::XgBoost), Asked::This(RuntimeKind::Ort)) => {
            Err(not_onnx(format))
        }
        (Format::LightGbm | Format::XgBoost, Asked::Any | Asked::This(RuntimeKind::Native)) => {
            let model = Model::from_file(file);
            let model = model.map_err(|why| Error::new(ErrorCode::Model, why.to_string()))?;
            Ok(Choice::native(&model))
        }
    }
}

fn for_graph(asked: Asked, onnx: &[u8], wanted: &Use<'_>) -> Result<Choice, Error> {
    match (covered(onnx, wanted), asked) {
        (Ok(model), _) => Ok(Choice::native(&model)),
        (Err(why), Asked::This(_)) => {
            let what = format!("the native kernels do not cover the model: {why}");
            Err(Error::new(ErrorCode::Invalid, what)
                .with_hint("leave the runtime out: ONNX Runtime scores what they do not cover"))
        }
        (Err(why), Asked::Any) => {
            let note =
                format!("ONNX Runtime scores it, since the native kernels do not cover it: {why}");
            Ok(Choice::ort(Some(note)))
        }
    }
}

fn not_onnx(format: Format) -> Error {
    let (name, tool) = (format.name(), converter(format));
    let what = format!("ONNX Runtime does not read files of {name}");
    Error::new(ErrorCode::Invalid, what).with_hint(format!(
        "leave the runtime out: the native kernels score it; or export it to ONNX ({tool})"
    ))
}

fn covered(onnx: &[u8], wanted: &Use<'_>) -> Result<Model, String> {
    if let Some(list) = wanted
        .elements
        .iter()
        .find(|element| !element.shape.is_empty())
    {
        return Err(format!("input '{}' takes {}", list.name, list.wants()));
    }
    let model = Model::from_onnx(onnx, None).map_err(|error| error.to_string())?;
    let taken = model.inputs().iter();
    let taken: Vec<Element> = taken
        .flat_map(|input| std::iter::repeat_n(input.element, input.width))
        .collect();
    if taken.len() != wanted.elements.len() {
        let (own, given) = (taken.len(), wanted.elements.len());
        return Err(format!(
            "its graph takes {own} columns, and {given} feed it"
        ));
    }
    for (element, own) in wanted.elements.iter().zip(taken) {
        if native(element.element) != Some(own) {
            let (name, element) = (&element.name, element.element);
            return Err(format!("input '{name}' takes {element}"));
        }
    }
    for spec in &wanted.outputs {
        let own = model.outputs().iter().find(|own| own.name == spec.name);
        if own.is_none_or(|own| native(spec.element) != Some(own.element)) {
            return Err(format!("output '{}' is {}", spec.name, spec.element));
        }
    }
    Ok(model)
}

/// What our kernels call it, where they are fed with it.
fn native(element: ElementType) -> Option<Element> {
    match element {
        ElementType::Float32 => Some(Element::Float32),
        ElementType::Float64 => Some(Element::Float64),
        ElementType::Int64 => Some(Element::Int64),
        ElementType::Int32 => Some(Element::Int32),
        ElementType::Int16 => Some(Element::Int16),
        ElementType::Int8 => Some(Element::Int8),
        ElementType::UInt16 => Some(Element::UInt16),
        ElementType::UInt8 => Some(Element::UInt8),
        ElementType::String => Some(Element::Text),
        ElementType::Bool | ElementType::UInt32 | ElementType::UInt64 => None,
    }
}
