//! The input example that is logged beside a model: its header names the columns where nothing else does, and its rows are
//! some that the model is meant for.

use serde_json::{Map, Value};

use super::signature::{Field, FieldKind, Scalar};
use crate::binding::{GivenValue, InputElement};
use crate::signature::ElementType;

/// An example is a handful of rows.
pub(super) const MAX_BYTES: usize = 8 << 20;
/// As many rows as MLflow's users log; they travel with every plan.
const MAX_ROWS: usize = 5;
const MAX_TEXT: usize = 200;

/// What is in an example's file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Example {
    /// Those of a data frame; an array has none.
    pub(super) columns: Vec<Field>,
    /// The first rows, value by value in the order of the columns.
    rows: Vec<Vec<Value>>,
}

impl Example {
    /// Nothing where the text has another form than data frames and arrays of rows have.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        match serde_json::from_str(text).ok()? {
            Value::Object(frame) => {
                let parts = ["dataframe_split", "dataframe_records", "inputs"];
                match parts.map(|part| frame.get(part)) {
                    [Some(Value::Object(split)), ..] => Self::of_split(split),
                    [_, Some(Value::Array(rows)), _] => Self::of_records(rows),
                    [.., Some(Value::Array(rows))] => Some(Self {
                        columns: Vec::new(),
                        rows: first_rows(rows)?,
                    }),
                    _ => Self::of_split(&frame),
                }
            }
            Value::Array(rows) => Self::of_records(&rows),
            _ => None,
        }
    }

    fn of_split(frame: &Map<String, Value>) -> Option<Self> {
        let names = frame.get("columns")?.as_array()?;
        let rows = first_rows(frame.get("data")?.as_array()?)?;
        let columns = names.iter().zip(rows.first()?);
        let columns = columns.map(|(name, value)| Some(column(name.as_str()?, value)));
        Some(Self {
            columns: columns.collect::<Option<_>>()?,
            rows,
        })
    }

    fn of_records(rows: &[Value]) -> Option<Self> {
        let first = rows.first()?.as_object()?;
        let columns = first.iter().map(|(name, value)| column(name, value));
        let row = |row: &Value| -> Vec<Value> {
            let value = |name| row.get(name).cloned().unwrap_or_default();
            first.keys().map(value).collect()
        };
        Some(Self {
            columns: columns.collect(),
            rows: rows.iter().take(MAX_ROWS).map(row).collect(),
        })
    }

    /// Gives each place its values, by the name of its column, or in their order where the columns have none. No place gets
    /// any where one of them would lack some.
    pub(crate) fn give(&self, elements: &mut [InputElement]) {
        let by_name = !self.columns.is_empty() && elements.iter().all(|element| element.named);
        let width = elements.len();
        let fits = by_name || self.rows.iter().all(|row| row.len() == width);
        let place = |number, element: &InputElement| match by_name {
            true => self
                .columns
                .iter()
                .position(|column| column.name.as_deref() == Some(&element.name)),
            false => Some(number).filter(|_| fits),
        };
        let values = |(number, element): (usize, &InputElement)| -> Option<Vec<GivenValue>> {
            let place = place(number, element)?;
            let rows = self.rows.iter().map(|row| given(row.get(place)?, element));
            rows.collect()
        };
        let all: Option<Vec<_>> = elements.iter().enumerate().map(values).collect();
        for (element, values) in elements.iter_mut().zip(all.unwrap_or_default()) {
            element.examples = values;
        }
    }
}

fn first_rows(rows: &[Value]) -> Option<Vec<Vec<Value>>> {
    let rows = rows.iter().take(MAX_ROWS);
    rows.map(|row| row.as_array().cloned()).collect()
}

fn given(value: &Value, element: &InputElement) -> Option<GivenValue> {
    let is_float = matches!(element.element, ElementType::Float32 | ElementType::Float64);
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null if is_float => "NaN".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (text.len() <= MAX_TEXT).then(|| GivenValue::parse(&text, element).ok())?
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
        let example = Example::read(text)?;
        Some(
            example
                .columns
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
            r#"{"columns": [0], "data": [[1]]}"#,
            "[]",
        ] {
            assert_eq!(names(text), None, "{text}");
        }
    }

    fn given_to(text: &str, names: [&str; 2]) -> [Vec<String>; 2] {
        let element = |name| InputElement::scalar(name, true, ElementType::Float32, 0);
        let mut elements = names.map(element);
        elements[1].element = ElementType::String;
        Example::read(text).unwrap().give(&mut elements);
        elements.map(|element| {
            let texts = element.examples.iter().map(|value| value.text().to_owned());
            texts.collect()
        })
    }

    #[test]
    fn each_place_gets_the_values_of_its_column() {
        let want = [vec!["1.5", "NaN"], vec!["x", "y"]]
            .map(|of| of.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        for text in [
            r#"{"columns": ["t", "n", "more"], "data": [["x", 1.5, 0], ["y", null, 0]]}"#,
            r#"[{"n": 1.5, "t": "x"}, {"n": null, "t": "y"}]"#,
            r#"{"inputs": [[1.5, "x"], [null, "y"]]}"#,
        ] {
            assert_eq!(given_to(text, ["n", "t"]), want, "{text}");
        }
        let none = [const { Vec::<String>::new() }; 2];
        for text in [
            r#"[{"n": 1.5, "t": null}]"#,
            r#"[{"n": "many", "t": "x"}]"#,
            r#"[{"n": 1.5}]"#,
            r#"[{"n": 1.5, "t": "x"}, {"n": 2.5}]"#,
            r#"{"inputs": [[1.5]]}"#,
            r#"{"inputs": [[1.5, "x", 0]]}"#,
            r#"{"inputs": []}"#,
        ] {
            assert_eq!(given_to(text, ["n", "t"]), none, "{text}");
        }
        let rows = format!(r#"{{"inputs": [{}[1, "x"]]}}"#, r#"[1, "x"], "#.repeat(20));
        assert_eq!(given_to(&rows, ["n", "t"])[0].len(), MAX_ROWS);
        let long = format!(r#"[{{"n": 1, "t": "{}"}}]"#, "x".repeat(MAX_TEXT + 1));
        assert_eq!(given_to(&long, ["n", "t"]), none);
    }
}
