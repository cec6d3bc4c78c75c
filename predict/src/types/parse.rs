//! A small reader of type names, bounded in length, depth and number of fields. What it cannot read it names by position.

use arrow::datatypes::DataType;
use whimbrel_proto::{Error, ErrorCode};

use super::{DECIMAL_DIGITS, REFUSED, SCALARS, SIZED_TEXTS, T_SQL, list_of, map_of, struct_of};

const MAX_BYTES: usize = 64 << 10;
const MAX_DEPTH: usize = 16;
const MAX_FIELDS: usize = 4096;

const WHAT_WORKS: &str = "write one of BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p,s), STRING, \
                          ARRAY<type>, MAP<type, type>, STRUCT<name: type, ...> or (name type, ...)";

/// Whose words are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Spark,
    TSql,
}

pub(super) struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    fields: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, Error> {
        let text = text.trim();
        if text.len() > MAX_BYTES {
            let what = format!("a type of {} bytes is too long", text.len());
            return Err(Error::new(ErrorCode::Invalid, what)
                .with_hint(format!("write at most {MAX_BYTES}")));
        }
        Ok(Self {
            text,
            at: 0,
            depth: 0,
            fields: 0,
        })
    }

    pub(super) fn whole(mut self) -> Result<DataType, Error> {
        let data_type = self.data_type(Dialect::Spark)?;
        match self.peek() {
            None => Ok(data_type),
            Some(found) => Err(self.unexpected(&format!("'{found}'"), "the end")),
        }
    }

    fn data_type(&mut self, dialect: Dialect) -> Result<DataType, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong(
                &format!("types are nested more than {MAX_DEPTH} deep"),
                "return a flatter type",
            ));
        }
        let mut data_type = if self.eat('(') {
            self.fields(')', Dialect::TSql)?
        } else {
            self.named(dialect)?
        };
        while self.eat('[') {
            self.expect(']')?;
            data_type = list_of(data_type);
        }
        self.depth -= 1;
        Ok(data_type)
    }

    /// A type that begins with a word.
    fn named(&mut self, dialect: Dialect) -> Result<DataType, Error> {
        self.blanks();
        let start = self.at;
        let first = self.word();
        match first.to_ascii_uppercase().as_str() {
            "ARRAY" | "LIST" if self.eat('<') => {
                let item = self.data_type(Dialect::Spark)?;
                self.expect('>')?;
                Ok(list_of(item))
            }
            "MAP" if self.eat('<') => {
                let key = self.data_type(Dialect::Spark)?;
                self.expect(',')?;
                let value = self.data_type(Dialect::Spark)?;
                self.expect('>')?;
                Ok(map_of(key, value))
            }
            "STRUCT" if self.eat('<') => self.fields('>', Dialect::Spark),
            name @ ("ARRAY" | "LIST" | "MAP" | "STRUCT") => Err(self.lacks_angle(name)),
            "DECIMAL" | "NUMERIC" | "DEC" => self.decimal(),
            _ => self.scalar(start, dialect),
        }
    }

    fn lacks_angle(&self, name: &str) -> Error {
        let example = match name {
            "MAP" => "MAP<STRING, DOUBLE>",
            "STRUCT" => "STRUCT<label: BIGINT, p: ARRAY<FLOAT>>",
            _ => "ARRAY<FLOAT>",
        };
        self.wrong(
            &format!("{name} does not say of what"),
            &format!("write {example}"),
        )
    }

    /// The fields of a struct, up to and with `close`.
    fn fields(&mut self, close: char, dialect: Dialect) -> Result<DataType, Error> {
        let mut fields: Vec<(String, DataType)> = Vec::new();
        loop {
            let (at, name) = (self.at, self.name()?);
            if let Some((taken, _)) = fields
                .iter()
                .find(|(taken, _)| taken.eq_ignore_ascii_case(&name))
            {
                let what = format!("two fields are named '{taken}'");
                self.at = at;
                return Err(self.wrong(&what, "give every field its own name"));
            }
            self.fields += 1;
            if self.fields > MAX_FIELDS {
                return Err(self.wrong(
                    &format!("there are more than {MAX_FIELDS} fields"),
                    "return an ARRAY",
                ));
            }
            self.eat(':');
            let data_type = self.data_type(dialect)?;
            fields.push((name, data_type));
            if dialect == Dialect::TSql {
                self.nullability();
            }
            if self.eat(close) {
                break;
            }
            if !self.eat(',') {
                return Err(self.expected(&format!("',' or '{close}'")));
            }
        }
        Ok(struct_of(fields.iter().map(|(name, data_type)| {
            (name.as_str(), data_type.clone())
        })))
    }

    /// NULL or NOT NULL after a column of T-SQL: read and left, since a prediction may always be NULL.
    fn nullability(&mut self) {
        let start = self.at;
        let word = self.word().to_ascii_uppercase();
        let is_known = match word.as_str() {
            "NULL" => true,
            "NOT" => {
                self.blanks();
                self.word().eq_ignore_ascii_case("NULL")
            }
            _ => false,
        };
        if !is_known {
            self.at = start;
        }
    }

    fn decimal(&mut self) -> Result<DataType, Error> {
        if !self.eat('(') {
            return Ok(DataType::Decimal128(10, 0));
        }
        let at = self.at;
        let precision = self.number()?;
        let scale = if self.eat(',') { self.number()? } else { 0 };
        self.expect(')')?;
        match (u8::try_from(precision), i8::try_from(scale)) {
            (Ok(digits @ 1..=DECIMAL_DIGITS), Ok(places)) if scale <= precision => {
                Ok(DataType::Decimal128(digits, places))
            }
            _ => {
                self.at = at;
                let what = format!("DECIMAL({precision},{scale}) is not a type");
                let hint = format!(
                    "write 1 to {DECIMAL_DIGITS} digits, of which no more are behind the point than there are"
                );
                Err(self.wrong(&what, &hint))
            }
        }
    }

    fn number(&mut self) -> Result<u32, Error> {
        self.blanks();
        let start = self.at;
        let digits = self.word();
        digits.parse().map_err(|_| {
            self.at = start;
            self.expected("a number")
        })
    }

    /// Words up to the next sign, perhaps with a length behind them.
    fn scalar(&mut self, start: usize, dialect: Dialect) -> Result<DataType, Error> {
        let mut end = self.at;
        loop {
            self.blanks();
            let (before, word) = (self.at, self.word());
            let is_end = word.is_empty()
                || (dialect == Dialect::TSql
                    && ["NULL", "NOT"]
                        .iter()
                        .any(|end| word.eq_ignore_ascii_case(end)));
            if is_end {
                self.at = before;
                break;
            }
            end = self.at;
        }
        let written = &self.text[start..end];
        let asked = written
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .to_ascii_uppercase();
        self.at = end;
        if self.eat('(') {
            return self.sized(start, &asked, dialect);
        }
        named(&asked, dialect).ok_or_else(|| self.unknown(start, written.trim(), &asked))
    }

    fn sized(&mut self, start: usize, asked: &str, dialect: Dialect) -> Result<DataType, Error> {
        self.blanks();
        let before = self.at;
        let length = self.word().to_ascii_uppercase();
        let is_length =
            length == "MAX" || (!length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()));
        if !is_length {
            self.at = before;
            return Err(self.expected("a length"));
        }
        self.expect(')')?;
        match length.parse::<u32>() {
            _ if SIZED_TEXTS.contains(&asked) => Ok(DataType::Utf8),
            // T-SQL counts the bits of a float's digits.
            Ok(1..=24) if asked == "FLOAT" && dialect == Dialect::TSql => Ok(DataType::Float32),
            Ok(25..=53) if asked == "FLOAT" && dialect == Dialect::TSql => Ok(DataType::Float64),
            _ => {
                let written = &self.text[start..self.at];
                Err(self.unknown(start, written, asked))
            }
        }
    }

    fn unknown(&mut self, start: usize, written: &str, asked: &str) -> Error {
        self.at = start;
        if written.is_empty() {
            return match self.peek() {
                None if self.text.is_empty() => {
                    Error::new(ErrorCode::Invalid, "'' is not a type").with_hint(WHAT_WORKS)
                }
                _ => self.expected("a type"),
            };
        }
        let base = asked.split(' ').next().unwrap_or_default();
        if REFUSED.contains(&base) {
            let hint = format!("{WHAT_WORKS}, and CAST the value in the query");
            return self.wrong(&format!("PREDICT cannot return {base}"), &hint);
        }
        let what = format!("'{written}' is not a type");
        match nearest(asked) {
            Some(name) => self.wrong(&what, &format!("did you mean {name}?")),
            None => self.wrong(&what, WHAT_WORKS),
        }
    }

    /// A field's name: a word, or anything in `..`, ".." or [..].
    fn name(&mut self) -> Result<String, Error> {
        self.blanks();
        let close = match self.peek() {
            Some('`') => '`',
            Some('"') => '"',
            Some('[') => ']',
            _ => {
                let word = self.word();
                if word.is_empty() {
                    return Err(self.expected("a field's name"));
                }
                return Ok(word.to_owned());
            }
        };
        let start = self.at;
        self.at += 1;
        let mut name = String::new();
        let mut letters = self.text[self.at..].char_indices().peekable();
        while let Some((offset, letter)) = letters.next() {
            if letter != close {
                name.push(letter);
            } else if letters.next_if(|(_, next)| *next == close).is_some() {
                name.push(close);
            } else if name.is_empty() {
                break;
            } else {
                self.at += offset + letter.len_utf8();
                return Ok(name);
            }
        }
        self.at = start;
        Err(self.expected(&format!("a name that ends in {close}")))
    }

    fn blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    /// The letters, digits and underscores from here.
    fn word(&mut self) -> &'a str {
        self.blanks();
        let rest = &self.text[self.at..];
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn peek(&mut self) -> Option<char> {
        self.blanks();
        self.text[self.at..].chars().next()
    }

    fn eat(&mut self, sign: char) -> bool {
        let found = self.peek() == Some(sign);
        if found {
            self.at += sign.len_utf8();
        }
        found
    }

    fn expect(&mut self, sign: char) -> Result<(), Error> {
        if self.eat(sign) {
            return Ok(());
        }
        Err(self.expected(&format!("'{sign}'")))
    }

    fn expected(&mut self, right: &str) -> Error {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(found) => format!("'{found}'"),
        };
        self.unexpected(&found, right)
    }

    fn unexpected(&self, found: &str, right: &str) -> Error {
        self.wrong(
            &format!("{found} stands where {right} is expected"),
            "types look like FLOAT, ARRAY<FLOAT>, STRUCT<label: BIGINT, p: ARRAY<FLOAT>>",
        )
    }

    /// Names the place, unless it is the beginning.
    fn wrong(&self, what: &str, hint: &str) -> Error {
        let what = if self.at == 0 {
            what.to_owned()
        } else {
            let place = self.text[..self.at].chars().count() + 1;
            format!(
                "'{}' is not a type: at letter {place}, {what}",
                self.shown()
            )
        };
        Error::new(ErrorCode::Invalid, what).with_hint(hint)
    }

    fn shown(&self) -> String {
        const SHOWN: usize = 60;
        if self.text.chars().count() <= SHOWN {
            return self.text.to_owned();
        }
        let start: String = self.text.chars().take(SHOWN).collect();
        format!("{start}...")
    }
}

fn named(asked: &str, dialect: Dialect) -> Option<DataType> {
    if dialect == Dialect::TSql
        && let Some((data_type, _)) = T_SQL.iter().find(|(_, name)| *name == asked)
    {
        return Some(data_type.clone());
    }
    SCALARS
        .iter()
        .find(|(_, names)| names.contains(&asked))
        .map(|(data_type, _)| data_type.clone())
}

fn nearest(asked: &str) -> Option<&'static str> {
    let names = SCALARS.iter().flat_map(|(_, names)| names.iter().copied());
    names
        .map(|name| (strsim::damerau_levenshtein(asked, name), name))
        .filter(|(distance, name)| *distance <= 2 && *distance * 2 < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
