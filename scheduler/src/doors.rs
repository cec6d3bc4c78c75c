//! The settings of who may come in, understood: TLS of both ports, tokens, roles, and the rule for a pool that others reach.

use std::collections::BTreeMap;

use whimbrel_access::{ClientTls, ClusterTls, KeyringOptions, OidcOptions, Role, TlsFiles, tls};
use whimbrel_proto::{Error, ErrorCode};

use crate::config::Config;

fn invalid(what: impl Into<String>, hint: &str) -> Error {
    Error::new(ErrorCode::Invalid, what).with_hint(hint)
}

impl Config {
    pub(crate) fn check_doors(&self) -> Result<(), Error> {
        let client = self.client_tls()?;
        let cluster = self.cluster_tls()?;
        let asks = self.asks_who_calls();
        self.oidc()?;
        if self.bind.is_loopback() || self.insecure {
            return Ok(());
        }
        let missing: Vec<_> = [
            (
                client.is_none(),
                "TLS on the client port (tls_cert, tls_key)",
            ),
            (
                !asks,
                "tokens (tokens_file, oidc_issuer or client_token_file)",
            ),
            (
                cluster.is_none(),
                "TLS on the cluster port (cluster_tls_cert, cluster_tls_key, cluster_tls_ca)",
            ),
        ]
        .into_iter()
        .filter_map(|(missing, what)| missing.then_some(what))
        .collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(invalid(
                format!(
                    "a pool on {} is open to the network without {}",
                    self.bind,
                    missing.join(" and without ")
                ),
                "set them, or say --insecure where the network itself keeps others out",
            )),
        }
    }

    /// Whether callers have names here.
    pub(crate) fn knows_users(&self) -> bool {
        self.tokens_file.is_some() || !self.oidc_issuer.is_empty()
    }

    fn asks_who_calls(&self) -> bool {
        !self.client_token.is_empty()
            || self.client_token_file.is_some()
            || self.tokens_file.is_some()
            || !self.oidc_issuer.is_empty()
    }

    /// TLS of the client port, where it has some.
    pub(crate) fn client_tls(&self) -> Result<Option<TlsFiles>, Error> {
        tls::client_port(
            self.tls_cert.as_ref(),
            self.tls_key.as_ref(),
            self.tls_client_ca.as_ref(),
        )
    }

    /// TLS of the cluster ports, where they have some.
    pub(crate) fn cluster_tls(&self) -> Result<Option<ClusterTls>, Error> {
        ClusterTls::of(
            self.cluster_tls_cert.as_ref(),
            self.cluster_tls_key.as_ref(),
            self.cluster_tls_ca.as_ref(),
        )
    }

    /// How executors' client ports are trusted.
    pub(crate) fn reader_tls(&self) -> ClientTls {
        // An executor that asks its clients for certificates gets that of this scheduler's own port.
        let own = self.tls_cert.clone().zip(self.tls_key.clone());
        ClientTls {
            ca: self.tls_ca.clone(),
            own,
            domain: None,
        }
    }

    /// What callers may show.
    pub(crate) fn keyring(&self) -> Result<KeyringOptions, Error> {
        Ok(KeyringOptions {
            token: self.token()?,
            tokens: self.tokens_file.clone(),
            oidc: self.oidc()?,
        })
    }

    fn oidc(&self) -> Result<Option<OidcOptions>, Error> {
        if self.oidc_issuer.is_empty() {
            return Ok(None);
        }
        if self.oidc_audience.is_empty() {
            return Err(invalid(
                "oidc_issuer is set without oidc_audience",
                "set oidc_audience to what the issuer writes into the tokens for this pool",
            ));
        }
        let mut roles = BTreeMap::new();
        for pair in &self.oidc_roles {
            let Some((value, role)) = pair.rsplit_once('=') else {
                return Err(invalid(
                    format!("oidc_roles has '{pair}'"),
                    "write pairs such as data-science=scorer",
                ));
            };
            roles.insert(value.trim().to_owned(), role.trim().parse::<Role>()?);
        }
        Ok(Some(OidcOptions {
            issuer: self.oidc_issuer.clone(),
            audience: self.oidc_audience.clone(),
            jwks: self.oidc_jwks.clone(),
            role_claim: self.oidc_role_claim.clone(),
            user_claim: self.oidc_user_claim.clone(),
            roles,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::path::PathBuf;

    use super::*;

    fn open() -> Config {
        Config {
            bind: IpAddr::from([0, 0, 0, 0]),
            ..Config::default()
        }
    }

    fn path(name: &str) -> Option<PathBuf> {
        Some(PathBuf::from(name))
    }

    #[test]
    fn a_pool_that_others_reach_has_tls_and_asks_who_calls_or_says_that_it_does_not() {
        assert!(Config::default().check_doors().is_ok());
        let error = open().check_doors().unwrap_err();
        for missing in ["tls_cert", "tokens_file", "cluster_tls_cert"] {
            assert!(error.message().contains(missing), "{error}");
        }
        let insecure = Config {
            insecure: true,
            ..open()
        };
        assert!(insecure.check_doors().is_ok());
        let closed = Config {
            tls_cert: path("c"),
            tls_key: path("k"),
            tokens_file: path("t"),
            cluster_tls_cert: path("c"),
            cluster_tls_key: path("k"),
            cluster_tls_ca: path("a"),
            ..open()
        };
        assert!(closed.check_doors().is_ok());
    }

    #[test]
    fn half_a_setting_is_named() {
        let tls = Config {
            tls_cert: path("c"),
            ..Config::default()
        };
        assert!(
            tls.check_doors()
                .unwrap_err()
                .to_string()
                .contains("tls_key")
        );
        let cluster = Config {
            cluster_tls_ca: path("a"),
            ..Config::default()
        };
        assert!(cluster.check_doors().is_err());
        let oidc = Config {
            oidc_issuer: "https://issuer".to_owned(),
            ..Config::default()
        };
        assert!(oidc.check_doors().is_err());
        let roles = Config {
            oidc_audience: "whimbrel".to_owned(),
            oidc_roles: vec!["x=king".to_owned()],
            ..oidc
        };
        assert!(
            roles
                .check_doors()
                .unwrap_err()
                .to_string()
                .contains("king")
        );
    }
}
