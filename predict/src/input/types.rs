//! Which type of a file fits which type of its table: where no value is lost.

use arrow::datatypes::DataType;

/// Whether every value of `small` is one of `large`, where `large` is the wider one of a kind.
pub fn widens(small: &DataType, large: &DataType) -> bool {
    use DataType::{
        Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, UInt8, UInt16, UInt32,
        UInt64, Utf8, Utf8View,
    };
    match large {
        Int16 => matches!(small, Int8 | UInt8),
        Int32 => matches!(small, Int8 | Int16 | UInt8 | UInt16),
        Int64 => matches!(small, Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32),
        UInt16 => matches!(small, UInt8),
        UInt32 => matches!(small, UInt8 | UInt16),
        UInt64 => matches!(small, UInt8 | UInt16 | UInt32),
        Float32 => matches!(small, Int8 | Int16 | UInt8 | UInt16),
        Float64 => matches!(
            small,
            Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 | Float32
        ),
        LargeUtf8 => matches!(small, Utf8 | Utf8View),
        Utf8View => matches!(small, Utf8),
        Decimal128(precision, scale) => match small {
            Decimal128(other, digits) => {
                digits <= scale
                    && i16::from(*precision) - i16::from(*scale)
                        >= i16::from(*other) - i16::from(*digits)
            }
            _ => false,
        },
        _ => false,
    }
}

/// Whether a file's column can be read as the table's: the same, a narrower one of its kind, or the same in another layout.
/// What is nested is for the engine to compare.
pub(crate) fn fits(file: &DataType, table: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Date32, Date64, Dictionary, FixedSizeBinary, LargeBinary, LargeUtf8,
        Null, Timestamp, Utf8, Utf8View,
    };
    if file == table || file.is_nested() && table.is_nested() || widens(file, table) {
        return true;
    }
    match (file, table) {
        (Null, _) => true,
        (Dictionary(_, values), table) => fits(values, table),
        (file, Dictionary(_, values)) => fits(file, values),
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => true,
        (
            Binary | LargeBinary | BinaryView | FixedSizeBinary(_),
            Binary | LargeBinary | BinaryView,
        ) => true,
        // Values that do not fit the finer unit fail the cast.
        (Timestamp(from, zone), Timestamp(to, other)) => from <= to && zone == other,
        (Date32, Date64) => true,
        _ => false,
    }
}
