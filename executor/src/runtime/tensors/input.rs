//! Columns to one input tensor.

use std::fmt::Debug;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, PrimitiveArray, StringArray,
};
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use ort::session::SessionInputValue;
use ort::value::{PrimitiveTensorElementType, TensorRef};
use whimbrel_predict::signature::ElementType;
use whimbrel_proto::{Error, ErrorCode};

use super::{InputPlan, Lane, Layout, strings};

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
    let lists = match &input.layout {
        Layout::Plain | Layout::Lanes => None,
        Layout::Lists(sizes) => Some((sizes, lists(input, columns)?)),
    };
    let (columns, shape) = match lists {
        None => (columns, shape(input, rows)),
        Some((sizes, lists)) => (
            std::slice::from_ref(lists.values()),
            list_shape(input, rows, sizes, lists)?,
        ),
    };
    let rows = columns.first().map_or(rows, |column| column.len());
    match input.element {
        ElementType::Float32 => numeric::<Float32Type>(input, columns, shape, rows, lane),
        ElementType::Float64 => numeric::<Float64Type>(input, columns, shape, rows, lane),
        ElementType::Int8 => numeric::<Int8Type>(input, columns, shape, rows, lane),
        ElementType::Int16 => numeric::<Int16Type>(input, columns, shape, rows, lane),
        ElementType::Int32 => numeric::<Int32Type>(input, columns, shape, rows, lane),
        ElementType::Int64 => numeric::<Int64Type>(input, columns, shape, rows, lane),
        ElementType::UInt8 => numeric::<UInt8Type>(input, columns, shape, rows, lane),
        ElementType::UInt16 => numeric::<UInt16Type>(input, columns, shape, rows, lane),
        ElementType::UInt32 => numeric::<UInt32Type>(input, columns, shape, rows, lane),
        ElementType::UInt64 => numeric::<UInt64Type>(input, columns, shape, rows, lane),
        ElementType::Bool => boolean(input, columns, shape, rows, lane),
        ElementType::String => text(input, columns, shape, rows),
    }
}

fn shape(input: &InputPlan, rows: usize) -> Vec<usize> {
    match input.layout {
        Layout::Plain => vec![rows],
        Layout::Lanes | Layout::Lists(_) => vec![rows, input.lanes.len()],
    }
}

/// The one column of lists that feeds the input, all of one length by now.
fn lists<'a>(
    input: &InputPlan,
    columns: &'a [ArrayRef],
) -> Result<&'a FixedSizeListArray, Problem> {
    let lists = match columns {
        [only] => only.as_fixed_size_list_opt(),
        _ => None,
    };
    lists
        .filter(|lists| lists.null_count() == 0)
        .ok_or_else(|| {
            Problem::Plan(format!(
                "input '{}' was not fed lists of one length",
                input.name
            ))
        })
}

/// The tensor's sizes; the one that the model leaves open is what the lists' length makes it.
fn list_shape(
    input: &InputPlan,
    rows: usize,
    sizes: &[i64],
    lists: &FixedSizeListArray,
) -> Result<Vec<usize>, Problem> {
    let length = usize::try_from(lists.value_length()).unwrap_or(0);
    let known: usize = sizes
        .iter()
        .filter_map(|size| usize::try_from(*size).ok())
        .product();
    let open = length.checked_div(known).unwrap_or(0);
    let sizes = sizes
        .iter()
        .map(|size| usize::try_from(*size).unwrap_or(open));
    let shape: Vec<usize> = [rows].into_iter().chain(sizes).collect();
    if shape[1..].iter().product::<usize>() == length {
        return Ok(shape);
    }
    Err(Problem::Plan(format!(
        "input '{}' was fed lists of {length} values",
        input.name
    )))
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
    shape: Vec<usize>,
    rows: usize,
    lane: &'a mut Lane,
) -> Result<SessionInputValue<'a>, Problem>
where
    T: ArrowPrimitiveType<Native: Number>,
{
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
    shape: Vec<usize>,
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
    Ok(TensorRef::from_array_view((shape, &lane.bools[..]))?.into())
}

fn text<'a>(
    input: &InputPlan,
    columns: &[ArrayRef],
    shape: Vec<usize>,
    rows: usize,
) -> Result<SessionInputValue<'a>, Problem> {
    let arrays = typed::<StringArray>(input, columns, false)?;
    Ok(strings::tensor(&shape, &arrays, rows)?.into())
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
