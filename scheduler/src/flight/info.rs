//! `FlightInfo`s: what a client is told of a result.

use arrow::datatypes::Schema;
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use prost::Message;
use whimbrel_proto::{Error, ErrorCode};

use crate::query::{Answer, Endpoint, Source};

/// Clients that know this word take the rows through the connection they have.
const HERE: &str = "arrow-flight-reuse-connection://?";

/// The result of a statement. The query's id travels as application metadata.
pub(super) fn flight_info(
    answer: &Answer,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo, Error> {
    let Answer {
        query_id,
        schema,
        ordered,
        rows,
        bytes,
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
        Source::Executors(endpoints) => endpoints.iter().map(at_executor).collect(),
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

fn at_executor(endpoint: &Endpoint) -> FlightEndpoint {
    FlightEndpoint::new()
        .with_ticket(Ticket::new(endpoint.ticket.encode_to_vec()))
        .with_location(format!("grpc+tcp://{}", endpoint.address))
        .with_location(HERE)
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

    #[test]
    fn a_result_on_executors_names_both_ways_to_it() {
        let ticket = ResultTicket {
            query_id: "q".to_owned(),
            rows: 3,
            ..ResultTicket::default()
        };
        let answer = Answer {
            query_id: "q".parse().unwrap(),
            schema: Arc::new(Schema::empty()),
            ordered: true,
            rows: 3,
            bytes: 9,
            source: Source::Executors(vec![Endpoint {
                ticket: ticket.clone(),
                address: "host:1".to_owned(),
            }]),
        };
        let info = flight_info(&answer, FlightDescriptor::new_cmd("x")).unwrap();
        assert_eq!(
            (info.total_records, info.ordered, &info.app_metadata[..]),
            (3, true, &b"q"[..])
        );
        let endpoint = &info.endpoint[0];
        let locations: Vec<_> = endpoint
            .location
            .iter()
            .map(|location| location.uri.as_str())
            .collect();
        assert_eq!(locations, ["grpc+tcp://host:1", HERE]);
        assert_eq!(
            ResultTicket::decode(&*endpoint.ticket.as_ref().unwrap().ticket).unwrap(),
            ticket
        );
    }
}
