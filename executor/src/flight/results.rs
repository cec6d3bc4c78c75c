//! The client port's Flight: `do_get` for a `ResultTicket`. The rows come straight from the finished file, message by
//! message; a stream that ends well has brought exactly the rows that the ticket promises, anything else is an error.

use std::fs::File;
use std::io::{self, BufReader};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;
use whimbrel_proto::ids::{ExecutorId, JobId};
use whimbrel_proto::v1::ResultTicket;
use whimbrel_proto::{Error, ErrorCode};

use super::door::ClientDoor;
use super::ipc::Messages;
use super::served::{OpenStream, Served};
use super::{ResultFile, ResultIndex};
use crate::serve::{Outgoing, until};

/// What the file is read through; the bodies of batches pass it by.
const BUFFER: usize = 64 << 10;

/// Serves the results that this executor wrote.
#[derive(Clone, Debug)]
pub(crate) struct ResultsService {
    pub(crate) id: ExecutorId,
    pub(crate) index: Arc<ResultIndex>,
    pub(crate) door: Arc<ClientDoor>,
    pub(crate) served: Served,
    pub(crate) stop: CancellationToken,
}

impl ResultsService {
    async fn open(&self, ticket: ResultTicket) -> Result<Sent, Error> {
        let found = self.find(&ticket)?;
        let path = found.path.clone();
        let opened = blocking(move || {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        });
        let (file, length) = opened.await.map_err(|error| {
            Error::new(
                ErrorCode::NotFound,
                format!("the rows of query {} are gone: {error}", ticket.query_id),
            )
            .with_hint(ASK_AGAIN)
        })?;
        debug!(
            job_id = ticket.job_id,
            partition = ticket.partition,
            rows = found.rows,
            bytes = length,
            "sending results"
        );
        let open = self.served.open(&ticket.job_id);
        let messages = Messages::new(BufReader::with_capacity(BUFFER, file), length);
        Ok(Sent {
            messages: sending(messages, ticket, self.served.clone()),
            open,
        })
    }

    /// The file that the ticket means, if this executor wrote it and every field agrees.
    fn find(&self, ticket: &ResultTicket) -> Result<ResultFile, Error> {
        let ResultTicket {
            query_id,
            job_id,
            stage_id,
            partition,
            executor_id,
            file,
            rows,
            user: _,
            expires_unix: _,
            own: _,
        } = ticket;
        if executor_id != self.id.as_str() {
            return Err(Error::new(
                ErrorCode::Denied,
                format!("the ticket is for another executor than {}", self.id),
            )
            .with_hint(ASK_AGAIN));
        }
        let job_id: JobId = job_id.parse()?;
        let found = self.index.find(job_id.as_str(), file);
        let found = found
            .filter(|found| found.stage_id == *stage_id && found.partition == *partition)
            .ok_or_else(|| {
                Error::new(
                    ErrorCode::NotFound,
                    format!("query {query_id} has no such result on this executor"),
                )
                .with_hint("results are removed some time after their query; run it again")
            })?;
        if found.rows == *rows {
            Ok(found)
        } else {
            Err(miscount(ticket, found.rows))
        }
    }
}

/// What one client reads. It has read it whole once it was told of the end, or of an error.
struct Sent {
    messages: BoxStream<'static, Result<FlightData, Error>>,
    open: OpenStream,
}

impl Stream for Sent {
    type Item = Result<FlightData, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.messages.poll_next_unpin(cx);
        if let Poll::Ready(None | Some(Err(_))) = &next {
            self.open.whole();
        }
        next.map_err(Status::from)
    }
}

const ASK_AGAIN: &str = "ask the scheduler for the query's endpoints, or run it again";

fn miscount(ticket: &ResultTicket, rows: u64) -> Error {
    let ResultTicket {
        query_id,
        partition,
        rows: promised,
        ..
    } = ticket;
    Error::new(
        ErrorCode::Data,
        format!("query {query_id}, partition {partition}: {rows} rows here, {promised} promised"),
    )
    .with_hint("run the query again")
}

/// The file's messages, each read when the one before is on its way: a client that stalls holds no more than that one.
fn sending(
    messages: Messages<BufReader<File>>,
    ticket: ResultTicket,
    served: Served,
) -> BoxStream<'static, Result<FlightData, Error>> {
    let begun = (messages, ticket, 0);
    stream::try_unfold(begun, move |(mut messages, ticket, mut rows)| {
        let served = served.clone();
        async move {
            let read = blocking(move || Ok((messages.next()?, messages)));
            match read.await {
                Ok((Some(message), messages)) => {
                    rows += message.rows;
                    served.sent(message.data.data_header.len() + message.data.data_body.len());
                    Ok(Some((message.data, (messages, ticket, rows))))
                }
                Ok((None, _)) if rows == ticket.rows => Ok(None),
                Ok((None, _)) => Err(miscount(&ticket, rows)),
                Err(error) => Err(broken(&ticket, &error)),
            }
        }
    })
    .boxed()
}

/// Files are read where threads may block.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(read).await.map_err(io::Error::other)?
}

fn broken(ticket: &ResultTicket, error: &io::Error) -> Error {
    let ResultTicket {
        query_id,
        partition,
        ..
    } = ticket;
    Error::new(
        ErrorCode::Data,
        format!("query {query_id}, partition {partition}: the result file cannot be read: {error}"),
    )
    .with_hint("run the query again")
}

impl ResultsService {
    /// Whoever is let in learns that there is nothing but `do_get`.
    async fn refused(&self, what: &str, metadata: &MetadataMap) -> Status {
        if let Err(error) = self.door.enter(metadata).await {
            return error.into();
        }
        Error::new(
            ErrorCode::Invalid,
            format!("an executor does not serve {what}"),
        )
        .with_hint("an executor's client port has do_get only; ask the scheduler for the rest")
        .into()
    }
}

#[tonic::async_trait]
impl FlightService for ResultsService {
    type HandshakeStream = Outgoing<HandshakeResponse>;
    type ListFlightsStream = Outgoing<FlightInfo>;
    type DoGetStream = Outgoing<FlightData>;
    type DoPutStream = Outgoing<PutResult>;
    type DoActionStream = Outgoing<arrow_flight::Result>;
    type ListActionsStream = Outgoing<ActionType>;
    type DoExchangeStream = Outgoing<FlightData>;

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        let asked = &request.get_ref().ticket;
        let ticket = self.door.check(asked, request.metadata()).await?;
        let stream = self.open(ticket).await?;
        Ok(Response::new(until(stream, self.stop.clone())))
    }

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(self.refused("handshake", request.metadata()).await)
    }

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(self.refused("list_flights", request.metadata()).await)
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Err(self.refused("get_flight_info", request.metadata()).await)
    }

    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(self.refused("poll_flight_info", request.metadata()).await)
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        Err(self.refused("get_schema", request.metadata()).await)
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        Err(self.refused("do_put", request.metadata()).await)
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        Err(self.refused("do_action", request.metadata()).await)
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(self.refused("list_actions", request.metadata()).await)
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(self.refused("do_exchange", request.metadata()).await)
    }
}
