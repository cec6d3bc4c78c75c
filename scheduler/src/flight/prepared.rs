//! Prepared statements: a statement's text kept in its session, and the values that were bound to its parameters last.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::server::PeekableFlightDataStream;
use arrow_flight::{IpcMessage, SchemaAsIpc};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use whimbrel_proto::{Error, ErrorCode};

use crate::query::Ask;
use crate::session::Prepared;

/// Rows of parameters that one call may bind.
const MOST_ROWS: usize = 10_000;
/// And their bytes.
const MOST_BYTES: usize = 16 << 20;

/// The name of a prepared statement.
pub(super) fn handle(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| {
        Error::new(
            ErrorCode::NotFound,
            "the prepared statement does not exist in this session",
        )
    })
}

/// Reads the values that a client sends for a statement's parameters: a row for each time that it is to run. `None` where it sends
/// none at all.
pub(super) async fn values(
    stream: PeekableFlightDataStream,
) -> Result<Option<Vec<Vec<ScalarValue>>>, Error> {
    let data = stream.map_err(|status| FlightError::Tonic(Box::new(status)));
    // A client that binds nothing sends no schema either.
    let mut batches = FlightRecordBatchStream::new_from_flight_data(
        data.try_filter(|data| futures::future::ready(!data.data_header.is_empty())),
    );
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = batches.try_next().await.map_err(unreadable)? {
        bytes += batch.get_array_memory_size();
        if rows.len() + batch.num_rows() > MOST_ROWS || bytes > MOST_BYTES {
            return Err(Error::new(
                ErrorCode::Exhausted,
                format!("more than {MOST_ROWS} rows, or 16 MiB, of parameters in one call"),
            )
            .with_hint("bind fewer at a time"));
        }
        for row in 0..batch.num_rows() {
            rows.push(scalars(&batch, row)?);
        }
    }
    Ok(batches.schema().is_some().then_some(rows))
}

fn scalars(batch: &RecordBatch, row: usize) -> Result<Vec<ScalarValue>, Error> {
    let columns = batch.columns().iter();
    columns
        .map(|column| {
            ScalarValue::try_from_array(column, row).map_err(|error| {
                Error::new(
                    ErrorCode::Invalid,
                    format!("a parameter cannot be read: {}", error.strip_backtrace()),
                )
            })
        })
        .collect()
}

fn unreadable(error: FlightError) -> Error {
    match error {
        FlightError::Tonic(status) => Error::from(*status),
        other => Error::new(
            ErrorCode::Invalid,
            format!("the parameters cannot be read: {other}"),
        ),
    }
}

/// The statement with its values, to be run once: a query has one result.
pub(super) fn once(prepared: Prepared) -> Result<Ask, Error> {
    let Prepared { sql, mut rows, .. } = prepared;
    if rows.len() > 1 {
        return Err(Error::new(
            ErrorCode::Invalid,
            format!(
                "{} rows of parameters were bound to a query, which has one result",
                rows.len()
            ),
        )
        .with_hint("bind one row and run it, for each"));
    }
    let values = rows.pop().unwrap_or_default();
    Ok(Ask { sql, values })
}

/// The statement with its values, once for each row that was sent with it, else that was bound before.
pub(super) fn each(prepared: Prepared, sent: Option<Vec<Vec<ScalarValue>>>) -> Vec<Ask> {
    let Prepared { sql, rows, .. } = prepared;
    let once = sent.is_none() && rows.is_empty();
    let rows = sent.unwrap_or(rows);
    if once {
        return vec![Ask {
            sql,
            values: Vec::new(),
        }];
    }
    let ask = |values| Ask {
        sql: sql.clone(),
        values,
    };
    rows.into_iter().map(ask).collect()
}

/// The parameters as a schema, in their order.
pub(super) fn parameter_schema(kinds: &[DataType]) -> Result<Bytes, Error> {
    if kinds.is_empty() {
        return Ok(Bytes::new());
    }
    let fields = kinds.iter().enumerate();
    let fields = fields.map(|(at, kind)| Field::new(format!("${}", at + 1), kind.clone(), true));
    ipc(&Schema::new(fields.collect::<Vec<_>>()))
}

/// A schema as an IPC message.
pub(super) fn ipc(schema: &Schema) -> Result<Bytes, Error> {
    let options = IpcWriteOptions::default();
    let message: Result<IpcMessage, _> = SchemaAsIpc::new(schema, &options).try_into();
    match message {
        Ok(IpcMessage(bytes)) => Ok(bytes),
        Err(error) => Err(Error::new(
            ErrorCode::Bug,
            format!("cannot describe the result: {error}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(rows: usize) -> Prepared {
        Prepared {
            sql: "SELECT ?".to_owned(),
            rows: vec![vec![ScalarValue::Int64(Some(1))]; rows],
            ..Prepared::default()
        }
    }

    #[test]
    fn a_query_takes_one_row_and_a_change_as_many_as_there_are() {
        assert_eq!(once(prepared(0)).unwrap().values.len(), 0);
        assert_eq!(once(prepared(1)).unwrap().values.len(), 1);
        assert!(once(prepared(2)).is_err());
        assert_eq!(each(prepared(0), None).len(), 1);
        assert_eq!(each(prepared(3), None).len(), 3);
        assert_eq!(each(prepared(3), Some(Vec::new())).len(), 0);
    }
}
