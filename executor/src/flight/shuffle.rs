//! The cluster port's Flight: Ballista's own shuffle service behind a check of every field. Ballista puts the job id of a
//! fetch into a path as it comes.

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use ballista_core::serde::protobuf;
use ballista_executor::flight_service::BallistaFlightService;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use whimbrel_proto::ids::JobId;
use whimbrel_proto::{Error, ErrorCode};

use crate::serve::{Outgoing, until};

/// The action by which Ballista's shuffle readers fetch a file as it lies.
const BLOCKS: &str = "IO_BLOCK_TRANSPORT";

/// Serves shuffle files to other executors.
#[derive(Clone)]
pub(crate) struct ShuffleService {
    inner: BallistaFlightService,
    stop: CancellationToken,
}

impl ShuffleService {
    pub(crate) fn new(jobs_dir: String, stop: CancellationToken) -> Self {
        Self {
            inner: BallistaFlightService::new(jobs_dir),
            stop,
        }
    }
}

/// A fetch whose job id can be part of a path. The other fields are numbers.
fn check(action: &[u8]) -> Result<(), Error> {
    let action = protobuf::Action::decode(action)
        .map_err(|_| Error::new(ErrorCode::Invalid, "the shuffle ticket cannot be decoded"))?;
    match action.action_type {
        Some(protobuf::action::ActionType::FetchPartition(fetch)) => {
            fetch.job_id.parse::<JobId>().map(drop)
        }
        None => Err(Error::new(
            ErrorCode::Invalid,
            "the shuffle ticket is empty",
        )),
    }
}

fn refused() -> Status {
    Error::new(
        ErrorCode::Invalid,
        "the cluster port serves shuffle files only",
    )
    .into()
}

#[tonic::async_trait]
impl FlightService for ShuffleService {
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
        check(&request.get_ref().ticket)?;
        let stream = self.inner.do_get(request).await?.into_inner();
        Ok(Response::new(until(stream, self.stop.clone())))
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        if request.get_ref().r#type != BLOCKS {
            return Err(refused());
        }
        check(&request.get_ref().body)?;
        let stream = self.inner.do_action(request).await?.into_inner();
        Ok(Response::new(until(stream, self.stop.clone())))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(refused())
    }

    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(refused())
    }

    async fn get_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Err(refused())
    }

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(refused())
    }

    async fn get_schema(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        Err(refused())
    }

    async fn do_put(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        Err(refused())
    }

    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(refused())
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_that_could_leave_the_folder_is_refused() {
        let fetch = |job_id: &str| {
            let fetch = protobuf::FetchPartition {
                job_id: job_id.to_owned(),
                ..Default::default()
            };
            let action_type = Some(protobuf::action::ActionType::FetchPartition(fetch));
            protobuf::Action {
                action_type,
                ..Default::default()
            }
            .encode_to_vec()
        };
        assert_eq!(check(&fetch("aB3-x_9")), Ok(()));
        for bad in ["", "..", "../other", "/etc", "a/b", "a.b"] {
            assert!(check(&fetch(bad)).is_err(), "{bad:?}");
        }
        assert!(check(b"").is_err());
    }
}
