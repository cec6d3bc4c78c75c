//! Columns of any type as the Python scripts write them: one file of 32-bit floats, column after column, or a folder
//! with a file for each column by its number, and for texts one of offsets and one of bytes.

use std::error::Error;
use std::fs;
use std::path::Path;

use whimbrel_graph::{Column, Element, Model};

pub(crate) enum Data {
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Int64(Vec<i64>),
    Int32(Vec<i32>),
    Text(Vec<i32>, Vec<u8>),
}

macro_rules! numbers {
    ($bytes:expr, $of:ty) => {
        $bytes
            .as_chunks()
            .0
            .iter()
            .map(|value| <$of>::from_le_bytes(*value))
            .collect()
    };
}

impl Data {
    /// So many rows from `first` on.
    pub(crate) fn column(&self, first: usize, count: usize) -> Column<'_> {
        let rows = first..first + count;
        match self {
            Self::Float32(values) => Column::from(&values[rows]),
            Self::Float64(values) => Column::from(&values[rows]),
            Self::Int64(values) => Column::from(&values[rows]),
            Self::Int32(values) => Column::from(&values[rows]),
            Self::Text(offsets, bytes) => Column::text(&offsets[first..=first + count], bytes),
        }
    }
}

/// The columns of a model, `count` rows of each.
pub(crate) fn read(path: &Path, model: &Model, count: usize) -> Result<Vec<Data>, Box<dyn Error>> {
    if !path.is_dir() {
        let values: Vec<f32> = numbers!(fs::read(path)?, f32);
        let columns = values.chunks(count.max(1));
        return Ok(columns
            .map(|column| Data::Float32(column.to_vec()))
            .collect());
    }
    let inputs = model.inputs().iter();
    let elements = inputs.flat_map(|input| std::iter::repeat_n(input.element, input.width));
    let file = |name: String| fs::read(path.join(name));
    let column = |(number, element): (usize, Element)| {
        let values = |number: usize| file(number.to_string());
        Ok(match element {
            Element::Float32 => Data::Float32(numbers!(values(number)?, f32)),
            Element::Float64 => Data::Float64(numbers!(values(number)?, f64)),
            Element::Int64 => Data::Int64(numbers!(values(number)?, i64)),
            Element::Int32 => Data::Int32(numbers!(values(number)?, i32)),
            Element::Text => {
                let offsets = numbers!(file(format!("{number}.offsets"))?, i32);
                Data::Text(offsets, file(format!("{number}.bytes"))?)
            }
            _ => return Err(format!("no columns of {element:?} here").into()),
        })
    };
    elements.enumerate().map(column).collect()
}
