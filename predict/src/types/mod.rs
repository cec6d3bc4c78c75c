//! The types that PREDICT may return, as text: what users write (Spark DDL, or the column list of T-SQL's WITH) and the one
//! name each has in lists, plans and on the wire.
//!
//! Inside parentheses, `(score real, label bigint)`, words mean what they mean in T-SQL: `FLOAT` is 64 bits wide there and 32
//! in Spark, `TINYINT` has no sign.

mod parse;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use whimbrel_proto::{Error, ErrorCode};

use self::parse::Parser;

/// One type: its own name first, then the other names it goes by.
const SCALARS: [(DataType, &[&str]); 12] = [
    (DataType::Boolean, &["BOOLEAN", "BOOL"]),
    (DataType::Int8, &["TINYINT", "BYTE"]),
    (DataType::Int16, &["SMALLINT", "SHORT", "INT2", "INT16"]),
    (DataType::Int32, &["INT", "INTEGER", "INT4", "INT32"]),
    (DataType::Int64, &["BIGINT", "LONG", "INT64"]),
    (
        DataType::UInt8,
        &["TINYINT UNSIGNED", "UNSIGNED TINYINT", "UINT8"],
    ),
    (
        DataType::UInt16,
        &["SMALLINT UNSIGNED", "UNSIGNED SMALLINT", "UINT16"],
    ),
    (
        DataType::UInt32,
        &["INT UNSIGNED", "UNSIGNED INT", "INTEGER UNSIGNED", "UINT32"],
    ),
    (
        DataType::UInt64,
        &["BIGINT UNSIGNED", "UNSIGNED BIGINT", "UINT64"],
    ),
    (DataType::Float32, &["FLOAT", "REAL", "FLOAT4", "FLOAT32"]),
    (
        DataType::Float64,
        &["DOUBLE", "DOUBLE PRECISION", "FLOAT8", "FLOAT64"],
    ),
    (DataType::Utf8, &["STRING", "TEXT", "VARCHAR"]),
];

/// What T-SQL means by a word that Spark means something else by, or does not know.
const T_SQL: [(DataType, &str); 4] = [
    (DataType::Float64, "FLOAT"),
    (DataType::UInt8, "TINYINT"),
    (DataType::Boolean, "BIT"),
    (DataType::Utf8, "NTEXT"),
];

/// Text types that say a length, which is not enforced.
const SIZED_TEXTS: [&str; 6] = [
    "VARCHAR",
    "NVARCHAR",
    "CHAR",
    "NCHAR",
    "CHARACTER",
    "CHARACTER VARYING",
];

/// Types of other makes that a model's value cannot have.
const REFUSED: [&str; 8] = [
    "DATE",
    "TIME",
    "TIMESTAMP",
    "DATETIME",
    "DATETIME2",
    "INTERVAL",
    "BINARY",
    "VOID",
];

/// The widest decimal.
const DECIMAL_DIGITS: u8 = 38;

/// The type that a user means by `text`.
pub fn parse_returns(text: &str) -> Result<DataType, Error> {
    Parser::new(text)?.whole()
}

/// The name of a type that PREDICT may return.
pub fn returns_name(data_type: &DataType) -> Result<String, Error> {
    Ok(match data_type {
        DataType::List(item) => format!("ARRAY<{}>", returns_name(item.data_type())?),
        DataType::Map(entries, _) => {
            let [key, value] = entry_types(entries).ok_or_else(|| nameless(data_type))?;
            format!("MAP<{}, {}>", returns_name(key)?, returns_name(value)?)
        }
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| {
                let kind = returns_name(field.data_type())?;
                Ok(format!("{}: {kind}", quoted(field.name())))
            });
            let fields = fields.collect::<Result<Vec<_>, Error>>()?;
            format!("STRUCT<{}>", fields.join(", "))
        }
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        other => SCALARS
            .iter()
            .find(|(known, _)| known == other)
            .map(|(_, names)| names[0].to_owned())
            .ok_or_else(|| nameless(other))?,
    })
}

fn nameless(data_type: &DataType) -> Error {
    Error::new(
        ErrorCode::Bug,
        format!("{data_type} has no name among the types PREDICT returns"),
    )
}

/// A name as it stands in a struct's list of fields.
fn quoted(name: &str) -> String {
    let is_plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if is_plain {
        name.to_owned()
    } else {
        format!("`{}`", name.replace('`', "``"))
    }
}

/// A list of `item`.
pub fn list_of(item: DataType) -> DataType {
    DataType::new_list(item, true)
}

/// A struct of these fields, each of which may be NULL.
pub fn struct_of<'a>(fields: impl IntoIterator<Item = (&'a str, DataType)>) -> DataType {
    let fields = fields
        .into_iter()
        .map(|(name, data_type)| Field::new(name, data_type, true));
    DataType::Struct(fields.collect())
}

/// A map from `key` to `value`.
pub fn map_of(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![
        Field::new("key", key, false),
        Field::new("value", value, true),
    ]);
    DataType::Map(
        Arc::new(Field::new("entries", DataType::Struct(entries), false)),
        false,
    )
}

/// The key's and the value's type of a map's entries.
pub fn entry_types(entries: &Field) -> Option<[&DataType; 2]> {
    match entries.data_type() {
        DataType::Struct(fields) => match fields.as_ref() {
            [key, value] => Some([key.data_type(), value.data_type()]),
            _ => None,
        },
        _ => None,
    }
}
