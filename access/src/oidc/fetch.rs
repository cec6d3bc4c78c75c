//! Where an issuer's keys come from: a file, an address, or the address that the issuer's own description names. What answers
//! is bounded in time and size, and cannot send us to another host.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};
use serde::Deserialize;
use whimbrel_proto::{Error, ErrorCode};

use super::OidcOptions;
use crate::file;

const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_BYTES: usize = 1 << 20;
const MAX_REDIRECTS: usize = 5;
const WELL_KNOWN: &str = ".well-known/openid-configuration";

/// Where the keys are.
#[derive(Debug)]
pub(super) enum Source {
    File(PathBuf),
    Url(Client, Url),
    /// The issuer's description has their address, and may change it.
    Described {
        client: Client,
        issuer: String,
        description: Url,
    },
}

/// What a place held.
pub(super) struct Fetched {
    pub(super) bytes: Vec<u8>,
    pub(super) place: String,
}

#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

impl Source {
    pub(super) fn new(options: &OidcOptions) -> Result<Self, Error> {
        match options.jwks.as_str() {
            "" => {
                let description = format!("{}/{WELL_KNOWN}", options.issuer.trim_end_matches('/'));
                let description = checked(&description)?;
                Ok(Self::Described {
                    client: client(&description)?,
                    issuer: options.issuer.clone(),
                    description,
                })
            }
            url if url.contains("://") => {
                let url = checked(url)?;
                Ok(Self::Url(client(&url)?, url))
            }
            path => Ok(Self::File(PathBuf::from(path))),
        }
    }

    pub(super) async fn fetch(&self) -> Result<Fetched, Error> {
        match self {
            Self::File(path) => Ok(Fetched {
                bytes: file::read(path, "the issuer's JWKS")?,
                place: path.display().to_string(),
            }),
            Self::Url(client, url) => get(client, url).await,
            Self::Described {
                client,
                issuer,
                description,
            } => {
                let described = get(client, description).await?;
                let url = keys_of(&described, issuer)?;
                get(client, &url).await
            }
        }
    }
}

/// The address that an issuer's description has for its keys.
fn keys_of(described: &Fetched, issuer: &str) -> Result<Url, Error> {
    let Fetched { bytes, place } = described;
    let wrong = |why: String, hint: &str| {
        let told = format!("the description of the OIDC issuer at '{place}' cannot be used: {why}");
        Error::new(ErrorCode::Invalid, told).with_hint(hint)
    };
    let Description {
        issuer: named,
        jwks_uri,
    } = serde_json::from_slice(bytes).map_err(|_| {
        let why = "it is not JSON with an issuer and a jwks_uri".to_owned();
        wrong(why, "check the issuer's address, or give that of its JWKS")
    })?;
    if named != issuer {
        let why = format!("it is of the issuer '{named}'");
        return Err(wrong(why, "give the issuer exactly as it names itself"));
    }
    checked(&jwks_uri)
}

/// What may be asked: `https`, and `http` only where nobody is on the way.
fn checked(address: &str) -> Result<Url, Error> {
    let wrong = |why: &str| {
        // An address with a password in it is not repeated.
        let shown = address.split('@').next_back().unwrap_or_default();
        let told = format!("the OIDC address '{shown}' cannot be used: {why}");
        Error::new(ErrorCode::Invalid, told)
            .with_hint("give an https address; http is taken for this machine only")
    };
    let url = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it holds a user or a password"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(wrong("it is not https")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn client(url: &Url) -> Result<Client, Error> {
    let mut builder = Client::builder()
        .timeout(TIMEOUT)
        .redirect(Policy::custom(same_host_only))
        .https_only(url.scheme() == "https");
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| {
        let told = format!(
            "no client for the OIDC issuer can be made: {}",
            deepest(&error)
        );
        Error::new(ErrorCode::Unavailable, told)
            .with_hint("the system must have CA certificates to check the issuer's with")
    })
}

fn same_host_only(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let begun = attempt.previous().first();
    let same = begun.is_some_and(|begun| begun.origin() == attempt.url().origin());
    if same && attempt.previous().len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

async fn get(client: &Client, url: &Url) -> Result<Fetched, Error> {
    let place = url.to_string();
    let cannot = |why: String| {
        let told = format!("the OIDC issuer's '{place}' cannot be fetched: {why}");
        Error::new(ErrorCode::Unavailable, told)
            .with_hint("check the address, and that it can be reached from this machine")
    };
    let failed = |error: reqwest::Error| cannot(deepest(&error));
    let mut response = client.get(url.clone()).send().await.map_err(failed)?;
    let status = response.status();
    if status.is_redirection() {
        return Err(cannot(
            "it redirects to another host, or too often".to_owned(),
        ));
    }
    if !status.is_success() {
        return Err(cannot(format!("it answers {status}")));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err(cannot("the answer is larger than 1 MiB".to_owned()));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Fetched { bytes, place })
}

/// What began it: the layers above say only that a request failed.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_are_asked() {
        for good in [
            "https://login.example/keys",
            "http://127.0.0.1:8080/keys",
            "http://[::1]/keys",
            "http://localhost:1/keys",
        ] {
            assert!(checked(good).is_ok(), "{good}");
        }
        for bad in [
            "http://login.example/keys",
            "http://localhost.example/keys",
            "http://127.0.0.1.example/",
            "http://10.0.0.1/keys",
            "ftp://localhost/keys",
            "file:///keys",
            "keys",
        ] {
            assert_eq!(
                checked(bad).unwrap_err().code(),
                ErrorCode::Invalid,
                "{bad}"
            );
        }
        let error = checked("https://ann:hush@login.example/keys").unwrap_err();
        assert!(!error.to_string().contains("hush"), "{error}");
    }

    #[test]
    fn a_description_of_another_issuer_is_refused() {
        let described = |text: &str| Fetched {
            bytes: text.as_bytes().to_vec(),
            place: "here".to_owned(),
        };
        let good = r#"{"issuer": "https://a.example/", "jwks_uri": "https://b.example/keys"}"#;
        let url = keys_of(&described(good), "https://a.example/").unwrap();
        assert_eq!(url.as_str(), "https://b.example/keys");
        let error = keys_of(&described(good), "https://a.example").unwrap_err();
        assert!(
            error
                .message()
                .contains("of the issuer 'https://a.example/'")
        );
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"issuer": "https://a.example/", "jwks_uri": "http://b.example"}"#,
        ] {
            assert!(
                keys_of(&described(bad), "https://a.example/").is_err(),
                "{bad}"
            );
        }
    }
}
