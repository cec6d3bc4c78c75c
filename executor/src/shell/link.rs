//! The way to the scheduler's cluster port: one connection for everything, made again by itself when it breaks.

use std::time::Duration;

use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use tonic::transport::{Channel, Endpoint};
use whimbrel_proto::v1::cluster_service_client::ClusterServiceClient;
use whimbrel_proto::{Error, ErrorCode};

use crate::config::Config;

const CONNECT: Duration = Duration::from_secs(5);
/// A call that the scheduler does not answer within this is given up and made again.
const CALL: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Clients of the scheduler.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    channel: Channel,
    max_message: usize,
}

impl Link {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let endpoint =
            Endpoint::from_shared(format!("http://{}", config.scheduler)).map_err(|error| {
                Error::new(
                    ErrorCode::Invalid,
                    format!(
                        "executor setting scheduler = '{}': {error}",
                        config.scheduler
                    ),
                )
                .with_hint("give host:port of the scheduler's cluster port")
            })?;
        let channel = endpoint
            .connect_timeout(CONNECT)
            .timeout(CALL)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .connect_lazy();
        Ok(Self {
            channel,
            max_message: config.max_message_bytes.as_usize(),
        })
    }

    /// Ballista's own RPCs.
    pub(crate) fn engine(&self) -> SchedulerGrpcClient<Channel> {
        SchedulerGrpcClient::new(self.channel.clone())
            .max_decoding_message_size(self.max_message)
            .max_encoding_message_size(self.max_message)
    }

    /// Ours.
    pub(crate) fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel.clone())
            .max_decoding_message_size(self.max_message)
            .max_encoding_message_size(self.max_message)
    }
}

/// Pauses between attempts: short at first, twice as long each time, up to a bound.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);

    pub(crate) fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// True before the first pause.
    pub(crate) fn is_fresh(&self) -> bool {
        self.next == Self::FIRST
    }

    /// How long to pause before the next attempt.
    pub(crate) fn step(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..10).map(|_| backoff.step()).collect();
        assert_eq!(pauses[..3], [100, 200, 400].map(Duration::from_millis));
        assert_eq!(pauses[9], Backoff::LONGEST);
    }
}
