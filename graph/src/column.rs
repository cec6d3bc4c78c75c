//! Columns as callers have them: values of one type that lie a fixed number of places apart, or texts as Arrow has
//! them. Read where they are, a block at a time.

/// What one value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    Float32,
    Float64,
    Int64,
    Int32,
    Int16,
    Int8,
    UInt16,
    UInt8,
    Bool,
    Text,
}

impl Element {
    /// By ONNX's number for it.
    pub(crate) fn numbered(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Float32,
            2 => Self::UInt8,
            3 => Self::Int8,
            4 => Self::UInt16,
            5 => Self::Int16,
            6 => Self::Int32,
            7 => Self::Int64,
            8 => Self::Text,
            9 => Self::Bool,
            11 => Self::Float64,
            _ => return None,
        })
    }

    pub(crate) fn is_whole(self) -> bool {
        match self {
            Self::Int64 | Self::Int32 | Self::Int16 | Self::Int8 => true,
            Self::UInt16 | Self::UInt8 => true,
            Self::Float32 | Self::Float64 | Self::Bool | Self::Text => false,
        }
    }
}

/// The values of a column, one type or another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values<'a> {
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Int64(&'a [i64]),
    Int32(&'a [i32]),
    Int16(&'a [i16]),
    Int8(&'a [i8]),
    UInt16(&'a [u16]),
    UInt8(&'a [u8]),
    Bool(&'a [bool]),
    /// Text `n` is `bytes[offsets[n]..offsets[n + 1]]`.
    Text {
        offsets: &'a [i32],
        bytes: &'a [u8],
    },
}

/// One value for each row, `stride` values apart.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    pub(crate) values: Values<'a>,
    pub(crate) stride: usize,
}

macro_rules! from_values {
    ($($kind:ident $of:ty),*) => {
        $(impl<'a> From<&'a [$of]> for Column<'a> {
            fn from(values: &'a [$of]) -> Self {
                Self { values: Values::$kind(values), stride: 1 }
            }
        })*
    };
}

from_values!(
    Float32 f32, Float64 f64, Int64 i64, Int32 i32, Int16 i16, Int8 i8, UInt16 u16, UInt8 u8, Bool bool
);

/// The same for values of any type.
macro_rules! of_any {
    ($column:expr, $values:ident => $do:expr, ($offsets:ident, $bytes:ident) => $text:expr) => {
        match $column {
            Values::Float32($values) => $do,
            Values::Float64($values) => $do,
            Values::Int64($values) => $do,
            Values::Int32($values) => $do,
            Values::Int16($values) => $do,
            Values::Int8($values) => $do,
            Values::UInt16($values) => $do,
            Values::UInt8($values) => $do,
            Values::Bool($values) => $do,
            Values::Text {
                offsets: $offsets,
                bytes: $bytes,
            } => $text,
        }
    };
}

impl<'a> Column<'a> {
    /// Every `stride`-th value, the first one first; such a column is copied while it is scored.
    pub fn strided<T>(values: &'a [T], stride: usize) -> Self
    where
        Self: From<&'a [T]>,
    {
        Self {
            stride: stride.max(1),
            ..Self::from(values)
        }
    }

    /// Texts in Arrow's layout: one offset more than there are rows.
    pub fn text(offsets: &'a [i32], bytes: &'a [u8]) -> Self {
        Self {
            values: Values::Text { offsets, bytes },
            stride: 1,
        }
    }

    pub fn element(&self) -> Element {
        match self.values {
            Values::Float32(_) => Element::Float32,
            Values::Float64(_) => Element::Float64,
            Values::Int64(_) => Element::Int64,
            Values::Int32(_) => Element::Int32,
            Values::Int16(_) => Element::Int16,
            Values::Int8(_) => Element::Int8,
            Values::UInt16(_) => Element::UInt16,
            Values::UInt8(_) => Element::UInt8,
            Values::Bool(_) => Element::Bool,
            Values::Text { .. } => Element::Text,
        }
    }

    pub(crate) fn holds(&self, rows: usize) -> bool {
        let Some(last) = rows.checked_sub(1) else {
            return true;
        };
        let count = of_any!(self.values, values => values.len(), (offsets, _bytes) => offsets.len().saturating_sub(1));
        last.checked_mul(self.stride)
            .is_some_and(|last| last < count)
    }

    /// The column from row `first` on, which it must have.
    pub(crate) fn skip(&self, first: usize) -> Self {
        let skip = first * self.stride;
        let mut rest = *self;
        rest.values = match self.values {
            Values::Float32(values) => Values::Float32(&values[skip..]),
            Values::Float64(values) => Values::Float64(&values[skip..]),
            Values::Int64(values) => Values::Int64(&values[skip..]),
            Values::Int32(values) => Values::Int32(&values[skip..]),
            Values::Int16(values) => Values::Int16(&values[skip..]),
            Values::Int8(values) => Values::Int8(&values[skip..]),
            Values::UInt16(values) => Values::UInt16(&values[skip..]),
            Values::UInt8(values) => Values::UInt8(&values[skip..]),
            Values::Bool(values) => Values::Bool(&values[skip..]),
            Values::Text { offsets, bytes } => Values::Text {
                offsets: &offsets[skip..],
                bytes,
            },
        };
        rest
    }
}

/// Sets each of `out` to what `change` makes of its row's value.
pub(crate) fn fill<T: Copy, U>(
    values: &[T],
    stride: usize,
    out: &mut [U],
    change: impl Fn(T) -> U,
) {
    if stride == 1 {
        for (to, from) in out.iter_mut().zip(values) {
            *to = change(*from);
        }
    } else {
        for (to, from) in out.iter_mut().zip(values.iter().step_by(stride)) {
            *to = change(*from);
        }
    }
}
