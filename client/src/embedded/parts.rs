//! The scheduler and executors of an embedded pool, on a runtime of their own.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use whimbrel_executor::Executor;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_scheduler::Scheduler;

use super::options::{Folders, Options};

/// Planning recurses with the depth of a query. The memory is only reserved; pages come when they are touched.
const STACK_BYTES: usize = 32 << 20;
/// A part that does not end by itself in this time is ended with its runtime.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Everything of an embedded pool that runs.
#[derive(Debug)]
pub(super) struct Parts {
    client_address: String,
    scheduler: Option<Scheduler>,
    executors: Vec<Executor>,
    runtime: Option<Runtime>,
}

impl Parts {
    pub(super) async fn start(
        options: &Options,
        folders: &Folders,
        token: &str,
    ) -> Result<Self, Error> {
        let mut parts = Self {
            client_address: String::new(),
            scheduler: None,
            executors: Vec::with_capacity(options.executors),
            runtime: Some(runtime()?),
        };
        match parts.start_all(options, folders, token).await {
            Ok(()) => Ok(parts),
            Err(error) => {
                if let Err(unclean) = parts.stop().await {
                    tracing::warn!(error = %unclean, "the embedded pool did not stop cleanly");
                }
                Err(error)
            }
        }
    }

    async fn start_all(
        &mut self,
        options: &Options,
        folders: &Folders,
        token: &str,
    ) -> Result<(), Error> {
        let config = scheduler_config(options, folders, token);
        let scheduler = self.within(start_scheduler(config)).await??;
        self.client_address = scheduler.client_address().to_owned();
        let cluster_address = scheduler.cluster_address().to_owned();
        self.scheduler = Some(scheduler);
        for number in 0..options.executors {
            let config = executor_config(options, folders, number, &cluster_address);
            let executor = self.within(start_executor(config)).await??;
            self.executors.push(executor);
        }
        Ok(())
    }

    /// Runs a future on the pool's runtime, so that whatever it spawns ends with the pool.
    async fn within<F>(&self, work: F) -> Result<F::Output, Error>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let ended = |reason: String| {
            Error::new(
                ErrorCode::Bug,
                format!("a part of the embedded pool broke: {reason}"),
            )
        };
        let runtime = self
            .runtime
            .as_ref()
            .ok_or_else(|| ended("its runtime has ended".to_owned()))?;
        runtime
            .spawn(work)
            .await
            .map_err(|error| ended(error.to_string()))
    }

    pub(super) fn client_address(&self) -> &str {
        &self.client_address
    }

    pub(super) async fn drain(&self, grace: Duration) {
        if let Some(scheduler) = &self.scheduler {
            scheduler.drain(grace).await;
        }
    }

    pub(super) async fn stop(mut self) -> Result<(), Error> {
        let executors = std::mem::take(&mut self.executors);
        let scheduler = self.scheduler.take();
        let parts = self.within(async move {
            let stop_executors = join_all(executors.into_iter().map(Executor::stop));
            let orderly = timeout(STOP_DEADLINE, stop_executors).await.is_ok();
            match scheduler {
                Some(scheduler) => {
                    timeout(STOP_DEADLINE, scheduler.stop()).await.is_ok() && orderly
                }
                None => orderly,
            }
        });
        let ended = parts
            .await
            .and_then(|orderly| if orderly { Ok(()) } else { Err(overdue()) });
        let Some(runtime) = self.runtime.take() else {
            return ended;
        };
        // Ending a runtime waits for its threads, which an async caller must not do on its own thread.
        let joined = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(STOP_DEADLINE));
        ended.and(joined.await.map_err(|_| overdue()))
    }
}

fn overdue() -> Error {
    Error::new(
        ErrorCode::Bug,
        "a part of the embedded pool did not stop in time and was ended",
    )
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            self.executors.clear();
            self.scheduler = None;
            runtime.shutdown_background();
        }
    }
}

fn runtime() -> Result<Runtime, Error> {
    let threads = Arc::new(AtomicUsize::new(0));
    Builder::new_multi_thread()
        .thread_name_fn(move || format!("whimbrel-{}", threads.fetch_add(1, Ordering::Relaxed)))
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|error| {
            Error::new(
                ErrorCode::Exhausted,
                format!("cannot start the embedded pool's threads: {error}"),
            )
        })
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn scheduler_config(
    options: &Options,
    folders: &Folders,
    token: &str,
) -> whimbrel_scheduler::Config {
    whimbrel_scheduler::Config {
        bind: LOOPBACK,
        port: 0,
        cluster_port: 0,
        advertise: String::new(),
        state: folders.state(),
        storage: folders.storage(),
        client_token: token.to_owned(),
        client_token_file: None,
        ..options.scheduler.clone()
    }
}

fn executor_config(
    options: &Options,
    folders: &Folders,
    number: usize,
    scheduler: &str,
) -> whimbrel_executor::Config {
    whimbrel_executor::Config {
        scheduler: scheduler.to_owned(),
        bind: LOOPBACK.to_string(),
        port: 0,
        cluster_port: 0,
        advertise: String::new(),
        work_dir: folders.executor_work(number),
        ..options.executor.clone()
    }
}

async fn start_scheduler(config: whimbrel_scheduler::Config) -> Result<Scheduler, Error> {
    let listeners = whimbrel_scheduler::Listeners::bind(&config).await?;
    Scheduler::start(config, listeners).await
}

async fn start_executor(config: whimbrel_executor::Config) -> Result<Executor, Error> {
    let listeners = whimbrel_executor::Listeners::bind(&config).await?;
    Executor::start(config, listeners).await
}
