//! The types that PREDICT may return, as text: what users write (Spark DDL or SQL, any case) and the one name each has in
//! lists, plans and on the wire.

use arrow::datatypes::DataType;
use whimbrel_proto::{Error, ErrorCode};

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
const REFUSED: [&str; 9] = [
    "DECIMAL",
    "NUMERIC",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "DATETIME",
    "INTERVAL",
    "BINARY",
    "VOID",
];

const WHAT_WORKS: &str =
    "write one of BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, STRING";

/// The type that a user means by `text`.
pub fn parse_returns(text: &str) -> Result<DataType, Error> {
    let asked = normal(text);
    if let Some(data_type) = named(&asked) {
        return Ok(data_type);
    }
    if is_nested(&asked) {
        let what = format!(
            "'{}' is not a scalar: PREDICT returns one value per row",
            text.trim()
        );
        return Err(Error::new(ErrorCode::Invalid, what).with_hint(format!(
            "arrays and structs cannot be returned yet; {WHAT_WORKS}"
        )));
    }
    let base = asked.split(['(', ' ']).next().unwrap_or_default();
    if REFUSED.contains(&base) {
        let what = format!("PREDICT cannot return {base}");
        let hint = format!("{WHAT_WORKS}, and CAST the value in the query");
        return Err(Error::new(ErrorCode::Invalid, what).with_hint(hint));
    }
    let error = Error::new(
        ErrorCode::Invalid,
        format!("'{}' is not a type", text.trim()),
    );
    Err(match nearest(&asked) {
        Some(name) => error.with_hint(format!("did you mean {name}?")),
        None => error.with_hint(WHAT_WORKS),
    })
}

/// The name of a type that PREDICT may return.
pub fn returns_name(data_type: &DataType) -> Result<&'static str, Error> {
    SCALARS
        .iter()
        .find(|(known, _)| known == data_type)
        .map(|(_, names)| names[0])
        .ok_or_else(|| {
            Error::new(
                ErrorCode::Bug,
                format!("{data_type} has no name among the types PREDICT returns"),
            )
        })
}

/// Upper case, one blank between words, none around brackets.
fn normal(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words
        .to_ascii_uppercase()
        .replace(" (", "(")
        .replace("( ", "(")
        .replace(" )", ")")
}

fn named(asked: &str) -> Option<DataType> {
    let scalar = SCALARS.iter().find(|(_, names)| names.contains(&asked));
    if let Some((data_type, _)) = scalar {
        return Some(data_type.clone());
    }
    let (base, length) = asked.strip_suffix(')')?.split_once('(')?;
    let is_length =
        length == "MAX" || (!length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()));
    (SIZED_TEXTS.contains(&base) && is_length).then_some(DataType::Utf8)
}

fn is_nested(asked: &str) -> bool {
    asked.starts_with('(')
        || asked.ends_with(']')
        || ["ARRAY", "LIST", "STRUCT", "MAP", "VECTOR"]
            .iter()
            .any(|word| asked.split(['<', '(', ' ', '[']).next() == Some(word))
}

fn nearest(asked: &str) -> Option<&'static str> {
    let names = SCALARS.iter().flat_map(|(_, names)| names.iter().copied());
    names
        .map(|name| (strsim::damerau_levenshtein(asked, name), name))
        .filter(|(distance, name)| *distance <= 2 && *distance * 2 < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_means_its_type_in_any_case_and_spacing() {
        for (data_type, names) in SCALARS {
            for name in names {
                assert_eq!(parse_returns(name), Ok(data_type.clone()));
                assert_eq!(
                    parse_returns(&format!(" {} ", name.to_lowercase())),
                    Ok(data_type.clone())
                );
            }
            assert_eq!(
                parse_returns(returns_name(&data_type).unwrap()),
                Ok(data_type)
            );
        }
        for text in [
            "varchar(10)",
            "VarChar ( 10 )",
            "nvarchar(max)",
            "character varying(3)",
        ] {
            assert_eq!(parse_returns(text), Ok(DataType::Utf8), "{text}");
        }
        assert_eq!(parse_returns("double  precision"), Ok(DataType::Float64));
    }

    #[test]
    fn what_is_not_a_scalar_type_is_refused_with_a_way_on() {
        let refused = [
            ("flaot", "'flaot' is not a type; did you mean FLOAT?"),
            ("DOUBEL", "'DOUBEL' is not a type; did you mean DOUBLE?"),
            ("varchar(x)", "is not a type; write one of"),
            ("blob", "is not a type; write one of"),
            ("", "'' is not a type; write one of"),
            ("array<float>", "arrays and structs cannot be returned yet"),
            ("float[]", "arrays and structs cannot be returned yet"),
            (
                "struct<a: int>",
                "arrays and structs cannot be returned yet",
            ),
            ("(score real)", "arrays and structs cannot be returned yet"),
            (
                "decimal(10, 2)",
                "PREDICT cannot return DECIMAL; write one of",
            ),
            (
                "timestamp with time zone",
                "PREDICT cannot return TIMESTAMP",
            ),
        ];
        for (text, want) in refused {
            let error = parse_returns(text).unwrap_err();
            assert_eq!(error.code(), ErrorCode::Invalid);
            assert!(error.to_string().contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn a_type_that_cannot_be_returned_has_no_name() {
        assert!(returns_name(&DataType::LargeUtf8).is_err());
    }
}
