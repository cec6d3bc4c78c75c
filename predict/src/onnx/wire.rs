//! Protobuf's wire format, read field by field without copying, so that a part of a message can be looked at or replaced
//! without decoding the rest: weights are most of a model.

use std::ops::Range;

use whimbrel_proto::{Error, ErrorCode};

/// It is not the protobuf that it should be: damaged, cut off, or something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl From<Malformed> for Error {
    fn from(Malformed: Malformed) -> Self {
        Self::new(ErrorCode::Invalid, "the model's file is damaged")
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    /// A text, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) | Self::Fixed64(_) | Self::Fixed32(_) => Err(Malformed),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    pub(super) fn number(self) -> Result<i64, Malformed> {
        match self {
            Self::Varint(value) => Ok(value.cast_signed()),
            Self::Bytes(_) | Self::Fixed64(_) | Self::Fixed32(_) => Err(Malformed),
        }
    }
}

/// One field, and where all of it lies in its message.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    pub number: u64,
    pub value: Value<'a>,
    pub span: Range<usize>,
}

/// The fields of one message, in order; the first that cannot be read is the last.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    message: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self {
            message,
            rest: message,
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn next_field(&mut self) -> Result<Field<'a>, Malformed> {
        let start = self.message.len() - self.rest.len();
        let key = varint(&mut self.rest)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => Value::Fixed64(self.array()?),
            2 => {
                let length = varint(&mut self.rest)?;
                let length = usize::try_from(length).map_err(|_| Malformed)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(self.array()?),
            // Groups, which ONNX does not use, and what protobuf does not have.
            _ => return Err(Malformed),
        };
        match key >> 3 {
            0 => Err(Malformed),
            number => Ok(Field {
                number,
                value,
                span: start..self.message.len() - self.rest.len(),
            }),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

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

fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(Malformed)?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// The whole numbers of a repeated field, packed or one by one; no more than one beyond `most` is kept of packed ones.
pub(super) fn numbers(value: Value<'_>, into: &mut Vec<i64>, most: usize) -> Result<(), Malformed> {
    match value {
        Value::Varint(value) => into.push(value.cast_signed()),
        Value::Bytes(mut packed) => {
            while !packed.is_empty() && into.len() <= most {
                into.push(varint(&mut packed)?.cast_signed());
            }
        }
        Value::Fixed64(_) | Value::Fixed32(_) => return Err(Malformed),
    }
    Ok(())
}

/// How many numbers a repeated field of variable, 4 or 8 byte numbers adds.
pub(super) fn count(value: Value<'_>, width: Option<usize>) -> u64 {
    match (value, width) {
        (Value::Bytes(packed), None) => packed.iter().filter(|byte| **byte < 0x80).count() as u64,
        (Value::Bytes(packed), Some(width)) => (packed.len() / width) as u64,
        (Value::Varint(_) | Value::Fixed64(_) | Value::Fixed32(_), _) => 1,
    }
}

/// Appends a field of bytes.
pub(super) fn put(out: &mut Vec<u8>, number: u64, body: &[u8]) {
    put_varint(out, number << 3 | 2);
    put_varint(out, body.len() as u64);
    out.extend_from_slice(body);
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
