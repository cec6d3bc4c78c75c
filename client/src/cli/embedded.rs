//! The embedded pool as commands use it: found by folder, set by variables, and not pulled away from under others.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::interval;
use whimbrel::Client;
use whimbrel::config::{self, Environment, Sources};
use whimbrel::embedded::{Home, Options, Pool, everything};
use whimbrel_proto::v1::GetPoolStatusResponse;

use crate::cli::console::Console;
use crate::cli::context::{End, OWN_VARIABLES};
use crate::cli::failure::Failure;

const DEFAULT_FOLDER: &str = ".whimbrel";
const ASK_EVERY: Duration = Duration::from_millis(250);
/// The rows of a finished query are fetched within this, or nobody wants them.
const FETCH_GRACE: Duration = Duration::from_secs(10);

/// The embedded pool that the environment describes.
pub(crate) fn options(environment: &Environment) -> Result<Options, Failure> {
    let folder = environment.get("WHIMBREL_STATE").unwrap_or(DEFAULT_FOLDER);
    if folder.contains("://") {
        return Err(Failure::usage(
            format!("WHIMBREL_STATE={folder}: an embedded pool keeps its state in a folder"),
            "name a folder, or a running pool with --pool",
        ));
    }
    let scheduler_keys = config::keys::<whimbrel_scheduler::Config>();
    let executor_keys = config::keys::<whimbrel_executor::Config>();
    let known: Vec<&str> = OWN_VARIABLES
        .iter()
        .chain(scheduler_keys)
        .chain(executor_keys)
        .copied()
        .collect();
    let sources = Sources {
        environment: environment.clone(),
        known_elsewhere: &known,
        ..Sources::default()
    };
    let mut options = Options {
        home: Home::Folder(PathBuf::from(folder)),
        executors: 1,
        scheduler: config::load(&sources).map_err(Failure::Usage)?,
        executor: config::load(&sources).map_err(Failure::Usage)?,
    };
    if environment.get("WHIMBREL_ALLOW").is_none() {
        options.scheduler.allow = everything();
        options.executor.allow = everything();
    }
    Ok(options)
}

/// Other commands may have connected to this one's pool: their queries end before it does, unless the user insists.
pub(crate) async fn let_others_finish(console: Console, pool: &mut Pool, client: &Client) {
    let wait = async {
        let waited = none_running(console, client).await;
        // A command that found the pool until now may have asked it something since.
        pool.withdraw();
        if none_running(console, client).await || waited {
            pool.drain(FETCH_GRACE).await;
        }
    };
    if End::AnySignal.or(wait).await.is_err() {
        console.note("ending the queries of other commands");
    }
}

/// Waits until no query runs; true where one did.
async fn none_running(console: Console, client: &Client) -> bool {
    let mut asks = interval(ASK_EVERY);
    let mut waited = false;
    loop {
        asks.tick().await;
        let running = match client.pool_status().await {
            Ok(status) => running_queries(&status),
            Err(error) => {
                tracing::debug!(%error, "the embedded pool does not say what runs");
                0
            }
        };
        if running == 0 {
            return waited;
        }
        if !std::mem::replace(&mut waited, true) {
            let noun = if running == 1 { "query" } else { "queries" };
            console.note(&format!(
                "waiting for {running} {noun} of other commands on this pool; Ctrl-C ends them"
            ));
        }
    }
}

fn running_queries(status: &GetPoolStatusResponse) -> usize {
    status
        .queries
        .iter()
        .filter(|query| matches!(query.state.as_str(), "planning" | "running"))
        .count()
}
