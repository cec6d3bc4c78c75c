//! What a user says about a new table, and the format that it means.

use arrow::datatypes::SchemaRef;
use whimbrel_predict::input::{Compression, Encoding, Reading};
use whimbrel_proto::{Error, ErrorCode};

use super::kinds::Kind;
use super::table::{Csv, Format};

/// What a user says about a new table. Empty texts mean: not said.
#[derive(Clone, Debug, Default)]
pub struct AddTable {
    pub name: String,
    pub uri: String,
    /// One of [`Kind::NAMES`]; else by the ending of the files' names.
    pub format: String,
    /// The columns of the files; else found by looking into them.
    pub columns: Option<SchemaRef>,
    /// The keys that the files' folders must have, in this order; empty means: whichever they have.
    pub folders: Vec<String>,
    /// CSV only, as all that follow; true unless said.
    pub header: Option<bool>,
    /// One character, or "\t".
    pub delimiter: String,
    pub quote: String,
    pub escape: String,
    pub comment: String,
    /// Whether quoted values hold line breaks; false unless said.
    pub multiline: Option<bool>,
    /// CSV: texts that stand for NULL, beside the empty one.
    pub nulls: Vec<String>,
    /// CSV: whether a header may have other names than the table's columns; false unless said.
    pub any_header: Option<bool>,
    /// CSV and JSON: one of [`Compression::NAMES`]; else by the endings of the files' names.
    pub compression: String,
    /// CSV and JSON: one of [`Encoding::NAMES`]; else utf-8.
    pub encoding: String,
    /// How many records are looked at to find the columns' types; 0: as many as usual.
    pub infer_rows: u64,
    /// Whether an entry of that name is replaced.
    pub replace: bool,
}

impl AddTable {
    /// The format that the user names.
    pub(super) fn kind(&self) -> Result<Option<Kind>, Error> {
        match self.format.as_str() {
            "" => Ok(None),
            text => Kind::from_name(text).map(Some).ok_or_else(|| {
                Error::new(ErrorCode::Invalid, format!("'{text}' is not a format"))
                    .with_hint(format!("say {}", Kind::NAMES))
            }),
        }
    }

    /// The format with its options; `tabs` says that the files' names ask for tabs.
    pub(super) fn format(&self, kind: Kind, tabs: bool) -> Result<Format, Error> {
        let format = match kind {
            Kind::Csv => return self.csv(tabs).map(Format::Csv),
            Kind::Parquet => Format::Parquet,
            Kind::Json => Format::Json,
            Kind::Arrow => Format::Arrow,
        };
        let said = [
            ("header", self.header == Some(false)),
            ("delimiter", !self.delimiter.is_empty()),
            ("quote", !self.quote.is_empty()),
            ("escape", !self.escape.is_empty()),
            ("comment", !self.comment.is_empty()),
            ("multiline", self.multiline == Some(true)),
            ("null", !self.nulls.is_empty()),
            ("header check", self.any_header == Some(true)),
        ];
        match said.into_iter().find(|(_, said)| *said) {
            Some((what, _)) => Err(Error::new(
                ErrorCode::Invalid,
                format!("a {} table has no {what}", kind.name()),
            )
            .with_hint(format!("leave {what} out; it is for csv only"))),
            None => Ok(format),
        }
    }

    /// What the user says about the files' text.
    pub(super) fn reading(&self, kind: Kind) -> Result<Reading, Error> {
        let text = matches!(kind, Kind::Csv | Kind::Json);
        for (what, said) in [
            ("compression", &self.compression),
            ("encoding", &self.encoding),
        ] {
            if !text && !said.is_empty() {
                let text = format!("a {} table has no {what}", kind.name());
                return Err(Error::new(ErrorCode::Invalid, text)
                    .with_hint(format!("leave {what} out; it is for csv and json only")));
            }
        }
        let compression = match self.compression.as_str() {
            "" => None,
            name => Some(Compression::from_name(name).ok_or_else(|| {
                Error::new(ErrorCode::Invalid, format!("'{name}' is not a compression"))
                    .with_hint(format!("say {}", Compression::NAMES))
            })?),
        };
        let encoding = match self.encoding.as_str() {
            "" => Encoding::default(),
            name => Encoding::from_name(name).ok_or_else(|| {
                let text = format!("the encoding '{name}' is not supported");
                Error::new(ErrorCode::Invalid, text).with_hint(format!(
                    "there are {}; convert others: `iconv -f {name} -t UTF-8`",
                    Encoding::NAMES
                ))
            })?,
        };
        Ok(Reading {
            compression,
            encoding,
            nulls: self
                .nulls
                .iter()
                .filter(|text| !text.is_empty())
                .cloned()
                .collect(),
            any_header: self.any_header.unwrap_or_default(),
            told: false,
        })
    }

    fn csv(&self, tabs: bool) -> Result<Csv, Error> {
        let default = Csv::default();
        let delimiter = if tabs { b'\t' } else { default.delimiter };
        let csv = Csv {
            header: self.header.unwrap_or(default.header),
            delimiter: parse_delimiter(&self.delimiter)?.unwrap_or(delimiter),
            quote: parse_mark("quote", &self.quote)?.unwrap_or(default.quote),
            escape: parse_mark("escape", &self.escape)?,
            comment: parse_mark("comment", &self.comment)?,
            multiline: self.multiline.unwrap_or(default.multiline),
        };
        let marks = [Some(csv.delimiter), Some(csv.quote), csv.comment];
        let marks: Vec<u8> = marks.into_iter().flatten().collect();
        let twice = marks
            .iter()
            .enumerate()
            .find(|(at, mark)| marks[..*at].contains(mark));
        match twice {
            Some((_, mark)) => Err(Error::new(
                ErrorCode::Invalid,
                format!(
                    "'{}' cannot mean two things in a CSV file",
                    char::from(*mark)
                ),
            )
            .with_hint("delimiter, quote and comment are three different characters")),
            None => Ok(csv),
        }
    }
}

fn parse_delimiter(text: &str) -> Result<Option<u8>, Error> {
    match text.as_bytes() {
        [] => Ok(None),
        b"\\t" | b"tab" => Ok(Some(b'\t')),
        [byte] if is_mark(*byte) && *byte != b'"' => Ok(Some(*byte)),
        _ => Err(Error::new(
            ErrorCode::Invalid,
            format!("'{text}' cannot part the fields of a CSV file"),
        )
        .with_hint("the delimiter is one character, such as ',' ';' '|' or '\\t'")),
    }
}

fn parse_mark(what: &str, text: &str) -> Result<Option<u8>, Error> {
    match text.as_bytes() {
        [] => Ok(None),
        [byte] if is_mark(*byte) => Ok(Some(*byte)),
        _ => Err(Error::new(
            ErrorCode::Invalid,
            format!("'{text}' cannot be the {what} of a CSV file"),
        )
        .with_hint(format!(
            "the {what} is one character that is no letter or digit"
        ))),
    }
}

fn is_mark(byte: u8) -> bool {
    byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) && !byte.is_ascii_alphanumeric()
}
