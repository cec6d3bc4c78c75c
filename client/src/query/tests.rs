//! Reading against a pool that is not one: a Flight server of a few lines that loses, cuts and mislays rows as told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use arrow::array::Int64Array;
use arrow::record_batch::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use prost::Message;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use whimbrel_proto::v1::pool_service_server::{PoolService, PoolServiceServer};
use whimbrel_proto::v1::{
    CancelQueryRequest, CancelQueryResponse, GetPoolStatusRequest, GetPoolStatusResponse,
    QueryProgress, ResultTicket, SignedTicket, WatchQueryRequest,
};
use whimbrel_proto::{Error as PoolError, ErrorCode};

use crate::{Client, Error, PoolAddress, Token};

/// How a server answers to the ticket of a part.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// All rows of the part.
    Whole,
    /// The first rows, then a clean end.
    Short(i64),
    /// The first rows, then a broken stream.
    Broken(i64),
    /// An error of the pool.
    Refuse(ErrorCode),
}

/// Rows of every part.
const ROWS: i64 = 100;
/// Rows of every batch.
const BATCH: i64 = 7;

struct Server {
    /// Where each part lies, for `get_flight_info`.
    parts: Vec<Option<String>>,
    total: i64,
    /// By part; a part that is not here is whole.
    answers: HashMap<u32, Answer>,
    asked: Arc<Mutex<Vec<u32>>>,
    ended: Arc<Mutex<Vec<String>>>,
}

/// A server that runs until it is dropped.
struct Running {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<u32>>>,
    ended: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    fn executor(answers: &[(u32, Answer)]) -> Self {
        let answers = answers.iter().copied().collect();
        Self {
            parts: vec![],
            total: -1,
            answers,
            asked: Arc::default(),
            ended: Arc::default(),
        }
    }

    fn pool(parts: Vec<Option<String>>, answers: &[(u32, Answer)]) -> Self {
        let total = ROWS * i64::try_from(parts.len()).unwrap();
        Self {
            parts,
            total,
            ..Self::executor(answers)
        }
    }

    async fn start(self) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, ended) = (Arc::clone(&self.asked), Arc::clone(&self.ended));
        let queries = Queries(Arc::clone(&self.ended));
        let serve = tonic::transport::Server::builder()
            .add_service(FlightServiceServer::new(self))
            .add_service(PoolServiceServer::new(queries))
            .serve_with_incoming(TcpIncoming::from(listener));
        Running {
            address,
            asked,
            ended,
            task: tokio::spawn(async { serve.await.unwrap() }),
        }
    }
}

impl Running {
    fn location(&self) -> Option<String> {
        Some(format!("grpc+tcp://{}", self.address))
    }

    async fn client(&self) -> Client {
        Client::connect(PoolAddress::from(self.address), Token::none())
            .await
            .unwrap()
    }

    fn asked(&self) -> Vec<u32> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort_unstable();
        asked
    }
}

fn batches(part: u32, rows: i64) -> Vec<RecordBatch> {
    let first = i64::from(part) * ROWS;
    let batch = |start: i64| {
        let values = (first + start..first + (start + BATCH).min(rows)).collect::<Vec<_>>();
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(values)) as _)]).unwrap()
    };
    (0..rows)
        .step_by(usize::try_from(BATCH).unwrap())
        .map(batch)
        .collect()
}

fn ticket(part: u32) -> Ticket {
    let ticket = ResultTicket {
        query_id: "q".to_owned(),
        executor_id: "e".to_owned(),
        file: "f".to_owned(),
        partition: part,
        rows: u64::try_from(ROWS).unwrap(),
        ..ResultTicket::default()
    };
    let signed = SignedTicket {
        ticket: ticket.encode_to_vec(),
        ..SignedTicket::default()
    };
    Ticket::new(signed.encode_to_vec())
}

type Answered<T> = Result<Response<T>, Status>;
type Rows<T> = Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl FlightService for Server {
    type HandshakeStream = Rows<HandshakeResponse>;
    type ListFlightsStream = Rows<FlightInfo>;
    type DoGetStream = Rows<FlightData>;
    type DoPutStream = Rows<PutResult>;
    type DoActionStream = Rows<arrow_flight::Result>;
    type ListActionsStream = Rows<ActionType>;
    type DoExchangeStream = Rows<FlightData>;

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Answered<FlightInfo> {
        let schema = batches(0, 1)[0].schema();
        let mut info = FlightInfo::new()
            .try_with_schema(&schema)
            .unwrap()
            .with_total_records(self.total)
            .with_app_metadata("q1");
        for (part, location) in self.parts.iter().enumerate() {
            let endpoint = FlightEndpoint::new().with_ticket(ticket(u32::try_from(part).unwrap()));
            info = info.with_endpoint(match location {
                Some(uri) => endpoint.with_location(uri),
                None => endpoint,
            });
        }
        Ok(Response::new(info))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Answered<Self::DoGetStream> {
        let signed = SignedTicket::decode(request.into_inner().ticket).unwrap();
        let part = ResultTicket::decode(signed.ticket.as_slice())
            .unwrap()
            .partition;
        self.asked.lock().unwrap().push(part);
        let (rows, ending) = match self.answers.get(&part).copied().unwrap_or(Answer::Whole) {
            Answer::Whole => (ROWS, None),
            Answer::Short(rows) => (rows, None),
            Answer::Broken(rows) => (rows, Some(PoolError::new(ErrorCode::Unavailable, "going"))),
            Answer::Refuse(code) => return Err(PoolError::new(code, "no such part").into()),
        };
        let schema = batches(0, 1)[0].schema();
        let ending = ending.map(|error| Err(FlightError::Tonic(Box::new(error.into()))));
        let rows: BoxStream<'static, _> =
            futures::stream::iter(batches(part, rows).into_iter().map(Ok).chain(ending)).boxed();
        let stream = FlightDataEncoderBuilder::new()
            .with_schema(schema)
            .build(rows);
        Ok(Response::new(Box::pin(stream.map_err(Status::from))))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Answered<Self::HandshakeStream> {
        Err(Status::unimplemented("not for clients"))
    }
    async fn list_flights(&self, _: Request<Criteria>) -> Answered<Self::ListFlightsStream> {
        Err(Status::unimplemented("not for clients"))
    }
    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Answered<PollInfo> {
        Err(Status::unimplemented("not for clients"))
    }
    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Answered<SchemaResult> {
        Err(Status::unimplemented("not for clients"))
    }
    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Answered<Self::DoPutStream> {
        Err(Status::unimplemented("not for clients"))
    }
    async fn do_action(&self, _: Request<Action>) -> Answered<Self::DoActionStream> {
        Err(Status::unimplemented("not for clients"))
    }
    async fn list_actions(&self, _: Request<Empty>) -> Answered<Self::ListActionsStream> {
        Err(Status::unimplemented("not for clients"))
    }
    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Answered<Self::DoExchangeStream> {
        Err(Status::unimplemented("not for clients"))
    }
}

/// Notes which queries were ended.
struct Queries(Arc<Mutex<Vec<String>>>);

#[tonic::async_trait]
impl PoolService for Queries {
    type WatchQueryStream = Rows<QueryProgress>;

    async fn get_pool_status(
        &self,
        _: Request<GetPoolStatusRequest>,
    ) -> Answered<GetPoolStatusResponse> {
        Err(Status::unimplemented("not for queries"))
    }
    async fn watch_query(&self, _: Request<WatchQueryRequest>) -> Answered<Self::WatchQueryStream> {
        Err(Status::unimplemented("not for queries"))
    }
    async fn cancel_query(
        &self,
        request: Request<CancelQueryRequest>,
    ) -> Answered<CancelQueryResponse> {
        self.0.lock().unwrap().push(request.into_inner().query_id);
        Ok(Response::new(CancelQueryResponse { cancelled: true }))
    }
}

async fn read(pool: &Running) -> Result<Vec<i64>, Error> {
    let mut stream = pool.client().await.sql("SELECT n").await?;
    let mut rows = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let column: &Int64Array = batch.column(0).as_any().downcast_ref().unwrap();
        rows.extend(column.values());
    }
    Ok(rows)
}

fn in_order(parts: i64) -> Vec<i64> {
    (0..parts * ROWS).collect()
}

#[tokio::test]
async fn parts_come_from_executors_in_their_order() {
    let executors = [
        Server::executor(&[]).start().await,
        Server::executor(&[]).start().await,
    ];
    let parts = (0..9).map(|part| executors[part % 2].location()).collect();
    let pool = Server::pool(parts, &[]).start().await;
    assert_eq!(read(&pool).await.unwrap(), in_order(9));
    assert_eq!(executors[0].asked(), [0, 2, 4, 6, 8]);
    assert_eq!(
        (executors[1].asked(), pool.asked()),
        (vec![1, 3, 5, 7], vec![])
    );
}

#[tokio::test]
async fn an_executor_out_of_reach_is_replaced_by_the_pool() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let pool = Server::pool(vec![Some(format!("grpc+tcp://{gone}")), None], &[])
        .start()
        .await;
    assert_eq!(read(&pool).await.unwrap(), in_order(2));
    assert_eq!(pool.asked(), [0, 1]);
}

#[tokio::test]
async fn a_part_cut_off_goes_on_where_it_stopped() {
    let executor = Server::executor(&[
        (0, Answer::Short(30)),
        (1, Answer::Broken(31)),
        (2, Answer::Refuse(ErrorCode::NotFound)),
    ]);
    let executor = executor.start().await;
    let pool = Server::pool(vec![executor.location(); 4], &[])
        .start()
        .await;
    assert_eq!(read(&pool).await.unwrap(), in_order(4));
    assert_eq!(
        (executor.asked(), pool.asked()),
        (vec![0, 1, 2, 3], vec![0, 1, 2])
    );
}

#[tokio::test]
async fn rows_that_are_nowhere_are_an_error() {
    let executor = Server::executor(&[(1, Answer::Short(0))]).start().await;
    let pool = Server::pool(vec![executor.location(); 2], &[(1, Answer::Short(98))])
        .start()
        .await;
    let lost = Error::RowsLost {
        part: "part 2 of the result".to_owned(),
        expected: 100,
        got: 98,
    };
    assert_eq!(read(&pool).await, Err(lost));
}

#[tokio::test]
async fn a_part_that_was_never_named_is_an_error() {
    let executor = Server::executor(&[]).start().await;
    let server = Server {
        total: 200,
        ..Server::pool(vec![executor.location()], &[])
    };
    let lost = Error::RowsLost {
        part: "the result".to_owned(),
        expected: 200,
        got: 100,
    };
    assert_eq!(read(&server.start().await).await, Err(lost));
}

#[tokio::test]
async fn a_final_answer_is_not_asked_for_twice() {
    let executor = Server::executor(&[(0, Answer::Refuse(ErrorCode::Invalid))])
        .start()
        .await;
    let pool = Server::pool(vec![executor.location()], &[]).start().await;
    assert_eq!(read(&pool).await.unwrap_err().code(), ErrorCode::Invalid);
    assert_eq!(pool.asked(), Vec::<u32>::new());
}

#[tokio::test]
async fn a_pool_that_is_not_there_is_out_of_reach() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let error = Client::connect(PoolAddress::from(gone), Token::none())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { reason, .. } if reason.contains("refused")),
        "{error}"
    );
}

#[tokio::test]
async fn a_query_is_ended_once_whether_read_or_not() {
    let executor = Server::executor(&[]).start().await;
    for batches in [0, 1, usize::MAX] {
        let pool = Server::pool(vec![executor.location(); 2], &[])
            .start()
            .await;
        let client = pool.client().await;
        let stream = client.sql("SELECT n").await.unwrap();
        stream
            .take(batches)
            .for_each(async |batch| drop(batch.unwrap()))
            .await;
        client.settle().await;
        assert_eq!(
            *pool.ended.lock().unwrap(),
            ["q1"],
            "after {batches} batches"
        );
    }
}
