//! The input example that is logged beside a model: where nothing else names the columns, its header does.

use serde_json::Value;

use super::signature::{Field, FieldKind, Scalar};
use crate::signature::ElementType;

/// An example is a handful of rows.
pub(super) const MAX_BYTES: usize = 8 << 20;

/// The columns of an example that was a data frame, in their order; none where it was something else.
pub(super) fn columns(text: &str) -> Option<Vec<Field>> {
    if text.len() > MAX_BYTES {
        return None;
    }
    match serde_json::from_str(text).ok()? {
        Value::Object(frame) => {
            match (frame.get("dataframe_split"), frame.get("dataframe_records")) {
                (Some(Value::Object(split)), _) => from_split(split),
                (_, Some(Value::Array(rows))) => from_records(rows),
                _ => from_split(&frame),
            }
        }
        Value::Array(rows) => from_records(&rows),
        _ => None,
    }
}

fn from_split(frame: &serde_json::Map<String, Value>) -> Option<Vec<Field>> {
    let names = frame.get("columns")?.as_array()?;
    let first = frame.get("data")?.as_array()?.first()?.as_array()?;
    let columns = names.iter().zip(first);
    columns
        .map(|(name, value)| Some(column(name.as_str()?, value)))
        .collect()
}

fn from_records(rows: &[Value]) -> Option<Vec<Field>> {
    let first = rows.first()?.as_object()?;
    let columns = first.iter().map(|(name, value)| column(name, value));
    Some(columns.collect())
}

fn column(name: &str, value: &Value) -> Field {
    let scalar = |shown: &str, element| FieldKind::Scalar {
        shown: shown.to_owned(),
        element,
    };
    let kind = match value {
        Value::Bool(_) => scalar("boolean", Scalar::Is(ElementType::Bool)),
        Value::Number(number) if number.is_f64() => {
            scalar("double", Scalar::Is(ElementType::Float64))
        }
        Value::Number(_) => scalar("long", Scalar::Is(ElementType::Int64)),
        Value::String(_) => scalar("string", Scalar::Is(ElementType::String)),
        Value::Null => scalar("any", Scalar::Anything),
        Value::Array(_) => FieldKind::List {
            shown: "array".to_owned(),
        },
        Value::Object(_) => FieldKind::Other {
            shown: "object".to_owned(),
        },
    };
    Field {
        name: Some(name.to_owned()),
        kind,
        required: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Option<Vec<String>> {
        let columns = columns(text)?;
        Some(
            columns
                .iter()
                .map(|field| format!("{} {}", field.name.as_deref().unwrap(), field.kind))
                .collect(),
        )
    }

    #[test]
    fn a_data_frame_names_its_columns_however_it_was_written() {
        let want = Some(vec!["a double".to_owned(), "b string".to_owned()]);
        for text in [
            r#"{"columns": ["a", "b"], "data": [[1.5, "x"], [2.5, "y"]]}"#,
            r#"{"dataframe_split": {"index": [0], "columns": ["a", "b"], "data": [[1.5, "x"]]}}"#,
            r#"[{"a": 1.5, "b": "x"}]"#,
            r#"{"dataframe_records": [{"a": 1.5, "b": "x"}]}"#,
        ] {
            assert_eq!(names(text), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_data_frame_names_nothing() {
        for text in [
            "",
            "3",
            "[[1.0, 2.0]]",
            r#"{"inputs": [[1.0]]}"#,
            r#"{"columns": [0], "data": [[1]]}"#,
            "[]",
        ] {
            assert_eq!(names(text), None, "{text}");
        }
    }
}
