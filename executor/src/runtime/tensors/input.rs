//! Columns to one input tensor.

use std::fmt::Debug;

use arrow::array::{Array, ArrayRef, BooleanArray, PrimitiveArray, StringArray};
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use ort::session::SessionInputValue;
use ort::value::{PrimitiveTensorElementType, TensorRef};
use whimbrel_predict::signature::ElementType;
use whimbrel_proto::{Error, ErrorCode};

use super::{InputPlan, Lane, strings};

/// Rows that are transposed at a time: their part of the output stays in the first-level cache.
const BLOCK: usize = 64;

/// Why columns cannot become a tensor.
#[derive(Debug)]
pub(super) enum Problem {
    /// A lane that cannot hold NULL has one.
    Null { lane: String, element: ElementType },
    /// The plan did not give what it promised.
    Plan(String),
    /// ONNX Runtime refused the tensor.
    Refused(String),
}

impl Problem {
    pub(super) fn of(self, who: &str) -> Error {
        match self {
            Self::Null { lane, element } => Error::new(
                ErrorCode::Data,
                format!(
                    "{who}: input '{lane}' is {element} and was fed a NULL, which it cannot hold"
                ),
            )
            .with_hint("filter the NULLs out, or replace them with COALESCE"),
            Self::Plan(what) => Error::new(ErrorCode::Bug, format!("{who}: {what}")),
            Self::Refused(why) => Error::new(
                ErrorCode::Model,
                format!("{who}: cannot make its input: {why}"),
            ),
        }
    }
}

impl From<ort::Error> for Problem {
    fn from(error: ort::Error) -> Self {
        Self::Refused(error.message().to_owned())
    }
}

/// A number that a tensor holds.
trait Number: ArrowNativeType + PrimitiveTensorElementType + Debug {
    /// What stands for NULL; integers have nothing that could.
    const MISSING: Option<Self>;
}

macro_rules! numbers {
    ($($native:ty => $missing:expr),+ $(,)?) => { $(impl Number for $native { const MISSING: Option<Self> = $missing; })+ };
}
numbers!(f32 => Some(f32::NAN), f64 => Some(f64::NAN), i8 => None, i16 => None, i32 => None, i64 => None, u8 => None,
    u16 => None, u32 => None, u64 => None);

/// The tensor of one input, borrowing the columns or the lane's buffer.
pub(super) fn tensor<'a>(
    input: &InputPlan,
    columns: &'a [ArrayRef],
    rows: usize,
    lane: &'a mut Lane,
) -> Result<SessionInputValue<'a>, Problem> {
    if let Some(column) = columns.iter().find(|column| column.len() != rows) {
        return Err(Problem::Plan(format!(
            "input '{}' was fed {} rows of {rows}",
            input.name,
            column.len()
        )));
    }
    match input.element {
        ElementType::Float32 => numeric::<Float32Type>(input, columns, rows, lane),
        ElementType::Float64 => numeric::<Float64Type>(input, columns, rows, lane),
        ElementType::Int8 => numeric::<Int8Type>(input, columns, rows, lane),
        ElementType::Int16 => numeric::<Int16Type>(input, columns, rows, lane),
        ElementType::Int32 => numeric::<Int32Type>(input, columns, rows, lane),
        ElementType::Int64 => numeric::<Int64Type>(input, columns, rows, lane),
        ElementType::UInt8 => numeric::<UInt8Type>(input, columns, rows, lane),
        ElementType::UInt16 => numeric::<UInt16Type>(input, columns, rows, lane),
        ElementType::UInt32 => numeric::<UInt32Type>(input, columns, rows, lane),
        ElementType::UInt64 => numeric::<UInt64Type>(input, columns, rows, lane),
        ElementType::Bool => boolean(input, columns, rows, lane),
        ElementType::String => text(input, columns, rows),
    }
}

fn shape(input: &InputPlan, rows: usize) -> Vec<usize> {
    if input.has_lanes {
        vec![rows, input.lanes.len()]
    } else {
        vec![rows]
    }
}

/// The columns as arrays of the input's type; NULL only where the type can stand for it.
fn typed<'a, A: Array + 'static>(
    input: &InputPlan,
    columns: &'a [ArrayRef],
    nulls: bool,
) -> Result<Vec<&'a A>, Problem> {
    columns
        .iter()
        .zip(&input.lanes)
        .map(|(column, lane)| {
            if !nulls && column.null_count() > 0 {
                return Err(Problem::Null {
                    lane: lane.clone(),
                    element: input.element,
                });
            }
            column.as_any().downcast_ref::<A>().ok_or_else(|| {
                Problem::Plan(format!(
                    "input '{lane}' is {} and was fed {}",
                    input.element,
                    column.data_type()
                ))
            })
        })
        .collect()
}

fn numeric<'a, T>(
    input: &InputPlan,
    columns: &'a [ArrayRef],
    rows: usize,
    lane: &'a mut Lane,
) -> Result<SessionInputValue<'a>, Problem>
where
    T: ArrowPrimitiveType<Native: Number>,
{
    let shape = shape(input, rows);
    let arrays = typed::<PrimitiveArray<T>>(input, columns, T::Native::MISSING.is_some())?;
    if let &[array] = arrays.as_slice()
        && array.null_count() == 0
    {
        // The column's buffer is the tensor.
        return Ok(TensorRef::from_array_view((shape, &array.values()[..]))?.into());
    }
    lane.numbers
        .resize(rows * arrays.len() * size_of::<T::Native>(), 0);
    let out = lane.numbers.typed_data_mut::<T::Native>();
    let values: Vec<&[T::Native]> = arrays.iter().map(|array| &array.values()[..]).collect();
    transpose(out, &values);
    if let Some(missing) = T::Native::MISSING {
        for (position, array) in arrays.iter().enumerate() {
            if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
                let invalid = !nulls.inner();
                for row in invalid.set_indices() {
                    out[row * arrays.len() + position] = missing;
                }
            }
        }
    }
    Ok(TensorRef::from_array_view((shape, &*out))?.into())
}

/// k columns of n values to n rows of k values, four columns at a time: on 20 columns twice as fast as one at a time.
fn transpose<T: Copy>(out: &mut [T], columns: &[&[T]]) {
    let width = columns.len();
    for (block, rows) in out.chunks_mut(BLOCK * width).enumerate() {
        let count = rows.len() / width;
        let part = block * BLOCK..block * BLOCK + count;
        let (fours, rest) = columns.as_chunks::<4>();
        for (group, [a, b, c, d]) in fours.iter().enumerate() {
            let (a, b, c, d) = (
                &a[part.clone()],
                &b[part.clone()],
                &c[part.clone()],
                &d[part.clone()],
            );
            for (index, row) in rows.chunks_exact_mut(width).enumerate() {
                // One assignment: a copy of a slice goes through memory where debug assertions are on, five times slower.
                if let Some(slot) = row[group * 4..].first_chunk_mut() {
                    *slot = [a[index], b[index], c[index], d[index]];
                }
            }
        }
        for (position, column) in (fours.len() * 4..).zip(rest) {
            let mut at = position;
            for value in &column[part.clone()] {
                rows[at] = *value;
                at += width;
            }
        }
    }
}

fn boolean<'a>(
    input: &InputPlan,
    columns: &'a [ArrayRef],
    rows: usize,
    lane: &'a mut Lane,
) -> Result<SessionInputValue<'a>, Problem> {
    let arrays = typed::<BooleanArray>(input, columns, false)?;
    let width = arrays.len();
    lane.bools.clear();
    lane.bools.resize(rows * width, false);
    for (position, array) in arrays.iter().enumerate() {
        for row in array.values().set_indices() {
            lane.bools[row * width + position] = true;
        }
    }
    Ok(TensorRef::from_array_view((shape(input, rows), &lane.bools[..]))?.into())
}

fn text<'a>(
    input: &InputPlan,
    columns: &[ArrayRef],
    rows: usize,
) -> Result<SessionInputValue<'a>, Problem> {
    let arrays = typed::<StringArray>(input, columns, false)?;
    Ok(strings::tensor(&shape(input, rows), &arrays, rows)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transpose_is_right_at_every_block_border() {
        for rows in [1, 63, 64, 65, 128, 200] {
            for width in [1, 2, 3, 17] {
                let columns: Vec<Vec<usize>> = (0..width)
                    .map(|c| (0..rows).map(|r| r * 100 + c).collect())
                    .collect();
                let views: Vec<&[usize]> = columns.iter().map(Vec::as_slice).collect();
                let mut out = vec![0; rows * width];
                transpose(&mut out, &views);
                for (index, value) in out.iter().enumerate() {
                    assert_eq!(*value, index / width * 100 + index % width);
                }
            }
        }
    }
}
