//! A pool of real processes: one scheduler and some executors on free ports in a temporary folder.

use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;
use whimbrel_proto::v1::{ExecutorStatus, GetPoolStatusResponse};

use crate::pool::Asker;
use crate::process::Process;
use crate::wait;

/// What processes a pool has and how they are set. Settings are environment variables.
#[derive(Clone, Debug, Default)]
pub struct Options<'a> {
    pub executors: usize,
    pub slots: usize,
    pub scheduler: &'a [(&'a str, &'a str)],
    pub executor: &'a [(&'a str, &'a str)],
    /// Flags of every executor, such as `--supervise`.
    pub executor_flags: &'a [&'a str],
}

/// The pool; everything ends and vanishes when it is dropped.
pub struct Cluster {
    pub scheduler: Process,
    pub executors: Vec<Process>,
    started: usize,
    pool: String,
    cluster_address: String,
    /// What executors take for it.
    reached_by: String,
    scheduler_settings: Vec<(String, String)>,
    executor_settings: Vec<(String, String)>,
    executor_flags: Vec<String>,
    folder: TempDir,
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

/// The scheduler of the pool in `folder`, on these ports (0: free ones).
fn scheduler(folder: &Path, ports: [&str; 2], settings: &[(String, String)]) -> Result<Process> {
    let args = [
        "scheduler",
        "--json",
        "--port",
        ports[0],
        "--cluster-port",
        ports[1],
        "--state",
        "state",
    ]
    .map(str::to_owned);
    Process::start("scheduler", folder, &args, &borrowed(settings))
}

fn port(address: &str) -> Result<&str> {
    let (_, port) = address
        .rsplit_once(':')
        .context("an address without a port")?;
    Ok(port)
}

impl Cluster {
    /// Starts a scheduler and `executors` executors of `slots` slots each, and waits until all are in the pool.
    pub async fn start(executors: usize, slots: usize) -> Result<Self> {
        Self::start_with(executors, slots, &[]).await
    }

    /// As `start`, with settings for the scheduler's environment.
    pub async fn start_with(
        executors: usize,
        slots: usize,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        Self::with(Options {
            executors,
            slots,
            scheduler: settings,
            ..Options::default()
        })
        .await
    }

    /// As `start`, with settings for the environment of every process.
    pub async fn start_in(
        executors: usize,
        slots: usize,
        settings: &[(impl AsRef<str>, String)],
    ) -> Result<Self> {
        let settings: Vec<(&str, &str)> = settings
            .iter()
            .map(|(key, value)| (key.as_ref(), value.as_str()))
            .collect();
        Self::with(Options {
            executors,
            slots,
            scheduler: &settings,
            executor: &settings,
            ..Options::default()
        })
        .await
    }

    /// As `start`, with all that can be set.
    pub async fn with(options: Options<'_>) -> Result<Self> {
        let folder = tempfile::tempdir().context("create the pool's folder")?;
        let scheduler_settings = owned(options.scheduler);
        let scheduler = scheduler(folder.path(), ["0", "0"], &scheduler_settings)?;
        let pool = format!("http://{}", scheduler.field("client_address")?);
        let cluster_address = scheduler.field("cluster_address")?;
        let mut cluster = Self {
            scheduler,
            executors: Vec::new(),
            started: 0,
            pool,
            reached_by: cluster_address.clone(),
            cluster_address,
            scheduler_settings,
            executor_settings: owned(options.executor),
            executor_flags: options
                .executor_flags
                .iter()
                .map(|flag| (*flag).to_owned())
                .collect(),
            folder,
        };
        for _ in 0..options.executors {
            cluster.add_executor(options.slots)?;
        }
        cluster.wait_executors(options.executors).await?;
        Ok(cluster)
    }

    /// Kills the scheduler without warning and starts another at its place: same ports, same state.
    pub fn restart_killed_scheduler(&mut self) -> Result<()> {
        self.scheduler.kill()?;
        let ports = [port(&self.pool)?, port(&self.cluster_address)?];
        self.scheduler = scheduler(self.folder.path(), ports, &self.scheduler_settings)?;
        Ok(())
    }

    /// Ends the scheduler without warning, where it still runs, and starts another at its place with these settings beside those
    /// of the pool.
    pub fn restart_scheduler(&mut self, settings: &[(&str, &str)]) -> Result<()> {
        if self.scheduler.exited().is_none() {
            self.scheduler.kill()?;
        }
        let ports = [port(&self.pool)?, port(&self.cluster_address)?];
        let mut all = self.scheduler_settings.clone();
        all.extend(owned(settings));
        self.scheduler = scheduler(self.folder.path(), ports, &all)?;
        Ok(())
    }

    /// The settings of executors that are added from now on.
    pub fn set_executor(&mut self, settings: &[(&str, &str)]) {
        self.executor_settings = owned(settings);
    }

    /// Where executors reach the scheduler.
    pub fn cluster_address(&self) -> &str {
        &self.cluster_address
    }

    /// Executors that are added from now on reach the scheduler here.
    pub fn reach_by(&mut self, address: String) {
        self.reached_by = address;
    }

    /// Starts one more executor; returns its place in `executors`.
    pub fn add_executor(&mut self, slots: usize) -> Result<usize> {
        self.started += 1;
        let name = format!("executor-{}", self.started);
        let slots = slots.to_string();
        let mut args: Vec<String> = [
            "executor",
            "--json",
            "--scheduler",
            &self.reached_by,
            "--port",
            "0",
            "--cluster-port",
            "0",
            "--work-dir",
            &name,
            "--slots",
            &slots,
        ]
        .map(str::to_owned)
        .into();
        args.extend(self.executor_flags.iter().cloned());
        let settings = borrowed(&self.executor_settings);
        let executor = Process::start(&name, self.folder.path(), &args, &settings)?;
        self.executors.push(executor);
        Ok(self.executors.len() - 1)
    }

    /// The pool's address, as `--pool` takes it.
    pub fn address(&self) -> &str {
        &self.pool
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub async fn client(&self) -> Result<Asker> {
        Asker::connect(&self.pool).await
    }

    pub async fn status(&self) -> Result<GetPoolStatusResponse> {
        self.client().await?.status().await
    }

    /// Waits until exactly `count` executors are active.
    pub async fn wait_executors(&self, count: usize) -> Result<Vec<ExecutorStatus>> {
        let client = self.client().await?;
        wait::until(&format!("{count} active executors"), || async {
            let status = client.status().await.ok()?;
            let active: Vec<_> = status
                .executors
                .into_iter()
                .filter(|executor| executor.state == "active")
                .collect();
            (active.len() == count).then_some(active)
        })
        .await
    }
}
