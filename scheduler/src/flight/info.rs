//! `FlightInfo`s: what a client is told of a result.

use arrow::datatypes::Schema;
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use prost::Message;
use prost_types::Timestamp;
use whimbrel_proto::ids::QueryId;
use whimbrel_proto::{Error, ErrorCode};

use crate::query::{Answer, Endpoint, Source};

/// The ways to rows that lie on executors.
#[derive(Clone, Debug)]
pub(crate) struct Ways {
    /// The pool's own client port as a Flight location, where it has a name: it passes on what a client cannot reach.
    pub(crate) pool: Option<String>,
    /// Clients cannot reach executors at all.
    pub(crate) proxy_only: bool,
}

/// The result of a statement. The query's id travels as application metadata.
pub(super) fn flight_info(
    answer: &Answer,
    descriptor: FlightDescriptor,
    ways: &Ways,
) -> Result<FlightInfo, Error> {
    let Answer {
        query_id,
        schema,
        ordered,
        rows,
        bytes,
        counted: _,
        source,
    } = answer;
    let endpoints = match source {
        Source::Nowhere => Vec::new(),
        Source::Shelf => {
            let ticket = TicketStatementQuery {
                statement_handle: query_id.to_string().into(),
            };
            vec![FlightEndpoint::new().with_ticket(Ticket::new(ticket.as_any().encode_to_vec()))]
        }
        Source::Executors(endpoints) => {
            endpoints.iter().map(|one| at_executor(one, ways)).collect()
        }
    };
    Ok(FlightInfo::new()
        .try_with_schema(schema)
        .map_err(undescribed)?
        .with_descriptor(descriptor)
        .with_endpoints(endpoints)
        .with_total_records(i64::try_from(*rows).unwrap_or(-1))
        .with_total_bytes(i64::try_from(*bytes).unwrap_or(-1))
        .with_ordered(*ordered)
        .with_app_metadata(query_id.to_string()))
}

/// What is known of a result that is still being computed.
pub(super) fn so_far(
    query_id: &QueryId,
    schema: &Schema,
    endpoints: &[Endpoint],
    descriptor: FlightDescriptor,
    ways: &Ways,
) -> Result<FlightInfo, Error> {
    let endpoints = endpoints.iter().map(|one| at_executor(one, ways)).collect();
    Ok(FlightInfo::new()
        .try_with_schema(schema)
        .map_err(undescribed)?
        .with_descriptor(descriptor)
        .with_endpoints(endpoints)
        .with_total_records(-1)
        .with_total_bytes(-1)
        .with_app_metadata(query_id.to_string()))
}

/// Without a location the connection that a client has is the way, whatever name it reached the pool by.
pub(super) fn at_executor(endpoint: &Endpoint, ways: &Ways) -> FlightEndpoint {
    let told = FlightEndpoint::new()
        .with_ticket(Ticket::new(endpoint.signed.clone()))
        .with_expiration_time(time(endpoint.ticket.expires_unix));
    if ways.proxy_only {
        return told;
    }
    let told = told.with_location(endpoint.location());
    match &ways.pool {
        Some(pool) => told.with_location(pool.clone()),
        None => told,
    }
}

/// Seconds since 1970 as Flight has them.
pub(super) fn time(unix: i64) -> Timestamp {
    Timestamp {
        seconds: unix,
        nanos: 0,
    }
}

/// Something the scheduler lists: the command itself is the ticket.
pub(super) fn listing(descriptor: FlightDescriptor, schema: &Schema) -> Result<FlightInfo, Error> {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(descriptor.cmd.clone()));
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(undescribed)?;
    Ok(info.with_descriptor(descriptor).with_endpoint(endpoint))
}

fn undescribed(error: arrow::error::ArrowError) -> Error {
    Error::new(
        ErrorCode::Bug,
        format!("cannot describe the result: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use whimbrel_proto::v1::ResultTicket;

    use super::*;

    fn answer() -> Answer {
        let ticket = ResultTicket {
            rows: 3,
            expires_unix: 77,
            ..ResultTicket::default()
        };
        Answer {
            query_id: "q1".parse().unwrap(),
            schema: Arc::new(Schema::empty()),
            ordered: true,
            rows: 3,
            bytes: 10,
            counted: None,
            source: Source::Executors(vec![Endpoint {
                ticket,
                signed: b"signed".to_vec().into(),
                address: "127.0.0.1:7".to_owned(),
                tls: false,
            }]),
        }
    }

    fn told(proxy_only: bool) -> FlightInfo {
        let ways = Ways {
            pool: Some("grpc+tcp://pool:1".to_owned()),
            proxy_only,
        };
        flight_info(&answer(), FlightDescriptor::new_cmd("x"), &ways).unwrap()
    }

    #[test]
    fn a_result_on_executors_names_both_ways_to_it_and_its_end() {
        let info = told(false);
        let uris: Vec<_> = info.endpoint[0]
            .location
            .iter()
            .map(|location| location.uri.as_str())
            .collect();
        assert_eq!(uris, ["grpc+tcp://127.0.0.1:7", "grpc+tcp://pool:1"]);
        assert_eq!(info.endpoint[0].expiration_time.unwrap().seconds, 77);
        assert_eq!(info.total_records, 3);
        assert!(info.ordered);
    }

    #[test]
    fn where_executors_cannot_be_reached_the_connection_is_the_way() {
        assert!(told(true).endpoint[0].location.is_empty());
    }
}
