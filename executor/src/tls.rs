//! The TLS settings, understood: of the client port, and of the cluster ports of the pool; and the rule for an executor that other
//! machines reach.

use whimbrel_access::{ClusterTls, ServerTls, TlsFiles, tls};
use whimbrel_proto::{Error, ErrorCode};

use crate::config::Config;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) client: Option<TlsFiles>,
    pub(crate) cluster: Option<ClusterTls>,
}

impl Tls {
    pub(crate) fn of(config: &Config) -> Result<Self, Error> {
        let tls = Self {
            client: tls::client_port(
                config.tls_cert.as_ref(),
                config.tls_key.as_ref(),
                config.tls_client_ca.as_ref(),
            )?,
            cluster: ClusterTls::of(
                config.cluster_tls_cert.as_ref(),
                config.cluster_tls_key.as_ref(),
                config.cluster_tls_ca.as_ref(),
            )?,
        };
        let whole = tls.client.is_some() && tls.cluster.is_some();
        if whole || config.insecure || is_loopback(&config.bind) {
            return Ok(tls);
        }
        Err(Error::new(
            ErrorCode::Invalid,
            format!(
                "an executor on {} is open to the network without TLS on both ports",
                config.bind
            ),
        )
        .with_hint("set tls_cert, tls_key and the cluster_tls_* files, or say --insecure where the network itself keeps others out"))
    }

    /// Reads the certificates, so that a wrong one is told before anything starts.
    pub(crate) fn open(&self) -> Result<(Option<ServerTls>, Option<ServerTls>), Error> {
        let client = self.client.clone().map(ServerTls::open).transpose()?;
        let cluster = self.cluster.as_ref().map(|tls| tls.server.clone());
        Ok((client, cluster.map(ServerTls::open).transpose()?))
    }
}

fn is_loopback(bind: &str) -> bool {
    bind == "localhost"
        || bind
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executor_that_others_reach_has_tls_or_says_that_it_has_not() {
        let open = Config {
            bind: "0.0.0.0".to_owned(),
            ..Config::default()
        };
        let error = Tls::of(&open).expect_err("it is open");
        assert!(error.to_string().contains("--insecure"), "{error}");
        let said = Config {
            insecure: true,
            ..open
        };
        assert!(Tls::of(&said).is_ok());
        for bind in ["127.0.0.1", "::1", "localhost"] {
            let config = Config {
                bind: bind.to_owned(),
                ..Config::default()
            };
            assert!(Tls::of(&config).is_ok(), "{bind}");
        }
    }
}
