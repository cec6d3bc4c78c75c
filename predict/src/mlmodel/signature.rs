//! The signature of an `MLmodel` file: two or three texts of JSON that say which columns or tensors the model takes and
//! gives, and with which parameters.

use std::fmt;

use serde_json::{Map, Value};
use whimbrel_proto::{Error, ErrorCode};

use crate::signature::ElementType;

/// More columns than any table has.
const MAX_FIELDS: usize = 16_384;

/// What a model is said to take and give.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MlSignature {
    pub inputs: Vec<Field>,
    pub outputs: Vec<Field>,
    pub params: Vec<Param>,
}

/// One column, or one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: Option<String>,
    pub kind: FieldKind,
    /// An input that is not required may be missing from the table.
    pub required: bool,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A column of one value a row, by MLflow's name of its type.
    Scalar { shown: String, element: Scalar },
    /// A tensor with the rows as its first dimension.
    Tensor {
        dtype: String,
        element: Scalar,
        shape: Vec<i64>,
    },
    /// A column of lists.
    List { shown: String },
    /// What no tensor holds: maps, objects.
    Other { shown: String },
}

/// How a value of MLflow's types can be fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    Is(ElementType),
    /// Dates and times: numbers of days or microseconds.
    Time,
    /// `any`, and types that this version does not know.
    Anything,
    Binary,
}

/// A parameter with a default.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub name: String,
    pub default: Value,
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar { shown, .. } | Self::List { shown } | Self::Other { shown } => {
                f.write_str(shown)
            }
            Self::Tensor { dtype, shape, .. } => {
                let dims = shape.iter().map(|dim| match dim {
                    ..0 => "N".to_owned(),
                    dim => dim.to_string(),
                });
                write!(f, "{dtype}[{}]", dims.collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl MlSignature {
    /// From the three texts, of which each may be missing.
    pub(super) fn parse(
        inputs: Option<&str>,
        outputs: Option<&str>,
        params: Option<&str>,
    ) -> Result<Self, Error> {
        Ok(Self {
            inputs: list("inputs", inputs, field)?,
            outputs: list("outputs", outputs, field)?,
            params: list("params", params, param)?,
        })
    }
}

fn list<T>(
    part: &str,
    text: Option<&str>,
    of: fn(&Map<String, Value>) -> Result<T, String>,
) -> Result<Vec<T>, Error> {
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    let wrong = |why: String| {
        Error::new(
            ErrorCode::Invalid,
            format!("the MLmodel file's signature cannot be read: {part}: {why}"),
        )
        .with_hint(
            "log the model again with a signature from mlflow.models.infer_signature, or none",
        )
    };
    let items = match serde_json::from_str(text) {
        Ok(Value::Array(items)) => items,
        Ok(Value::Null) => return Ok(Vec::new()),
        Ok(_) => return Err(wrong("they are not a list".to_owned())),
        Err(error) => return Err(wrong(error.to_string())),
    };
    if items.len() > MAX_FIELDS {
        return Err(wrong(format!(
            "there are {}, and more than {MAX_FIELDS} are not read",
            items.len()
        )));
    }
    let read = |(place, item): (usize, &Value)| {
        let object = item
            .as_object()
            .ok_or_else(|| "it is not an object".to_owned());
        object
            .and_then(of)
            .map_err(|why| wrong(format!("number {}: {why}", place + 1)))
    };
    items.iter().enumerate().map(read).collect()
}

fn field(object: &Map<String, Value>) -> Result<Field, String> {
    let name = match object.get("name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if !name.is_empty() => Some(name.clone()),
        // pandas columns may be numbered.
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(_) => return Err("its name is not a text".to_owned()),
    };
    // MLflow 2.5 and older say `optional`.
    let flag = |key: &str| object.get(key).and_then(Value::as_bool);
    let required = flag("required").unwrap_or_else(|| !flag("optional").unwrap_or(false));
    Ok(Field {
        name,
        kind: kind(object)?,
        required,
    })
}

fn kind(object: &Map<String, Value>) -> Result<FieldKind, String> {
    let shown = match object.get("type") {
        Some(Value::String(shown)) => shown.as_str(),
        Some(_) => return Err("its type is not a text".to_owned()),
        None => return Err("it has no type".to_owned()),
    };
    let owned = || shown.to_owned();
    Ok(match shown {
        "tensor" => return tensor(object),
        "array" => FieldKind::List {
            shown: match object.get("items").and_then(|items| items.get("type")) {
                Some(Value::String(item)) => format!("array of {item}"),
                _ => owned(),
            },
        },
        "sparkml_vector" => FieldKind::List { shown: owned() },
        "object" | "map" => FieldKind::Other { shown: owned() },
        _ => FieldKind::Scalar {
            shown: owned(),
            element: column_type(shown),
        },
    })
}

fn column_type(name: &str) -> Scalar {
    match name {
        "boolean" => Scalar::Is(ElementType::Bool),
        "integer" => Scalar::Is(ElementType::Int32),
        "long" => Scalar::Is(ElementType::Int64),
        "float" => Scalar::Is(ElementType::Float32),
        "double" => Scalar::Is(ElementType::Float64),
        "string" => Scalar::Is(ElementType::String),
        "datetime" => Scalar::Time,
        "binary" => Scalar::Binary,
        _ => Scalar::Anything,
    }
}

fn tensor(object: &Map<String, Value>) -> Result<FieldKind, String> {
    let spec = object
        .get("tensor-spec")
        .and_then(Value::as_object)
        .ok_or("it has no tensor-spec")?;
    let dtype = spec
        .get("dtype")
        .and_then(Value::as_str)
        .ok_or("its tensor-spec has no dtype")?;
    let dims = spec
        .get("shape")
        .and_then(Value::as_array)
        .ok_or("its tensor-spec has no shape")?;
    let shape = dims
        .iter()
        .map(|dim| dim.as_i64().filter(|dim| *dim >= -1))
        .collect::<Option<Vec<i64>>>()
        .ok_or("its shape has a dimension that is not a size")?;
    Ok(FieldKind::Tensor {
        dtype: dtype.to_owned(),
        element: numpy_type(dtype),
        shape,
    })
}

fn numpy_type(dtype: &str) -> Scalar {
    match dtype {
        "str" | "object" => Scalar::Is(ElementType::String),
        "bytes" => Scalar::Binary,
        _ if dtype.starts_with("datetime64") || dtype.starts_with("timedelta64") => Scalar::Time,
        _ => dtype.parse().map_or(Scalar::Anything, Scalar::Is),
    }
}

fn param(object: &Map<String, Value>) -> Result<Param, String> {
    let name = object
        .get("name")
        .and_then(Value::as_str)
        .ok_or("it has no name")?;
    Ok(Param {
        name: name.to_owned(),
        default: object.get("default").cloned().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(text: &str) -> Vec<Field> {
        MlSignature::parse(Some(text), None, None).unwrap().inputs
    }

    #[test]
    fn columns_of_every_release_are_read() {
        let read = inputs(
            r#"[{"type": "double", "name": "a", "required": true}, {"name": "b", "type": "string", "required": false},
                {"name": "c", "type": "long", "optional": true}, {"name": "d", "type": "datetime"}, {"name": 4, "type": "any"},
                {"type": "array", "items": {"type": "float"}, "name": "e", "required": true}]"#,
        );
        let shown: Vec<String> = read
            .iter()
            .map(|field| {
                format!(
                    "{} {} {}",
                    field.name.as_deref().unwrap_or("-"),
                    field.kind,
                    field.required
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "a double true",
                "b string false",
                "c long false",
                "d datetime true",
                "4 any true",
                "e array of float true"
            ]
        );
    }

    #[test]
    fn tensors_may_have_no_name() {
        let read = inputs(
            r#"[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 20]}}]"#,
        );
        assert_eq!(read[0].name, None);
        assert_eq!(read[0].kind.to_string(), "float32[N,20]");
        let params = MlSignature::parse(
            None,
            None,
            Some(r#"[{"name": "thr", "default": 0.5, "shape": null, "type": "double"}]"#),
        );
        let params = params.unwrap().params;
        assert_eq!(
            (params[0].name.as_str(), &params[0].default),
            ("thr", &Value::from(0.5))
        );
        assert_eq!(
            MlSignature::parse(None, None, Some("null")).unwrap(),
            MlSignature::default()
        );
    }

    #[test]
    fn what_is_no_signature_says_where() {
        let cases = [
            ("{}", "inputs: they are not a list"),
            ("[", "inputs: EOF while parsing"),
            ("[1]", "inputs: number 1: it is not an object"),
            (
                r#"[{"type": "double", "name": {}}]"#,
                "number 1: its name is not a text",
            ),
            (r#"[{"name": "a"}]"#, "number 1: it has no type"),
            (r#"[{"type": "tensor"}]"#, "number 1: it has no tensor-spec"),
            (
                r#"[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-2]}}]"#,
                "its shape has a dimension that is not a size",
            ),
        ];
        for (text, want) in cases {
            let error = MlSignature::parse(Some(text), None, None)
                .unwrap_err()
                .to_string();
            assert!(error.contains(want), "{error}");
        }
        let deep = "[".repeat(100_000);
        let error = MlSignature::parse(Some(&deep), None, None).unwrap_err();
        assert!(error.to_string().contains("recursion limit"), "{error}");
        let many = format!("[{}1]", "1,".repeat(MAX_FIELDS));
        let error = MlSignature::parse(Some(&many), None, None).unwrap_err();
        assert!(
            error.to_string().contains("more than 16384 are not read"),
            "{error}"
        );
    }
}
