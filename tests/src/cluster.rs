//! A pool of real processes: one scheduler and some executors on free ports in a temporary folder.

use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;
use whimbrel_proto::v1::{ExecutorStatus, GetPoolStatusResponse};

use crate::pool::Asker;
use crate::process::Process;
use crate::wait;

/// The pool; everything ends and vanishes when it is dropped.
pub struct Cluster {
    pub scheduler: Process,
    pub executors: Vec<Process>,
    started: usize,
    pool: String,
    cluster_address: String,
    folder: TempDir,
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
        let folder = tempfile::tempdir().context("create the pool's folder")?;
        let args: Vec<String> = [
            "scheduler",
            "--json",
            "--port",
            "0",
            "--cluster-port",
            "0",
            "--state",
            "state",
        ]
        .map(str::to_owned)
        .into();
        let scheduler = Process::start("scheduler", folder.path(), &args, settings)?;
        let pool = format!("http://{}", scheduler.field("client_address")?);
        let cluster_address = scheduler.field("cluster_address")?;
        let mut cluster = Self {
            scheduler,
            executors: Vec::new(),
            started: 0,
            pool,
            cluster_address,
            folder,
        };
        for _ in 0..executors {
            cluster.add_executor(slots)?;
        }
        cluster.wait_executors(executors).await?;
        Ok(cluster)
    }

    /// Starts one more executor; returns its place in `executors`.
    pub fn add_executor(&mut self, slots: usize) -> Result<usize> {
        self.started += 1;
        let name = format!("executor-{}", self.started);
        let args = [
            "executor",
            "--json",
            "--scheduler",
            &self.cluster_address,
            "--port",
            "0",
            "--cluster-port",
            "0",
            "--work-dir",
            &name,
            "--slots",
            &slots.to_string(),
        ]
        .map(str::to_owned);
        self.executors
            .push(Process::start(&name, self.folder.path(), &args, &[])?);
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
