//! Columns that come from the names of folders, `key=value`, as Hive and Spark write them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use whimbrel_proto::{Error, ErrorCode};

use super::list::Found;

/// What stands for NULL in a folder's name.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The keys and values that the file's folders name.
fn of(file: &Found) -> Vec<(&str, Option<String>)> {
    let pairs = file
        .folders
        .iter()
        .filter_map(|folder| folder.split_once('='));
    pairs
        .map(|(key, value)| (key, (value != NULL).then(|| unescape(value))))
        .collect()
}

/// The folder that says this value of a column.
pub(super) fn folder(key: &str, value: Option<&str>) -> String {
    let value = value.filter(|value| !value.is_empty());
    let escaped = value.map(|value| value.replace('%', "%25"));
    format!("{key}={}", escaped.as_deref().unwrap_or(NULL))
}

/// The text that `%2F` and its like stand for; what is no escape stays.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        let escaped = match (first, more) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &more[2..] } else { more };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// The columns that the folders of these files make: whole numbers, dates, else text.
pub(super) fn columns(files: &[Found]) -> Result<Vec<FieldRef>, Error> {
    let Some(first) = files.first() else {
        return Ok(Vec::new());
    };
    let all: Vec<_> = files.iter().map(of).collect();
    let keys: Vec<&str> = all[0].iter().map(|(key, _)| *key).collect();
    for (file, pairs) in files.iter().zip(&all) {
        if !pairs.iter().map(|(key, _)| *key).eq(keys.iter().copied()) {
            return Err(other_folders(&first.shown, &file.shown));
        }
    }
    let column = |(at, key): (usize, &&str)| {
        let values = || all.iter().filter_map(move |pairs| pairs[at].1.as_deref());
        let fits = |data_type: &DataType| values().all(|value| parse(value, data_type).is_some());
        let narrow = [DataType::Int64, DataType::Date32];
        let narrow = narrow
            .into_iter()
            .find(|data_type| values().next().is_some() && fits(data_type));
        Arc::new(Field::new(*key, narrow.unwrap_or(DataType::Utf8), true))
    };
    Ok(keys.iter().enumerate().map(column).collect())
}

fn other_folders(one: &str, other: &str) -> Error {
    Error::new(
        ErrorCode::Invalid,
        format!("'{other}' and '{one}' lie in folders of different keys"),
    )
    .with_hint("every file of a table needs the same key=value folders, in the same order")
}

/// Whether the folders are those that the user `asked` for; nothing asked, nothing to check.
pub(super) fn check(place: &str, found: &[FieldRef], asked: &[String]) -> Result<(), Error> {
    let found: Vec<&str> = found.iter().map(|column| column.name().as_str()).collect();
    if asked.is_empty() || found.iter().eq(asked.iter()) {
        return Ok(());
    }
    let text = format!(
        "the folders below '{place}' make the columns ({}), not ({})",
        found.join(", "),
        asked.join(", ")
    );
    Err(Error::new(ErrorCode::Invalid, text).with_hint("leave PARTITIONED BY out, or name these"))
}

fn parse(value: &str, data_type: &DataType) -> Option<ScalarValue> {
    let odd = *data_type == DataType::Int64 && value.starts_with('+');
    let long = *data_type == DataType::Date32 && value.len() != "2024-01-31".len();
    if odd || long {
        return None;
    }
    ScalarValue::try_from_string(value.to_owned(), data_type).ok()
}

/// The values of the columns in this file's rows.
pub(super) fn values(file: &Found, columns: &[FieldRef]) -> Result<Vec<ScalarValue>, Error> {
    let pairs = of(file);
    if !pairs
        .iter()
        .map(|(key, _)| *key)
        .eq(columns.iter().map(|column| column.name().as_str()))
    {
        let keys: Vec<&str> = columns
            .iter()
            .map(|column| column.name().as_str())
            .collect();
        let text = format!(
            "'{}' does not lie in folders of the keys ({})",
            file.shown,
            keys.join(", ")
        );
        return Err(Error::new(ErrorCode::InputChanged, text)
            .with_hint("move the file, or add the table again"));
    }
    let value = |((_, text), column): (&(&str, Option<String>), &FieldRef)| match text {
        None => ScalarValue::try_from(column.data_type()).map_err(|_| wrong_value(file, column)),
        Some(text) => parse(text, column.data_type()).ok_or_else(|| wrong_value(file, column)),
    };
    pairs.iter().zip(columns).map(value).collect()
}

fn wrong_value(file: &Found, column: &FieldRef) -> Error {
    let text = format!(
        "the folder of '{}' gives '{}' a value that is no {}",
        file.shown,
        column.name(),
        column.data_type()
    );
    Error::new(ErrorCode::InputChanged, text)
        .with_hint("add the table again, so that the column's type is found anew")
}

#[cfg(test)]
mod tests {
    use object_store::ObjectMeta;

    use super::*;

    fn file(folders: &str) -> Found {
        Found {
            meta: ObjectMeta {
                location: "x".into(),
                last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
                size: 1,
                e_tag: None,
                version: None,
            },
            shown: format!("/{folders}/x"),
            folders: folders.split('/').map(str::to_owned).collect(),
        }
    }

    #[test]
    fn folders_become_typed_columns() {
        let files = [
            file("plain/year=2024/day=2024-02-29/zone=a%2Fb/code=007"),
            file("plain/year=-1/day=2024-03-01/zone=100%/code=x"),
            file("plain/year=__HIVE_DEFAULT_PARTITION__/day=2024-03-02/zone=/code=1"),
        ];
        let found = columns(&files).unwrap();
        let types: Vec<_> = found
            .iter()
            .map(|field| (field.name().as_str(), field.data_type().clone()))
            .collect();
        let want = [
            ("year", DataType::Int64),
            ("day", DataType::Date32),
            ("zone", DataType::Utf8),
            ("code", DataType::Utf8),
        ];
        assert_eq!(types, want);
        let first = values(&files[0], &found).unwrap();
        assert_eq!(first[0], ScalarValue::Int64(Some(2024)));
        assert_eq!(first[2], ScalarValue::from("a/b"));
        assert_eq!(
            values(&files[1], &found).unwrap()[2],
            ScalarValue::from("100%")
        );
        assert_eq!(
            values(&files[2], &found).unwrap()[0],
            ScalarValue::Int64(None)
        );
    }

    #[test]
    fn files_of_other_folders_are_named() {
        let mixed = columns(&[file("y=1"), file("m=1")]).unwrap_err();
        assert_eq!(
            mixed.message(),
            "'/m=1/x' and '/y=1/x' lie in folders of different keys"
        );
        let known = columns(&[file("y=1")]).unwrap();
        let late = values(&file("y=one"), &known).unwrap_err();
        assert_eq!(
            late.message(),
            "the folder of '/y=one/x' gives 'y' a value that is no Int64"
        );
        assert_eq!(
            values(&file("m=1"), &known).unwrap_err().code(),
            ErrorCode::InputChanged
        );
    }
}
