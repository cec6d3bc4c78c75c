//! The handle of a running executor: start, drain, stop.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use whimbrel_proto::ids::ExecutorId;
use whimbrel_proto::{Error, ErrorCode};

use crate::config::Config;
use crate::host::Parts;

/// The two ports of an executor, handed over bound, so that a caller can pick port 0 and knows the address before the start.
#[derive(Debug)]
pub struct Listeners {
    /// Results and health, for clients.
    pub client: TcpListener,
    /// Tasks and shuffles, for the scheduler and other executors.
    pub cluster: TcpListener,
}

impl Listeners {
    /// Binds the ports that the settings name.
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            client: bind(&config.bind, config.port, "port").await?,
            cluster: bind(&config.bind, config.cluster_port, "cluster_port").await?,
        })
    }
}

async fn bind(host: &str, port: u16, key: &str) -> Result<TcpListener, Error> {
    TcpListener::bind((host, port)).await.map_err(|error| {
        Error::new(ErrorCode::Unavailable, format!("cannot listen on {host}:{port}: {error}"))
            .with_hint(format!("choose another address with `bind` and `{key}`; port 0 picks a free one"))
    })
}

/// A running executor. Dropping the handle stops it without waiting; `stop` waits until nothing of it is left.
#[derive(Debug)]
#[must_use = "an executor stops when its handle is dropped"]
pub struct Executor {
    id: ExecutorId,
    client_address: String,
    cluster_address: SocketAddr,
}

impl Executor {
    /// Starts an executor with ONNX Runtime; it serves at once, and joins the pool when the scheduler answers.
    pub async fn start(config: Config, listeners: Listeners) -> Result<Self, Error> {
        let _ = (config, listeners);
        Err(Error::new(ErrorCode::Unavailable, "the executor cannot start yet"))
    }

    /// Starts an executor that scores with the caller's model host.
    pub async fn start_with(config: Config, listeners: Listeners, parts: Parts) -> Result<Self, Error> {
        let _ = parts;
        Self::start(config, listeners).await
    }

    /// The executor's name in the pool.
    pub fn id(&self) -> &ExecutorId {
        &self.id
    }

    /// host:port where clients reach it.
    pub fn client_address(&self) -> &str {
        &self.client_address
    }

    /// Where the scheduler and other executors reach it.
    pub fn cluster_address(&self) -> SocketAddr {
        self.cluster_address
    }

    /// Takes no new tasks, finishes the running ones, serves results until nobody wants them or `grace` is over, and stops.
    pub async fn drain(self, grace: Duration) {
        let _ = grace;
    }

    /// Stops now: running tasks are given up. Returns when no thread, port or file of the executor is left.
    pub async fn stop(self) {}

    /// Returns when the executor has ended by itself, because the scheduler told it to.
    pub async fn wait(&self) {}
}
