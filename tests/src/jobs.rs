//! Score jobs as a user meets them: submitted, looked at and ended by the command.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::command::{Outcome, run};
use crate::wait;

/// Whether the long ones are wanted.
#[expect(clippy::disallowed_methods, reason = "how `make chaos` says so")]
pub fn chaos() -> bool {
    std::env::var_os("WHIMBREL_CHAOS").is_some()
}

/// A figure that nobody judges but the reader.
#[expect(clippy::print_stderr, reason = "a measurement of the suite")]
pub fn say(text: &str) {
    eprintln!("{text}");
}

/// `whimbrel score OPTIONS` on the cluster.
pub fn score(cluster: &Cluster, options: &[&str]) -> Result<Outcome> {
    let mut args = vec!["score"];
    args.extend(options);
    run(cluster.folder(), Some(cluster.address()), &args)
}

/// `whimbrel job ARGS` on the cluster.
pub fn job(cluster: &Cluster, args: &[&str]) -> Result<Outcome> {
    let mut all = vec!["job"];
    all.extend(args);
    run(cluster.folder(), Some(cluster.address()), &all)
}

/// Rows that this executor has scored since it started, as it said at or after a moment.
pub async fn scored(cluster: &Cluster, executor_id: &str, after_ms: u64) -> Result<u64> {
    wait::until("the executor's report", || async {
        let status = cluster.status().await.ok()?;
        let executor = status
            .executors
            .into_iter()
            .find(|executor| executor.executor_id == executor_id)?;
        let seen = u64::try_from(executor.last_seen_ms).ok()?;
        let rows = executor.models.iter().map(|model| model.rows_scored).sum();
        (seen > after_ms).then_some(rows)
    })
    .await
}

/// The journal of a job with this local output; known until the sweep.
pub fn entries(output: &Path, job: &str) -> Result<Vec<Value>> {
    let journal = output.join("_whimbrel").join(job).join("journal");
    let entries = std::fs::read_dir(&journal).with_context(|| journal.display().to_string())?;
    let read = |entry: std::io::Result<std::fs::DirEntry>| -> Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(entry?.path())?)?)
    };
    entries.map(read).collect()
}

fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).collect()
}

/// A job as `job show --json` tells it.
#[derive(Clone, Debug)]
pub struct Status {
    pub json: Value,
}

impl Status {
    pub fn state(&self) -> &str {
        self.json["state"].as_str().unwrap_or_default()
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state(), "succeeded" | "failed" | "cancelled")
    }

    pub fn number(&self, path: &str) -> u64 {
        let found = self.json.pointer(path).and_then(Value::as_u64);
        found.unwrap_or_default()
    }

    pub fn text(&self, path: &str) -> &str {
        let found = self.json.pointer(path).and_then(Value::as_str);
        found.unwrap_or_default()
    }
}

/// A job of a cluster.
pub struct Job {
    pub id: String,
    folder: std::path::PathBuf,
    pool: String,
}

impl Job {
    /// Submits a job; it must be taken.
    pub fn submit(cluster: &Cluster, options: &[&str]) -> Result<Self> {
        let outcome = score(cluster, options)?;
        ensure!(outcome.code == 0, "score {options:?}: {}", outcome.stderr);
        Ok(Self::of(cluster, outcome.stdout.trim()))
    }

    /// The job of this id.
    pub fn of(cluster: &Cluster, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            folder: cluster.folder().to_owned(),
            pool: cluster.address().to_owned(),
        }
    }

    /// `job COMMAND ID`.
    pub fn tell(&self, command: &str) -> Result<Outcome> {
        run(
            &self.folder,
            Some(&self.pool),
            &["job", command, &self.id, "--json"],
        )
    }

    pub fn status(&self) -> Result<Status> {
        let outcome = self.tell("show")?;
        ensure!(outcome.code == 0, "job show: {}", outcome.stderr);
        let json = serde_json::from_str(&outcome.stdout).context("job show --json")?;
        Ok(Status { json })
    }

    pub fn cancel(&self) -> Result<()> {
        let outcome = self.tell("cancel")?;
        ensure!(outcome.code == 0, "job cancel: {}", outcome.stderr);
        Ok(())
    }

    /// Waits for a status that fits; a scheduler that is away for a moment is asked again.
    pub async fn until(&self, what: &str, fits: impl Fn(&Status) -> bool) -> Result<Status> {
        wait::until_within(wait::DEADLINE * 2, what, async || {
            self.status().ok().filter(&fits)
        })
        .await
    }

    /// Waits for its end.
    pub async fn ended(&self) -> Result<Status> {
        self.until("the job ends", Status::is_over).await
    }

    /// Waits until the sweep has been: of the records beside the output only what was decided and what came of it stay.
    pub async fn swept(&self, output: &Path) -> Result<()> {
        let records = output.join("_whimbrel").join(&self.id);
        let swept = wait::until("the sweep", || async {
            let left = |name: &str| records.join(name).exists();
            let gone =
                !left("plan") && !left("splits") && names(&records.join("journal")).is_empty();
            (gone && left("manifest.json")).then_some(())
        });
        let seen = || [names(&records), names(&records.join("journal"))];
        swept.await.with_context(|| format!("left: {:?}", seen()))
    }
}
