//! PollFlightInfo: a query starts and is answered for at once; each later call says what has come since the one before.

use arrow_flight::sql::{Any, Command};
use arrow_flight::{FlightDescriptor, PollInfo};
use prost::Message;
use tonic::Request;
use whimbrel_proto::ids::QueryId;
use whimbrel_proto::v1::PollHandle;
use whimbrel_proto::{Error, ErrorCode};

use super::caller::{caller, query_id};
use super::{Flight, info};
use crate::query::{PATIENCE, Query, Seen, Told};

/// What the descriptor of a later poll begins with.
const MARK: &[u8] = b"whimbrel-poll\0";

impl Flight {
    /// See the module.
    pub(super) async fn poll(&self, request: Request<FlightDescriptor>) -> Result<PollInfo, Error> {
        let caller = caller(&request)?;
        if let Some(handle) = handle_of(&request.get_ref().cmd)? {
            let gone = || {
                Error::new(ErrorCode::NotFound, "there is no such query to poll")
                    .with_hint("results are kept for a while only; run it again")
            };
            let id: QueryId = handle.query_id.parse()?;
            let query = self.pool.queries.of(&id, &caller).ok_or_else(gone)?;
            let seen = Seen {
                endpoints: usize::try_from(handle.endpoints).unwrap_or(usize::MAX),
                tasks_done: handle.tasks_done,
            };
            let told = self.pool.runner.poll(&query, Some(seen)).await;
            return self.told(&query, told);
        }
        let command = Any::decode(request.get_ref().cmd.clone());
        let command = command.ok().and_then(|any| Command::try_from(any).ok());
        let ask = match command {
            Some(Command::CommandStatementQuery(query)) => self.statement(query)?,
            Some(Command::CommandPreparedStatementQuery(query)) => {
                self.prepared_once(&query.prepared_statement_handle, &request)?
            }
            _ => {
                return Err(Error::new(ErrorCode::Invalid, "only queries can be polled")
                    .with_hint("ask GetFlightInfo for lists"));
            }
        };
        let session = self.session(&request)?;
        let asked = query_id(&request)?;
        let query = self.pool.runner.start(session, ask, asked)?;
        let told = self.pool.runner.poll(&query, None).await;
        self.told(&query, told)
    }

    fn told(&self, query: &Query, told: Told) -> Result<PollInfo, Error> {
        let Told {
            schema,
            endpoints,
            end,
            ..
        } = told;
        let now = self.pool.clock.unix_secs();
        let descriptor = |done: u32| {
            let handle = PollHandle {
                query_id: query.id().to_string(),
                endpoints: u32::try_from(endpoints.len()).unwrap_or(u32::MAX),
                tasks_done: done,
            };
            FlightDescriptor::new_cmd([MARK, &handle.encode_to_vec()].concat())
        };
        let mut poll = PollInfo::new();
        match end {
            Some(answer) => {
                let answer = answer?;
                poll.progress = Some(1.0);
                poll.info = Some(info::flight_info(&answer, descriptor(0), &self.pool.ways)?);
            }
            None => {
                let done = query.snapshot().progress.tasks_done;
                poll.progress = Some(query.fraction());
                poll.flight_descriptor = Some(descriptor(done));
                let patience = i64::try_from(PATIENCE.as_secs()).unwrap_or(i64::MAX);
                poll.expiration_time = Some(info::time(now.saturating_add(patience)));
                let schema = schema.map(|schema| {
                    info::so_far(
                        query.id(),
                        &schema,
                        &endpoints,
                        descriptor(0),
                        &self.pool.ways,
                    )
                });
                poll.info = schema.transpose()?;
            }
        }
        Ok(poll)
    }
}

fn handle_of(cmd: &[u8]) -> Result<Option<PollHandle>, Error> {
    let Some(handle) = cmd.strip_prefix(MARK) else {
        return Ok(None);
    };
    PollHandle::decode(handle)
        .map(Some)
        .map_err(|_| Error::new(ErrorCode::Invalid, "the descriptor is not one of this pool"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_of_a_later_poll_is_told_from_a_command() {
        let handle = PollHandle {
            query_id: "q".to_owned(),
            endpoints: 3,
            tasks_done: 4,
        };
        let cmd = [MARK, &handle.encode_to_vec()].concat();
        assert_eq!(handle_of(&cmd).unwrap(), Some(handle));
        assert_eq!(handle_of(b"SELECT").unwrap(), None);
        assert!(handle_of(&[MARK, &[0xff, 0xff]].concat()).is_err());
    }
}
