//! The fields of a protobuf message as they lie in the file, so that a part of it can be read or replaced without decoding the
//! rest: weights are most of a model.

use std::ops::Range;

use whimbrel_proto::{Error, ErrorCode};

/// One field: its number, what it holds, and where all of it lies.
pub(super) struct Field<'a> {
    pub number: u64,
    /// The bytes of a string, of bytes or of a message; none for a number.
    pub body: Option<&'a [u8]>,
    /// The number, where it is one that varies in length.
    pub varint: u64,
    pub span: Range<usize>,
}

impl<'a> Field<'a> {
    pub(super) fn text(&self) -> Result<&'a str, Error> {
        let body = self.body.ok_or_else(damaged)?;
        std::str::from_utf8(body).map_err(|_| damaged())
    }

    pub(super) fn message(&self) -> Result<&'a [u8], Error> {
        self.body.ok_or_else(damaged)
    }
}

/// The fields of one message, in order; the first that cannot be read is the last.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The fields of `bytes`.
pub(super) fn fields(bytes: &[u8]) -> Fields<'_> {
    Fields { bytes, at: 0 }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.at = self.bytes.len();
        }
        Some(field.ok_or_else(damaged))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<Field<'a>> {
        let start = self.at;
        let tag = self.varint()?;
        let (mut body, mut varint) = (None, 0);
        match tag & 7 {
            0 => varint = self.varint()?,
            1 => drop(self.take(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                body = Some(self.take(length)?);
            }
            5 => drop(self.take(4)?),
            _ => return None,
        }
        Some(Field {
            number: tag >> 3,
            body,
            varint,
            span: start..self.at,
        })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let (value, length) = varint(&self.bytes[self.at..])?;
        self.at += length;
        Some(value)
    }
}

/// A number of up to ten bytes, and how many it takes.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    None
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

fn damaged() -> Error {
    Error::new(ErrorCode::Invalid, "the model's file is damaged")
}
