//! One connection to a pool's client port, shared by every call, and the token that each call presents.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use whimbrel_access::ClientTls;
use whimbrel_proto::ErrorCode;

use crate::address::PoolAddress;
use crate::error::{Error, Result};

/// A gRPC channel that presents the pool's token on every call.
pub(crate) type Service = InterceptedService<Channel, Token>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that vanished without a word is noticed after the sum of these two, however long a query takes.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Results are large and come in order: HTTP/2's own 64 KiB would make every stream wait for its reader.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// A wide batch is one message.
pub(crate) const MAX_MESSAGE: usize = 512 << 20;

/// The bearer token of a pool, or none. It is never printed.
#[derive(Clone, Default)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Token {
    /// No token: the pool asks for none.
    pub fn none() -> Self {
        Self(None)
    }

    /// The token's text as the scheduler's configuration has it; surrounding white space is no part of it.
    pub fn new(text: &str) -> Result<Self> {
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {}", text.trim()).parse().map_err(|_| {
                whimbrel_proto::Error::new(
                    ErrorCode::Invalid,
                    "the token holds characters that cannot be sent",
                )
                .with_hint("a token is visible ASCII characters on one line")
            })?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl Token {
    /// The token's text, for whoever hands it on to another program of the same user.
    pub fn reveal(&self) -> Option<&str> {
        self.0.as_ref()?.to_str().ok()?.strip_prefix("Bearer ")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Token(***)"
        } else {
            "Token(none)"
        })
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A connection to a pool. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    address: PoolAddress,
    token: Token,
    tls: ClientTls,
    channel: Channel,
    background: Arc<Mutex<JoinSet<()>>>,
}

/// A pool that does not answer must not keep its user waiting.
const SETTLE_DEADLINE: Duration = Duration::from_secs(2);

impl Client {
    /// Connects to a pool's client port. Where that speaks TLS, the system's own CAs are trusted.
    pub async fn connect(address: PoolAddress, token: Token) -> Result<Self> {
        Self::connect_with(address, token, ClientTls::default()).await
    }

    /// Connects to a pool's client port, and to its executors', with these CAs and certificates.
    pub async fn connect_with(address: PoolAddress, token: Token, tls: ClientTls) -> Result<Self> {
        let channel = dial(&address.uri(), CONNECT_TIMEOUT, &tls)
            .await
            .map_err(|reason| Error::Unreachable {
                address: address.clone(),
                reason,
            })?;
        Ok(Self {
            address,
            token,
            tls,
            channel,
            background: Arc::default(),
        })
    }

    /// The pool it is connected to.
    pub fn address(&self) -> &PoolAddress {
        &self.address
    }

    /// What it shows.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Waits until the pool knows of the queries that were dropped before their end. A program that goes on need not call
    /// it; one that ends should.
    pub async fn settle(&self) {
        let mut left = std::mem::take(
            &mut *self
                .background
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let all = async { while left.join_next().await.is_some() {} };
        if tokio::time::timeout(SETTLE_DEADLINE, all).await.is_err() {
            tracing::debug!(pool = %self.address, "the pool did not answer to a cancel in time");
        }
    }

    /// Does work that nobody waits for, where there is a runtime to do it.
    pub(crate) fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = Handle::try_current() {
            let mut background = self
                .background
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            while background.try_join_next().is_some() {}
            background.spawn_on(work, &runtime);
        }
    }

    pub(crate) fn tls(&self) -> &ClientTls {
        &self.tls
    }

    pub(crate) fn service(&self) -> Service {
        InterceptedService::new(self.channel.clone(), self.token.clone())
    }

    pub(crate) fn service_over(&self, channel: Channel) -> Service {
        InterceptedService::new(channel, self.token.clone())
    }

    /// Tells a pool that answered with an error from one that did not answer.
    pub(crate) fn failed(&self, status: Status) -> Error {
        if broke_on_the_way(&status) {
            let reason = root_cause(&status);
            return Error::Unreachable {
                address: self.address.clone(),
                reason,
            };
        }
        Error::Pool(status.into())
    }
}

/// Connects to a URI; the error is the network's own word.
pub(crate) async fn dial(
    uri: &str,
    timeout: Duration,
    tls: &ClientTls,
) -> std::result::Result<Channel, String> {
    let mut endpoint = Endpoint::from_shared(uri.to_owned())
        .map_err(|error| error.to_string())?
        .connect_timeout(timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    if uri.starts_with("https:") {
        endpoint = tls.apply(endpoint).map_err(|error| error.to_string())?;
    }
    endpoint.connect().await.map_err(|error| root_cause(&error))
}

/// True where no Whimbrel process answered: its answers carry details, a broken connection has none.
pub(crate) fn broke_on_the_way(status: &Status) -> bool {
    use tonic::Code::{Cancelled, Internal, Unavailable, Unknown};
    status.details().is_empty()
        && matches!(status.code(), Unavailable | Unknown | Internal | Cancelled)
        && std::error::Error::source(status).is_some()
}

/// The innermost of a chain of errors says what happened; the others say where it passed by.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
