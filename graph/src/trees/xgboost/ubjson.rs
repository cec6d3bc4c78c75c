//! UBJSON (draft 12): typed arrays lie in the file as big-endian numbers, one after the other.

use super::reader::{Reader, damaged};
use crate::error::Error;

/// More than any model has.
const DEEPEST: usize = 64;

pub(super) struct Ubjson<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The marker of the next value, where its container says it for all.
    marker: Option<u8>,
}

#[derive(Clone, Copy)]
enum Number {
    Int(i64),
    Float(f64),
}

/// What a container says of its elements.
struct Head {
    marker: Option<u8>,
    count: Option<usize>,
}

impl<'a> Ubjson<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            marker: None,
        }
    }

    fn error(&self, what: &str) -> Error {
        damaged(what, self.at)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let bytes = self.bytes.get(self.at..self.at.saturating_add(count));
        let bytes = bytes.ok_or_else(|| self.error("it was cut off"))?;
        self.at += count;
        Ok(bytes)
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| self.error("it was cut off"))
    }

    fn peek(&self) -> Result<u8, Error> {
        let byte = self.bytes.get(self.at).copied();
        byte.ok_or_else(|| self.error("it was cut off"))
    }

    fn marker(&mut self) -> Result<u8, Error> {
        if let Some(marker) = self.marker.take() {
            return Ok(marker);
        }
        loop {
            let [marker] = self.array_of()?;
            // It stands for nothing at all.
            if marker != b'N' {
                return Ok(marker);
            }
        }
    }

    fn take(&mut self, expected: u8) -> Result<(), Error> {
        if self.marker()? != expected {
            let what = format!("no '{}' where one must be", expected as char);
            return Err(self.error(&what));
        }
        Ok(())
    }

    fn number(&mut self, marker: u8) -> Result<Number, Error> {
        Ok(match marker {
            b'i' => Number::Int(i8::from_be_bytes(self.array_of()?).into()),
            b'U' | b'C' => Number::Int(u8::from_be_bytes(self.array_of()?).into()),
            b'I' => Number::Int(i16::from_be_bytes(self.array_of()?).into()),
            b'l' => Number::Int(i32::from_be_bytes(self.array_of()?).into()),
            b'L' => Number::Int(i64::from_be_bytes(self.array_of()?)),
            b'd' => Number::Float(f32::from_be_bytes(self.array_of()?).into()),
            b'D' => Number::Float(f64::from_be_bytes(self.array_of()?)),
            b'T' => Number::Int(1),
            b'F' => Number::Int(0),
            _ => return Err(self.error("no number where one must be")),
        })
    }

    /// A length that the rest of the file can hold, at a byte each.
    fn length(&mut self) -> Result<usize, Error> {
        let [marker] = self.array_of()?;
        let length = match self.number(marker)? {
            Number::Int(length) => usize::try_from(length).ok(),
            Number::Float(_) => None,
        };
        length
            .filter(|length| *length <= self.bytes.len() - self.at)
            .ok_or_else(|| self.error("a length that the file has not"))
    }

    fn string(&mut self) -> Result<&'a str, Error> {
        let length = self.length()?;
        let bytes = self.bytes(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.error("a text is not UTF-8"))
    }

    fn head(&mut self) -> Result<Head, Error> {
        let mut head = Head {
            marker: None,
            count: None,
        };
        if self.peek()? == b'$' {
            self.at += 1;
            let [marker] = self.array_of()?;
            // What takes no room could be there any number of times.
            if matches!(marker, b'Z' | b'N' | b'T' | b'F') || self.peek()? != b'#' {
                return Err(self.error("a container of nothing"));
            }
            head.marker = Some(marker);
        }
        if self.peek()? == b'#' {
            self.at += 1;
            head.count = Some(self.length()?);
        }
        Ok(head)
    }

    /// Whether there is another element, the `done` first of which were read; takes the end.
    fn more(&mut self, head: &Head, done: usize, close: u8) -> Result<bool, Error> {
        if let Some(count) = head.count {
            self.marker = head.marker.filter(|_| done < count);
            return Ok(done < count);
        }
        while self.peek()? == b'N' {
            self.at += 1;
        }
        let more = self.peek()? != close;
        self.at += usize::from(!more);
        Ok(more)
    }

    fn numbers(&mut self, head: &Head, mut each: impl FnMut(Number)) -> Result<(), Error> {
        let mut done = 0;
        while self.more(head, done, b']')? {
            let marker = self.marker()?;
            each(self.number(marker)?);
            done += 1;
        }
        Ok(())
    }

    /// The bytes of an array that says that all its elements are of this width.
    fn packed(&mut self, head: &Head, width: usize) -> Result<&'a [u8], Error> {
        let count = head.count.unwrap_or(0);
        self.bytes(count.saturating_mul(width))
    }

    fn skip_one(&mut self, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(self.error("it nests too deep"));
        }
        match self.marker()? {
            b'Z' => Ok(()),
            b'S' | b'H' => self.string().map(|_| ()),
            b'[' => {
                let head = self.head()?;
                if let Some(width) = head.marker.and_then(width) {
                    return self.packed(&head, width).map(|_| ());
                }
                let mut done = 0;
                while self.more(&head, done, b']')? {
                    self.skip_one(depth + 1)?;
                    done += 1;
                }
                Ok(())
            }
            b'{' => {
                let (head, mut done) = (self.head()?, 0);
                while self.more(&head, done, b'}')? {
                    self.string()?;
                    self.skip_one(depth + 1)?;
                    done += 1;
                }
                Ok(())
            }
            marker => self.number(marker).map(|_| ()),
        }
    }
}

/// Of the numbers that always take as much room.
fn width(marker: u8) -> Option<usize> {
    match marker {
        b'i' | b'U' | b'C' => Some(1),
        b'I' => Some(2),
        b'l' | b'd' => Some(4),
        b'L' | b'D' => Some(8),
        _ => None,
    }
}

impl Reader for Ubjson<'_> {
    fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.take(b'{')?;
        let (head, mut done) = (self.head()?, 0);
        while self.more(&head, done, b'}')? {
            let key = self.string()?;
            each(self, key)?;
            done += 1;
        }
        Ok(())
    }

    fn array(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.take(b'[')?;
        let (head, mut done) = (self.head()?, 0);
        while self.more(&head, done, b']')? {
            each(self)?;
            done += 1;
        }
        Ok(())
    }

    fn text(&mut self) -> Result<String, Error> {
        self.take(b'S')?;
        self.string().map(str::to_owned)
    }

    fn floats(&mut self, into: &mut Vec<f32>) -> Result<(), Error> {
        self.take(b'[')?;
        let head = self.head()?;
        if head.marker == Some(b'd') {
            let (floats, _) = self.packed(&head, 4)?.as_chunks::<4>();
            into.extend(floats.iter().map(|bytes| f32::from_be_bytes(*bytes)));
            return Ok(());
        }
        self.numbers(&head, |number| {
            into.push(match number {
                Number::Int(int) => int as f32,
                Number::Float(float) => float as f32,
            });
        })
    }

    fn ints(&mut self, into: &mut Vec<i32>) -> Result<(), Error> {
        self.take(b'[')?;
        let head = self.head()?;
        if head.marker == Some(b'l') {
            let (ints, _) = self.packed(&head, 4)?.as_chunks::<4>();
            into.extend(ints.iter().map(|bytes| i32::from_be_bytes(*bytes)));
            return Ok(());
        }
        let mut whole = true;
        self.numbers(&head, |number| {
            let int = match number {
                Number::Int(int) => i32::try_from(int).ok(),
                Number::Float(_) => None,
            };
            whole &= int.is_some();
            into.push(int.unwrap_or(0));
        })?;
        match whole {
            true => Ok(()),
            false => Err(self.error("no small whole number where one must be")),
        }
    }

    fn skip(&mut self) -> Result<(), Error> {
        self.skip_one(0)
    }

    fn end(&mut self) -> Result<(), Error> {
        match self.at < self.bytes.len() {
            true => Err(self.error("something behind the model")),
            false => Ok(()),
        }
    }
}
