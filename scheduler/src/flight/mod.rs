//! The pool's Flight SQL service: statements and prepared statements, changes, what there is, sessions, and the rows that the
//! scheduler has or passes on.

mod caller;
mod calls;
mod catalog;
mod cells;
mod info;
mod keys;
mod options;
mod poll;
mod prepared;
mod rows;
mod service;
mod types;

use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{DoPutError, FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionBeginSavepointResult, ActionBeginTransactionRequest,
    ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, ActionEndSavepointRequest, ActionEndTransactionRequest,
    Command, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas,
    CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo,
    CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery,
    CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery,
    CommandStatementUpdate, DoPutPreparedStatementResult, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor,
    FlightInfo, HandshakeRequest, HandshakeResponse, Ticket,
};
use futures::{Stream, StreamExt, stream};
use prost::Message;
use prost::bytes::Bytes;
use tonic::{Request, Response, Status, Streaming};
use whimbrel_proto::{Error, ErrorCode};

use calls::{no_transaction, no_transactions};

pub(crate) use caller::caller;
pub(crate) use info::Ways;
pub(crate) use service::Service;

use crate::pool::Pool;
use crate::query::Cancelled;

type DoGet<T> = Response<<T as FlightService>::DoGetStream>;
type DoAction<T> = Response<<T as FlightService>::DoActionStream>;
type DoPut<T> = Response<<T as FlightService>::DoPutStream>;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pool: Arc<Pool>,
}

impl Flight {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }
}

/// Something that the scheduler lists by itself: the same command is its own ticket.
fn listed(descriptor: FlightDescriptor, schema: &Schema) -> Result<Response<FlightInfo>, Status> {
    Ok(Response::new(info::listing(descriptor, schema)?))
}

fn one(body: Vec<u8>) -> Pin<Box<dyn Stream<Item = Result<arrow_flight::Result, Status>> + Send>> {
    let body = Bytes::from(body);
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
        let token = self.pool.door.handshake(request.metadata()).await?;
        let answer = HandshakeResponse {
            protocol_version: 0,
            payload: Bytes::from(token.clone()),
        };
        let mut response = Response::new(stream::iter([Ok(answer)]).boxed() as _);
        let mut bearer: tonic::metadata::AsciiMetadataValue = format!("Bearer {token}")
            .parse()
            .map_err(|_| Status::internal("the token is no header value"))?;
        bearer.set_sensitive(true);
        response.metadata_mut().insert("authorization", bearer);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let descriptor = request.get_ref().clone();
        let ask = self.statement(query)?;
        self.answer(ask, request, descriptor).await
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ask = self.prepared_once(&query.prepared_statement_handle, &request)?;
        let descriptor = request.get_ref().clone();
        self.answer(ask, request, descriptor).await
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<DoGet<Self>, Status> {
        rows::shelved(&self.pool, &ticket.statement_handle, &caller(&request)?)
    }

    async fn do_put_statement_update(
        &self,
        command: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        no_transaction(command.transaction_id.as_ref())?;
        let asks = vec![command.query.as_str().into()];
        Ok(self.change(asks, &request).await?)
    }

    async fn do_put_prepared_statement_query(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let session = self.session(&request)?;
        let values = prepared::values(request.into_inner())
            .await?
            .unwrap_or_default();
        let handle = prepared::handle(&command.prepared_statement_handle)?;
        session.bind(handle, values)?;
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle: Some(command.prepared_statement_handle),
        })
    }

    async fn do_put_prepared_statement_update(
        &self,
        command: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let session = self.session(&request)?;
        let handle = prepared::handle(&command.prepared_statement_handle)?;
        let prepared = session.prepared(handle)?;
        let (metadata, extensions, stream) = request.into_parts();
        let sent = prepared::values(stream).await?;
        let request = Request::from_parts(metadata, extensions, ());
        Ok(self
            .change(prepared::each(prepared, sent), &request)
            .await?)
    }

    async fn do_put_statement_ingest(
        &self,
        _: CommandStatementIngest,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let refused = Error::new(ErrorCode::Invalid, "the pool takes no rows from clients");
        Err(refused
            .with_hint(
                "put them in a file and add it as a table; INSERT INTO table SELECT writes rows",
            )
            .into())
    }

    async fn do_put_error_callback(
        &self,
        _: Request<PeekableFlightDataStream>,
        error: DoPutError,
    ) -> Result<DoPut<Self>, Status> {
        Err(Error::new(ErrorCode::Invalid, error.to_string()).into())
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        Ok(self.describe_prepared(query, &request).await?)
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let session = self.session(&request)?;
        session.unprepare(&String::from_utf8_lossy(&query.prepared_statement_handle));
        Ok(())
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        // The numbers of `CancelResult`, which arrow-flight keeps to itself.
        const CANCELLED: i32 = 1;
        const CANCELLING: i32 = 2;
        const NOT_CANCELLABLE: i32 = 3;
        let info = FlightInfo::decode(query.info)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let result = match self.cancel(&info, &request)? {
            Cancelled::Ending => CANCELLING,
            Cancelled::Released(_) => CANCELLED,
            Cancelled::Unknown => NOT_CANCELLABLE,
        };
        Ok(ActionCancelQueryResult { result })
    }

    async fn do_action_begin_transaction(
        &self,
        _: ActionBeginTransactionRequest,
        _: Request<Action>,
    ) -> Result<ActionBeginTransactionResult, Status> {
        Err(no_transactions())
    }

    async fn do_action_end_transaction(
        &self,
        _: ActionEndTransactionRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        Err(no_transactions())
    }

    async fn do_action_begin_savepoint(
        &self,
        _: ActionBeginSavepointRequest,
        _: Request<Action>,
    ) -> Result<ActionBeginSavepointResult, Status> {
        Err(no_transactions())
    }

    async fn do_action_end_savepoint(
        &self,
        _: ActionEndSavepointRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        Err(no_transactions())
    }

    /// The actions that have no method of their own.
    async fn do_action_fallback(&self, request: Request<Action>) -> Result<DoAction<Self>, Status> {
        let body = match request.get_ref().r#type.as_str() {
            "CancelFlightInfo" => {
                let asked = CancelFlightInfoRequest::decode(request.get_ref().body.clone())
                    .map_err(|error| Status::invalid_argument(error.to_string()))?;
                let status = match self.cancel(&asked.info.unwrap_or_default(), &request)? {
                    Cancelled::Ending => CancelStatus::Cancelling,
                    Cancelled::Released(_) => CancelStatus::Cancelled,
                    Cancelled::Unknown => CancelStatus::NotCancellable,
                };
                let status = status.into();
                CancelFlightInfoResult { status }.encode_to_vec()
            }
            "RenewFlightEndpoint" => self.renew(&request)?.encode_to_vec(),
            "SetSessionOptions" => {
                options::set(self.session(&request)?.as_ref(), &request.get_ref().body)?
            }
            "GetSessionOptions" => {
                let most = self.pool.max_message_bytes;
                options::get(self.session(&request)?.as_ref(), most)
            }
            "CloseSession" => {
                let caller = caller(&request)?;
                options::close(&self.pool, &caller::session_id(&request, &caller))
            }
            other => {
                let unknown = format!("the action '{other}' is not supported");
                return Err(Error::new(ErrorCode::Invalid, unknown).into());
            }
        };
        Ok(Response::new(one(body)))
    }

    async fn get_flight_info_fallback(
        &self,
        command: Command,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let url = command.into_any().type_url;
        let name = url.rsplit(['/', '.']).next().unwrap_or_default();
        let unknown = format!("the command {name} is not supported");
        Err(Error::new(ErrorCode::Invalid, unknown).into())
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
        request: Request<Ticket>,
    ) -> Result<DoGet<Self>, Status> {
        let session = self.session(&request)?;
        let tables = catalog::tables(query, &self.pool, session).await;
        rows::batch(&self.pool, tables)
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

    async fn get_flight_info_primary_keys(
        &self,
        _: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        listed(request.into_inner(), &keys::primary())
    }

    async fn do_get_primary_keys(
        &self,
        _: CommandGetPrimaryKeys,
        _: Request<Ticket>,
    ) -> Result<DoGet<Self>, Status> {
        rows::batch(&self.pool, Ok(keys::none(keys::primary())))
    }

    async fn get_flight_info_exported_keys(
        &self,
        _: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        listed(request.into_inner(), &keys::foreign())
    }

    async fn do_get_exported_keys(
        &self,
        _: CommandGetExportedKeys,
        _: Request<Ticket>,
    ) -> Result<DoGet<Self>, Status> {
        rows::batch(&self.pool, Ok(keys::none(keys::foreign())))
    }

    async fn get_flight_info_imported_keys(
        &self,
        _: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        listed(request.into_inner(), &keys::foreign())
    }

    async fn do_get_imported_keys(
        &self,
        _: CommandGetImportedKeys,
        _: Request<Ticket>,
    ) -> Result<DoGet<Self>, Status> {
        rows::batch(&self.pool, Ok(keys::none(keys::foreign())))
    }

    async fn get_flight_info_cross_reference(
        &self,
        _: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        listed(request.into_inner(), &keys::foreign())
    }

    async fn do_get_cross_reference(
        &self,
        _: CommandGetCrossReference,
        _: Request<Ticket>,
    ) -> Result<DoGet<Self>, Status> {
        rows::batch(&self.pool, Ok(keys::none(keys::foreign())))
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let types = types::types()?;
        listed(request.into_inner(), &query.into_builder(&types).schema())
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        _: Request<Ticket>,
    ) -> Result<DoGet<Self>, Status> {
        let types = types::types()?;
        let asked = query.into_builder(&types).build();
        rows::batch(&self.pool, asked.map_err(catalog::broken))
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
