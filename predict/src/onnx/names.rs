//! The names of a matrix's columns, which ONNX has no place for: exporters leave them in the metadata.

use std::collections::HashSet;

use super::messages::Model;
use crate::signature::{Signature, TensorSpec};

/// The metadata keys under which exporters leave the names of a matrix's columns.
const NAME_KEYS: [&str; 4] = ["feature_names", "feature_columns", "features", "columns"];

/// The names that the exporter left in the metadata: a JSON list, or names between commas.
pub(super) fn feature_names(model: &Model) -> Vec<String> {
    let metadata = model.metadata();
    let Some(text) = NAME_KEYS.iter().find_map(|key| metadata.get(key)) else {
        return Vec::new();
    };
    let names = serde_json::from_str(text).unwrap_or_else(|_| {
        text.split(',')
            .map(|name| name.trim().to_owned())
            .collect::<Vec<String>>()
    });
    let distinct: HashSet<&String> = names.iter().collect();
    if distinct.len() < names.len() || names.iter().any(String::is_empty) {
        return Vec::new();
    }
    names
}

/// One matrix that does not say its width has as many columns as the metadata has names.
pub(super) fn widen(inputs: &mut [TensorSpec], names: &[String]) {
    if let [only] = inputs
        && let [_, width] = only.shape.as_mut_slice()
        && *width < 0
        && let Ok(count) = i64::try_from(names.len())
        && count > 0
    {
        *width = count;
    }
}

/// The names for every element: they may have been given for all elements, or for the one matrix among single columns.
/// Names of any other number belong to something else.
pub(super) fn spread(signature: &Signature, names: Vec<String>) -> Vec<String> {
    let lanes: Vec<usize> = signature
        .inputs
        .iter()
        .filter_map(TensorSpec::lanes)
        .collect();
    if names.is_empty() || names.len() == lanes.iter().sum::<usize>() {
        return names;
    }
    let mut matrices = lanes.iter().filter(|lanes| **lanes > 1);
    if matrices.next() != Some(&names.len()) || matrices.next().is_some() {
        return Vec::new();
    }
    let all = signature
        .inputs
        .iter()
        .flat_map(|input| match input.lanes() {
            Some(1) => vec![input.name.clone()],
            _ => names.clone(),
        });
    all.collect()
}
