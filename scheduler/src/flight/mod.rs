//! The pool's Flight SQL service, as far as ADBC, pyarrow and our own client need it: statements, prepared statements without
//! parameters, changes, what there is, and the rows that the scheduler has or passes on.

mod caller;
mod catalog;
mod cells;
mod info;
mod rows;

use std::pin::Pin;
use std::sync::Arc;

use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any,
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes,
    CommandGetTables, CommandPreparedStatementQuery, CommandPreparedStatementUpdate,
    CommandStatementQuery, CommandStatementUpdate, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor,
    FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc, Ticket,
};
use futures::{Stream, StreamExt, stream};
use prost::Message;
use prost::bytes::Bytes;
use tonic::{Request, Response, Status, Streaming};
use whimbrel_proto::ids::QueryId;
use whimbrel_proto::v1::ResultTicket;
use whimbrel_proto::{Error, ErrorCode};

use crate::pool::Pool;
use crate::query::{Answer, Cancelled};

type DoGet<T> = Response<<T as FlightService>::DoGetStream>;
type DoAction<T> = Response<<T as FlightService>::DoActionStream>;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pool: Arc<Pool>,
}

impl Flight {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    /// Runs a statement for whoever sent the request.
    async fn run<T>(&self, sql: &str, request: &Request<T>) -> Result<Answer, Error> {
        let session = self.pool.sessions.open(&caller::session_id(request));
        let asked = caller::query_id(request)?;
        tokio::select! {
            answer = self.pool.runner.run(session, sql, asked) => answer,
            () = self.pool.stop.cancelled() => Err(Error::new(ErrorCode::Unavailable, "the scheduler is stopping")),
        }
    }

    async fn answer<T>(
        &self,
        sql: &str,
        request: Request<T>,
        descriptor: FlightDescriptor,
    ) -> Result<Response<FlightInfo>, Status> {
        let answer = self.run(sql, &request).await?;
        Ok(Response::new(info::flight_info(&answer, descriptor)?))
    }

    fn prepared<T>(&self, handle: &[u8], request: &Request<T>) -> Result<String, Error> {
        let handle = std::str::from_utf8(handle).map_err(|_| {
            Error::new(
                ErrorCode::NotFound,
                "the prepared statement does not exist in this session",
            )
        })?;
        self.pool
            .sessions
            .open(&caller::session_id(request))
            .prepared(handle)
    }

    /// Ends the query that a `FlightInfo` describes.
    fn cancel(&self, info: &FlightInfo) -> Result<Cancelled, Error> {
        let id = std::str::from_utf8(&info.app_metadata).unwrap_or_default();
        Ok(self.pool.runner.cancel(&id.parse::<QueryId>()?))
    }
}

/// Something that the scheduler lists by itself: the same command is its own ticket.
fn listed(
    descriptor: FlightDescriptor,
    schema: &arrow::datatypes::Schema,
) -> Result<Response<FlightInfo>, Status> {
    Ok(Response::new(info::listing(descriptor, schema)?))
}

fn one<T: Message>(
    message: &T,
) -> Pin<Box<dyn Stream<Item = Result<arrow_flight::Result, Status>> + Send>> {
    let body = Bytes::from(message.encode_to_vec());
    stream::iter([Ok(arrow_flight::Result { body })]).boxed()
}

#[tonic::async_trait]
impl FlightSqlService for Flight {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<
        Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>,
        Status,
    > {
        let token = caller::handshake(self.pool.token.as_deref(), request.metadata())?;
        let answer = HandshakeResponse {
            protocol_version: 0,
            payload: Bytes::from(token.clone()),
        };
        let mut response = Response::new(stream::iter([Ok(answer)]).boxed() as _);
        let bearer = format!("Bearer {token}")
            .parse()
            .map_err(|_| Status::internal("the token is no header value"))?;
        response.metadata_mut().insert("authorization", bearer);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let descriptor = request.get_ref().clone();
        self.answer(&query.query, request, descriptor).await
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let sql = self.prepared(&query.prepared_statement_handle, &request)?;
        let descriptor = request.get_ref().clone();
        self.answer(&sql, request, descriptor).await
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        _: Request<Ticket>,
    ) -> Result<DoGet<Self>, Status> {
        rows::shelved(&self.pool, &ticket.statement_handle)
    }

    /// A `ResultTicket`, for clients that cannot reach the executor that holds the rows.
    async fn do_get_fallback(
        &self,
        request: Request<Ticket>,
        _: Any,
    ) -> Result<DoGet<Self>, Status> {
        let ticket = request.into_inner();
        let meant = ResultTicket::decode(ticket.ticket.clone())
            .map_err(|_| Error::new(ErrorCode::Invalid, "the ticket is not one of this pool"))?;
        rows::passed_on(&self.pool, ticket, &meant).await
    }

    async fn do_put_statement_update(
        &self,
        command: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let answer = self.run(&command.query, &request).await?;
        Ok(i64::try_from(answer.rows).unwrap_or(i64::MAX))
    }

    async fn do_put_prepared_statement_update(
        &self,
        command: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let sql = self.prepared(&command.prepared_statement_handle, &request)?;
        let answer = self.run(&sql, &request).await?;
        Ok(i64::try_from(answer.rows).unwrap_or(i64::MAX))
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let session = self.pool.sessions.open(&caller::session_id(&request));
        let planned = self
            .pool
            .runner
            .prepare(Arc::clone(&session), &query.query)
            .await?;
        let options = IpcWriteOptions::default();
        let IpcMessage(dataset_schema) = SchemaAsIpc::new(planned.schema().as_ref(), &options)
            .try_into()
            .map_err(|error| {
                Error::new(
                    ErrorCode::Bug,
                    format!("cannot describe the result: {error}"),
                )
            })?;
        let handle = self.pool.ids.id();
        session.prepare(handle.clone(), query.query)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema,
            parameter_schema: Bytes::new(),
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let session = self.pool.sessions.open(&caller::session_id(&request));
        session.unprepare(&String::from_utf8_lossy(&query.prepared_statement_handle));
        Ok(())
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        _: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        // The numbers of `CancelResult`, which arrow-flight keeps to itself.
        const CANCELLED: i32 = 1;
        const CANCELLING: i32 = 2;
        const NOT_CANCELLABLE: i32 = 3;
        let info = FlightInfo::decode(query.info)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let result = match self.cancel(&info)? {
            Cancelled::Ending => CANCELLING,
            Cancelled::Released(_) => CANCELLED,
            Cancelled::Unknown => NOT_CANCELLABLE,
        };
        Ok(ActionCancelQueryResult { result })
    }

    /// `CancelFlightInfo` and `CloseSession`, which have no method of their own.
    async fn do_action_fallback(&self, request: Request<Action>) -> Result<DoAction<Self>, Status> {
        match request.get_ref().r#type.as_str() {
            "CancelFlightInfo" => {
                let asked = CancelFlightInfoRequest::decode(request.get_ref().body.clone())
                    .map_err(|error| Status::invalid_argument(error.to_string()))?;
                let status = match self.cancel(&asked.info.unwrap_or_default())? {
                    Cancelled::Ending => CancelStatus::Cancelling,
                    Cancelled::Released(_) => CancelStatus::Cancelled,
                    Cancelled::Unknown => CancelStatus::NotCancellable,
                };
                Ok(Response::new(one(&CancelFlightInfoResult {
                    status: status.into(),
                })))
            }
            "CloseSession" => {
                self.pool.sessions.close(&caller::session_id(&request));
                // `CloseSessionResult { status: CLOSED }`, a message that arrow-flight does not have.
                let body = Bytes::from_static(&[0x08, 0x01]);
                Ok(Response::new(
                    stream::iter([Ok(arrow_flight::Result { body })]).boxed(),
                ))
            }
            other => Err(Error::new(
                ErrorCode::Invalid,
                format!("the action '{other}' is not supported"),
            )
            .into()),
        }
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        listed(request.into_inner(), &query.into_builder().schema())
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        _: Request<Ticket>,
    ) -> Result<DoGet<Self>, Status> {
        rows::batch(&self.pool, catalog::catalogs(query))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        listed(request.into_inner(), &query.into_builder().schema())
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        _: Request<Ticket>,
    ) -> Result<DoGet<Self>, Status> {
        rows::batch(&self.pool, catalog::schemas(query))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        listed(request.into_inner(), &query.into_builder().schema())
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        _: Request<Ticket>,
    ) -> Result<DoGet<Self>, Status> {
        rows::batch(&self.pool, catalog::tables(query, &self.pool.catalog))
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        listed(request.into_inner(), &query.into_builder().schema())
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        _: Request<Ticket>,
    ) -> Result<DoGet<Self>, Status> {
        rows::batch(&self.pool, catalog::table_types(query))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let facts = catalog::facts()?;
        listed(request.into_inner(), &query.into_builder(&facts).schema())
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        _: Request<Ticket>,
    ) -> Result<DoGet<Self>, Status> {
        let facts = catalog::facts()?;
        rows::batch(
            &self.pool,
            query.into_builder(&facts).build().map_err(catalog::broken),
        )
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
