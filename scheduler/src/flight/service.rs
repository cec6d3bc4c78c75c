//! The Flight service on the client port. It has what arrow-flight's Flight SQL front has no method for: polling, schemas, tickets
//! of executors' results, and an honest list of actions. All else is [`Flight`]'s.

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::Any;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, PollInfo, SchemaResult, Ticket,
};
use futures::{StreamExt, stream};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};
use whimbrel_proto::{Error, ErrorCode};

use super::{Flight, rows};

/// What DoAction takes.
const ACTIONS: [(&str, &str); 8] = [
    (
        "CreatePreparedStatement",
        "Prepares a statement; its parameters are ? or $1, $2, ...",
    ),
    ("ClosePreparedStatement", "Forgets a prepared statement"),
    ("CancelFlightInfo", "Ends a query, or gives up its rows"),
    (
        "RenewFlightEndpoint",
        "Keeps the rows of a query for longer",
    ),
    ("CancelQuery", "The older name of CancelFlightInfo"),
    ("SetSessionOptions", "Sets what SET sets"),
    ("GetSessionOptions", "What is set in the session"),
    (
        "CloseSession",
        "Ends the session, its queries, and gives up their rows",
    ),
];

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Service(Flight);

impl Service {
    pub(crate) fn new(flight: Flight) -> Self {
        Self(flight)
    }
}

/// Actions whose body is a message of Flight SQL.
const SQL_ACTIONS: [&str; 3] = [
    "CreatePreparedStatement",
    "ClosePreparedStatement",
    "CancelQuery",
];

/// A message of Flight SQL says of which type it is.
fn understood(message: &[u8], what: &str) -> Result<(), Error> {
    let any = Any::decode(message).ok();
    match any.is_some_and(|any| any.type_url.starts_with("type.googleapis.com/")) {
        true => Ok(()),
        false => Err(Error::new(
            ErrorCode::Invalid,
            format!("{what} is no command of Flight SQL"),
        )
        .with_hint("use a Flight SQL client, such as ADBC")),
    }
}

/// Flight SQL's own tickets are messages with a type; those of executors are not.
fn is_sql(ticket: &[u8]) -> bool {
    Any::decode(ticket).is_ok_and(|any| any.type_url.starts_with("type.googleapis.com/"))
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = <Flight as FlightService>::HandshakeStream;
    type ListFlightsStream = <Flight as FlightService>::ListFlightsStream;
    type DoGetStream = <Flight as FlightService>::DoGetStream;
    type DoPutStream = <Flight as FlightService>::DoPutStream;
    type DoActionStream = <Flight as FlightService>::DoActionStream;
    type ListActionsStream = <Flight as FlightService>::ListActionsStream;
    type DoExchangeStream = <Flight as FlightService>::DoExchangeStream;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        FlightService::handshake(&self.0, request).await
    }

    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        Ok(Response::new(stream::empty().boxed()))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        understood(&request.get_ref().cmd, "the descriptor")?;
        FlightService::get_flight_info(&self.0, request).await
    }

    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Ok(Response::new(self.0.poll(request).await?))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        understood(&request.get_ref().cmd, "the descriptor")?;
        let schema = match self.0.statement_schema(&request).await? {
            Some(schema) => schema,
            // A list's description costs nothing, and has its schema.
            None => {
                let info = FlightService::get_flight_info(&self.0, request).await?;
                info.into_inner().schema
            }
        };
        Ok(Response::new(SchemaResult { schema }))
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        match is_sql(&request.get_ref().ticket) {
            true => FlightService::do_get(&self.0, request).await,
            false => rows::passed_on(self.0.pool(), request).await,
        }
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let answer = FlightService::do_put(&self.0, request).await;
        answer.map_err(|status| match status.details().is_empty() {
            false => status,
            // What could not be read was not our own to explain.
            true => Error::new(
                ErrorCode::Invalid,
                "what was put has no command of Flight SQL that this pool knows",
            )
            .with_hint("use a Flight SQL client, such as ADBC")
            .into(),
        })
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        if SQL_ACTIONS.contains(&request.get_ref().r#type.as_str()) {
            understood(&request.get_ref().body, "the body of the action")?;
        }
        FlightService::do_action(&self.0, request).await
    }

    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        let actions = ACTIONS.map(|(name, description)| {
            Ok(ActionType {
                r#type: name.to_owned(),
                description: description.to_owned(),
            })
        });
        Ok(Response::new(stream::iter(actions).boxed()))
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(
            Error::new(ErrorCode::Invalid, "the pool takes no rows by DoExchange")
                .with_hint("put them in a file, and add it as a table")
                .into(),
        )
    }
}

#[cfg(test)]
mod tests {
    use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
    use whimbrel_proto::v1::SignedTicket;

    use super::*;

    #[test]
    fn tickets_of_both_kinds_are_told_apart() {
        let sql = TicketStatementQuery {
            statement_handle: b"q".to_vec().into(),
        };
        assert!(is_sql(&sql.as_any().encode_to_vec()));
        let signed = SignedTicket {
            ticket: vec![0xff, 1, 2],
            kid: "k".to_owned(),
            signature: vec![7; 64],
        };
        assert!(!is_sql(&signed.encode_to_vec()));
        assert!(!is_sql(b""));
    }
}
