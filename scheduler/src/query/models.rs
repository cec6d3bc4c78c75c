//! SHOW MODELS and DESCRIBE MODEL: what can be predicted with, as rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use whimbrel_predict::binding::Binding;
use whimbrel_proto::{Error, ErrorCode};

use super::Planned;
use crate::models::Registry;

/// The rows of the statement, if it is one about models.
pub(super) fn model_rows(sql: &str, models: &Registry) -> Option<Result<Planned, Error>> {
    let words: Vec<&str> = sql
        .trim()
        .trim_end_matches(';')
        .split_whitespace()
        .collect();
    let is = |word: &str, other: &str| word.eq_ignore_ascii_case(other);
    match words.as_slice() {
        [show, all] if is(show, "show") && is(all, "models") => Some(list(&models.list())),
        [verb, model, alias]
            if (is(verb, "describe") || is(verb, "desc")) && is(model, "model") =>
        {
            let alias = alias.trim_matches(['\'', '"']);
            Some(models.get(alias).and_then(|binding| describe(&binding)))
        }
        _ => None,
    }
}

fn list(bindings: &[Arc<Binding>]) -> Result<Planned, Error> {
    let text = |of: fn(&Binding) -> String| -> ArrayRef {
        Arc::new(
            bindings
                .iter()
                .map(|binding| Some(of(binding)))
                .collect::<StringArray>(),
        )
    };
    let generations: UInt64Array = bindings
        .iter()
        .map(|binding| Some(binding.generation.0))
        .collect();
    rows(vec![
        ("alias", text(|binding| binding.alias.to_string())),
        ("generation", Arc::new(generations)),
        ("runtime", text(|binding| binding.runtime.to_string())),
        ("returns", text(|binding| binding.returns.to_string())),
        ("inputs", text(inputs)),
        ("digest", text(|binding| binding.digest.short().to_owned())),
        ("uri", text(|binding| binding.uri.clone())),
    ])
}

fn inputs(binding: &Binding) -> String {
    let names: Vec<&str> = binding
        .elements
        .iter()
        .map(|element| element.name.as_str())
        .collect();
    names.join(", ")
}

fn describe(binding: &Binding) -> Result<Planned, Error> {
    let mut lines: Vec<[String; 3]> = Vec::new();
    for element in &binding.elements {
        lines.push([
            "input".to_owned(),
            element.name.clone(),
            element.element.to_string(),
        ]);
    }
    for output in &binding.signature.outputs {
        lines.push([
            "output".to_owned(),
            output.name.clone(),
            output.element.to_string(),
        ]);
    }
    for (input, column) in &binding.columns {
        lines.push(["column".to_owned(), input.clone(), column.clone()]);
    }
    for (what, value) in [
        ("returns", binding.returns.to_string()),
        ("runtime", binding.runtime.to_string()),
        ("digest", binding.digest.to_string()),
        ("uri", binding.uri.clone()),
    ] {
        lines.push(["model".to_owned(), what.to_owned(), value]);
    }
    let column = |index: usize| -> ArrayRef {
        Arc::new(
            lines
                .iter()
                .map(|line| Some(line[index].as_str()))
                .collect::<StringArray>(),
        )
    };
    rows(vec![
        ("part", column(0)),
        ("name", column(1)),
        ("value", column(2)),
    ])
}

fn rows(columns: Vec<(&str, ArrayRef)>) -> Result<Planned, Error> {
    let field = |(name, array): &(&str, ArrayRef)| {
        Field::new(
            *name,
            array.data_type().clone(),
            *array.data_type() != DataType::UInt64,
        )
    };
    let schema: SchemaRef = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)
        .map_err(|error| Error::new(ErrorCode::Bug, format!("cannot list models: {error}")))?;
    Ok(Planned::Rows(schema, vec![batch]))
}
