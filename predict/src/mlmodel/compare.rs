//! How model and signature are compared, and how messages speak of both.

use whimbrel_proto::{Error, ErrorCode};

use super::signature::{Field, FieldKind, Scalar};
use crate::signature::{ElementType, TensorSpec};

/// Differences listed by name in one note.
const SHOWN: usize = 5;

/// Both sides are named: what the signature says, what the model takes.
pub(super) fn disagree(said: &str, graph: &str) -> Error {
    Error::new(
        ErrorCode::Invalid,
        format!("signature and model disagree: the MLmodel file {said}, the model takes {graph}"),
    )
    .with_hint("log the model again with a signature that fits it (mlflow.models.infer_signature), or bind the model's own file")
}

/// Converters replace what is no identifier in a name.
pub(super) fn names_input(field: &Field, input: &str) -> bool {
    let plain = |text: &str| -> String {
        let same = |c: char| {
            if c.is_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        };
        text.chars().map(same).collect()
    };
    field
        .name
        .as_deref()
        .is_some_and(|name| name == input || plain(name) == plain(input))
}

/// Refuses what cannot be fed as said, and notes where only the width of a number differs.
pub(super) fn check_types(
    places: &[(&Field, &TensorSpec)],
    notes: &mut Vec<String>,
) -> Result<(), Error> {
    let mut differ = Vec::new();
    for (field, input) in places {
        let fits = match &field.kind {
            FieldKind::Scalar { element, .. } => fits(*element, input.element),
            FieldKind::List { .. } => input.shape.len() >= 2 && input.lanes() != Some(1),
            FieldKind::Tensor { .. } | FieldKind::Other { .. } => false,
        };
        if !fits {
            let said = format!("says {} is {}", shown(field), field.kind);
            return Err(disagree(&said, &input_text(input)));
        }
        if let FieldKind::Scalar {
            element: Scalar::Is(said),
            ..
        } = &field.kind
            && *said != input.element
        {
            differ.push(format!(
                "{} ({}, model {})",
                shown(field),
                field.kind,
                input.element
            ));
        }
    }
    note_differences(&differ, notes);
    Ok(())
}

pub(super) fn note_differences(differ: &[String], notes: &mut Vec<String>) {
    if differ.is_empty() {
        return;
    }
    let more = match differ.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let first: Vec<&str> = differ.iter().take(SHOWN).map(String::as_str).collect();
    notes.push(format!(
        "the MLmodel file gives other types than the model, whose are used: {}{more}",
        first.join(", ")
    ));
}

/// Whether values of the one can feed the other at all: numbers and booleans numbers, text only text.
pub(super) fn fits(said: Scalar, graph: ElementType) -> bool {
    let is_text = graph == ElementType::String;
    match said {
        Scalar::Is(said) => (said == ElementType::String) == is_text,
        Scalar::Time => !is_text && graph != ElementType::Bool,
        Scalar::Anything => true,
        Scalar::Binary => false,
    }
}

/// Fills the dimensions that the graph leaves open; false where the two contradict each other.
pub(super) fn reshape(graph: &mut [i64], said: &[i64]) -> bool {
    if graph.len() != said.len() {
        // [N] and [N,1] are fed alike.
        let flat = |shape: &[i64]| matches!(shape, [_] | [_, 1]);
        return flat(graph) && flat(said);
    }
    for (graph, said) in graph.iter_mut().zip(said).skip(1) {
        if *graph < 0 {
            *graph = *said;
        } else if *said >= 0 && *said != *graph {
            return false;
        }
    }
    true
}

pub(super) fn shown(field: &Field) -> String {
    match &field.name {
        Some(name) => format!("'{name}'"),
        None => "its input".to_owned(),
    }
}

pub(super) fn input_text(input: &TensorSpec) -> String {
    let dims = input.shape.iter().map(|dim| match dim {
        ..0 => "N".to_owned(),
        dim => dim.to_string(),
    });
    let dims: Vec<String> = dims.collect();
    format!("'{}' as {}[{}]", input.name, input.element, dims.join(","))
}

pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(2 * SHOWN).map(|name| format!("'{name}'"));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if names.len() > 2 * SHOWN {
        text.push_str(", ...");
    }
    text
}
