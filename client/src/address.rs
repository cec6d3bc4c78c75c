//! Where a pool's client port is, as users write it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use whimbrel_proto::{Error, ErrorCode};

/// The scheme and `host:port` of a pool's client port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolAddress {
    authority: String,
    tls: bool,
}

impl PoolAddress {
    /// As a URI that gRPC connects to.
    pub fn uri(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }
}

const RULE: &str = "a pool is written http://host:port, or https://host:port where it has TLS, as the scheduler prints its client port";

impl FromStr for PoolAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |what: &str| {
            Err(Error::new(ErrorCode::Invalid, format!("'{text}' {what}")).with_hint(RULE))
        };
        let (tls, authority) = match text.split_once("://") {
            None => (false, text),
            Some(("http" | "grpc" | "grpc+tcp", rest)) => (false, rest),
            Some(("https" | "grpc+tls", rest)) => (true, rest),
            Some(_) => return refuse("is not a pool address"),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let Some((host, port)) = authority.rsplit_once(':') else {
            return refuse("names no port");
        };
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty()
            || host.contains(['/', '@', ' ', '?', '#'])
            || (host.contains(':') && !bracketed)
        {
            return refuse("is not a pool address");
        }
        match port.parse::<u16>() {
            Ok(1..) => Ok(Self {
                authority: authority.to_owned(),
                tls,
            }),
            Ok(0) | Err(_) => refuse("has no valid port"),
        }
    }
}

impl From<SocketAddr> for PoolAddress {
    fn from(address: SocketAddr) -> Self {
        Self {
            authority: address.to_string(),
            tls: false,
        }
    }
}

impl fmt::Display for PoolAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_write_becomes_one_form() {
        for text in [
            "http://host:50050",
            "host:50050",
            "grpc://host:50050/",
            "grpc+tcp://host:50050",
        ] {
            assert_eq!(
                text.parse::<PoolAddress>().unwrap().to_string(),
                "http://host:50050",
                "{text}"
            );
        }
        for text in ["https://host:1", "grpc+tls://host:1/"] {
            let address: PoolAddress = text.parse().unwrap();
            assert!(address.is_tls());
            assert_eq!(address.to_string(), "https://host:1");
        }
        assert_eq!(
            "[::1]:5".parse::<PoolAddress>().unwrap().authority(),
            "[::1]:5"
        );
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_rule() {
        for bad in [
            "",
            "host",
            "http://host",
            "host:0",
            "host:99999",
            "ftp://host:1",
            "http://u@h:1",
            "::1:5",
        ] {
            let error = bad.parse::<PoolAddress>().unwrap_err();
            assert_eq!(
                (error.code(), error.hint()),
                (ErrorCode::Invalid, Some(RULE)),
                "{bad}"
            );
        }
    }
}
