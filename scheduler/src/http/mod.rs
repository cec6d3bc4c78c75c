//! Calls to model registries and identity services: over HTTP, with deadlines, bounded answers, and retries of what passes by
//! itself (429, 5xx, broken connections). What an answer means is its caller's affair.

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use whimbrel_proto::{Error, ErrorCode};

use crate::clock::{Clock, Ids};

/// How often a call is made before it has failed.
const TRIES: u32 = 4;
const CONNECT: Duration = Duration::from_secs(5);
/// Between two pieces of an answer.
const SILENCE: Duration = Duration::from_secs(30);
/// The first pause; each one is twice as long as the one before, and spread by chance.
const PAUSE: Duration = Duration::from_millis(200);
/// A server may ask for a longer pause than ours, up to this.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// The largest answer of a service, as against a file.
pub(crate) const MAX_ANSWER: u64 = 32 << 20;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: Client,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

/// What a server answered, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing answers, or the connection breaks each time.
    Unreachable(String),
    /// The answer is longer than so many bytes.
    TooLarge(u64),
}

impl Trouble {
    /// The reason in words.
    pub(crate) fn why(&self) -> String {
        match self {
            Self::Unreachable(why) => why.clone(),
            Self::TooLarge(limit) => format!("its answer is longer than {limit} bytes"),
        }
    }
}

impl Http {
    /// A client of the machine's trusted certificates.
    pub(crate) fn new(clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Result<Self, Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .user_agent(concat!("whimbrel/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                let why = innermost(&error);
                Error::new(
                    ErrorCode::Unavailable,
                    format!("no HTTPS client can be made: {why}"),
                )
                .with_hint(
                    "check the machine's CA certificates (package ca-certificates, SSL_CERT_FILE)",
                )
            })?;
        Ok(Self { client, clock, ids })
    }

    /// The start of a call.
    pub(crate) fn get(&self, url: &str) -> RequestBuilder {
        self.client.get(url)
    }

    /// The start of a call that sends a form; only such as may be made twice.
    pub(crate) fn post(&self, url: &str) -> RequestBuilder {
        self.client.post(url)
    }

    /// Makes the call, again where it fails in a way that passes, and reads at most `limit` bytes.
    pub(crate) async fn send(&self, call: RequestBuilder, limit: u64) -> Result<Answer, Trouble> {
        let mut tries = 1;
        loop {
            let attempt = call
                .try_clone()
                .ok_or_else(|| Trouble::Unreachable("the request cannot be repeated".to_owned()))?;
            let (outcome, wanted) = once(attempt, limit).await;
            let passes = match &outcome {
                Ok(answer) => passes(answer.status),
                Err(Trouble::Unreachable(_)) => true,
                Err(Trouble::TooLarge(_)) => false,
            };
            if !passes || tries == TRIES {
                return outcome;
            }
            let pause = self.pause(tries, wanted);
            tracing::debug!(
                tries,
                ?pause,
                "a call failed in a way that passes, and is made again"
            );
            self.clock.sleep(pause).await;
            tries += 1;
        }
    }

    fn pause(&self, tries: u32, wanted: Option<Duration>) -> Duration {
        let most = PAUSE * 2_u32.saturating_pow(tries.saturating_sub(1));
        let spread = self
            .ids
            .below(u64::try_from(most.as_millis()).unwrap_or(0) / 2 + 1);
        let own = most / 2 + Duration::from_millis(spread);
        wanted.map_or(own, |wanted| wanted.max(own)).min(MAX_PAUSE)
    }
}

impl Answer {
    /// The body as JSON of a type.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// One try, and the pause that the server asks for.
async fn once(call: RequestBuilder, limit: u64) -> (Result<Answer, Trouble>, Option<Duration>) {
    match call.send().await {
        Ok(response) => {
            let wanted = retry_after(response.headers());
            (read(response, limit).await, wanted)
        }
        Err(error) => (Err(broken(&error)), None),
    }
}

async fn read(response: Response, limit: u64) -> Result<Answer, Trouble> {
    let status = response.status();
    if response
        .content_length()
        .is_some_and(|length| length > limit)
    {
        return Err(Trouble::TooLarge(limit));
    }
    let mut body = BytesMut::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| broken(&error))?;
        if body.len() as u64 + piece.len() as u64 > limit {
            return Err(Trouble::TooLarge(limit));
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer {
        status,
        body: body.freeze(),
    })
}

fn passes(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn broken(error: &reqwest::Error) -> Trouble {
    let why = if error.is_timeout() {
        "it does not answer in time".to_owned()
    } else {
        innermost(error)
    };
    Trouble::Unreachable(why)
}

/// The cause of the causes: what is around it repeats the address, which may hold a signature.
fn innermost(error: &reqwest::Error) -> String {
    let Some(mut source) = error.source() else {
        return if error.is_builder() {
            "the address is not a URL".to_owned()
        } else {
            "the connection broke".to_owned()
        };
    };
    while let Some(next) = source.source() {
        source = next;
    }
    source.to_string()
}
