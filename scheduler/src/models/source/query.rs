//! A model in a table: the query gives one row of one column, whose value is the model's file as bytes or as hex text.

use std::fmt;
use std::sync::{Arc, Weak};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use whimbrel_graph::Format;
use whimbrel_predict::onnx::{MAX_BYTES, external_files};
use whimbrel_proto::{Error, ErrorCode};

use super::super::content::blocking;
use super::folder::too_large;
use super::hex;

/// Runs a query on the pool and reads its rows, which must be few.
#[async_trait]
pub(crate) trait Cells: Send + Sync + fmt::Debug {
    /// All rows of a query; an error where it is none, or gives more than `most` rows.
    async fn rows(&self, sql: &str, most: u64) -> Result<Vec<RecordBatch>, Error>;
}

pub(super) async fn read(cells: Option<&Weak<dyn Cells>>, sql: &str) -> Result<Bytes, Error> {
    let cells: Option<Arc<dyn Cells>> = cells.and_then(Weak::upgrade);
    let Some(cells) = cells else {
        return Err(
            Error::new(ErrorCode::Unavailable, "the pool runs no queries yet")
                .with_hint("try again"),
        );
    };
    let batches = cells.rows(sql, 1).await?;
    let value = one_value(&batches)?;
    let file = blocking(move || hex::decode(value, "the query's value")).await?;
    if file.len() as u64 > MAX_BYTES {
        return Err(too_large("the query's value", MAX_BYTES));
    }
    let checked = file.clone();
    let beside = blocking(move || match Format::of(&checked) {
        Format::Onnx => Ok(external_files(&checked).unwrap_or_default()),
        Format::LightGbm | Format::XgBoost => Ok(Vec::new()),
    })
    .await?;
    match beside.first() {
        None => Ok(file),
        Some(other) => Err(Error::new(
            ErrorCode::Invalid,
            format!("the model's weights are in the file '{other}', and a table has no files"),
        )
        .with_hint("save it as one file: onnx.save(model, path, save_as_external_data=False)")),
    }
}

fn one_value(batches: &[RecordBatch]) -> Result<Bytes, Error> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else {
        return Err(Error::new(ErrorCode::NotFound, "the query gives no row")
            .with_hint("check its WHERE: one row is the model"));
    };
    if rows > 1 {
        return Err(many_rows(rows as u64));
    }
    let [column] = batch.columns() else {
        return Err(Error::new(
            ErrorCode::Invalid,
            format!("the query gives {} columns", batch.num_columns()),
        )
        .with_hint("select the one column that holds the model"));
    };
    if column.is_null(0) {
        return Err(Error::new(ErrorCode::NotFound, "the query's value is NULL")
            .with_hint("check its WHERE: one row is the model"));
    }
    bytes_of(column).ok_or_else(|| {
        Error::new(
            ErrorCode::Invalid,
            format!("the query gives a value of type {}", column.data_type()),
        )
        .with_hint("select a column of bytes, or of hex text")
    })
}

/// More rows than one model.
pub(crate) fn many_rows(rows: u64) -> Error {
    Error::new(ErrorCode::Invalid, format!("the query gives {rows} rows"))
        .with_hint("add a WHERE, or LIMIT 1: one row is the model")
}

fn bytes_of(column: &ArrayRef) -> Option<Bytes> {
    let copy = Bytes::copy_from_slice;
    Some(match column.data_type() {
        DataType::Binary => copy(column.as_binary::<i32>().value(0)),
        DataType::LargeBinary => copy(column.as_binary::<i64>().value(0)),
        DataType::BinaryView => copy(column.as_binary_view().value(0)),
        DataType::FixedSizeBinary(_) => copy(column.as_fixed_size_binary().value(0)),
        DataType::Utf8 => copy(column.as_string::<i32>().value(0).as_bytes()),
        DataType::LargeUtf8 => copy(column.as_string::<i64>().value(0).as_bytes()),
        DataType::Utf8View => copy(column.as_string_view().value(0).as_bytes()),
        _ => return None,
    })
}
