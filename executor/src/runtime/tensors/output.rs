//! An output tensor to a column. It is copied out (some 32 KiB a feed): a column that kept ONNX Runtime's memory would hold
//! the session's arena for as long as the query's results live.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, PrimitiveArray, StringArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use ort::value::{DynValue, PrimitiveTensorElementType, TensorElementType, ValueType};

/// The column of an `[N]` or `[N,1]` output, in the tensor's own type. The error continues "output 'x' ...".
pub(super) fn column(value: &DynValue, rows: usize) -> Result<ArrayRef, String> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(format!(
            "is a {}, not a tensor with one value per row",
            kind(value.dtype())
        ));
    };
    let expected = i64::try_from(rows).map_err(|error| error.to_string())?;
    match shape.split_first() {
        Some((first, rest)) if *first == expected && rest.iter().all(|size| *size == 1) => {}
        Some((first, rest)) if *first == expected => {
            let width: i64 = rest.iter().product();
            return Err(format!("has {width} values per row; PREDICT gives one"));
        }
        first => {
            let returned = first.map_or(1, |(first, _)| *first);
            return Err(format!("has {returned} rows for {rows} rows fed"));
        }
    }
    match ty {
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
            Ok(Arc::new(BooleanArray::from(values.to_vec())))
        }
        TensorElementType::String => {
            let (_, values) = value
                .try_extract_strings()
                .map_err(|error| unreadable(&error))?;
            Ok(Arc::new(StringArray::from_iter_values(values)))
        }
        other => Err(format!("is of type {other}, which has no column type")),
    }
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
