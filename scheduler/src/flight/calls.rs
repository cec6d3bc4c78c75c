//! What the calls of Flight SQL have in common: whose session, which statement, which query.

use std::sync::Arc;

use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command,
    CommandStatementQuery,
};
use arrow_flight::{Action, FlightDescriptor, FlightInfo, RenewFlightEndpointRequest};
use prost::Message;
use prost::bytes::Bytes;
use tonic::{Request, Response, Status};
use whimbrel_proto::ids::QueryId;
use whimbrel_proto::v1::ResultTicket;
use whimbrel_proto::{Error, ErrorCode};

use super::caller::{caller, query_id, session_id};
use super::{Flight, info, prepared, rows};
use crate::pool::Pool;
use crate::query::{Answer, Ask, Cancelled};
use crate::session::Session;

impl Flight {
    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The session of whoever sent the request.
    pub(super) fn session<T>(&self, request: &Request<T>) -> Result<Arc<Session>, Error> {
        let caller = caller(request)?;
        let id = session_id(request, &caller);
        self.pool.sessions.open(&id, &caller)
    }

    /// Runs a statement for whoever sent the request.
    pub(super) async fn run<T>(&self, ask: Ask, request: &Request<T>) -> Result<Answer, Error> {
        self.run_as(ask, request, query_id(request)?).await
    }

    async fn run_as<T>(
        &self,
        ask: Ask,
        request: &Request<T>,
        asked: Option<QueryId>,
    ) -> Result<Answer, Error> {
        let session = self.session(request)?;
        tokio::select! {
            answer = self.pool.runner.run(session, ask, asked) => answer,
            () = self.pool.stop.cancelled() => Err(Error::new(ErrorCode::Unavailable, "the scheduler is stopping")),
        }
    }

    pub(super) async fn answer<T>(
        &self,
        ask: Ask,
        request: Request<T>,
        descriptor: FlightDescriptor,
    ) -> Result<Response<FlightInfo>, Status> {
        let answer = self.run(ask, &request).await?;
        let info = info::flight_info(&answer, descriptor, &self.pool.ways)?;
        Ok(Response::new(info))
    }

    /// Runs a change as often as it was asked for; gives the rows of all of them.
    pub(super) async fn change<T>(
        &self,
        asks: Vec<Ask>,
        request: &Request<T>,
    ) -> Result<i64, Error> {
        let mut rows = 0_u64;
        // A query's id is used once.
        let asked = match asks.len() {
            1 => query_id(request)?,
            _ => None,
        };
        for ask in asks {
            let answer = self.run_as(ask, request, asked.clone()).await?;
            // Nobody is told of its rows, only how many there are.
            self.pool.runner.cancel(&answer.query_id);
            rows = rows.saturating_add(match &answer.counted {
                Some(counted) => *counted,
                None => answer.rows,
            });
        }
        Ok(i64::try_from(rows).unwrap_or(i64::MAX))
    }

    pub(super) fn statement(&self, query: CommandStatementQuery) -> Result<Ask, Error> {
        no_transaction(query.transaction_id.as_ref())?;
        Ok(query.query.as_str().into())
    }

    pub(super) fn prepared_once<T>(
        &self,
        handle: &[u8],
        request: &Request<T>,
    ) -> Result<Ask, Error> {
        let handle = prepared::handle(handle)?;
        prepared::once(self.session(request)?.prepared(handle)?)
    }

    /// The columns of a statement as an IPC schema; `None` where the descriptor is another command.
    pub(super) async fn statement_schema(
        &self,
        request: &Request<FlightDescriptor>,
    ) -> Result<Option<Bytes>, Error> {
        let any = Any::decode(request.get_ref().cmd.clone()).ok();
        let sql = match any.and_then(|any| Command::try_from(any).ok()) {
            Some(Command::CommandStatementQuery(query)) => self.statement(query)?.sql,
            Some(Command::CommandPreparedStatementQuery(query)) => {
                let handle = prepared::handle(&query.prepared_statement_handle)?;
                self.session(request)?.prepared(handle)?.sql
            }
            _ => return Ok(None),
        };
        let session = self.session(request)?;
        let described = self.pool.runner.describe(session, &sql).await?;
        prepared::ipc(&described.schema).map(Some)
    }

    /// Ends the query that a `FlightInfo` describes, where it is one of the caller's.
    pub(super) fn cancel<T>(
        &self,
        info: &FlightInfo,
        request: &Request<T>,
    ) -> Result<Cancelled, Error> {
        let id = std::str::from_utf8(&info.app_metadata).unwrap_or_default();
        let id = id.parse::<QueryId>()?;
        self.pool.runner.cancel_for(&id, &caller(request)?)
    }

    /// Keeps the rows behind an endpoint as long again, under a ticket that says so.
    pub(super) fn renew(
        &self,
        request: &Request<Action>,
    ) -> Result<arrow_flight::FlightEndpoint, Error> {
        let unread = |_| Error::new(ErrorCode::Invalid, "the endpoint cannot be read");
        let asked = RenewFlightEndpointRequest::decode(request.get_ref().body.clone());
        let endpoint = asked.map_err(unread)?.endpoint.unwrap_or_default();
        let ticket = endpoint.ticket.unwrap_or_default();
        let caller = caller(request)?;
        let meant: ResultTicket = rows::meant(&self.pool, &ticket.ticket, &caller)?;
        let renewed = self.pool.runner.renew(meant)?;
        Ok(info::at_executor(&renewed, &self.pool.ways))
    }

    pub(super) async fn describe_prepared(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: &Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Error> {
        no_transaction(query.transaction_id.as_ref())?;
        let session = self.session(request)?;
        let runner = &self.pool.runner;
        let described = runner.describe(Arc::clone(&session), &query.query).await?;
        let handle = self.pool.ids.id();
        let result = ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.clone().into(),
            dataset_schema: prepared::ipc(&described.schema)?,
            parameter_schema: prepared::parameter_schema(&described.parameters)?,
        };
        session.prepare(handle, query.query)?;
        Ok(result)
    }
}

/// There are none, and a client that believes in one must not be let do so.
pub(super) fn no_transaction(id: Option<&Bytes>) -> Result<(), Error> {
    match id.is_some_and(|id| !id.is_empty()) {
        false => Ok(()),
        true => Err(
            Error::new(ErrorCode::Invalid, "the statement names a transaction")
                .with_hint("there are none: each statement stands for itself"),
        ),
    }
}

pub(super) fn no_transactions() -> Status {
    Status::unimplemented(
        "there are no transactions: each statement stands for itself; leave autocommit on",
    )
}
