//! Connections to other executors, kept between shuffle fetches: a query with many partitions would else use up the
//! machine's ports. Ballista's own pool is private and its eviction task is never awaited; this one is swept by the shell.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ballista_core::client::BallistaClient;
use ballista_core::client_pool::{BallistaClientPool, PooledClient};
use ballista_core::error::Result;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::utils::GrpcClientConfig;
use tonic::transport::Endpoint;
use whimbrel_access::ClusterTls;

use crate::clock::now_ms;

/// A connection nobody used for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

type Key = (String, u16, GrpcClientConfig);

struct Idle {
    client: BallistaClient,
    since_ms: u64,
}

/// Idle connections by peer; the one used last is used next, so that the others can grow old.
#[derive(Clone, Default)]
pub(crate) struct ClientPool {
    idle: Arc<Mutex<HashMap<Key, Vec<Idle>>>>,
    tls: Option<ClusterTls>,
}

impl ClientPool {
    pub(crate) fn new(tls: Option<ClusterTls>) -> Self {
        Self {
            tls,
            ..Self::default()
        }
    }

    /// The engine's own settings, but for the TLS of the pool.
    fn over_tls(&self) -> Option<Arc<BallistaConfigGrpcEndpoint>> {
        let tls = self.tls.clone()?;
        let over = move |endpoint: Endpoint| Ok(tls.instead_of(&endpoint)?);
        Some(Arc::new(BallistaConfigGrpcEndpoint::new(Arc::new(over))))
    }

    fn take(&self, key: &Key) -> Option<BallistaClient> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.get_mut(key)?.pop().map(|entry| entry.client)
    }

    fn put(&self, key: Key, client: BallistaClient) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.entry(key).or_default().push(Idle {
            client,
            since_ms: now_ms(),
        });
    }

    /// Closes what has been idle for too long at `now_ms`.
    pub(crate) fn sweep(&self, now_ms: u64) {
        let oldest = now_ms.saturating_sub(u64::try_from(IDLE.as_millis()).unwrap_or(u64::MAX));
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, entries| {
            entries.retain(|entry| entry.since_ms >= oldest);
            !entries.is_empty()
        });
    }
}

impl fmt::Debug for ClientPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientPool").finish_non_exhaustive()
    }
}

#[async_trait]
impl BallistaClientPool for ClientPool {
    async fn acquire(
        &self,
        host: &str,
        port: u16,
        config: &GrpcClientConfig,
        customize_endpoint: Option<Arc<BallistaConfigGrpcEndpoint>>,
    ) -> Result<PooledClient> {
        let key = (host.to_owned(), port, config.clone());
        let client = match self.take(&key) {
            Some(client) => client,
            None => {
                BallistaClient::try_new(
                    host,
                    port,
                    config.max_message_size,
                    config.use_tls,
                    self.over_tls().or(customize_endpoint),
                    config.io_retries_times,
                    config.io_retry_wait_time_ms,
                    config.initial_connection_window_size,
                    config.initial_stream_window_size,
                )
                .await?
            }
        };
        let pool = self.clone();
        Ok(PooledClient::new(
            client,
            Box::new(move |client| pool.put(key, client)),
        ))
    }

    async fn evict_idle(&self) {
        self.sweep(now_ms());
    }
}
