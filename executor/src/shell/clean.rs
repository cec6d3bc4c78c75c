//! Removes what tasks wrote: when the scheduler says so, and by age, for jobs whose scheduler is gone.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};
use whimbrel_proto::ids::JobId;
use whimbrel_proto::{Error, ErrorCode};

use super::Shared;
use crate::clock::{age, now_ms};

/// How often the folder of jobs is looked through.
const SWEEP: Duration = Duration::from_secs(60);

/// Removes a job's files, or those of some of its stages.
pub(super) async fn remove_job(shared: &Shared, job: &JobId, stages: &[u32]) -> Result<(), Error> {
    let dir = shared.work.jobs().join(job.as_str());
    shared.index.forget(job.as_str(), stages);
    if stages.is_empty() {
        // The job is over; a task of it that still runs would only make the folder again.
        shared.tasks.cancel_job(job.as_str());
        shared.stats.forget_job(job.as_str());
        shared.served.forget(job.as_str());
        shared.put_off.forget(job.as_str());
        return remove(&dir).await;
    }
    for stage in stages {
        remove(&dir.join(stage.to_string())).await?;
    }
    Ok(())
}

async fn remove(dir: &Path) -> Result<(), Error> {
    match tokio::fs::remove_dir_all(dir).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::new(
            ErrorCode::Unavailable,
            format!("cannot remove {}: {error}", dir.display()),
        )),
    }
}

/// Looks for old jobs and idle connections until the executor stops.
pub(super) async fn sweep(shared: Arc<Shared>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shared
        .stop
        .run_until_cancelled(ticks.tick())
        .await
        .is_some()
    {
        shared.clients.sweep(now_ms());
        if let Err(error) = remove_old(&shared).await {
            warn!(executor_id = %shared.id, %error, "cannot look for old results");
        }
    }
}

async fn remove_old(shared: &Shared) -> Result<(), Error> {
    let dir = shared.work.jobs();
    let failed = |error: io::Error| {
        Error::new(
            ErrorCode::Unavailable,
            format!("cannot list {}: {error}", dir.display()),
        )
    };
    let mut entries = tokio::fs::read_dir(&dir).await.map_err(failed)?;
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        let Ok(job) = entry.file_name().to_string_lossy().parse::<JobId>() else {
            continue;
        };
        if shared.tasks.has_job(job.as_str()) || shared.standing.is_wanted(job.as_str()) {
            continue;
        }
        if newest(entry.path()).await.map_err(failed)? > shared.result_ttl {
            info!(executor_id = %shared.id, job_id = %job, "removing results that nobody removed");
            remove_job(shared, &job, &[]).await?;
        }
    }
    Ok(())
}

/// The age of what was written last in a job's folder. Files are closed before they grow old, and a new one makes its folder
/// young, so folders down to the partitions tell.
async fn newest(job: std::path::PathBuf) -> io::Result<Duration> {
    let mut youngest = Duration::MAX;
    let mut open = vec![(job, 0)];
    while let Some((dir, depth)) = open.pop() {
        youngest = youngest.min(age(&tokio::fs::metadata(&dir).await?));
        let mut entries = tokio::fs::read_dir(&dir).await?;
        while let Some(entry) = entries.next_entry().await? {
            if depth < 2 && entry.file_type().await?.is_dir() {
                open.push((entry.path(), depth + 1));
            }
        }
    }
    Ok(youngest)
}
