//! Lists, structs and maps in formats of texts: CSV holds them as JSON, and the keys of JSON are texts.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

/// The rows as JSON can hold them.
pub(super) fn for_json(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    changed(batch, |field, column| {
        let keyed = with_text_keys(field.data_type());
        if keyed == *field.data_type() {
            return Ok(Arc::clone(column));
        }
        arrow::compute::cast(column, &keyed)
    })
}

/// The rows as CSV can hold them.
pub(super) fn for_csv(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if !batch.schema_ref().fields().iter().any(is_nested) {
        return Ok(batch.clone());
    }
    let batch = for_json(batch)?;
    changed(&batch, |field, column| match is_nested(field) {
        true => texts(field, column),
        false => Ok(Arc::clone(column)),
    })
}

fn is_nested(field: &FieldRef) -> bool {
    match field.data_type() {
        DataType::Dictionary(_, values) => values.is_nested(),
        data_type => data_type.is_nested(),
    }
}

fn changed(
    batch: &RecordBatch,
    change: impl Fn(&FieldRef, &ArrayRef) -> Result<ArrayRef, ArrowError>,
) -> Result<RecordBatch, ArrowError> {
    let old = batch.schema_ref();
    let columns: Vec<ArrayRef> = old
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| change(field, column))
        .collect::<Result<_, _>>()?;
    let fields = old.fields().iter().zip(&columns).map(|(field, column)| {
        let field = field.as_ref().clone();
        field.with_data_type(column.data_type().clone())
    });
    let schema = Schema::new_with_metadata(fields.collect::<Vec<Field>>(), old.metadata().clone());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
}

/// The type with texts for the keys of every map in it.
fn with_text_keys(data_type: &DataType) -> DataType {
    let inner = |field: &FieldRef| {
        let data_type = with_text_keys(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    };
    match data_type {
        DataType::List(field) => DataType::List(inner(field)),
        DataType::LargeList(field) => DataType::LargeList(inner(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(inner(field), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        DataType::Map(entries, sorted) => DataType::Map(text_keys(entries, inner), *sorted),
        other => other.clone(),
    }
}

fn text_keys(entries: &FieldRef, inner: impl Fn(&FieldRef) -> FieldRef) -> FieldRef {
    let DataType::Struct(fields) = entries.data_type() else {
        return Arc::clone(entries);
    };
    let place = |(at, field): (usize, &FieldRef)| match (at, field.data_type()) {
        (0, DataType::Utf8) => Arc::clone(field),
        (0, _) => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        _ => inner(field),
    };
    let fields: Fields = fields.iter().enumerate().map(place).collect();
    Arc::new(
        entries
            .as_ref()
            .clone()
            .with_data_type(DataType::Struct(fields)),
    )
}

/// Each value as a line of JSON.
fn texts(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, column.as_ref(), &options)?;
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..column.len() {
        if encoder.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        let written = std::str::from_utf8(&text);
        texts.append_value(written.map_err(|error| ArrowError::ExternalError(Box::new(error)))?);
    }
    Ok(Arc::new(texts.finish()))
}
