//! A catalog entry and its record in the state store: one byte that says how the rest is laid out, then a protobuf message.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion_proto::protobuf;
use prost::Message;
use whimbrel_predict::input::{Reading, ReadingNode};
use whimbrel_proto::ids::TableName;
use whimbrel_proto::{Error, ErrorCode, v1};

/// How the files of a table are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Parquet,
    Csv(Csv),
    /// One JSON object per line.
    Json,
    /// Arrow's IPC file format.
    Arrow,
}

/// How CSV is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Csv {
    pub header: bool,
    pub delimiter: u8,
    pub quote: u8,
    pub escape: Option<u8>,
    /// Lines that begin with it are passed over.
    pub comment: Option<u8>,
    /// Whether quoted values hold line breaks. Files are then read in one piece each.
    pub multiline: bool,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            header: true,
            delimiter: b',',
            quote: b'"',
            escape: None,
            comment: None,
            multiline: false,
        }
    }
}

impl Format {
    /// The name on the wire and in lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv(_) => "csv",
            Self::Json => "json",
            Self::Arrow => "arrow",
        }
    }

    /// Whether a file of this name can be read in pieces.
    pub(super) fn is_divisible(self, reading: &Reading, name: &str) -> bool {
        match self {
            Self::Csv(csv) => !csv.multiline && reading.is_divisible(name),
            Self::Json => reading.is_divisible(name),
            Self::Parquet | Self::Arrow => true,
        }
    }
}

/// A named dataset: where its files are, how they are read, and the schema found when it was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: TableName,
    /// An absolute path or a URI: of a file, of a folder, or with wildcards.
    pub uri: String,
    pub format: Format,
    /// What else there is to say about its files.
    pub reading: Arc<Reading>,
    /// The columns of the files, then those of the folders.
    pub schema: SchemaRef,
    /// How many columns come from the folders' names.
    pub partitions: usize,
}

impl Table {
    /// The columns that the files have.
    pub fn file_schema(&self) -> SchemaRef {
        let fields = self.schema.fields();
        let files = fields.len() - self.partitions.min(fields.len());
        Arc::new(Schema::new(
            fields.iter().take(files).cloned().collect::<Vec<_>>(),
        ))
    }

    /// The columns that the folders make.
    pub fn folder_columns(&self) -> Vec<FieldRef> {
        let fields = self.schema.fields();
        let files = fields.len() - self.partitions.min(fields.len());
        fields.iter().skip(files).cloned().collect()
    }
}

/// The layout of [`Record`], as the record's first byte.
const LAYOUT: u8 = 3;
/// The layout before there was anything to say about the files' text; else the same.
const LAYOUT_BEFORE: u8 = 2;

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uri: String,
    #[prost(string, tag = "3")]
    format: String,
    #[prost(bool, tag = "4")]
    header: bool,
    #[prost(uint32, tag = "5")]
    delimiter: u32,
    #[prost(message, optional, tag = "6")]
    schema: Option<protobuf::Schema>,
    #[prost(uint32, tag = "7")]
    partitions: u32,
    #[prost(uint32, tag = "8")]
    quote: u32,
    #[prost(uint32, optional, tag = "9")]
    escape: Option<u32>,
    #[prost(uint32, optional, tag = "10")]
    comment: Option<u32>,
    #[prost(bool, tag = "11")]
    multiline: bool,
    #[prost(message, optional, tag = "12")]
    reading: Option<ReadingNode>,
}

impl Table {
    /// The record that keeps this entry.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let schema = protobuf::Schema::try_from(self.schema.as_ref()).map_err(|error| {
            Error::new(
                ErrorCode::Invalid,
                format!("the schema of '{}' cannot be kept: {error}", self.name),
            )
        })?;
        let csv = match self.format {
            Format::Csv(csv) => csv,
            Format::Parquet | Format::Json | Format::Arrow => Csv::default(),
        };
        let partitions = u32::try_from(self.partitions).map_err(|_| {
            let text = format!("table '{}' has too many columns", self.name);
            Error::new(ErrorCode::Invalid, text)
        })?;
        let record = Record {
            name: self.name.to_string(),
            uri: self.uri.clone(),
            format: self.format.name().to_owned(),
            header: csv.header,
            delimiter: csv.delimiter.into(),
            schema: Some(schema),
            partitions,
            quote: csv.quote.into(),
            escape: csv.escape.map(u32::from),
            comment: csv.comment.map(u32::from),
            multiline: csv.multiline,
            reading: Some(self.reading.as_ref().into()),
        };
        let mut bytes = vec![LAYOUT];
        bytes.extend(record.encode_to_vec());
        Ok(bytes)
    }

    /// Reads a record back.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let Some((&(LAYOUT | LAYOUT_BEFORE), message)) = bytes.split_first() else {
            return Err(broken("its layout is not known".to_owned()));
        };
        let record = Record::decode(message).map_err(|error| broken(error.to_string()))?;
        let format = record.format()?;
        let Record {
            name,
            uri,
            schema,
            partitions,
            reading,
            ..
        } = record;
        let reading = reading.map(Reading::try_from).transpose()?;
        let schema = schema.ok_or_else(|| broken("it has no schema".to_owned()))?;
        let schema = Schema::try_from(&schema).map_err(|error| broken(error.to_string()))?;
        Ok(Self {
            name: name.parse()?,
            uri,
            format,
            reading: Arc::new(reading.unwrap_or_default()),
            schema: schema.into(),
            partitions: usize::try_from(partitions).map_err(|error| broken(error.to_string()))?,
        })
    }
}

fn broken(what: String) -> Error {
    Error::new(ErrorCode::Invalid, format!("not a catalog record: {what}"))
}

impl Record {
    fn format(&self) -> Result<Format, Error> {
        let byte = |value: u32| u8::try_from(value).map_err(|error| broken(error.to_string()));
        match self.format.as_str() {
            "parquet" => Ok(Format::Parquet),
            "json" => Ok(Format::Json),
            "arrow" => Ok(Format::Arrow),
            "csv" => Ok(Format::Csv(Csv {
                header: self.header,
                delimiter: byte(self.delimiter)?,
                quote: byte(self.quote)?,
                escape: self.escape.map(byte).transpose()?,
                comment: self.comment.map(byte).transpose()?,
                multiline: self.multiline,
            })),
            other => Err(broken(format!("format '{other}'"))),
        }
    }
}

impl From<&Table> for v1::Table {
    fn from(table: &Table) -> Self {
        let (header, delimiter) = match table.format {
            Format::Csv(csv) => (csv.header, char::from(csv.delimiter).to_string()),
            Format::Parquet | Format::Json | Format::Arrow => (false, String::new()),
        };
        let fields = table.schema.fields();
        let columns = fields.iter().enumerate().map(|(at, field)| v1::Column {
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
            nullable: field.is_nullable(),
            folder: at + table.partitions >= fields.len(),
        });
        Self {
            name: table.name.to_string(),
            uri: table.uri.clone(),
            format: table.format.name().to_owned(),
            header,
            delimiter,
            columns: columns.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, TimeUnit};
    use whimbrel_predict::input::{Compression, Encoding};

    use super::*;

    #[test]
    fn a_record_keeps_everything_nested_types_included() {
        let inner = Field::new(
            "item",
            DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            true,
        );
        let schema = Schema::new(vec![
            Field::new("a b", DataType::Decimal128(12, 2), false),
            Field::new("l", DataType::List(Arc::new(inner)), true),
            Field::new("s", DataType::Utf8View, true),
        ]);
        let formats = [
            Format::Parquet,
            Format::Json,
            Format::Arrow,
            Format::Csv(Csv::default()),
            Format::Csv(Csv {
                header: false,
                delimiter: b'\t',
                quote: b'\'',
                escape: Some(b'\\'),
                comment: Some(b'#'),
                multiline: true,
            }),
        ];
        for format in formats {
            let table = Table {
                name: "trips".parse().unwrap(),
                uri: "/data/*.x".to_owned(),
                format,
                reading: Arc::new(Reading {
                    compression: Some(Compression::Zstd),
                    encoding: Encoding::Utf16,
                    nulls: vec!["NA".to_owned(), "|".to_owned()],
                    any_header: true,
                    told: false,
                }),
                schema: schema.clone().into(),
                partitions: 1,
            };
            assert_eq!(Table::decode(&table.encode().unwrap()).unwrap(), table);
        }
    }

    #[test]
    fn a_foreign_record_is_refused() {
        for bytes in [&b""[..], b"\x09abc", b"\x02\xff\xff", b"\x02"] {
            assert_eq!(Table::decode(bytes).unwrap_err().code(), ErrorCode::Invalid);
        }
    }
}
