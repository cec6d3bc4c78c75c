//! What happens to a column's values on their way into a tensor: nothing, a change that loses nothing, one that may lose
//! digits, one that may fail on a value, or no way at all.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::binding::InputElement;
use crate::options::DateUnit;
use crate::signature::ElementType;
use crate::types::list_of;

/// How a column becomes a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cast {
    /// The types agree.
    Same,
    /// Every value stays what it is.
    Lossless,
    /// Digits may be lost: doubles to floats, large integers to floats, decimals.
    Lossy,
    /// A value that does not fit fails the query: a wider integer to a narrower one.
    Checked,
    /// A date or a timestamp as the text that SQL has for it.
    Text,
    /// A date or a timestamp as a number since 1970-01-01 UTC.
    Since(DateUnit),
}

/// The way of a column into an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    pub cast: Cast,
    /// The types that the column is cast to, one after the other; none where it is fed as it is.
    pub steps: Vec<DataType>,
}

impl Cast {
    /// What `EXPLAIN` says of it, where there is something to say.
    pub fn remark(self) -> Option<&'static str> {
        match self {
            Self::Same | Self::Lossless => None,
            Self::Lossy => Some("lossy"),
            Self::Checked => Some("checked"),
            Self::Text => Some("as text"),
            Self::Since(DateUnit::Days) => Some("days since 1970"),
            Self::Since(DateUnit::Seconds) => Some("seconds since 1970"),
            Self::Since(DateUnit::Milliseconds) => Some("milliseconds since 1970"),
            Self::Since(DateUnit::Microseconds) => Some("microseconds since 1970"),
            Self::Since(DateUnit::Nanoseconds) => Some("nanoseconds since 1970"),
        }
    }

    /// Whether every value stays what it is, where it does not fail the query.
    pub fn is_lossless(self) -> bool {
        match self {
            Self::Same | Self::Lossless | Self::Checked | Self::Text => true,
            Self::Lossy | Self::Since(_) => false,
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

/// The way from a column of type `from` into `input`; `None` where there is none that cannot surprise. Dates and timestamps
/// become numbers of `unit`; a date is days unless it says otherwise, and a timestamp has no unit that all would expect.
pub fn way(from: &DataType, input: &InputElement, unit: Option<DateUnit>) -> Option<Way> {
    if !input.shape.is_empty() {
        return list_way(from, input);
    }
    let to = input.element;
    if let Some(cast) = cast(from, to) {
        let steps = if cast == Cast::Same {
            Vec::new()
        } else {
            vec![to.arrow()]
        };
        return Some(Way { cast, steps });
    }
    let is_wide = match kind(to) {
        Kind::Float(_) => unit.is_some(),
        Kind::Integer { bits, signed } => bits == 64 && signed || to == ElementType::Int32,
        Kind::Bool | Kind::Text => false,
    };
    let (unit, mut steps) = match (from, unit) {
        _ if !is_wide => return None,
        (DataType::Date32, None) => (DateUnit::Days, vec![DataType::Int32]),
        (DataType::Date64, None) => (DateUnit::Days, vec![DataType::Date32, DataType::Int32]),
        (DataType::Date32 | DataType::Date64 | DataType::Timestamp(..), Some(unit)) => {
            (unit, epoch(from, unit))
        }
        _ => return None,
    };
    if steps.last() != Some(&to.arrow()) {
        steps.push(to.arrow());
    }
    let cast = Cast::Since(unit);
    Some(Way { cast, steps })
}

fn epoch(from: &DataType, unit: DateUnit) -> Vec<DataType> {
    let zone = match from {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    match unit.time() {
        Some(time) => vec![DataType::Timestamp(time, zone), DataType::Int64],
        // Through seconds: a date of a zone's own calendar would be another day.
        None if zone.is_some() => vec![
            DataType::Timestamp(TimeUnit::Second, zone),
            DataType::Int64,
            DataType::Timestamp(TimeUnit::Second, None),
            DataType::Date32,
            DataType::Int32,
        ],
        None => vec![DataType::Date32, DataType::Int32],
    }
}

/// Lists keep their kind and nesting; what they hold is cast.
fn list_way(from: &DataType, input: &InputElement) -> Option<Way> {
    if *from == DataType::Null {
        let steps = vec![list_of(input.element.arrow())];
        return Some(Way {
            cast: Cast::Lossless,
            steps,
        });
    }
    let (depth, leaf) = leaf(from)?;
    if depth != 1 && depth != input.shape.len() {
        return None;
    }
    let cast = cast(leaf, input.element)?;
    let steps = match cast {
        Cast::Same => Vec::new(),
        _ => vec![with_leaf(from, &input.element.arrow())],
    };
    Some(Way { cast, steps })
}

/// How deep lists are nested in the type, and what the innermost hold; none for what is no list.
pub fn leaf(data_type: &DataType) -> Option<(usize, &DataType)> {
    let (mut depth, mut inner) = (0, data_type);
    while let DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) =
        inner
    {
        (depth, inner) = (depth + 1, item.data_type());
    }
    (depth > 0).then_some((depth, inner))
}

fn with_leaf(data_type: &DataType, to: &DataType) -> DataType {
    let item = |field: &Field| {
        let inner = with_leaf(field.data_type(), to);
        Arc::new(field.clone().with_data_type(inner))
    };
    match data_type {
        DataType::List(field) => DataType::List(item(field)),
        DataType::LargeList(field) => DataType::LargeList(item(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(item(field), *size),
        _ => to.clone(),
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
        | DataType::Decimal256(..) => match (kind(to), from) {
            (Kind::Float(_), _) => Some(Cast::Lossy),
            (
                Kind::Integer { .. },
                DataType::Decimal32(_, 0)
                | DataType::Decimal64(_, 0)
                | DataType::Decimal128(_, 0)
                | DataType::Decimal256(_, 0),
            ) => Some(Cast::Checked),
            _ => None,
        },
        // The text is the one that SQL has for them: 2024-01-31, 2024-01-31T12:00:00.
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..)
            if to == ElementType::String =>
        {
            Some(Cast::Text)
        }
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
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("list of {}", type_name(item.data_type()))
        }
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
            (DataType::Decimal128(9, 0), Int64, Some(Cast::Checked)),
            (DataType::Decimal128(9, 2), Int64, None),
            (DataType::Date32, String, Some(Cast::Text)),
            (DataType::Date32, Float32, None),
        ];
        for (from, to, wanted) in cases {
            assert_eq!(cast(&from, to), wanted, "{from} to {to}");
        }
    }

    fn found(
        from: &DataType,
        input: &InputElement,
        unit: Option<DateUnit>,
    ) -> Option<(Cast, String)> {
        let way = way(from, input, unit)?;
        let steps: Vec<_> = way.steps.iter().map(ToString::to_string).collect();
        Some((way.cast, steps.join(" ")))
    }

    #[test]
    fn dates_become_numbers_only_in_a_unit_that_is_said() {
        use DateUnit::{Days, Milliseconds, Seconds};
        let stamp =
            |zone: Option<&str>| DataType::Timestamp(TimeUnit::Nanosecond, zone.map(Into::into));
        let (zoned, stamp) = (stamp(Some("Europe/Oslo")), stamp(None));
        let cases = [
            (
                DataType::Date32,
                ElementType::Int64,
                None,
                Some((Days, "Int32 Int64")),
            ),
            (
                DataType::Date32,
                ElementType::Int32,
                None,
                Some((Days, "Int32")),
            ),
            (DataType::Date32, ElementType::Float32, None, None),
            (
                DataType::Date32,
                ElementType::Int64,
                Some(Seconds),
                Some((Seconds, "Timestamp(s) Int64")),
            ),
            (stamp.clone(), ElementType::Int64, None, None),
            (
                stamp.clone(),
                ElementType::Int64,
                Some(Milliseconds),
                Some((Milliseconds, "Timestamp(ms) Int64")),
            ),
            (
                stamp.clone(),
                ElementType::Float64,
                Some(Days),
                Some((Days, "Date32 Int32 Float64")),
            ),
            (stamp, ElementType::Int8, Some(Days), None),
            (
                zoned.clone(),
                ElementType::Int64,
                Some(Seconds),
                Some((Seconds, "Timestamp(s, \"Europe/Oslo\") Int64")),
            ),
            (
                zoned,
                ElementType::Int32,
                Some(Days),
                Some((
                    Days,
                    "Timestamp(s, \"Europe/Oslo\") Int64 Timestamp(s) Date32 Int32",
                )),
            ),
        ];
        for (from, to, unit, wanted) in cases {
            let input = InputElement::scalar("x", true, to, 0);
            let wanted = wanted.map(|(unit, steps)| (Cast::Since(unit), steps.to_owned()));
            assert_eq!(
                found(&from, &input, unit),
                wanted,
                "{from} to {to} in {unit:?}"
            );
        }
    }

    #[test]
    fn lists_are_cast_by_what_they_hold() {
        let input = InputElement {
            shape: vec![3, 4],
            ..InputElement::scalar("x", true, ElementType::Float32, 0)
        };
        let fixed = |item: DataType| DataType::new_fixed_size_list(item, 12, true);
        let cases = [
            (
                list_of(DataType::Float32),
                Some((Cast::Same, String::new())),
            ),
            (
                list_of(list_of(DataType::Float64)),
                Some((Cast::Lossy, list_of(list_of(DataType::Float32)).to_string())),
            ),
            (
                fixed(DataType::UInt8),
                Some((Cast::Lossless, fixed(DataType::Float32).to_string())),
            ),
            (list_of(list_of(list_of(DataType::Float32))), None),
            (list_of(DataType::Utf8), None),
            (DataType::Float32, None),
        ];
        for (from, wanted) in cases {
            assert_eq!(found(&from, &input, None), wanted, "{from}");
        }
        let one = InputElement::scalar("x", true, ElementType::Float32, 0);
        assert_eq!(found(&list_of(DataType::Float32), &one, None), None);
    }
}
