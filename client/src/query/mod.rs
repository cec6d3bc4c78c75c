//! A SELECT, asked over Flight SQL and read from wherever its rows lie.
//!
//! The pool answers with one endpoint for each finished partition. Several are read at once, each into a bounded buffer, and
//! handed on in endpoint order, so that a query gives its rows in one order however the network behaves. A [`QueryStream`]
//! that is dropped before its end cancels the query; one that is read to its end gives up the rows, so that executors need not
//! keep them.

mod endpoint;
mod read;
mod ticket;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightDescriptor, FlightInfo};
use futures::Stream;
use prost::Message;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use whimbrel_proto::ids::QueryId;

use crate::connect::{Client, MAX_MESSAGE};
use crate::error::{Error, Result};
use endpoint::{Part, Peers};
use read::{Item, Reader};

/// Endpoints read at once. Each may hold [`read::BUFFER_BYTES`], so a query holds a bounded part of its rows.
const READERS: usize = 4;

/// The metadata key by which a client names its query before it is planned, so that it can watch and cancel it from the start.
pub const QUERY_ID_KEY: &str = "whimbrel-query-id";

/// The rows of a query, batch by batch, in a stable order.
#[derive(Debug)]
pub struct QueryStream {
    client: Client,
    schema: SchemaRef,
    query_id: Option<QueryId>,
    total_rows: Option<u64>,
    rows: u64,
    waiting: VecDeque<Part>,
    readers: VecDeque<Reader>,
    peers: Arc<Peers>,
    /// Whether executors keep rows of it.
    on_executors: bool,
    ended: bool,
}

impl Client {
    /// Runs a query. Dropping the future while the pool still plans or runs the query cancels it.
    pub async fn sql(&self, text: &str) -> Result<QueryStream> {
        self.request_query(text, None).await
    }

    /// Runs a query under a name of the caller's, by which it can be watched and cancelled while this call waits.
    pub async fn sql_as(&self, id: &QueryId, text: &str) -> Result<QueryStream> {
        self.request_query(text, Some(id)).await
    }

    async fn request_query(&self, text: &str, id: Option<&QueryId>) -> Result<QueryStream> {
        let command = CommandStatementQuery {
            query: text.to_owned(),
            transaction_id: None,
        };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let mut request = Request::new(descriptor);
        if let Some(id) = id
            && let Ok(value) = MetadataValue::<Ascii>::try_from(id.as_str())
        {
            request.metadata_mut().insert(QUERY_ID_KEY, value);
        }
        let mut flight =
            FlightServiceClient::new(self.service()).max_decoding_message_size(MAX_MESSAGE);
        let answer = flight.get_flight_info(request).await;
        QueryStream::open(
            self.clone(),
            answer.map_err(|status| self.failed(status))?.into_inner(),
        )
    }
}

impl QueryStream {
    fn open(client: Client, info: FlightInfo) -> Result<Self> {
        let total_rows = u64::try_from(info.total_records).ok();
        let query_id = std::str::from_utf8(&info.app_metadata)
            .ok()
            .and_then(|text| text.parse().ok());
        let waiting: VecDeque<Part> = info
            .endpoint
            .iter()
            .cloned()
            .enumerate()
            .map(Part::from)
            .collect();
        let on_executors = waiting.iter().any(Part::is_on_executor);
        let schema = info.try_decode_schema().map_err(|error| Error::Protocol {
            what: "a result's schema",
            reason: error.to_string(),
        })?;
        let peers = Arc::new(Peers::default());
        let schema = Arc::new(schema);
        let readers = VecDeque::with_capacity(READERS);
        let mut stream = Self {
            client,
            schema,
            query_id,
            total_rows,
            rows: 0,
            waiting,
            readers,
            peers,
            on_executors,
            ended: false,
        };
        stream.start_readers();
        Ok(stream)
    }

    /// The columns of the result; every batch has exactly these.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The pool's name of the query, where the statement ran as one.
    pub fn query_id(&self) -> Option<&QueryId> {
        self.query_id.as_ref()
    }

    /// Rows that will come, where the pool knows.
    pub fn total_rows(&self) -> Option<u64> {
        self.total_rows
    }

    /// Rows handed on so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the query and waits until the pool knows.
    pub async fn cancel(mut self) -> Result<()> {
        self.ended = true;
        self.readers.clear();
        self.waiting.clear();
        match self.query_id.take() {
            Some(id) => self.client.cancel_query(&id).await.map(drop),
            None => Ok(()),
        }
    }

    fn start_readers(&mut self) {
        while self.readers.len() < READERS
            && let Some(part) = self.waiting.pop_front()
        {
            let peers = Arc::clone(&self.peers);
            self.readers.push_back(Reader::start(
                self.client.clone(),
                peers,
                part,
                Arc::clone(&self.schema),
            ));
        }
    }

    /// The pool said how many rows the result has; every part being whole, the sum is right too, unless a part is missing.
    fn check_total(&self) -> Result<()> {
        match self.total_rows {
            Some(expected) if expected != self.rows => Err(Error::RowsLost {
                part: "the result".to_owned(),
                expected,
                got: self.rows,
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<RecordBatch>>> {
        self.readers.clear();
        self.waiting.clear();
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let Some(reader) = this.readers.front_mut() else {
                if this.ended {
                    return Poll::Ready(None);
                }
                this.ended = true;
                return match this.check_total() {
                    Ok(()) => {
                        if this.on_executors {
                            this.end_in_background();
                        }
                        Poll::Ready(None)
                    }
                    Err(error) => Poll::Ready(Some(Err(error))),
                };
            };
            match futures::ready!(reader.poll_next(cx)) {
                Item::Batch(batch) => {
                    this.rows += batch.num_rows() as u64;
                    return Poll::Ready(Some(Ok(batch)));
                }
                Item::End => {
                    this.readers.pop_front();
                    this.start_readers();
                }
                Item::Failed(error) => {
                    this.end_in_background();
                    return this.fail(error);
                }
            }
        }
    }
}

impl QueryStream {
    /// Ends the query, or gives up its rows where it has ended. Nobody waits for the answer; a process on its way out closes its
    /// connections, which says the same.
    fn end_in_background(&mut self) {
        self.ended = true;
        if let Some(id) = self.query_id.clone() {
            let client = self.client.clone();
            self.client.in_background(async move {
                if let Err(error) = client.cancel_query(&id).await {
                    tracing::debug!(query_id = %id, %error, "could not end a query that is no longer read");
                }
            });
        }
    }
}

impl Drop for QueryStream {
    fn drop(&mut self) {
        if !self.ended {
            self.end_in_background();
        }
    }
}

#[cfg(test)]
mod tests;
