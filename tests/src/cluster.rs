//! A pool of real processes: one scheduler and some executors on free ports in a temporary folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;
use whimbrel_proto::v1::{ExecutorStatus, GetPoolStatusResponse};

use crate::certificates::Pair;
use crate::command::{Outcome, command};
use crate::flight::{Papers, Visitor};
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
    /// What the harness itself shows to the pool, where it asks for a token.
    pub token: &'a str,
    /// Who signed the certificate of the client ports, where they speak TLS.
    pub ca: Option<&'a Path>,
    /// What the harness itself shows, where client ports ask for a certificate.
    pub own: Option<&'a Pair>,
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
    token: String,
    ca: Option<PathBuf>,
    own: Option<Pair>,
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

/// Files in a folder and in those below; none where it is not there.
fn files_below(folder: &Path) -> Result<usize> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(0);
    };
    let mut files = 0;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files += files_below(&entry.path())?;
        } else {
            files += 1;
        }
    }
    Ok(files)
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
        let scheme = if options.ca.is_some() {
            "https"
        } else {
            "http"
        };
        let pool = format!("{scheme}://{}", scheduler.field("client_address")?);
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
            token: options.token.to_owned(),
            ca: options.ca.map(Path::to_owned),
            own: options.own.cloned(),
            folder,
        };
        for _ in 0..options.executors {
            cluster.add_executor(options.slots)?;
        }
        match &cluster.ca {
            None => drop(cluster.wait_executors(options.executors).await?),
            Some(_) => cluster.wait_joined(options.executors).await?,
        }
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
        Asker::connect_as(&self.pool, &self.token).await
    }

    /// A client that is not ours, with the harness's token.
    pub async fn visitor(&self) -> Result<Visitor> {
        self.visitor_as(Some(self.token.as_str()).filter(|token| !token.is_empty()))
            .await
    }

    /// A client that is not ours, and shows this token or none.
    pub async fn visitor_as(&self, token: Option<&str>) -> Result<Visitor> {
        let papers = Papers {
            ca: self.ca.as_deref(),
            own: self.own.as_ref().map(|own| (&*own.cert, &*own.key)),
        };
        Visitor::connect(&self.pool, token, papers).await
    }

    /// `whimbrel ARGS` with the harness's token, to its end.
    pub fn command(&self, args: &[&str]) -> Result<Outcome> {
        let mut command = command(self.folder(), Some(&self.pool), args)?;
        if !self.token.is_empty() {
            command.env("WHIMBREL_TOKEN", &self.token);
        }
        if let Some(ca) = &self.ca {
            command.env("WHIMBREL_TLS_CA", ca);
        }
        if let Some(Pair { cert, key }) = &self.own {
            command
                .env("WHIMBREL_CLIENT_CERT", cert)
                .env("WHIMBREL_CLIENT_KEY", key);
        }
        Outcome::of(command)
    }

    /// Files of results that its executors hold.
    pub fn held_files(&self) -> Result<usize> {
        let mut held = 0;
        for executor in &self.executors {
            let work = self.folder().join(executor.name()).join("executors");
            held += files_below(&work.join(executor.field("executor_id")?).join("jobs"))?;
        }
        Ok(held)
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

    /// As `wait_executors`, asked for by the command, which speaks whatever the pool speaks.
    async fn wait_joined(&self, count: usize) -> Result<()> {
        wait::until(&format!("{count} active executors"), || async {
            let outcome = self.command(&["pool", "status", "--json"]).ok()?;
            let status: Value = serde_json::from_str(&outcome.stdout).ok()?;
            let executors = status["executors"].as_array()?;
            let active = executors.iter().filter(|one| one["state"] == "active");
            (active.count() == count).then_some(())
        })
        .await
    }
}
