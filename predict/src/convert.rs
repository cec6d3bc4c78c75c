//! Bindings to and from the wire: the only place where the optional fields of these messages are opened. What is missing or
//! malformed is named by its field.

use std::str::FromStr;

use whimbrel_proto::ids::Generation;
use whimbrel_proto::{Error, ErrorCode, v1};

use crate::binding::{Binding, GivenValue, InputElement, elements};
use crate::options::BindOptions;
use crate::signature::{OutputSpec, RowNames, Signature, TensorSpec};
use crate::types::{parse_returns, returns_name};
use crate::value::Value;

impl TryFrom<&Binding> for v1::Binding {
    type Error = Error;

    fn try_from(binding: &Binding) -> Result<Self, Error> {
        let columns = binding
            .columns
            .iter()
            .map(|(input, column)| v1::InputColumn {
                input: input.clone(),
                column: column.clone(),
            });
        Ok(Self {
            alias: binding.alias.to_string(),
            uri: binding.uri.clone(),
            resolved: binding.resolved.clone(),
            version: binding.version.clone().unwrap_or_default(),
            digest: binding.digest.to_string(),
            generation: binding.generation.0,
            runtime: binding.runtime.name().to_owned(),
            signature: Some((&binding.signature).into()),
            returns: returns_name(&binding.returns)?,
            feature_names: feature_names(binding)?,
            columns: columns.collect(),
            size_bytes: binding.size_bytes,
            bound_at_ms: binding.bound_at_ms,
            options: options(&binding.options),
            elements: binding
                .elements
                .iter()
                .map(v1::InputElement::try_from)
                .collect::<Result<_, _>>()?,
            value: Some(v1::Value::try_from(&binding.value)?),
            recorded: binding
                .recorded
                .iter()
                .map(|(library, version)| v1::RecordedVersion {
                    library: library.clone(),
                    version: version.clone(),
                })
                .collect(),
            notes: binding.notes.clone(),
        })
    }
}

fn options(options: &BindOptions) -> Vec<v1::Option> {
    let pairs = options.pairs().into_iter();
    pairs
        .map(|(key, value)| v1::Option { key, value })
        .collect()
}

/// The names that the signature alone does not give.
fn feature_names(binding: &Binding) -> Result<Vec<String>, Error> {
    let plain = elements(&binding.signature, &[])?;
    let same = |(plain, own): (&InputElement, &InputElement)| {
        (&plain.name, plain.named) == (&own.name, own.named)
    };
    if plain.len() == binding.elements.len() && plain.iter().zip(&binding.elements).all(same) {
        return Ok(Vec::new());
    }
    Ok(binding
        .elements
        .iter()
        .map(|element| element.name.clone())
        .collect())
}

impl TryFrom<v1::Binding> for Binding {
    type Error = Error;

    fn try_from(wire: v1::Binding) -> Result<Self, Error> {
        let v1::Binding {
            alias,
            uri,
            digest,
            generation,
            runtime,
            signature,
            returns,
            feature_names,
            columns,
            size_bytes,
            bound_at_ms,
            options,
            elements,
            value,
            recorded,
            notes,
            resolved,
            version,
        } = wire;
        let signature = signature.ok_or_else(|| malformed("signature", "it is missing"))?;
        let signature = Signature::try_from(signature)?;
        let options = read_options(options)?;
        let elements = read_elements(&signature, elements, &feature_names)?;
        let returns =
            parse_returns(&returns).map_err(|error| malformed("returns", &error.to_string()))?;
        let value = match value {
            Some(value) => read_value(value, &signature)?,
            None => Value::resolve(&signature, options.output.as_deref(), Some(&returns))
                .map_err(|error| malformed("value", &error.to_string()))?,
        };
        if value.data_type() != returns {
            return Err(malformed("value", "it is not of the type that is returned"));
        }
        Ok(Self {
            alias: field("alias", &alias)?,
            // Bindings of before there were registries name their path in `uri` alone.
            resolved: if resolved.is_empty() {
                uri.clone()
            } else {
                resolved
            },
            version: Some(version).filter(|version| !version.is_empty()),
            uri,
            digest: field("digest", &digest)?,
            generation: Generation(generation),
            runtime: field("runtime", &runtime)?,
            signature,
            returns,
            value,
            options,
            elements,
            columns: columns
                .into_iter()
                .map(|pair| (pair.input, pair.column))
                .collect(),
            size_bytes,
            bound_at_ms,
            recorded: recorded
                .into_iter()
                .map(|pair| (pair.library, pair.version))
                .collect(),
            notes,
        })
    }
}

fn read_options(options: Vec<v1::Option>) -> Result<BindOptions, Error> {
    let pairs = options.into_iter().map(|option| (option.key, option.value));
    BindOptions::parse(&pairs.collect::<Vec<_>>())
        .map_err(|error| malformed("options", &error.to_string()))
}

/// A binding written before elements were has the names only.
fn read_elements(
    signature: &Signature,
    wire: Vec<v1::InputElement>,
    feature_names: &[String],
) -> Result<Vec<InputElement>, Error> {
    if wire.is_empty() {
        return elements(signature, feature_names)
            .map_err(|error| malformed("feature_names", &error.to_string()));
    }
    let read: Vec<_> = wire
        .into_iter()
        .map(InputElement::try_from)
        .collect::<Result<_, _>>()?;
    let mut last = 0;
    for element in &read {
        if element.input < last || element.input >= signature.inputs.len() {
            return Err(malformed(
                "elements",
                "they are not in the order of the inputs",
            ));
        }
        last = element.input;
    }
    Ok(read)
}

impl TryFrom<&InputElement> for v1::InputElement {
    type Error = Error;

    fn try_from(element: &InputElement) -> Result<Self, Error> {
        let input = u32::try_from(element.input)
            .map_err(|error| malformed("elements", &error.to_string()))?;
        Ok(Self {
            name: element.name.clone(),
            named: element.named,
            element: element.element.name().to_owned(),
            input,
            shape: element.shape.clone(),
            optional: element.optional,
            default_value: element
                .default
                .as_ref()
                .map(|value| value.text().to_owned()),
            unused: element.unused,
            examples: element
                .examples
                .iter()
                .map(|value| value.text().to_owned())
                .collect(),
        })
    }
}

impl TryFrom<v1::InputElement> for InputElement {
    type Error = Error;

    fn try_from(wire: v1::InputElement) -> Result<Self, Error> {
        let mut element = Self {
            name: wire.name,
            named: wire.named,
            element: field("element", &wire.element)?,
            input: wire.input as usize,
            shape: wire.shape,
            optional: wire.optional,
            default: None,
            unused: wire.unused,
            examples: Vec::new(),
        };
        element.default = wire
            .default_value
            .map(|text| GivenValue::parse(&text, &element))
            .transpose()
            .map_err(|error| malformed("default_value", &error.to_string()))?;
        let examples = wire.examples.iter();
        element.examples = examples
            .map(|text| GivenValue::parse(text, &element))
            .collect::<Result<_, _>>()
            .map_err(|error| malformed("examples", &error.to_string()))?;
        Ok(element)
    }
}

impl TryFrom<&Value> for v1::Value {
    type Error = Error;

    fn try_from(value: &Value) -> Result<Self, Error> {
        Ok(match value {
            Value::Output { output, data_type } => Self {
                output: Some(
                    u32::try_from(*output)
                        .map_err(|error| malformed("value", &error.to_string()))?,
                ),
                data_type: returns_name(data_type)?,
                fields: Vec::new(),
            },
            Value::Struct(fields) => {
                let field = |(name, value): &(String, Value)| {
                    Ok(v1::value::Field {
                        name: name.clone(),
                        value: Some(Self::try_from(value)?),
                    })
                };
                Self {
                    output: None,
                    data_type: String::new(),
                    fields: fields.iter().map(field).collect::<Result<_, Error>>()?,
                }
            }
        })
    }
}

fn read_value(wire: v1::Value, signature: &Signature) -> Result<Value, Error> {
    let Some(output) = wire.output else {
        let field = |field: v1::value::Field| {
            let value = field
                .value
                .ok_or_else(|| malformed("value", "a field of it is missing"))?;
            Ok((field.name, read_value(value, signature)?))
        };
        let fields = wire.fields.into_iter().map(field);
        return Ok(Value::Struct(fields.collect::<Result<_, Error>>()?));
    };
    let output = output as usize;
    if output >= signature.outputs.len() {
        return Err(malformed("value", "it is of an output that is not there"));
    }
    let data_type =
        parse_returns(&wire.data_type).map_err(|error| malformed("value", &error.to_string()))?;
    Ok(Value::Output { output, data_type })
}

impl From<&Signature> for v1::Signature {
    fn from(signature: &Signature) -> Self {
        Self {
            inputs: signature.inputs.iter().map(v1::TensorSpec::from).collect(),
            outputs: signature.outputs.iter().map(v1::TensorSpec::from).collect(),
        }
    }
}

impl TryFrom<v1::Signature> for Signature {
    type Error = Error;

    fn try_from(wire: v1::Signature) -> Result<Self, Error> {
        let v1::Signature { inputs, outputs } = wire;
        Ok(Self {
            inputs: inputs
                .into_iter()
                .map(TensorSpec::try_from)
                .collect::<Result<_, _>>()?,
            outputs: outputs
                .into_iter()
                .map(OutputSpec::try_from)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<&OutputSpec> for v1::TensorSpec {
    fn from(output: &OutputSpec) -> Self {
        let mut wire = Self {
            name: output.name.clone(),
            element: output.element.name().to_owned(),
            shape: output.shape.clone(),
            ..Self::default()
        };
        match &output.names {
            RowNames::None => {}
            RowNames::Fields(names) => wire.field_names.clone_from(names),
            RowNames::IntClasses(classes) => wire.int_classes.clone_from(classes),
            RowNames::TextClasses(classes) => wire.text_classes.clone_from(classes),
        }
        wire
    }
}

impl TryFrom<v1::TensorSpec> for OutputSpec {
    type Error = Error;

    fn try_from(wire: v1::TensorSpec) -> Result<Self, Error> {
        let names = if !wire.field_names.is_empty() {
            RowNames::Fields(wire.field_names)
        } else if !wire.int_classes.is_empty() {
            RowNames::IntClasses(wire.int_classes)
        } else if !wire.text_classes.is_empty() {
            RowNames::TextClasses(wire.text_classes)
        } else {
            RowNames::None
        };
        Ok(Self {
            element: field("element", &wire.element)?,
            name: wire.name,
            shape: wire.shape,
            names,
        })
    }
}

impl From<&TensorSpec> for v1::TensorSpec {
    fn from(tensor: &TensorSpec) -> Self {
        Self {
            name: tensor.name.clone(),
            element: tensor.element.name().to_owned(),
            shape: tensor.shape.clone(),
            ..Self::default()
        }
    }
}

impl TryFrom<v1::TensorSpec> for TensorSpec {
    type Error = Error;

    fn try_from(wire: v1::TensorSpec) -> Result<Self, Error> {
        Ok(Self {
            element: field("element", &wire.element)?,
            name: wire.name,
            shape: wire.shape,
        })
    }
}

fn field<T: FromStr<Err = Error>>(name: &str, text: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|error: Error| malformed(name, &error.to_string()))
}

/// Messages come from pools of the same version, so this is a defect or damage, not a user's mistake.
fn malformed(name: &str, why: &str) -> Error {
    Error::new(ErrorCode::Bug, format!("binding field '{name}': {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::ElementType;
    use crate::testing;

    fn matrix(names: &[&str]) -> Binding {
        let mut binding = testing::binding("fare", &[], ElementType::Float32).unwrap();
        binding.signature.inputs = vec![TensorSpec {
            name: "X".to_owned(),
            element: ElementType::Float32,
            shape: vec![-1, 3],
        }];
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        binding.elements = elements(&binding.signature, &names).unwrap();
        binding.columns = vec![("a".to_owned(), "trip a".to_owned())];
        binding.recorded = vec![("mlflow".to_owned(), "3.17.2".to_owned())];
        binding.notes = vec!["by position".to_owned()];
        binding
    }

    /// Of everything that a binding may have, something.
    fn rich() -> Binding {
        let mut binding = matrix(&["a", "b", "c"]);
        binding.elements[1].optional = true;
        binding.elements[2].default = Some(GivenValue::parse("NaN", &binding.elements[2]).unwrap());
        binding.signature.inputs.push(TensorSpec {
            name: "image".to_owned(),
            element: ElementType::UInt8,
            shape: vec![-1, 28, 28],
        });
        binding.elements.push(InputElement {
            shape: vec![28, 28],
            ..InputElement::scalar("image", true, ElementType::UInt8, 1)
        });
        let classes = [
            RowNames::Fields(vec!["lo".to_owned(), "hi".to_owned()]),
            RowNames::IntClasses(vec![-1, 1]),
            RowNames::TextClasses(vec!["cheap".to_owned(), "dear".to_owned()]),
        ];
        for (place, names) in classes.into_iter().enumerate() {
            binding.signature.outputs.push(OutputSpec {
                name: format!("p{place}"),
                element: ElementType::Float32,
                shape: vec![-1, 2],
                names,
            });
        }
        let pairs = [
            ("datetime", "days"),
            ("names.p0", "lo,hi"),
            ("default.c", "NaN"),
        ];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        binding.options = BindOptions::parse(&pairs).unwrap();
        let value = Value::resolve(&binding.signature, None, None).unwrap();
        binding.returning(value)
    }

    #[test]
    fn a_binding_written_before_elements_and_values_is_still_read() {
        let binding = matrix(&["a", "b", "c"]);
        let mut wire = v1::Binding::try_from(&binding).unwrap();
        wire.elements.clear();
        wire.value = None;
        assert_eq!(Binding::try_from(wire).unwrap(), binding);
    }

    #[test]
    fn bindings_survive_the_wire() {
        let per_column = testing::binding("fare", &["a", "b"], ElementType::String).unwrap();
        for binding in [per_column, matrix(&[]), matrix(&["a", "b", "c"]), rich()] {
            let wire = v1::Binding::try_from(&binding).unwrap();
            assert_eq!(Binding::try_from(wire).unwrap(), binding);
        }
    }

    #[test]
    fn a_malformed_field_is_named() {
        let good = v1::Binding::try_from(&matrix(&[])).unwrap();
        type Break = fn(&mut v1::Binding);
        let broken: [(&str, Break); 10] = [
            ("'signature'", |wire| wire.signature = None),
            ("'digest'", |wire| wire.digest = "xyz".to_owned()),
            ("'alias'", |wire| wire.alias = "../x".to_owned()),
            ("'runtime'", |wire| wire.runtime = "basic".to_owned()),
            ("'returns'", |wire| wire.returns = "BLOB".to_owned()),
            ("'feature_names'", |wire| {
                wire.elements.clear();
                wire.feature_names = vec!["a".to_owned()]
            }),
            ("'elements'", |wire| wire.elements[0].input = 1),
            ("'default_value'", |wire| {
                wire.elements[0].default_value = Some("x".to_owned())
            }),
            ("'value'", |wire| wire.returns = "INT".to_owned()),
            ("'options'", |wire| {
                wire.options = vec![v1::Option {
                    key: "speed".to_owned(),
                    value: "high".to_owned(),
                }]
            }),
        ];
        for (name, break_it) in broken {
            let mut wire = good.clone();
            break_it(&mut wire);
            let error = Binding::try_from(wire).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
