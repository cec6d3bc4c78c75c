//! What the scheduler and the executor share as processes: settings, threads, the line that says they are ready, and signals.

pub(crate) mod executor;
pub(crate) mod scheduler;
mod supervise;

use std::future::Future;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use toml::{Table, Value};
use whimbrel::config::{self, Sources};
use whimbrel_proto::{Error, ErrorCode};

use crate::cli::args::DaemonArgs;
use crate::cli::console::Console;
use crate::cli::context::{Context, OWN_VARIABLES};
use crate::cli::failure::Failure;
use crate::cli::telemetry;

/// Planning recurses with the depth of a query. The memory is only reserved; pages come when they are touched.
const STACK_BYTES: usize = 32 << 20;
/// What does not end by itself in this time is ended with the process.
const RUNTIME_DEADLINE: Duration = Duration::from_secs(5);

/// Puts a daemon's settings together. Nothing is returned where they were only to be printed.
fn settings<T>(
    context: &Context,
    args: &DaemonArgs,
    own_flags: Table,
    other_keys: &[&str],
) -> Result<Option<T>, Failure>
where
    T: Serialize + DeserializeOwned + Default,
{
    let known: Vec<&str> = OWN_VARIABLES.iter().chain(other_keys).copied().collect();
    let mut flags = own_flags;
    set(&mut flags, "bind", args.bind.as_deref());
    set(&mut flags, "port", args.port.map(i64::from));
    set(&mut flags, "cluster_port", args.cluster_port.map(i64::from));
    set(&mut flags, "advertise", args.advertise.as_deref());
    let allow = (!args.allow.is_empty()).then(|| args.allow.clone());
    set(&mut flags, "allow", allow);
    set(&mut flags, "insecure", args.insecure.then_some(true));
    let files = [
        ("tls_cert", &args.tls_cert),
        ("tls_key", &args.tls_key),
        ("cluster_tls_cert", &args.cluster_tls_cert),
        ("cluster_tls_key", &args.cluster_tls_key),
        ("cluster_tls_ca", &args.cluster_tls_ca),
    ];
    for (key, file) in files {
        set_path(&mut flags, key, file.as_deref());
    }
    let file = args
        .config
        .clone()
        .or_else(|| context.environment.get("WHIMBREL_CONFIG").map(Into::into));
    let sources = Sources {
        file,
        environment: context.environment.clone(),
        known_elsewhere: &known,
        flags,
    };
    let config: T = config::load(&sources).map_err(Failure::Usage)?;
    if args.print_config {
        context.console.print(config::print(&config)?.trim_end())?;
        return Ok(None);
    }
    Ok(Some(config))
}

fn set(flags: &mut Table, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        flags.insert(key.to_owned(), value.into());
    }
}

fn set_path(flags: &mut Table, key: &str, path: Option<&std::path::Path>) {
    set(
        flags,
        key,
        path.map(|path| path.to_string_lossy().into_owned()),
    );
}

fn runtime(name: &str) -> Result<Runtime, Failure> {
    telemetry::runtime(
        Builder::new_multi_thread()
            .thread_name(name)
            .thread_stack_size(STACK_BYTES),
    )
}

/// Says, for people and for programs, that the process serves and where.
fn announce(
    console: Console,
    id: Option<&str>,
    client: &str,
    cluster: &str,
) -> Result<(), Failure> {
    if console.json {
        let mut ready = json!({"client_address": client, "cluster_address": cluster, "pid": std::process::id()});
        if let (Some(id), Some(fields)) = (id, ready.as_object_mut()) {
            fields.insert("executor_id".to_owned(), id.into());
        }
        return console.print_json(&ready);
    }
    console.print(&format!("client port: {client}"))?;
    console.print(&format!("cluster port: {cluster}"))
}

/// The signals of a daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// What a daemon is told by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// SIGTERM: finish, serve what is still wanted, then go.
    Drain,
    /// Ctrl-C: go.
    Stop,
}

impl Told {
    /// The signal that says it.
    fn number(self) -> i32 {
        match self {
            Self::Drain => libc::SIGTERM,
            Self::Stop => libc::SIGINT,
        }
    }
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Error::new(
                    ErrorCode::Bug,
                    format!("cannot listen for signals: {error}"),
                )
            })
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Drain,
            _ = self.interrupt.recv() => Told::Stop,
        }
    }

    /// Drains; any further signal ends the patience.
    async fn drain(&mut self, drain: impl Future<Output = ()>) {
        tracing::info!("draining: taking nothing new, finishing what runs");
        tokio::select! {
            () = drain => tracing::info!("drained"),
            told = self.next() => tracing::warn!(?told, "told again while draining: stopping at once"),
        }
    }
}
