//! What every command works with: the console, the environment, interrupts, and the way to a pool.

use std::future::Future;
use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};
use whimbrel::config::Environment;
use whimbrel::{Client, ClientTls, PoolAddress, Token};
use whimbrel_proto::{Error, ErrorCode};

use crate::cli::args::Global;
use crate::cli::console::Console;
use crate::cli::failure::Failure;

/// Variables that are no settings of a daemon: what this command reads itself, and four of the tests.
#[cfg(feature = "embedded")]
pub(crate) const OWN_VARIABLES: [&str; 13] = [
    "pool",
    "tls_ca",
    "client_cert",
    "client_key",
    "token",
    "token_file",
    "log",
    "state",
    "config",
    "bin",
    "golden",
    "failpoint",
    "chaos",
];

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) console: Console,
    pub(crate) environment: Environment,
    global: Global,
}

impl Context {
    pub(crate) fn new(global: Global, environment: Environment) -> Self {
        Self {
            console: Console::new(global.json, global.quiet),
            environment,
            global,
        }
    }

    /// The pool that the user names, if any.
    fn named_pool(&self) -> Result<Option<PoolAddress>, Failure> {
        let named = self
            .global
            .pool
            .as_deref()
            .or_else(|| self.environment.get("WHIMBREL_POOL"));
        named.map(str::parse).transpose().map_err(Failure::Usage)
    }

    /// The user's name on this machine.
    pub(crate) fn user(&self) -> Option<String> {
        self.environment.get("USER").map(str::to_owned)
    }

    /// Whether the pool is another process, which goes on when this one ends.
    pub(crate) fn names_pool(&self) -> bool {
        self.global.pool.is_some() || self.environment.get("WHIMBREL_POOL").is_some()
    }

    /// The token for the pool that the user names.
    fn token(&self) -> Result<Token, Failure> {
        let file = self.global.token_file.as_deref();
        let file = file.or_else(|| match self.environment.get("WHIMBREL_TOKEN") {
            Some(_) => None,
            None => self
                .environment
                .get("WHIMBREL_TOKEN_FILE")
                .map(std::path::Path::new),
        });
        let text = match (file, self.environment.get("WHIMBREL_TOKEN")) {
            (Some(path), _) => std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(
                    format!("cannot read the token file {}: {error}", path.display()),
                    "--token-file takes a file that holds the pool's token",
                )
            })?,
            (None, Some(token)) => token.to_owned(),
            (None, None) => return Ok(Token::none()),
        };
        Token::new(&text).map_err(|error| Failure::Usage(error.to_user()))
    }

    /// Whom a pool with TLS is trusted by, and what is shown to it.
    fn tls(&self) -> Result<ClientTls, Failure> {
        let file = |flag: &Option<PathBuf>, variable: &str| {
            let named = || self.environment.get(variable).map(PathBuf::from);
            flag.clone().or_else(named)
        };
        let cert = file(&self.global.client_cert, "WHIMBREL_CLIENT_CERT");
        let key = file(&self.global.client_key, "WHIMBREL_CLIENT_KEY");
        let own = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(Failure::usage(
                    "a certificate and its key go together",
                    "give both --client-cert and --client-key, or neither",
                ));
            }
        };
        Ok(ClientTls {
            ca: file(&self.global.tls_ca, "WHIMBREL_TLS_CA"),
            own,
            ..ClientTls::default()
        })
    }

    /// Does work with a pool: the named one, or the embedded one of the state folder, which is stopped afterwards.
    /// The signals of `end` end the work, and the queries that it leaves behind are cancelled.
    pub(crate) async fn with_pool<T>(
        &self,
        end: End,
        work: impl AsyncFnOnce(Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(address) = self.named_pool()? else {
            return self.with_embedded_pool(end, work).await;
        };
        let connect = Client::connect_with(address, self.token()?, self.tls()?);
        let client = end.or(connect).await??;
        let done = end.or(work(client.clone())).await.flatten();
        client.settle().await;
        done
    }

    #[cfg(not(feature = "embedded"))]
    async fn with_embedded_pool<T>(
        &self,
        _end: End,
        _work: impl AsyncFnOnce(Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        Err(Failure::usage(
            "no pool is named, and this build has none inside",
            "name one with --pool or WHIMBREL_POOL",
        ))
    }

    #[cfg(feature = "embedded")]
    async fn with_embedded_pool<T>(
        &self,
        end: End,
        work: impl AsyncFnOnce(Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        use crate::cli::embedded;
        use whimbrel::embedded::{Opened, open};

        match open(embedded::options(&self.environment)?).await? {
            Opened::Shared(client) => {
                let done = end.or(work(client.clone())).await.flatten();
                client.settle().await;
                done
            }
            Opened::Owned(mut pool, client) => {
                let done = end.or(work(client.clone())).await.flatten();
                if done.is_ok() {
                    embedded::let_others_finish(self.console, &mut pool, &client).await;
                }
                client.settle().await;
                let stopped = pool.stop().await;
                let done = done?;
                stopped?;
                Ok(done)
            }
        }
    }
}

/// Which signals end a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Ctrl-C, SIGTERM and SIGHUP.
    AnySignal,
    /// SIGTERM and SIGHUP: Ctrl-C means something smaller.
    Termination,
    /// Ctrl-C alone.
    Interrupt,
}

impl End {
    /// Does work until it is done or a signal ends it.
    pub(crate) async fn or<T>(self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let kinds: &[SignalKind] = match self {
            Self::AnySignal => &[
                SignalKind::interrupt(),
                SignalKind::terminate(),
                SignalKind::hangup(),
            ],
            Self::Termination => &[SignalKind::terminate(), SignalKind::hangup()],
            Self::Interrupt => &[SignalKind::interrupt()],
        };
        let signals = kinds
            .iter()
            .map(|kind| signal(*kind))
            .collect::<Result<Vec<Signal>, _>>();
        let mut signals = signals.map_err(|error| {
            Error::new(
                ErrorCode::Bug,
                format!("cannot listen for signals: {error}"),
            )
        })?;
        let any =
            futures::future::select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv())));
        tokio::select! {
            done = work => Ok(done),
            _ = any => Err(Failure::interrupted()),
        }
    }
}
