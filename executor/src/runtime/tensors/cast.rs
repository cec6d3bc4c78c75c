//! The model's own output type to the one that the binding returns, the way Spark casts: a float to an integer cuts
//! towards zero, what is too large stops at the type's limit, and NaN becomes 0.
//!
//! Spark lets bytes and shorts wrap around (300 as TINYINT is 44 there); here they stop at their limits like the larger
//! types: a wrong number that looks right serves nobody. A number that a decimal cannot hold, NaN among them, is NULL, as it
//! is in Spark. What has no such rule is an error.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};

pub(super) fn cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    if column.data_type() == to {
        return Ok(Arc::clone(column));
    }
    if let Some(integers) = to_integers(column, to) {
        return Ok(integers);
    }
    let options = CastOptions {
        safe: matches!(to, DataType::Decimal128(..)),
        ..CastOptions::default()
    };
    cast_with_options(column, to, &options)
        .map_err(|error| format!("is {}, which cannot be {to}: {error}", column.data_type()))
}

/// Numbers to an integer type; `None` for any other pair.
fn to_integers(column: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    match column.data_type() {
        DataType::Float32 => from_floats(column.as_primitive::<Float32Type>(), to),
        DataType::Float64 => from_floats(column.as_primitive::<Float64Type>(), to),
        DataType::Int8 => from_integers(column.as_primitive::<Int8Type>(), to),
        DataType::Int16 => from_integers(column.as_primitive::<Int16Type>(), to),
        DataType::Int32 => from_integers(column.as_primitive::<Int32Type>(), to),
        DataType::Int64 => from_integers(column.as_primitive::<Int64Type>(), to),
        DataType::UInt8 => from_integers(column.as_primitive::<UInt8Type>(), to),
        DataType::UInt16 => from_integers(column.as_primitive::<UInt16Type>(), to),
        DataType::UInt32 => from_integers(column.as_primitive::<UInt32Type>(), to),
        DataType::UInt64 => from_integers(column.as_primitive::<UInt64Type>(), to),
        _ => None,
    }
}

macro_rules! by_integer_type {
    ($to:expr, $convert:ident) => {
        match $to {
            DataType::Int8 => $convert!(Int8Type, i8),
            DataType::Int16 => $convert!(Int16Type, i16),
            DataType::Int32 => $convert!(Int32Type, i32),
            DataType::Int64 => $convert!(Int64Type, i64),
            DataType::UInt8 => $convert!(UInt8Type, u8),
            DataType::UInt16 => $convert!(UInt16Type, u16),
            DataType::UInt32 => $convert!(UInt32Type, u32),
            DataType::UInt64 => $convert!(UInt64Type, u64),
            _ => None,
        }
    };
}

fn from_floats<T: ArrowPrimitiveType<Native: Into<f64>>>(
    column: &PrimitiveArray<T>,
    to: &DataType,
) -> Option<ArrayRef> {
    macro_rules! cut {
        // Rust's `as` cuts, stops at the limits and makes NaN 0.
        ($type:ty, $native:ty) => {
            Some(
                Arc::new(column.unary::<_, $type>(|value| Into::<f64>::into(value) as $native))
                    as ArrayRef,
            )
        };
    }
    by_integer_type!(to, cut)
}

fn from_integers<T: ArrowPrimitiveType<Native: Into<i128>>>(
    column: &PrimitiveArray<T>,
    to: &DataType,
) -> Option<ArrayRef> {
    macro_rules! stop {
        ($type:ty, $native:ty) => {
            Some(Arc::new(column.unary::<_, $type>(|value| {
                Into::<i128>::into(value).clamp(<$native>::MIN.into(), <$native>::MAX.into())
                    as $native
            })) as ArrayRef)
        };
    }
    by_integer_type!(to, stop)
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BooleanArray, Decimal128Array, Float32Array, Float64Array, Int8Array, Int32Array,
        Int64Array, StringArray,
    };

    use super::*;

    fn array(array: impl Array + 'static) -> ArrayRef {
        Arc::new(array)
    }

    #[test]
    fn floats_cut_towards_zero_and_stop_at_the_limits() {
        let floats = array(Float32Array::from(vec![
            1.9,
            -1.9,
            f32::NAN,
            f32::INFINITY,
            -3e38,
        ]));
        let ints = cast(&floats, &DataType::Int32).unwrap();
        assert_eq!(
            &ints,
            &array(Int32Array::from(vec![1, -1, 0, i32::MAX, i32::MIN]))
        );
        let bytes = cast(
            &array(Float64Array::from(vec![300.0, -300.0])),
            &DataType::Int8,
        )
        .unwrap();
        assert_eq!(&bytes, &array(Int8Array::from(vec![127, -128])));
    }

    #[test]
    fn integers_stop_at_the_limits() {
        let longs = array(Int64Array::from(vec![i64::MAX, -5, 7]));
        assert_eq!(
            &cast(&longs, &DataType::Int32).unwrap(),
            &array(Int32Array::from(vec![i32::MAX, -5, 7]))
        );
    }

    #[test]
    fn other_pairs_cast_or_fail_but_never_lose_a_value() {
        let flags = cast(&array(Int64Array::from(vec![0, 1])), &DataType::Boolean).unwrap();
        assert_eq!(&flags, &array(BooleanArray::from(vec![false, true])));
        let wide = cast(&array(Float32Array::from(vec![0.5])), &DataType::Float64).unwrap();
        assert_eq!(&wide, &array(Float64Array::from(vec![0.5])));
        let floats = array(Float32Array::from(vec![1.005, f32::NAN, 1e9]));
        let decimals = cast(&floats, &DataType::Decimal128(5, 2)).unwrap();
        let expected = Decimal128Array::from(vec![Some(100), None, None]);
        assert_eq!(
            &decimals,
            &array(expected.with_precision_and_scale(5, 2).unwrap())
        );
        let problem =
            cast(&array(StringArray::from(vec!["cash"])), &DataType::Float32).unwrap_err();
        assert!(problem.contains("cash"), "{problem}");
    }
}
