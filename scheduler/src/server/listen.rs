//! The two ports, bound before anything starts.

use std::net::SocketAddr;

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
        Error::new(
            ErrorCode::Unavailable,
            format!("cannot listen on {address} ({key}): {error}"),
        )
        .with_hint(format!("set {key} to another port, or to 0 for a free one"))
    })
}

/// What others reach a port by.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Reached {
    pub(super) fn of(listener: &TcpListener, advertise: &str) -> Result<Self, Error> {
        let address = listener.local_addr().map_err(|error| {
            Error::new(
                ErrorCode::Unavailable,
                format!("a listener has no address: {error}"),
            )
        })?;
        let host = match (advertise, address.ip()) {
            ("", ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
            ("", ip) if ip.is_ipv6() => format!("[{ip}]"),
            ("", ip) => ip.to_string(),
            (advertise, _) => advertise.to_owned(),
        };
        Ok(Self {
            host,
            port: address.port(),
        })
    }
}

impl std::fmt::Display for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
