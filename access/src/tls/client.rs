//! The TLS of a connection that we open: whom we trust, and what we show. The files are read for each connection, so that a
//! renewed certificate counts from the next one.

use std::path::PathBuf;

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use whimbrel_proto::{Error, ErrorCode};

use super::files::{Identity, roots};
use crate::clock;

/// How a peer's certificate is checked, and what we show. All PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The CA that the peer's certificate must be signed by; without it, those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its key, where the peer asks for one.
    pub own: Option<(PathBuf, PathBuf)>,
    /// The name that the peer's certificate must have, where it is not the host of the address.
    pub domain: Option<String>,
}

impl ClientTls {
    /// Puts TLS on an endpoint, whose address is an `https` one.
    pub fn apply(&self, endpoint: Endpoint) -> Result<Endpoint, Error> {
        let Self { ca, own, domain } = self;
        let mut config = match ca {
            None => ClientTlsConfig::new().with_native_roots(),
            Some(path) => {
                let (_, pem) = roots(path)?;
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
            }
        };
        if let Some((cert, key)) = own {
            let Identity {
                cert_pem, key_pem, ..
            } = Identity::read(cert, key, clock::now_unix())?;
            config = config.identity(tonic::transport::Identity::from_pem(cert_pem, key_pem));
        }
        if let Some(domain) = domain {
            config = config.domain_name(domain);
        }
        let address = endpoint.uri().to_string();
        endpoint.tls_config(config).map_err(|error| {
            let why = deepest(&error);
            let told = format!("TLS cannot be set up for '{address}': {why}");
            Error::new(ErrorCode::Invalid, told)
                .with_hint("check the name of the peer and the CA's file; without one, the system must have CA certificates")
        })
    }
}

/// What began it: the layers above say only that something failed.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
