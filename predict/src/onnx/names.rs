//! The names of a matrix's columns, which ONNX has no place for: exporters leave them in the metadata.

use std::collections::HashSet;

use super::messages::Model;
use crate::signature::{OutputSpec, RowNames, Signature, TensorSpec};

/// The metadata keys under which exporters leave the names of a matrix's columns.
const NAME_KEYS: [&str; 4] = ["feature_names", "feature_columns", "features", "columns"];

/// The same for the values of a classifier's rows.
const CLASS_KEYS: [&str; 4] = ["class_names", "class_labels", "classes", "output_names"];

/// The names that the exporter left for a matrix's columns.
pub(super) fn feature_names(model: &Model) -> Vec<String> {
    names(model, &NAME_KEYS)
}

/// The names that the exporter left for what a row of an output holds.
pub(super) fn class_names(model: &Model) -> Vec<String> {
    names(model, &CLASS_KEYS)
}

/// Names the values of the one output that has as many of them in a row.
pub(super) fn name_classes(outputs: &mut [OutputSpec], names: Vec<String>) {
    let fits = |output: &&mut OutputSpec| {
        output.names == RowNames::None
            && matches!(output.row(), [size] if usize::try_from(*size) == Ok(names.len()))
    };
    let mut fitting: Vec<&mut OutputSpec> = outputs.iter_mut().filter(fits).collect();
    if let [only] = fitting.as_mut_slice() {
        only.names = RowNames::Fields(names);
    }
}

/// A JSON list, or names between commas.
fn names(model: &Model, keys: &[&str]) -> Vec<String> {
    let metadata = model.metadata();
    let Some(text) = keys.iter().find_map(|key| metadata.get(key)) else {
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
    // One column of lists feeds an input that does not say how many columns it takes.
    let lanes: Vec<usize> = signature
        .inputs
        .iter()
        .map(|input| input.lanes().unwrap_or(1))
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
            Some(1) | None => vec![input.name.clone()],
            _ => names.clone(),
        });
    all.collect()
}
