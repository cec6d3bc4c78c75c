//! Rows that lie on executors, read by the scheduler: to pass them on, or to look at a few itself. Its tickets are its own: they
//! stand for whoever it reads the rows for.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightData, Ticket};
use futures::TryStreamExt;
use tonic::transport::{Channel, Endpoint as Address};
use tonic::{Request, Streaming};
use whimbrel_access::{ClientTls, TicketSigner};
use whimbrel_proto::v1::ResultTicket;
use whimbrel_proto::{Error, ErrorCode};

use crate::executors::Member;
use crate::query::Endpoint;

const CONNECT: Duration = Duration::from_secs(5);
/// An executor that vanished without a word is noticed after twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// HTTP/2's own 64 KiB would make every stream wait for its reader.
const STREAM_WINDOW: u32 = 4 << 20;
/// A wide batch is one message.
const MAX_MESSAGE: usize = 512 << 20;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct ExecutorReader {
    pub(crate) signer: Arc<TicketSigner>,
    pub(crate) tls: ClientTls,
}

impl ExecutorReader {
    /// The rows behind a ticket, as the executor sends them.
    pub(crate) async fn open(
        &self,
        member: &Member,
        ticket: ResultTicket,
    ) -> Result<Streaming<FlightData>, Error> {
        self.ask(&member.client_address, member.client_tls, ticket)
            .await
    }

    /// All rows of an endpoint; fewer than it promises are an error.
    pub(crate) async fn read(&self, endpoint: &Endpoint) -> Result<Vec<RecordBatch>, Error> {
        let Endpoint {
            ticket,
            address,
            tls,
            ..
        } = endpoint;
        let data = self.ask(address, *tls, ticket.clone()).await?;
        let data = data.map_err(|status| FlightError::Tonic(Box::new(status)));
        let rows = FlightRecordBatchStream::new_from_flight_data(data);
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

    async fn ask(
        &self,
        address: &str,
        tls: bool,
        ticket: ResultTicket,
    ) -> Result<Streaming<FlightData>, Error> {
        let executor_id = ticket.executor_id.clone();
        let channel = self.connect(address, tls).await.map_err(|error| {
            tracing::warn!(executor_id, %error, "an executor does not answer for its rows");
            Error::new(
                ErrorCode::Unavailable,
                format!("executor {executor_id} does not answer for its rows"),
            )
            .with_hint("try again, or run the query again")
        })?;
        let own = ResultTicket {
            own: true,
            ..ticket
        };
        let asked = Request::new(Ticket::new(self.signer.sign(&own)));
        let mut client = FlightServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        Ok(client.do_get(asked).await?.into_inner())
    }

    async fn connect(&self, address: &str, tls: bool) -> Result<Channel, Error> {
        let unreachable =
            |error: tonic::transport::Error| Error::new(ErrorCode::Unavailable, error.to_string());
        let scheme = if tls { "https" } else { "http" };
        let mut endpoint = Address::try_from(format!("{scheme}://{address}"))
            .map_err(unreachable)?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW);
        if tls {
            endpoint = self.tls.apply(endpoint)?;
        }
        endpoint.connect().await.map_err(unreachable)
    }
}
