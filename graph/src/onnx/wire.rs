//! Protobuf's wire format, field by field and without copying: the arrays of a tree ensemble are most of its file, and
//! are read straight into the numbers that they stand for.

use crate::error::Error;

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64,
    Fixed32([u8; 4]),
    /// A text, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
}

fn damaged() -> Error {
    Error::damaged("it is not the protobuf of ONNX")
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], Error> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) | Self::Fixed64 | Self::Fixed32(_) => Err(damaged()),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.bytes()?).map_err(|_| damaged())
    }

    pub(super) fn number(self) -> Result<i64, Error> {
        match self {
            Self::Varint(value) => Ok(value.cast_signed()),
            Self::Bytes(_) | Self::Fixed64 | Self::Fixed32(_) => Err(damaged()),
        }
    }

    pub(super) fn float(self) -> Result<f32, Error> {
        match self {
            Self::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            Self::Bytes(_) | Self::Fixed64 | Self::Varint(_) => Err(damaged()),
        }
    }

    /// Whole numbers of a repeated field, packed or one of them.
    pub(super) fn numbers(self, into: &mut Vec<i64>) -> Result<(), Error> {
        match self {
            Self::Varint(value) => into.push(value.cast_signed()),
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    into.push(varint(&mut packed)?.cast_signed());
                }
            }
            Self::Fixed64 | Self::Fixed32(_) => return Err(damaged()),
        }
        Ok(())
    }

    /// Whether these are whole numbers of a repeated field.
    pub(super) fn are_numbers(self) -> Result<(), Error> {
        if let Self::Bytes(mut packed) = self {
            while !packed.is_empty() {
                varint(&mut packed)?;
            }
            return Ok(());
        }
        self.number().map(|_| ())
    }

    /// Whether these are floats of a repeated field.
    pub(super) fn are_floats(self) -> Result<(), Error> {
        match self {
            Self::Bytes(packed) if packed.len().is_multiple_of(4) => Ok(()),
            Self::Bytes(_) => Err(damaged()),
            value => value.float().map(|_| ()),
        }
    }

    /// Floats of a repeated field, packed or one of them.
    pub(super) fn floats(self, into: &mut Vec<f32>) -> Result<(), Error> {
        match self {
            Self::Fixed32(bytes) => into.push(f32::from_le_bytes(bytes)),
            Self::Bytes(packed) => {
                let (floats, []) = packed.as_chunks::<4>() else {
                    return Err(damaged());
                };
                into.extend(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            }
            Self::Fixed64 | Self::Varint(_) => return Err(damaged()),
        }
        Ok(())
    }
}

/// Whole numbers or floats of a repeated field, one by one.
#[derive(Clone, Debug)]
struct Each<'a, T> {
    alone: Option<T>,
    packed: &'a [u8],
    next: fn(&mut &'a [u8]) -> Option<T>,
}

impl<T> Iterator for Each<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.alone.take().or_else(|| (self.next)(&mut self.packed))
    }
}

fn values_of<'a>(message: &'a [u8], number: u64) -> impl Iterator<Item = Value<'a>> + Clone {
    let fields = Fields::of(message).map_while(Result::ok);
    fields.filter_map(move |(of, value)| (of == number).then_some(value))
}

/// The whole numbers of a message's repeated field, as far as they can be read.
pub(super) fn each_int<'a>(message: &'a [u8], number: u64) -> impl Iterator<Item = i64> + Clone {
    let next: fn(&mut &'a [u8]) -> Option<i64> = |rest| Some(varint(rest).ok()?.cast_signed());
    values_of(message, number).flat_map(move |value| {
        let (alone, packed) = match value {
            Value::Bytes(packed) => (None, packed),
            value => (value.number().ok(), &[][..]),
        };
        Each {
            alone,
            packed,
            next,
        }
    })
}

/// The floats of a message's repeated field, as far as they can be read.
pub(super) fn each_float<'a>(message: &'a [u8], number: u64) -> impl Iterator<Item = f32> + Clone {
    let next: fn(&mut &'a [u8]) -> Option<f32> = |rest| {
        let (bytes, after) = rest.split_first_chunk::<4>()?;
        *rest = after;
        Some(f32::from_le_bytes(*bytes))
    };
    values_of(message, number).flat_map(move |value| {
        let (alone, packed) = match value {
            Value::Bytes(packed) => (None, packed),
            value => (value.float().ok(), &[][..]),
        };
        Each {
            alone,
            packed,
            next,
        }
    })
}

/// The texts of a message's repeated field.
pub(super) fn each_text(message: &[u8], number: u64) -> impl Iterator<Item = &str> + Clone {
    values_of(message, number).filter_map(|value| value.text().ok())
}

/// The fields of one message as (number, value); the first that cannot be read is the last.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| damaged())
    }

    fn next_field(&mut self) -> Result<(u64, Value<'a>), Error> {
        let key = varint(&mut self.rest)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).map_err(|_| damaged())?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(self.array()?),
            // Groups, which ONNX does not use, and what protobuf does not have.
            _ => return Err(damaged()),
        };
        match key >> 3 {
            0 => Err(damaged()),
            number => Ok((number, value)),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.next_field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn varint(rest: &mut &[u8]) -> Result<u64, Error> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or_else(damaged)?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(damaged())
}
