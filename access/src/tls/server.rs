//! The TLS of a port. Connections that are open keep what they began with; each new one gets what the files held last.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use whimbrel_proto::{Error, ErrorCode};

use super::files::{Identity, TlsFiles, provider, roots};
use crate::clock;
use crate::digest::{self, Hash};
use crate::file::Stamp;

/// A peer that is slower holds a connection for nothing.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Files are not looked at more often.
const SOONEST: Duration = Duration::from_millis(10);

/// The certificate of a port, as its files hold it now.
#[derive(Clone)]
pub struct ServerTls {
    shared: Arc<Shared>,
}

struct Shared {
    files: TlsFiles,
    loaded: RwLock<Loaded>,
}

#[derive(Clone)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// The files as they were just before they were read.
    stamps: Vec<Option<Stamp>>,
    /// Of what they held.
    content: Hash,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("files", &self.shared.files)
            .finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the files. With `peer_ca` a peer must show a certificate of that CA.
    pub fn open(files: TlsFiles) -> Result<Self, Error> {
        let loaded = RwLock::new(load(&files)?);
        Ok(Self {
            shared: Arc::new(Shared { files, loaded }),
        })
    }

    /// Reads the files again if one of them changed; true where they hold something else. After an error the port goes on
    /// with what it had.
    pub fn reload(&self) -> Result<bool, Error> {
        let Shared { files, loaded } = &*self.shared;
        let before = self.loaded();
        if are_still(&stamps(files), &before.stamps) {
            return Ok(false);
        }
        let now = load(files)?;
        let changed = now.content != before.content;
        let next = if changed {
            now
        } else {
            // Sessions are kept with the configuration: a touched file does not end them.
            Loaded {
                config: before.config,
                ..now
            }
        };
        *loaded.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(changed)
    }

    /// Never returns: reads the files again whenever they have changed.
    pub async fn follow(self, every: Duration) {
        let mut ticks = tokio::time::interval(every.max(SOONEST));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Told::default();
        loop {
            ticks.tick().await;
            let tls = self.clone();
            let reloaded = tokio::task::spawn_blocking(move || tls.reload()).await;
            let cert = self.shared.files.cert.display();
            match reloaded {
                Ok(Ok(true)) => {
                    tracing::info!(%cert, "the TLS files are new: they count from the next connection")
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => told.warn(&error.to_string()),
                Err(error) => told.warn(&error.to_string()),
            }
        }
    }

    /// The handshake of one connection, with what the files held last.
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.accept_within(stream, HANDSHAKE).await
    }

    pub(super) async fn accept_within<S>(
        &self,
        stream: S,
        span: Duration,
    ) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(self.loaded().config);
        timeout(span, acceptor.accept(stream)).await.map_err(|_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the TLS handshake took more than {span:?}"),
            )
        })?
    }

    fn loaded(&self) -> Loaded {
        let loaded = &self.shared.loaded;
        loaded
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Failures that were logged: each text once, however often its check comes round.
#[derive(Default)]
struct Told(VecDeque<String>);

impl Told {
    /// More texts than a set of files fails with.
    const KEPT: usize = 16;

    fn warn(&mut self, error: &str) {
        if self.0.iter().any(|told| told == error) {
            return;
        }
        tracing::warn!(error, "the TLS files stay as they were read before");
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back(error.to_owned());
    }
}

fn stamps(files: &TlsFiles) -> Vec<Option<Stamp>> {
    let TlsFiles { cert, key, peer_ca } = files;
    [Some(cert), Some(key), peer_ca.as_ref()]
        .into_iter()
        .flatten()
        .map(|path| Stamp::of(path))
        .collect()
}

/// Whether every file is sure to hold what it held.
fn are_still(now: &[Option<Stamp>], before: &[Option<Stamp>]) -> bool {
    now.iter().zip(before).all(
        |(now, before)| matches!((now, before), (Some(now), Some(before)) if now.is_still(before)),
    )
}

fn load(files: &TlsFiles) -> Result<Loaded, Error> {
    // Taken first: what changes while it is read counts as changed the next time.
    let stamps = stamps(files);
    let identity = Identity::read(&files.cert, &files.key, clock::now_unix())?;
    let mut content = vec![
        digest::hash(&identity.cert_pem),
        digest::hash(&identity.key_pem),
    ];
    let verifier = match &files.peer_ca {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(path) => {
            let (roots, pem) = roots(path)?;
            content.push(digest::hash(&pem));
            verifier(roots, path)?
        }
    };
    let unusable = |error: rustls::Error| {
        let cert = files.cert.display();
        let told = format!("the TLS certificate '{cert}' cannot be used: {error}");
        Error::new(ErrorCode::Invalid, told).with_hint("give a certificate for TLS servers")
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain, identity.key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded {
        config: Arc::new(config),
        stamps,
        content: digest::hash(&content.concat()),
    })
}

fn verifier(
    roots: rustls::RootCertStore,
    path: &std::path::Path,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| {
            let path = path.display();
            let told = format!("the CA certificate '{path}' cannot be used: {error}");
            Error::new(ErrorCode::Invalid, told).with_hint("give the CA of the peers as a PEM file")
        })
}
