//! Which argument of PREDICT feeds which input of the model, and with which cast. Pure: everything it needs is handed in,
//! every refusal names the column, the input and what would be right.
//!
//! Names decide where they fit; otherwise position does, and the mapping says so. The user's own `input=column` pairs come
//! before both.

mod cast;
mod names;

use arrow::datatypes::DataType;
use whimbrel_proto::{Error, ErrorCode};

pub use cast::{Cast, cast, type_name};

use crate::binding::Binding;

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

/// What feeds one input element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Which of the arguments.
    pub argument: usize,
    pub cast: Cast,
}

/// One source per element of the binding, in feeding order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub sources: Vec<Source>,
    /// Whether any element was fed by position rather than by name.
    pub by_position: bool,
}

/// Finds what feeds each element of `binding`.
pub fn map(binding: &Binding, args: &[Argument], form: Form) -> Result<Mapping, Error> {
    let call = Call {
        binding,
        args,
        form,
    };
    let (order, by_position) = names::order(&call)?;
    let sources = order
        .into_iter()
        .enumerate()
        .map(|(element, argument)| call.source(element, argument))
        .collect::<Result<_, Error>>()?;
    Ok(Mapping {
        sources,
        by_position,
    })
}

/// One call, as the messages speak of it.
struct Call<'a> {
    binding: &'a Binding,
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

    fn source(&self, element: usize, argument: usize) -> Result<Source, Error> {
        let input = &self.binding.elements[element];
        let arg = &self.args[argument];
        match cast(&arg.data_type, input.element) {
            Some(cast) => Ok(Source { argument, cast }),
            None => {
                let what = format!(
                    "{} is {}, and input '{}' takes {}",
                    arg.shown,
                    type_name(&arg.data_type),
                    input.name,
                    input.element
                );
                let hint = format!(
                    "say how it becomes one, such as CAST({} AS {})",
                    arg.shown,
                    sql_type(input.element.arrow())
                );
                Err(self.invalid(what).with_hint(hint))
            }
        }
    }
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
