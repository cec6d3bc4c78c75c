//! JSON as XGBoost writes it, with its numbers that JSON does not know (NaN, Infinity).

use std::borrow::Cow;
use std::str::FromStr;

use super::reader::{Reader, damaged};
use crate::error::Error;

pub(super) struct Json<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Json<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn error(&self, what: &str) -> Error {
        damaged(what, self.at)
    }

    /// The next byte that is no space, which stays.
    fn peek(&mut self) -> Result<u8, Error> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(self.error("it was cut off")),
            }
        }
    }

    fn take(&mut self, expected: u8) -> Result<(), Error> {
        if self.peek()? != expected {
            let what = format!("no '{}' where one must be", expected as char);
            return Err(self.error(&what));
        }
        self.at += 1;
        Ok(())
    }

    /// Whether another element follows the one that was read; takes the comma or the end.
    fn more(&mut self, close: u8) -> Result<bool, Error> {
        match self.peek()? {
            b',' => {
                self.at += 1;
                Ok(true)
            }
            byte if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.error("neither a comma nor an end")),
        }
    }

    /// Takes the opening; whether there is an element.
    fn opens(&mut self, open: u8, close: u8) -> Result<bool, Error> {
        self.take(open)?;
        let some = self.peek()? != close;
        self.at += usize::from(!some);
        Ok(some)
    }

    /// What is between the quotes, and whether there are escapes in it.
    fn quoted(&mut self) -> Result<(&'a [u8], bool), Error> {
        self.take(b'"')?;
        let (first, mut escapes) = (self.at, false);
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok((&self.bytes[first..self.at - 1], escapes));
                }
                Some(b'\\') => {
                    escapes = true;
                    self.at += 2;
                }
                Some(_) => self.at += 1,
                None => return Err(self.error("a text has no end")),
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Error> {
        let (raw, escapes) = self.quoted()?;
        let text = std::str::from_utf8(raw).map_err(|_| self.error("a text is not UTF-8"))?;
        if !escapes {
            return Ok(Cow::Borrowed(text));
        }
        unescape(text)
            .map(Cow::Owned)
            .ok_or_else(|| self.error("an unknown escape"))
    }

    /// The bytes of a number, true, false or null.
    fn word(&mut self) -> Result<&'a [u8], Error> {
        self.peek()?;
        let rest = &self.bytes[self.at..];
        let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b':' | b'"' | b'[' | b'{');
        let end = rest
            .iter()
            .position(|byte| ends(byte) || byte.is_ascii_whitespace());
        match end {
            None => Err(self.error("it was cut off")),
            Some(0) => Err(self.error("no value where one must be")),
            Some(end) => {
                self.at += end;
                Ok(&rest[..end])
            }
        }
    }

    fn number<T: FromStr>(&mut self) -> Result<T, Error> {
        let word = self.word()?;
        let number = std::str::from_utf8(word)
            .ok()
            .and_then(|text| text.parse().ok());
        number.ok_or_else(|| self.error("no number where one must be"))
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut made = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        if char != '\\' {
            made.push(char);
            continue;
        }
        made.push(match rest.next()? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            same @ ('"' | '\\' | '/') => same,
            'u' => {
                let first = unit(&mut rest)?;
                let second = if (0xd800..0xdc00).contains(&first) {
                    let pair = rest.next() == Some('\\') && rest.next() == Some('u');
                    Some(unit(&mut rest).filter(|_| pair)?)
                } else {
                    None
                };
                let units = [Some(first), second];
                char::decode_utf16(units.into_iter().flatten())
                    .next()?
                    .ok()?
            }
            _ => return None,
        });
    }
    Some(made)
}

/// Four digits.
fn unit(rest: &mut std::str::Chars<'_>) -> Option<u16> {
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit * 16 + rest.next()?.to_digit(16)? as u16;
    }
    Some(unit)
}

impl Reader for Json<'_> {
    fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut more = self.opens(b'{', b'}')?;
        while more {
            let key = self.string()?;
            self.take(b':')?;
            each(self, &key)?;
            more = self.more(b'}')?;
        }
        Ok(())
    }

    fn array(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        let mut more = self.opens(b'[', b']')?;
        while more {
            each(self)?;
            more = self.more(b']')?;
        }
        Ok(())
    }

    fn text(&mut self) -> Result<String, Error> {
        Ok(self.string()?.into_owned())
    }

    fn floats(&mut self, into: &mut Vec<f32>) -> Result<(), Error> {
        self.array(|json| {
            into.push(json.number()?);
            Ok(())
        })
    }

    fn ints(&mut self, into: &mut Vec<i32>) -> Result<(), Error> {
        self.array(|json| {
            into.push(match json.peek()? {
                b't' if json.word()? == b"true" => 1,
                b'f' if json.word()? == b"false" => 0,
                _ => json.number()?,
            });
            Ok(())
        })
    }

    fn skip(&mut self) -> Result<(), Error> {
        // Without recursion: files may nest as deep as they like.
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.quoted()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                _ => {
                    self.word()?;
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        match self.peek() {
            Ok(_) => Err(self.error("something behind the model")),
            Err(_) => Ok(()),
        }
    }
}
