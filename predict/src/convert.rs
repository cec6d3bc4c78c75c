//! Bindings to and from the wire: the only place where the optional fields of these messages are opened. What is missing or
//! malformed is named by its field.

use std::str::FromStr;

use whimbrel_proto::ids::Generation;
use whimbrel_proto::{Error, ErrorCode, v1};

use crate::binding::{Binding, InputElement, elements};
use crate::signature::{Signature, TensorSpec};
use crate::types::{parse_returns, returns_name};

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
            digest: binding.digest.to_string(),
            generation: binding.generation.0,
            runtime: binding.runtime.name().to_owned(),
            signature: Some((&binding.signature).into()),
            returns: returns_name(&binding.returns)?.to_owned(),
            feature_names: feature_names(binding)?,
            columns: columns.collect(),
            size_bytes: binding.size_bytes,
            bound_at_ms: binding.bound_at_ms,
        })
    }
}

/// The names that the signature alone does not give.
fn feature_names(binding: &Binding) -> Result<Vec<String>, Error> {
    let plain = elements(&binding.signature, &[])?;
    if plain == binding.elements {
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
        } = wire;
        let signature = signature.ok_or_else(|| malformed("signature", "it is missing"))?;
        let signature = Signature::try_from(signature)?;
        let elements: Vec<InputElement> = elements(&signature, &feature_names)
            .map_err(|error| malformed("feature_names", &error.to_string()))?;
        Ok(Self {
            alias: field("alias", &alias)?,
            uri,
            digest: field("digest", &digest)?,
            generation: Generation(generation),
            runtime: field("runtime", &runtime)?,
            signature,
            returns: parse_returns(&returns)
                .map_err(|error| malformed("returns", &error.to_string()))?,
            elements,
            columns: columns
                .into_iter()
                .map(|pair| (pair.input, pair.column))
                .collect(),
            size_bytes,
            bound_at_ms,
        })
    }
}

impl From<&Signature> for v1::Signature {
    fn from(signature: &Signature) -> Self {
        let tensors = |specs: &[TensorSpec]| specs.iter().map(v1::TensorSpec::from).collect();
        Self {
            inputs: tensors(&signature.inputs),
            outputs: tensors(&signature.outputs),
        }
    }
}

impl TryFrom<v1::Signature> for Signature {
    type Error = Error;

    fn try_from(wire: v1::Signature) -> Result<Self, Error> {
        let tensors = |specs: Vec<v1::TensorSpec>| -> Result<Vec<TensorSpec>, Error> {
            specs.into_iter().map(TensorSpec::try_from).collect()
        };
        Ok(Self {
            inputs: tensors(wire.inputs)?,
            outputs: tensors(wire.outputs)?,
        })
    }
}

impl From<&TensorSpec> for v1::TensorSpec {
    fn from(tensor: &TensorSpec) -> Self {
        Self {
            name: tensor.name.clone(),
            element: tensor.element.name().to_owned(),
            shape: tensor.shape.clone(),
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
        binding
    }

    #[test]
    fn bindings_survive_the_wire() {
        let per_column = testing::binding("fare", &["a", "b"], ElementType::String).unwrap();
        for binding in [per_column, matrix(&[]), matrix(&["a", "b", "c"])] {
            let wire = v1::Binding::try_from(&binding).unwrap();
            assert_eq!(Binding::try_from(wire).unwrap(), binding);
        }
    }

    #[test]
    fn a_malformed_field_is_named() {
        let good = v1::Binding::try_from(&matrix(&[])).unwrap();
        type Break = fn(&mut v1::Binding);
        let broken: [(&str, Break); 6] = [
            ("'signature'", |wire| wire.signature = None),
            ("'digest'", |wire| wire.digest = "xyz".to_owned()),
            ("'alias'", |wire| wire.alias = "../x".to_owned()),
            ("'runtime'", |wire| wire.runtime = "basic".to_owned()),
            ("'returns'", |wire| wire.returns = "BLOB".to_owned()),
            ("'feature_names'", |wire| {
                wire.feature_names = vec!["a".to_owned()]
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
