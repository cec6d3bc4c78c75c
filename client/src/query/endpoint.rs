//! One part of a result, and the ways to it: the executor that has it, else the pool's own port with the same ticket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_flight::{FlightEndpoint, Ticket};
use tokio::sync::OnceCell;
use tonic::transport::Channel;

use crate::connect::{Client, Service, dial};
use crate::query::ticket::promised_rows;

/// An executor in a network that the client cannot reach costs this once a query, not once a part.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// One endpoint of a result.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) number: usize,
    pub(crate) ticket: Ticket,
    pub(crate) rows: Option<u64>,
    locations: Vec<String>,
}

impl From<(usize, FlightEndpoint)> for Part {
    fn from((number, endpoint): (usize, FlightEndpoint)) -> Self {
        let FlightEndpoint {
            ticket,
            location,
            expiration_time: _,
            app_metadata: _,
        } = endpoint;
        let ticket = ticket.unwrap_or_default();
        let rows = promised_rows(&ticket.ticket);
        let locations = location
            .iter()
            .filter_map(|location| location_uri(&location.uri))
            .collect();
        Self {
            number,
            ticket,
            rows,
            locations,
        }
    }
}

/// `grpc+tcp://host:port` or `grpc+tls://host:port` as gRPC connects to it. Others mean the pool's own port, which is always tried
/// last.
fn location_uri(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://")?;
    match scheme {
        "grpc" | "grpc+tcp" | "http" => Some(format!("http://{rest}")),
        "grpc+tls" | "https" => Some(format!("https://{rest}")),
        _ => None,
    }
}

impl Part {
    /// Every way to the part, best first.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Source> + use<> {
        self.locations
            .clone()
            .into_iter()
            .map(Source::Executor)
            .chain(std::iter::once(Source::Pool))
    }

    /// Whether an executor keeps it.
    pub(crate) fn is_on_executor(&self) -> bool {
        self.rows.is_some() || !self.locations.is_empty()
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        format!("part {} of the result", self.number + 1)
    }
}

/// A process that serves a part.
#[derive(Debug)]
pub(crate) enum Source {
    /// An executor, by its URI.
    Executor(String),
    /// The pool's own client port.
    Pool,
}

/// Connections to executors, one each however many parts they hold; the ones that cannot be reached are asked once.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    by_uri: Mutex<HashMap<String, Arc<OnceCell<Option<Channel>>>>>,
}

impl Peers {
    /// The way to a source, or nothing where it cannot be reached.
    pub(crate) async fn reach(&self, client: &Client, source: &Source) -> Option<Service> {
        let uri = match source {
            Source::Pool => return Some(client.service()),
            // The token of a pool with TLS goes nowhere in plain text.
            Source::Executor(uri) if client.address().is_tls() && !uri.starts_with("https:") => {
                return None;
            }
            Source::Executor(uri) => uri,
        };
        let cell = {
            let mut by_uri = self.by_uri.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(by_uri.entry(uri.clone()).or_default())
        };
        let connect = async || match dial(uri, CONNECT_TIMEOUT, client.tls()).await {
            Ok(channel) => Some(channel),
            Err(error) => {
                tracing::debug!(address = %uri, %error, "executor out of reach, rows come through the scheduler");
                None
            }
        };
        cell.get_or_init(connect)
            .await
            .clone()
            .map(|channel| client.service_over(channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executor_comes_first_and_the_pool_last() {
        let endpoint = FlightEndpoint::new()
            .with_location("grpc+tcp://e:1")
            .with_location("arrow-flight-reuse-connection://?");
        let part = Part::from((0, endpoint));
        let names: Vec<_> = part.sources().map(|source| format!("{source:?}")).collect();
        assert_eq!(names, ["Executor(\"http://e:1\")", "Pool"]);
    }
}
