//! A model's named, typed inputs and outputs, as far as feeding it from columns and returning its values need them.

use std::fmt;
use std::str::FromStr;

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};
use whimbrel_proto::{Error, ErrorCode};

use crate::types::{list_of, map_of, struct_of};

/// The type of one tensor element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ElementType {
    Float32,
    Float64,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Bool,
    String,
}

impl ElementType {
    /// Every element type, for tables and tests.
    pub const ALL: [Self; 12] = [
        Self::Float32,
        Self::Float64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::UInt8,
        Self::UInt16,
        Self::UInt32,
        Self::UInt64,
        Self::Bool,
        Self::String,
    ];

    /// The name in messages and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::UInt8 => "uint8",
            Self::UInt16 => "uint16",
            Self::UInt32 => "uint32",
            Self::UInt64 => "uint64",
            Self::Bool => "bool",
            Self::String => "string",
        }
    }

    /// The Arrow type a column has when it feeds, or comes out of, a tensor of this type.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::UInt8 => DataType::UInt8,
            Self::UInt16 => DataType::UInt16,
            Self::UInt32 => DataType::UInt32,
            Self::UInt64 => DataType::UInt64,
            Self::Bool => DataType::Boolean,
            Self::String => DataType::Utf8,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ElementType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|element| element.name() == text)
            .ok_or_else(|| {
                Error::new(
                    ErrorCode::Invalid,
                    format!("'{text}' is not a tensor element type"),
                )
            })
    }
}

/// One named tensor. A negative dimension is dynamic; the first is the row count.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TensorSpec {
    pub name: String,
    pub element: ElementType,
    pub shape: Vec<i64>,
}

impl TensorSpec {
    /// How many columns feed it: k for `[N,k]`, 1 for `[N]` and `[N,1]`; `None` where the graph does not say (`[N,-1]`) or
    /// the rank is above 2.
    pub fn lanes(&self) -> Option<usize> {
        match self.shape.as_slice() {
            [_] => Some(1),
            [_, k] => usize::try_from(*k).ok().filter(|k| *k > 0),
            _ => None,
        }
    }
}

/// What the values of one row of an output are called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RowNames {
    /// Nothing: it is one value, or a list.
    #[default]
    None,
    /// Each has a name: they make a struct.
    Fields(Vec<String>),
    /// A class each, as ZipMap has them: they make a map.
    IntClasses(Vec<i64>),
    /// The same with classes of text.
    TextClasses(Vec<String>),
}

impl RowNames {
    /// The names as text, in the order of the values; none where there are none.
    pub fn texts(&self) -> Option<Vec<String>> {
        match self {
            Self::None => None,
            Self::Fields(names) | Self::TextClasses(names) => Some(names.clone()),
            Self::IntClasses(classes) => Some(classes.iter().map(i64::to_string).collect()),
        }
    }
}

/// One named output. What ZipMap makes of a tensor is described as that tensor with its classes: it is read so.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OutputSpec {
    pub name: String,
    pub element: ElementType,
    /// As the graph says, which may say nothing: then it is one value per row.
    pub shape: Vec<i64>,
    pub names: RowNames,
}

impl OutputSpec {
    /// The sizes of what one row holds: none for a single value, -1 for one that the graph does not say.
    pub fn row(&self) -> &[i64] {
        match self.shape.as_slice() {
            [] | [_] | [_, 1] => &[],
            [_, row @ ..] => row,
        }
    }

    /// Whether ONNX Runtime would return maps for it, were the graph run as it is.
    pub fn is_zipmap(&self) -> bool {
        match self.names {
            RowNames::IntClasses(_) | RowNames::TextClasses(_) => true,
            RowNames::None | RowNames::Fields(_) => false,
        }
    }

    /// The type of its values in SQL, unless the binding says otherwise.
    pub fn data_type(&self) -> DataType {
        let element = self.element.arrow();
        match &self.names {
            RowNames::IntClasses(_) => map_of(DataType::Int64, element),
            RowNames::TextClasses(_) => map_of(DataType::Utf8, element),
            RowNames::Fields(names) => {
                struct_of(names.iter().map(|name| (name.as_str(), element.clone())))
            }
            RowNames::None => self.row().iter().fold(element, |item, _| list_of(item)),
        }
    }
}

/// The model's inputs and outputs, in the graph's order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Signature {
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<OutputSpec>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::returns_name;

    #[test]
    fn an_output_has_the_type_of_what_a_row_of_it_holds() {
        let spec = |shape: &[i64], names| OutputSpec {
            name: "y".to_owned(),
            element: ElementType::Float32,
            shape: shape.to_vec(),
            names,
        };
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        for (shape, names, wanted) in [
            (&[][..], RowNames::None, "FLOAT"),
            (&[-1], RowNames::None, "FLOAT"),
            (&[-1, 1], RowNames::None, "FLOAT"),
            (&[-1, -1], RowNames::None, "ARRAY<FLOAT>"),
            (&[-1, 3], RowNames::None, "ARRAY<FLOAT>"),
            (&[-1, 3, 4], RowNames::None, "ARRAY<ARRAY<FLOAT>>"),
            (
                &[-1, 2],
                RowNames::Fields(texts(&["lo", "hi"])),
                "STRUCT<lo: FLOAT, hi: FLOAT>",
            ),
            (
                &[-1, 2],
                RowNames::IntClasses(vec![0, 1]),
                "MAP<BIGINT, FLOAT>",
            ),
            (
                &[-1, 2],
                RowNames::TextClasses(texts(&["cheap", "dear"])),
                "MAP<STRING, FLOAT>",
            ),
        ] {
            let data_type = spec(shape, names).data_type();
            assert_eq!(returns_name(&data_type).unwrap(), wanted, "{shape:?}");
        }
    }
}
