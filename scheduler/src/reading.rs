//! Rows that lie on executors, read by the scheduler: to pass them on, or to look at a few itself.

use std::time::Duration;

use arrow::record_batch::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightData, Ticket};
use futures::TryStreamExt;
use prost::Message;
use tonic::transport::Endpoint;
use tonic::{Request, Status, Streaming};
use whimbrel_proto::v1::ResultTicket;
use whimbrel_proto::{Error, ErrorCode};

const CONNECT: Duration = Duration::from_secs(5);
/// HTTP/2's own 64 KiB would make every stream wait for its reader.
const STREAM_WINDOW: u32 = 4 << 20;
/// A wide batch is one message.
const MAX_MESSAGE: usize = 512 << 20;

/// The rows behind a ticket, as the executor sends them.
pub(crate) async fn open(
    executor_id: &str,
    address: &str,
    token: Option<&str>,
    ticket: Ticket,
) -> Result<Streaming<FlightData>, Status> {
    let unreachable = |error: &dyn std::error::Error| {
        tracing::warn!(executor_id, error = %error, "an executor does not answer for its rows");
        Error::new(
            ErrorCode::Unavailable,
            format!("executor {executor_id} does not answer for its rows"),
        )
        .with_hint("try again, or run the query again")
    };
    let channel = Endpoint::try_from(format!("http://{address}"))
        .map_err(|error| unreachable(&error))?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW)
        .connect()
        .await
        .map_err(|error| unreachable(&error))?;
    let mut request = Request::new(ticket);
    if let Some(token) = token {
        let bearer = format!("Bearer {token}")
            .parse()
            .map_err(|_| Status::internal("the token is no header value"))?;
        request.metadata_mut().insert("authorization", bearer);
    }
    let mut client = FlightServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    Ok(client.do_get(request).await?.into_inner())
}

/// All rows behind a ticket; fewer than it promises are an error.
pub(crate) async fn read(
    address: &str,
    token: Option<&str>,
    ticket: &ResultTicket,
) -> Result<Vec<RecordBatch>, Error> {
    let asked = Ticket::new(ticket.encode_to_vec());
    let data = open(&ticket.executor_id, address, token, asked).await?;
    let rows = FlightRecordBatchStream::new_from_flight_data(data.map_err(FlightError::from));
    let batches: Vec<RecordBatch> = rows.try_collect().await.map_err(|error| match error {
        FlightError::Tonic(status) => Error::from(*status),
        other => Error::new(
            ErrorCode::Unavailable,
            format!("rows cannot be read: {other}"),
        ),
    })?;
    let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if count as u64 != ticket.rows {
        let text = format!(
            "executor {} gave {count} rows of {}",
            ticket.executor_id, ticket.rows
        );
        return Err(Error::new(ErrorCode::Unavailable, text).with_hint("run it again"));
    }
    Ok(batches)
}
