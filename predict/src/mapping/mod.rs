//! Which argument of PREDICT feeds which input of the model, and with which cast. Pure: everything it needs is handed in,
//! every refusal names the column, the input and what would be right.
//!
//! Names decide where they fit; otherwise position does, and the mapping says so. The user's own `input=column` pairs come
//! before both.

mod cast;
mod names;
mod rows;
mod whole;

use std::borrow::Cow;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use whimbrel_proto::{Error, ErrorCode};

pub use cast::{Cast, Way, cast, leaf, type_name, way};
pub use rows::{MappingRow, rows};

use crate::binding::{Binding, InputElement};

/// How the arguments were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `PREDICT('m', *)`: every column that is there; what the model does not need is left out.
    Star,
    /// `PREDICT('m', a, b)`: exactly the model's inputs.
    List,
}

/// One column or expression that may feed the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The column's name; none where it is an expression.
    pub name: Option<String>,
    /// As messages call it.
    pub shown: String,
    pub data_type: DataType,
}

impl Argument {
    /// The columns of a table, as `*` means them.
    pub fn columns(schema: &Schema) -> Vec<Self> {
        let column = |field: &arrow::datatypes::FieldRef| Self {
            name: Some(field.name().clone()),
            shown: field.name().clone(),
            data_type: field.data_type().clone(),
        };
        schema.fields().iter().map(column).collect()
    }
}

/// What feeds one input element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// One of the arguments, by its place, on its way.
    Argument { place: usize, way: Way },
    /// No column has the name of an optional input: this value feeds it in every row.
    Absent(ScalarValue),
}

impl Source {
    /// What `EXPLAIN` says of the argument's way, where there is something to say.
    pub fn remark(&self, args: &[Argument], element: &InputElement) -> Option<String> {
        match self {
            Self::Argument { place, way } => {
                let from = type_name(&args[*place].data_type);
                let remark = way.cast.remark()?;
                Some(format!("{from} to {}, {remark}", element.element))
            }
            Self::Absent(_) => Some("absent".to_owned()),
        }
    }
}

/// One source per element, in feeding order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub sources: Vec<Source>,
    /// Whether any element was fed by position rather than by name.
    pub by_position: bool,
    /// The elements, where they are not the binding's own: a column of lists feeds the whole of an `[N,k]` input.
    pub elements: Option<Vec<InputElement>>,
}

/// Finds what feeds each element of `binding`.
pub fn map(binding: &Binding, args: &[Argument], form: Form) -> Result<Mapping, Error> {
    let elements = whole::elements(binding, args, form);
    let call = Call {
        binding,
        elements: elements.as_deref().unwrap_or(&binding.elements),
        args,
        form,
    };
    let (order, by_position) = names::order(&call)?;
    let sources = order
        .into_iter()
        .zip(call.elements)
        .map(|(argument, element)| call.source(element, argument))
        .collect::<Result<_, Error>>()?;
    Ok(Mapping {
        sources,
        by_position,
        elements,
    })
}

/// What feeds an optional element whose column is absent; none where it must be there.
fn stand_in(element: &InputElement) -> Option<ScalarValue> {
    let nan = |element: &InputElement| match element.element.arrow() {
        DataType::Float32 => Some(ScalarValue::Float32(Some(f32::NAN))),
        DataType::Float64 => Some(ScalarValue::Float64(Some(f64::NAN))),
        _ => None,
    };
    if !element.optional || !element.shape.is_empty() {
        return None;
    }
    match &element.default {
        Some(value) => Some(value.scalar(element.element)),
        None => nan(element),
    }
}

/// One call, as the messages speak of it.
struct Call<'a> {
    binding: &'a Binding,
    elements: &'a [InputElement],
    args: &'a [Argument],
    form: Form,
}

impl Call<'_> {
    fn invalid(&self, what: impl std::fmt::Display) -> Error {
        Error::new(ErrorCode::Invalid, format!("{}: {what}", self.shown()))
    }

    fn shown(&self) -> String {
        let args = match self.form {
            Form::Star => "*",
            Form::List => "...",
        };
        format!("PREDICT('{}', {args})", self.binding.alias)
    }

    fn source(&self, input: &InputElement, argument: Option<usize>) -> Result<Source, Error> {
        let Some(place) = argument else {
            return stand_in(input).map(Source::Absent).ok_or_else(|| {
                let what = format!("there is no column '{}' for the model", input.name);
                self.invalid(what).with_hint("add it, or map another to it")
            });
        };
        let arg = &self.args[place];
        match way(&arg.data_type, input, self.binding.options.datetime) {
            Some(way) => Ok(Source::Argument { place, way }),
            None => {
                let what = format!(
                    "{} is {}, and input '{}' takes {}",
                    arg.shown,
                    type_name(&arg.data_type),
                    input.name,
                    input.wants()
                );
                Err(self.invalid(what).with_hint(no_way(arg, input)))
            }
        }
    }
}

/// What to do about a column that cannot feed an input.
fn no_way(arg: &Argument, input: &InputElement) -> Cow<'static, str> {
    let is_time = matches!(
        arg.data_type,
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..)
    );
    let is_number = !matches!(input.element.arrow(), DataType::Utf8 | DataType::Boolean);
    if !input.shape.is_empty() {
        let hint = match leaf(&arg.data_type) {
            Some(_) => format!(
                "give a list, or lists of lists as deep as the input, of values that become {}",
                input.element
            ),
            None => "give a column of lists, such as make_array(a, b, ...)".to_owned(),
        };
        return hint.into();
    }
    if leaf(&arg.data_type).is_some() {
        return format!("take one value of it, such as {}[1]", arg.shown).into();
    }
    if is_time && is_number {
        return "say the unit since 1970 that the model was trained on, by binding it with the option datetime \
                (days, seconds, milliseconds, microseconds or nanoseconds)"
            .into();
    }
    let to = sql_type(input.element.arrow());
    format!(
        "say how it becomes one, such as CAST({} AS {to})",
        arg.shown
    )
    .into()
}

fn sql_type(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::UInt8 => "TINYINT UNSIGNED",
        DataType::UInt16 => "SMALLINT UNSIGNED",
        DataType::UInt32 => "INT UNSIGNED",
        DataType::UInt64 => "BIGINT UNSIGNED",
        DataType::Boolean => "BOOLEAN",
        _ => "VARCHAR",
    }
}

/// The one of `known` that `name` was probably meant to be.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(&name, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
