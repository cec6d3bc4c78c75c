//! The bindings as a table: `SHOW MODELS` and `information_schema.models`.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, TimestampMillisecondArray, UInt64Array};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use whimbrel_predict::binding::{Binding, InputElement};
use whimbrel_predict::types::returns_name;
use whimbrel_proto::{Error, ErrorCode};

/// A row per binding.
pub(crate) fn as_table(bindings: &[Arc<Binding>]) -> Result<RecordBatch, Error> {
    let text = |of: fn(&Binding) -> String| -> ArrayRef {
        Arc::new(
            bindings
                .iter()
                .map(|binding| Some(of(binding)))
                .collect::<StringArray>(),
        )
    };
    let number = |of: fn(&Binding) -> u64| -> ArrayRef {
        Arc::new(
            bindings
                .iter()
                .map(|binding| Some(of(binding)))
                .collect::<UInt64Array>(),
        )
    };
    let bound_at: TimestampMillisecondArray = bindings
        .iter()
        .map(|binding| Some(binding.bound_at_ms))
        .collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("alias", text(|binding| binding.alias.to_string())),
        ("generation", number(|binding| binding.generation.0)),
        ("runtime", text(|binding| binding.runtime.to_string())),
        ("returns", text(returns)),
        ("inputs", text(inputs)),
        ("options", text(options)),
        ("digest", text(|binding| binding.digest.to_string())),
        ("size_bytes", number(|binding| binding.size_bytes)),
        ("bound_at", Arc::new(bound_at.with_timezone("UTC"))),
        ("uri", text(|binding| binding.uri.clone())),
    ];
    let field = |(name, array): &(&str, ArrayRef)| {
        Arc::new(Field::new(*name, array.data_type().clone(), false))
    };
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(schema), arrays)
        .map_err(|error| Error::new(ErrorCode::Bug, format!("cannot list models: {error}")))
}

/// The type of PREDICT's value as SQL names it.
pub(crate) fn returns(binding: &Binding) -> String {
    returns_name(&binding.returns).unwrap_or_else(|_| binding.returns.to_string())
}

fn inputs(binding: &Binding) -> String {
    let names = binding.elements.iter();
    names
        .map(|element: &InputElement| element.name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn options(binding: &Binding) -> String {
    let pairs = binding.options.pairs().into_iter();
    pairs
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(", ")
}
