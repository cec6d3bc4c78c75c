//! A catalog entry and its record in the state store: one byte that says how the rest is laid out, then a protobuf message.

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_proto::protobuf;
use prost::Message;
use whimbrel_proto::ids::TableName;
use whimbrel_proto::{Error, ErrorCode, v1};

/// How the files of a table are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Parquet,
    Csv {
        header: bool,
        delimiter: u8,
    },
    /// One JSON object per line.
    Json,
}

impl Format {
    /// The name on the wire and in lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv { .. } => "csv",
            Self::Json => "json",
        }
    }
}

/// A named dataset: where its files are, how they are read, and the schema found when it was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: TableName,
    /// An absolute path: of a file, of a folder, or with wildcards in its last part.
    pub uri: String,
    pub format: Format,
    pub schema: SchemaRef,
}

/// The layout of [`Record`], as the record's first byte.
const LAYOUT: u8 = 1;

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
        let (header, delimiter) = match self.format {
            Format::Csv { header, delimiter } => (header, delimiter),
            Format::Parquet | Format::Json => (false, 0),
        };
        let record = Record {
            name: self.name.to_string(),
            uri: self.uri.clone(),
            format: self.format.name().to_owned(),
            header,
            delimiter: delimiter.into(),
            schema: Some(schema),
        };
        let mut bytes = vec![LAYOUT];
        bytes.extend(record.encode_to_vec());
        Ok(bytes)
    }

    /// Reads a record back.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let broken =
            |what: String| Error::new(ErrorCode::Invalid, format!("not a catalog record: {what}"));
        let Some((&LAYOUT, message)) = bytes.split_first() else {
            return Err(broken("its layout is not known".to_owned()));
        };
        let Record {
            name,
            uri,
            format,
            header,
            delimiter,
            schema,
        } = Record::decode(message).map_err(|error| broken(error.to_string()))?;
        let delimiter = u8::try_from(delimiter).map_err(|error| broken(error.to_string()))?;
        let format = match format.as_str() {
            "parquet" => Format::Parquet,
            "csv" => Format::Csv { header, delimiter },
            "json" => Format::Json,
            other => return Err(broken(format!("format '{other}'"))),
        };
        let schema = schema.ok_or_else(|| broken("it has no schema".to_owned()))?;
        let schema = Schema::try_from(&schema).map_err(|error| broken(error.to_string()))?;
        Ok(Self {
            name: name.parse()?,
            uri,
            format,
            schema: schema.into(),
        })
    }
}

impl From<&Table> for v1::Table {
    fn from(table: &Table) -> Self {
        let (header, delimiter) = match table.format {
            Format::Csv { header, delimiter } => (header, char::from(delimiter).to_string()),
            Format::Parquet | Format::Json => (false, String::new()),
        };
        let columns = table.schema.fields().iter().map(|field| v1::Column {
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
            nullable: field.is_nullable(),
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
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, TimeUnit};

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
            Format::Csv {
                header: false,
                delimiter: b'\t',
            },
        ];
        for format in formats {
            let table = Table {
                name: "trips".parse().unwrap(),
                uri: "/data/*.x".to_owned(),
                format,
                schema: schema.clone().into(),
            };
            assert_eq!(Table::decode(&table.encode().unwrap()).unwrap(), table);
        }
    }

    #[test]
    fn a_foreign_record_is_refused() {
        for bytes in [&b""[..], b"\x02abc", b"\x01\xff\xff", b"\x01"] {
            assert_eq!(Table::decode(bytes).unwrap_err().code(), ErrorCode::Invalid);
        }
    }
}
