//! The names of a matrix's columns, which ONNX has no place for: exporters leave them in the metadata.

use std::collections::HashSet;

use super::messages::Model;
use crate::signature::TensorSpec;

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
