//! ZipMap turns a classifier's `[N,k]` tensor into N maps from class to probability, one allocation each: reading those costs
//! twenty-five times what the model does. So the operator is taken off the graph when a session is made, its tensor is
//! read as it is, and the classes come from the operator's attributes. The file and its digest stay as they are.

use whimbrel_proto::Error;

use super::wire::{Fields, Value, numbers, put, put_varint};
use crate::signature::RowNames;

/// The fields of ONNX's messages that this needs.
mod number {
    pub(super) const MODEL_GRAPH: u64 = 7;
    pub(super) const MODEL_OPSET: u64 = 8;
    pub(super) const OPSET_DOMAIN: u64 = 1;
    pub(super) const OPSET_VERSION: u64 = 2;
    pub(super) const GRAPH_NODE: u64 = 1;
    pub(super) const GRAPH_OUTPUT: u64 = 12;
    pub(super) const NODE_INPUT: u64 = 1;
    pub(super) const NODE_OUTPUT: u64 = 2;
    pub(super) const NODE_NAME: u64 = 3;
    pub(super) const NODE_OP_TYPE: u64 = 4;
    pub(super) const NODE_ATTRIBUTE: u64 = 5;
    pub(super) const ATTRIBUTE_NAME: u64 = 1;
    pub(super) const ATTRIBUTE_INTS: u64 = 8;
    pub(super) const ATTRIBUTE_STRINGS: u64 = 9;
    pub(super) const VALUE_NAME: u64 = 1;
}

/// An operator set with Identity in it, for a model that brings none of ONNX's own operators.
const OPSET: u64 = 13;

/// One ZipMap of the graph: the output that it makes, and the classes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ZipMap {
    pub output: String,
    pub classes: RowNames,
}

/// The ZipMaps of the model's graph.
pub(super) fn find(model: &[u8]) -> Result<Vec<ZipMap>, Error> {
    let mut found = Vec::new();
    for graph in messages(model, number::MODEL_GRAPH) {
        for node in messages(graph?, number::GRAPH_NODE) {
            found.extend(zipmap(node?)?);
        }
    }
    Ok(found)
}

/// The model with every ZipMap replaced by an operator that hands on its tensor under the same name.
pub fn cut_zipmaps(model: &[u8]) -> Result<Vec<u8>, Error> {
    let names: Vec<String> = find(model)?.into_iter().map(|map| map.output).collect();
    let mut out = Vec::with_capacity(model.len() + 16);
    let mut has_opset = false;
    for field in Fields::of(model) {
        let field = field?;
        match field.number {
            number::MODEL_GRAPH => put(
                &mut out,
                field.number,
                &graph(field.value.bytes()?, &names)?,
            ),
            other => {
                if other == number::MODEL_OPSET {
                    has_opset = has_opset || is_default(field.value.bytes()?)?;
                }
                out.extend_from_slice(&model[field.span]);
            }
        }
    }
    if !has_opset {
        let mut opset = Vec::new();
        put_varint(&mut opset, number::OPSET_VERSION << 3);
        put_varint(&mut opset, OPSET);
        put(&mut out, number::MODEL_OPSET, &opset);
    }
    Ok(out)
}

fn is_default(opset: &[u8]) -> Result<bool, Error> {
    for field in Fields::of(opset) {
        let field = field?;
        if field.number == number::OPSET_DOMAIN {
            return Ok(matches!(field.value.text()?, "" | "ai.onnx"));
        }
    }
    Ok(true)
}

fn graph(graph: &[u8], names: &[String]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(graph.len());
    for field in Fields::of(graph) {
        let field = field?;
        match field.number {
            number::GRAPH_NODE if zipmap(field.value.bytes()?)?.is_some() => {
                put(&mut out, field.number, &identity(field.value.bytes()?)?);
            }
            number::GRAPH_OUTPUT => match output_name(field.value.bytes()?)? {
                // Its type is left to ONNX Runtime to find out.
                Some(name) if names.iter().any(|own| own == name) => {
                    let mut value = Vec::new();
                    put(&mut value, number::VALUE_NAME, name.as_bytes());
                    put(&mut out, field.number, &value);
                }
                _ => out.extend_from_slice(&graph[field.span]),
            },
            _ => out.extend_from_slice(&graph[field.span]),
        }
    }
    Ok(out)
}

fn identity(node: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    for field in Fields::of(node) {
        let field = field?;
        if let number::NODE_INPUT | number::NODE_OUTPUT | number::NODE_NAME = field.number {
            out.extend_from_slice(&node[field.span]);
        }
    }
    put(&mut out, number::NODE_OP_TYPE, b"Identity");
    Ok(out)
}

fn output_name(value: &[u8]) -> Result<Option<&str>, Error> {
    for field in Fields::of(value) {
        let field = field?;
        if field.number == number::VALUE_NAME {
            return Ok(Some(field.value.text()?));
        }
    }
    Ok(None)
}

/// The messages that a field of this number holds.
fn messages(bytes: &[u8], number: u64) -> impl Iterator<Item = Result<&[u8], Error>> {
    Fields::of(bytes).filter_map(move |field| match field {
        Ok(field) if field.number == number => Some(field.value.bytes().map_err(Error::from)),
        Ok(_) => None,
        Err(malformed) => Some(Err(malformed.into())),
    })
}

/// What the node makes, if it is a ZipMap.
fn zipmap(node: &[u8]) -> Result<Option<ZipMap>, Error> {
    let (mut is_zipmap, mut output, mut classes) = (false, String::new(), RowNames::None);
    for field in Fields::of(node) {
        let field = field?;
        match field.number {
            number::NODE_OP_TYPE => is_zipmap = field.value.text()? == "ZipMap",
            number::NODE_OUTPUT => output = field.value.text()?.to_owned(),
            _ => {}
        }
    }
    if !is_zipmap {
        return Ok(None);
    }
    for attribute in messages(node, number::NODE_ATTRIBUTE) {
        let (name, ints, texts) = attribute_lists(attribute?)?;
        match name.as_str() {
            "classlabels_int64s" if !ints.is_empty() => classes = RowNames::IntClasses(ints),
            "classlabels_strings" if !texts.is_empty() => classes = RowNames::TextClasses(texts),
            _ => {}
        }
    }
    Ok(Some(ZipMap { output, classes }))
}

fn attribute_lists(attribute: &[u8]) -> Result<(String, Vec<i64>, Vec<String>), Error> {
    let (mut name, mut ints, mut texts) = (String::new(), Vec::new(), Vec::new());
    for field in Fields::of(attribute) {
        let field = field?;
        match (field.number, field.value) {
            (number::ATTRIBUTE_NAME, value) => name = value.text()?.to_owned(),
            (number::ATTRIBUTE_INTS, value) => numbers(value, &mut ints, usize::MAX)?,
            (number::ATTRIBUTE_STRINGS, Value::Bytes(text)) => {
                texts.push(String::from_utf8_lossy(text).into_owned());
            }
            _ => {}
        }
    }
    Ok((name, ints, texts))
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::onnx::messages::Model;

    const MODEL: &[u8] = include_bytes!("fixtures/classifier_zipmap.onnx");

    #[test]
    fn the_classes_of_a_real_model_are_found() {
        let found = find(MODEL).unwrap();
        let classes = RowNames::TextClasses(vec!["cheap".to_owned(), "dear".to_owned()]);
        let output = "output_probability".to_owned();
        assert_eq!(found, [ZipMap { output, classes }]);
    }

    #[test]
    fn a_cut_model_has_no_zipmap_and_all_the_rest() {
        let cut = cut_zipmaps(MODEL).unwrap();
        assert_eq!(find(&cut).unwrap(), []);
        let [before, after] = [MODEL, &cut].map(|model| super::super::inspect(model).unwrap());
        assert_eq!(before.signature.inputs, after.signature.inputs);
        assert_eq!(before.recorded, after.recorded);
        let ops = |bytes: &[u8]| -> Vec<String> {
            let graph = Model::decode(bytes).unwrap().graph.unwrap();
            graph.node.into_iter().map(|node| node.op_type).collect()
        };
        let (before, after) = (ops(MODEL), ops(&cut));
        let has = |ops: &[String], name: &str| ops.iter().any(|op| op == name);
        assert!(
            has(&before, "ZipMap") && !has(&after, "ZipMap"),
            "{after:?}"
        );
        assert!(
            has(&after, "Identity") && has(&after, "LinearClassifier"),
            "{after:?}"
        );
    }

    #[test]
    fn no_prefix_and_no_flipped_byte_makes_it_panic() {
        for end in 0..MODEL.len() {
            let _ = cut_zipmaps(&MODEL[..end]);
            let mut bytes = MODEL.to_vec();
            bytes[end] ^= 0xff;
            let _ = cut_zipmaps(&bytes);
        }
    }
}
