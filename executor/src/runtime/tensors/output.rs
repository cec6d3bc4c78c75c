//! An output tensor to values, row after row. They are copied out (some 32 KiB a feed): a column that kept ONNX Runtime's
//! memory would hold the session's arena for as long as the query's results live.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, PrimitiveArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use ort::value::{DynValue, PrimitiveTensorElementType, TensorElementType, ValueType};

use super::strings;

/// What a model gave for the rows of a feed.
pub(crate) struct Rows {
    /// The values of the first row, then those of the second, ..., in the tensor's own type.
    pub(crate) values: ArrayRef,
    pub(crate) count: usize,
    /// The sizes of what each row holds; none for a single value.
    pub(crate) sizes: Vec<usize>,
}

impl Rows {
    /// How many values each row holds.
    pub(crate) fn width(&self) -> usize {
        self.sizes.iter().product()
    }
}

/// The values of an output, of which there must be some for each row that was fed. The error continues "output 'x' ...".
pub(super) fn rows(value: &DynValue, count: usize) -> Result<Rows, String> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(format!(
            "is a {}, not a tensor with values for each row",
            kind(value.dtype())
        ));
    };
    let sizes = match shape.split_first() {
        Some((first, rest)) if usize::try_from(*first) == Ok(count) => rest,
        first => {
            let returned = first.map_or(1, |(first, _)| *first);
            return Err(format!("has {returned} rows for {count} rows fed"));
        }
    };
    let sizes = sizes.iter().map(|size| usize::try_from(*size).unwrap_or(0));
    let sizes: Vec<usize> = sizes.collect();
    let values = match ty {
        TensorElementType::Float32 => numbers::<Float32Type>(value),
        TensorElementType::Float64 => numbers::<Float64Type>(value),
        TensorElementType::Int8 => numbers::<Int8Type>(value),
        TensorElementType::Int16 => numbers::<Int16Type>(value),
        TensorElementType::Int32 => numbers::<Int32Type>(value),
        TensorElementType::Int64 => numbers::<Int64Type>(value),
        TensorElementType::Uint8 => numbers::<UInt8Type>(value),
        TensorElementType::Uint16 => numbers::<UInt16Type>(value),
        TensorElementType::Uint32 => numbers::<UInt32Type>(value),
        TensorElementType::Uint64 => numbers::<UInt64Type>(value),
        TensorElementType::Bool => {
            let (_, values) = value
                .try_extract_tensor::<bool>()
                .map_err(|error| unreadable(&error))?;
            Ok(Arc::new(BooleanArray::from(values.to_vec())) as ArrayRef)
        }
        TensorElementType::String => {
            let length = sizes.iter().product::<usize>() * count;
            strings::column(value, length).map_err(|error| unreadable(&error))
        }
        other => Err(format!("is of type {other}, which has no column type")),
    }?;
    Ok(Rows {
        values,
        count,
        sizes,
    })
}

fn numbers<T>(value: &DynValue) -> Result<ArrayRef, String>
where
    T: ArrowPrimitiveType<Native: PrimitiveTensorElementType>,
{
    let (_, values) = value
        .try_extract_tensor::<T::Native>()
        .map_err(|error| unreadable(&error))?;
    Ok(Arc::new(PrimitiveArray::<T>::new(
        ScalarBuffer::from(values.to_vec()),
        None,
    )))
}

fn unreadable(error: &ort::Error) -> String {
    format!("cannot be read: {}", error.message())
}

fn kind(value: &ValueType) -> &'static str {
    match value {
        ValueType::Tensor { .. } => "tensor",
        ValueType::Sequence(_) => "sequence",
        ValueType::Map { .. } => "map",
        ValueType::Optional(_) => "optional value",
    }
}
