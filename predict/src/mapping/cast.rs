//! What happens to a column's values on their way into a tensor: nothing, a change that loses nothing, one that may lose
//! digits, one that may fail on a value, or no way at all.

use arrow::datatypes::DataType;

use crate::signature::ElementType;

/// How a column becomes a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Hash)]
pub enum Cast {
    /// The types agree.
    Same,
    /// Every value stays what it is.
    Lossless,
    /// Digits may be lost: doubles to floats, large integers to floats, decimals.
    Lossy,
    /// A value that does not fit fails the query: a wider integer to a narrower one.
    Checked,
}

impl Cast {
    /// What `EXPLAIN` says of it, where there is something to say.
    pub fn remark(self) -> Option<&'static str> {
        match self {
            Self::Same | Self::Lossless => None,
            Self::Lossy => Some("lossy"),
            Self::Checked => Some("checked"),
        }
    }
}

enum Kind {
    Bool,
    Float(u32),
    Integer { signed: bool, bits: u32 },
    Text,
}

fn kind(element: ElementType) -> Kind {
    let integer = |signed, bits| Kind::Integer { signed, bits };
    match element {
        ElementType::Float32 => Kind::Float(24),
        ElementType::Float64 => Kind::Float(53),
        ElementType::Int8 => integer(true, 8),
        ElementType::Int16 => integer(true, 16),
        ElementType::Int32 => integer(true, 32),
        ElementType::Int64 => integer(true, 64),
        ElementType::UInt8 => integer(false, 8),
        ElementType::UInt16 => integer(false, 16),
        ElementType::UInt32 => integer(false, 32),
        ElementType::UInt64 => integer(false, 64),
        ElementType::Bool => Kind::Bool,
        ElementType::String => Kind::Text,
    }
}

fn column_kind(data_type: &DataType) -> Option<Kind> {
    let integer = |signed, bits| Some(Kind::Integer { signed, bits });
    match data_type {
        DataType::Boolean => Some(Kind::Bool),
        DataType::Float16 => Some(Kind::Float(11)),
        DataType::Float32 => Some(Kind::Float(24)),
        DataType::Float64 => Some(Kind::Float(53)),
        DataType::Int8 => integer(true, 8),
        DataType::Int16 => integer(true, 16),
        DataType::Int32 => integer(true, 32),
        DataType::Int64 => integer(true, 64),
        DataType::UInt8 => integer(false, 8),
        DataType::UInt16 => integer(false, 16),
        DataType::UInt32 => integer(false, 32),
        DataType::UInt64 => integer(false, 64),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Kind::Text),
        _ => None,
    }
}

/// The way from a column of type `from` to elements of type `to`; `None` where there is none that cannot surprise.
pub fn cast(from: &DataType, to: ElementType) -> Option<Cast> {
    match from {
        DataType::Dictionary(_, values) => cast(values, to).map(|cast| match cast {
            Cast::Same => Cast::Lossless,
            other => other,
        }),
        _ if *from == to.arrow() => Some(Cast::Same),
        // A bare NULL, and a parameter whose value is not known yet.
        DataType::Null => Some(Cast::Lossless),
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => matches!(kind(to), Kind::Float(_)).then_some(Cast::Lossy),
        _ => number(&column_kind(from)?, &kind(to)),
    }
}

fn number(from: &Kind, to: &Kind) -> Option<Cast> {
    let lossless = |fits: bool, otherwise| Some(if fits { Cast::Lossless } else { otherwise });
    match (from, to) {
        (Kind::Text, Kind::Text)
        | (Kind::Bool, Kind::Bool | Kind::Float(_) | Kind::Integer { .. }) => Some(Cast::Lossless),
        (Kind::Float(from), Kind::Float(to)) => lossless(from <= to, Cast::Lossy),
        (Kind::Integer { signed, bits }, Kind::Float(digits)) => {
            lossless(bits - u32::from(*signed) <= *digits, Cast::Lossy)
        }
        (
            Kind::Integer { signed, bits },
            Kind::Integer {
                signed: to_signed,
                bits: to_bits,
            },
        ) => {
            let fits = match (signed, to_signed) {
                (true, true) | (false, false) => bits <= to_bits,
                (false, true) => bits < to_bits,
                (true, false) => false,
            };
            lossless(fits, Cast::Checked)
        }
        (Kind::Float(_), Kind::Integer { .. } | Kind::Bool | Kind::Text)
        | (Kind::Integer { .. }, Kind::Bool | Kind::Text)
        | (Kind::Bool, Kind::Text)
        | (Kind::Text, Kind::Bool | Kind::Float(_) | Kind::Integer { .. }) => None,
    }
}

/// A type as SQL names it, for messages and `EXPLAIN`.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Dictionary(_, values) => type_name(values),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_are_silent_recorded_or_refused() {
        use ElementType::{Bool, Float32, Float64, Int32, Int64, String, UInt8};
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let cases = [
            (DataType::Float32, Float32, Some(Cast::Same)),
            (DataType::Float32, Float64, Some(Cast::Lossless)),
            (DataType::Float64, Float32, Some(Cast::Lossy)),
            (DataType::Int16, Float32, Some(Cast::Lossless)),
            (DataType::Int32, Float32, Some(Cast::Lossy)),
            (DataType::Int32, Float64, Some(Cast::Lossless)),
            (DataType::Int64, Float64, Some(Cast::Lossy)),
            (DataType::Int64, Int32, Some(Cast::Checked)),
            (DataType::UInt8, Int32, Some(Cast::Lossless)),
            (DataType::Int8, UInt8, Some(Cast::Checked)),
            (DataType::Boolean, Float32, Some(Cast::Lossless)),
            (DataType::Boolean, Int64, Some(Cast::Lossless)),
            (DataType::Decimal128(9, 2), Float32, Some(Cast::Lossy)),
            (DataType::Utf8View, String, Some(Cast::Lossless)),
            (dictionary, String, Some(Cast::Lossless)),
            (DataType::Null, Int64, Some(Cast::Lossless)),
            (DataType::Utf8, Float32, None),
            (DataType::Int64, String, None),
            (DataType::Float64, Int64, None),
            (DataType::Int64, Bool, None),
            (DataType::Date32, Float32, None),
        ];
        for (from, to, wanted) in cases {
            assert_eq!(cast(&from, to), wanted, "{from} to {to}");
        }
    }
}
