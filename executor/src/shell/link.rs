//! The way to the scheduler's cluster port: one connection for everything, made again by itself when it breaks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use tonic::transport::{Channel, Endpoint};
use whimbrel_access::ClusterTls;
use whimbrel_proto::v1::cluster_service_client::ClusterServiceClient;
use whimbrel_proto::{Error, ErrorCode};

use crate::clock::pause;
use crate::config::Config;

const CONNECT: Duration = Duration::from_secs(5);
/// A call that the scheduler does not answer within this is given up and made again.
const CALL: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Between two readings of the certificate.
const RENEWAL: Duration = Duration::from_secs(60);

/// Clients of the scheduler.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    way: Arc<Way>,
    max_message: usize,
}

#[derive(Debug)]
struct Way {
    scheduler: String,
    tls: Option<ClusterTls>,
    channel: Mutex<Channel>,
}

impl Link {
    pub(crate) fn new(config: &Config, tls: Option<ClusterTls>) -> Result<Self, Error> {
        let channel = Mutex::new(connect(&config.scheduler, tls.as_ref())?);
        Ok(Self {
            way: Arc::new(Way {
                scheduler: config.scheduler.clone(),
                tls,
                channel,
            }),
            max_message: config.max_message_bytes.as_usize(),
        })
    }

    fn channel(&self) -> Channel {
        let channel = self.way.channel.lock();
        channel.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Never returns: a certificate that is renewed counts from the next connection on, so there is a new one every so often.
    pub(crate) async fn renew(&self) {
        let Some(tls) = &self.way.tls else {
            return std::future::pending().await;
        };
        loop {
            pause(RENEWAL).await;
            match connect(&self.way.scheduler, Some(tls)) {
                Ok(channel) => {
                    let held = self.way.channel.lock();
                    *held.unwrap_or_else(PoisonError::into_inner) = channel;
                }
                Err(error) => {
                    tracing::warn!(%error, "the old certificate goes on to the scheduler")
                }
            }
        }
    }

    /// Ballista's own RPCs.
    pub(crate) fn engine(&self) -> SchedulerGrpcClient<Channel> {
        SchedulerGrpcClient::new(self.channel())
            .max_decoding_message_size(self.max_message)
            .max_encoding_message_size(self.max_message)
    }

    /// Ours.
    pub(crate) fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel())
            .max_decoding_message_size(self.max_message)
            .max_encoding_message_size(self.max_message)
    }
}

/// A connection that is made when it is first used.
fn connect(scheduler: &str, tls: Option<&ClusterTls>) -> Result<Channel, Error> {
    let wrong = |error: tonic::transport::Error| {
        Error::new(
            ErrorCode::Invalid,
            format!("executor setting scheduler = '{scheduler}': {error}"),
        )
        .with_hint("give host:port of the scheduler's cluster port")
    };
    let plain = Endpoint::from_shared(format!("http://{scheduler}")).map_err(wrong)?;
    let endpoint = match tls {
        None => plain,
        Some(tls) => tls.instead_of(&plain)?,
    };
    Ok(endpoint
        .connect_timeout(CONNECT)
        .timeout(CALL)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect_lazy())
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
