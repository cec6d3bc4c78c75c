//! SHOW MODELS and DESCRIBE MODEL: what can be predicted with, as rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use whimbrel_predict::binding::{Binding, InputElement};
use whimbrel_predict::signature::OutputSpec;
use whimbrel_predict::types::returns_name;
use whimbrel_proto::{Error, ErrorCode};

use super::super::Planned;
use crate::models::{as_table, returns};

/// SHOW MODELS: a row per binding.
pub(super) fn list(bindings: &[Arc<Binding>]) -> Result<Planned, Error> {
    let batch = as_table(bindings)?;
    Ok(Planned::Rows(batch.schema(), vec![batch]))
}

/// DESCRIBE MODEL: a row per fact.
pub(super) fn describe(binding: &Binding) -> Result<Planned, Error> {
    let mut lines: Vec<[String; 3]> = Vec::new();
    let mut say = |part: &str, name: &str, value: String| {
        lines.push([part.to_owned(), name.to_owned(), value]);
    };
    for element in &binding.elements {
        say("input", &element.name, input(element));
    }
    for output in &binding.signature.outputs {
        say("output", &output.name, output_type(output));
    }
    for (input, column) in &binding.columns {
        say("column", input, column.clone());
    }
    for (key, value) in binding.options.pairs() {
        say("option", &key, value);
    }
    say("model", "returns", returns(binding));
    say("model", "runtime", binding.runtime.to_string());
    say("model", "generation", binding.generation.0.to_string());
    say("model", "digest", binding.digest.to_string());
    say("model", "bytes", binding.size_bytes.to_string());
    say("model", "uri", binding.uri.clone());
    if binding.resolved != binding.uri {
        say("model", "resolved", binding.resolved.clone());
    }
    if let Some(version) = &binding.version {
        say("model", "version", version.clone());
    }
    for (library, version) in &binding.recorded {
        say("made with", library, version.clone());
    }
    for note in &binding.notes {
        say("note", "", note.clone());
    }
    let batch = texts(&["part", "name", "value"], &lines)?;
    Ok(Planned::Rows(batch.schema(), vec![batch]))
}

fn input(element: &InputElement) -> String {
    let mut text = element.element.to_string();
    for size in &element.shape {
        match size {
            ..0 => text.push_str("[]"),
            size => text.push_str(&format!("[{size}]")),
        }
    }
    if element.optional {
        text.push_str(", optional");
    }
    if element.unused {
        text.push_str(", not used by the model");
    }
    if let Some(default) = &element.default {
        text.push_str(&format!(", default {}", default.text()));
    }
    text
}

fn output_type(output: &OutputSpec) -> String {
    let own = output.data_type();
    returns_name(&own).unwrap_or_else(|_| own.to_string())
}

fn texts<const N: usize>(names: &[&str; N], lines: &[[String; N]]) -> Result<RecordBatch, Error> {
    let fields = names.map(|name| Field::new(name, DataType::Utf8, false));
    let column = |place: usize| -> ArrayRef {
        let values = lines.iter().map(|line| Some(line[place].as_str()));
        Arc::new(values.collect::<StringArray>())
    };
    let schema = Arc::new(Schema::new(fields.to_vec()));
    RecordBatch::try_new(schema, (0..N).map(column).collect())
        .map_err(|error| Error::new(ErrorCode::Bug, format!("cannot describe a model: {error}")))
}
