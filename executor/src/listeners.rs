//! The ports of an executor and the addresses that others are told.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;
use whimbrel_proto::{Error, ErrorCode};

use crate::config::Config;

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
        Error::new(
            ErrorCode::Unavailable,
            format!("cannot listen on {host}:{port}: {error}"),
        )
        .with_hint(format!(
            "choose another address with `bind` and `{key}`; port 0 picks a free one"
        ))
    })
}

/// Where a listener listens.
pub(crate) fn address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|error| {
        Error::new(
            ErrorCode::Unavailable,
            format!("a listener has no address: {error}"),
        )
    })
}

/// The host that others are told. Nobody can reach "any address".
pub(crate) fn advertised(config: &Config, bound: IpAddr) -> Result<String, Error> {
    if !config.advertise.is_empty() {
        return Ok(config.advertise.clone());
    }
    if bound.is_unspecified() {
        return Err(Error::new(
            ErrorCode::Invalid,
            format!("the executor listens on {bound}, where nobody can reach it"),
        )
        .with_hint("set `advertise` to this machine's host name or address"));
    }
    Ok(match bound {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    })
}

/// host:port as clients are told.
pub(crate) fn with_port(host: &str, port: u16) -> String {
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_an_address_that_cannot_be_reached() {
        let told = |advertise: &str, bound: &str| {
            let config = Config {
                advertise: advertise.to_owned(),
                ..Config::default()
            };
            advertised(&config, bound.parse().expect("an address"))
        };
        assert!(told("", "0.0.0.0").is_err());
        assert!(told("", "::").is_err());
        assert_eq!(told("node-7", "0.0.0.0").as_deref(), Ok("node-7"));
        assert_eq!(told("", "10.0.0.7").as_deref(), Ok("10.0.0.7"));
        assert_eq!(with_port(&told("", "::1").expect("told"), 50), "[::1]:50");
    }
}
