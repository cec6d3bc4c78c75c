//! The TLS settings of a process, understood: all of a port's files, or none.

use std::path::PathBuf;
use std::time::Duration;

use tonic::transport::Endpoint;
use whimbrel_proto::{Error, ErrorCode};

use super::{ClientTls, TlsFiles};

const CONNECT: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_secs(20);

fn in_part(which: &str, hint: &str) -> Error {
    Error::new(
        ErrorCode::Invalid,
        format!("TLS of the {which} port is set in part"),
    )
    .with_hint(hint)
}

/// TLS of a client port, where it has some. With a CA, clients need certificates too.
pub fn client_port(
    cert: Option<&PathBuf>,
    key: Option<&PathBuf>,
    client_ca: Option<&PathBuf>,
) -> Result<Option<TlsFiles>, Error> {
    match (cert, key, client_ca) {
        (Some(cert), Some(key), peer_ca) => Ok(Some(TlsFiles {
            cert: cert.clone(),
            key: key.clone(),
            peer_ca: peer_ca.cloned(),
        })),
        (None, None, None) => Ok(None),
        (None, _, _) | (_, None, _) => Err(in_part(
            "client",
            "set tls_cert and tls_key, and tls_client_ca where clients need certificates",
        )),
    }
}

/// Mutual TLS between the processes of a pool: what a cluster port shows, and what its callers show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTls {
    /// Of our own port.
    pub server: TlsFiles,
    /// Of the connections that we open.
    pub client: ClientTls,
}

impl ClusterTls {
    /// From the settings, where they are set.
    pub fn of(
        cert: Option<&PathBuf>,
        key: Option<&PathBuf>,
        ca: Option<&PathBuf>,
    ) -> Result<Option<Self>, Error> {
        match (cert, key, ca) {
            (Some(cert), Some(key), Some(ca)) => Ok(Some(Self {
                server: TlsFiles {
                    cert: cert.clone(),
                    key: key.clone(),
                    peer_ca: Some(ca.clone()),
                },
                client: ClientTls {
                    ca: Some(ca.clone()),
                    own: Some((cert.clone(), key.clone())),
                    domain: None,
                },
            })),
            (None, None, None) => Ok(None),
            (None | Some(_), None | Some(_), None | Some(_)) => Err(in_part(
                "cluster",
                "set cluster_tls_cert, cluster_tls_key and cluster_tls_ca",
            )),
        }
    }

    /// The same peer over TLS: an engine that knows nothing of it names peers as `http://`.
    pub fn instead_of(&self, plain: &Endpoint) -> Result<Endpoint, Error> {
        let authority = plain.uri().authority();
        let authority = authority.map(ToString::to_string).unwrap_or_default();
        let address = format!("https://{authority}");
        let endpoint = Endpoint::from_shared(address.clone()).map_err(|error| {
            Error::new(
                ErrorCode::Invalid,
                format!("'{address}' is no address of a peer: {error}"),
            )
        })?;
        let endpoint = endpoint
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        self.client.apply(endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_all_of_its_files_or_none() {
        let file = PathBuf::from("f");
        let some = Some(&file);
        assert_eq!(client_port(None, None, None).unwrap(), None);
        assert!(client_port(some, some, None).unwrap().is_some());
        assert!(client_port(some, some, some).unwrap().is_some());
        for (cert, key, ca) in [(some, None, None), (None, some, None), (None, None, some)] {
            assert!(client_port(cert, key, ca).is_err());
            assert!(ClusterTls::of(cert, key, ca).is_err());
        }
        assert_eq!(ClusterTls::of(None, None, None).unwrap(), None);
        assert!(ClusterTls::of(some, some, None).is_err());
        assert!(ClusterTls::of(some, some, some).unwrap().is_some());
    }
}
