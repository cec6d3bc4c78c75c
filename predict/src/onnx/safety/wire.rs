//! Protobuf's wire format, read field by field without copying.

use super::Refusal;

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
    pub(super) fn bytes(self) -> Result<&'a [u8], Refusal> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) | Self::Fixed64(_) | Self::Fixed32(_) => Err(Refusal::Malformed),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, Refusal> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Refusal::Malformed)
    }

    pub(super) fn number(self) -> Result<i64, Refusal> {
        match self {
            Self::Varint(value) => Ok(value.cast_signed()),
            Self::Bytes(_) | Self::Fixed64(_) | Self::Fixed32(_) => Err(Refusal::Malformed),
        }
    }
}

/// The fields of one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(Refusal::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        self.take(N)?.try_into().map_err(|_| Refusal::Malformed)
    }

    fn next_field(&mut self) -> Result<(u64, Value<'a>), Refusal> {
        let key = varint(&mut self.rest)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => Value::Fixed64(self.array()?),
            2 => {
                let length = varint(&mut self.rest)?;
                let length = usize::try_from(length).map_err(|_| Refusal::Malformed)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(self.array()?),
            // Groups, which ONNX does not use, and what protobuf does not have.
            _ => return Err(Refusal::Malformed),
        };
        match key >> 3 {
            0 => Err(Refusal::Malformed),
            number => Ok((number, value)),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Refusal>;

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

fn varint(rest: &mut &[u8]) -> Result<u64, Refusal> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(Refusal::Malformed)?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Refusal::Malformed)
}

/// The whole numbers of a repeated field, packed or one by one.
pub(super) fn numbers(value: Value<'_>, into: &mut Vec<i64>, most: usize) -> Result<(), Refusal> {
    match value {
        Value::Varint(value) => into.push(value.cast_signed()),
        Value::Bytes(mut packed) => {
            while !packed.is_empty() && into.len() <= most {
                into.push(varint(&mut packed)?.cast_signed());
            }
        }
        Value::Fixed64(_) | Value::Fixed32(_) => return Err(Refusal::Malformed),
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
