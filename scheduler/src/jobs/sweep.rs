//! Cleans up after a job that has ended: what attempts left behind, and the records that nobody needs any more. Only once its
//! executors can no longer be at it, for an attempt that is cut off from the pool does not know that its job is over.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::try_join_all;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::job::{Counts, Manifest, Records};

use super::output::Output;
use super::own::disown;
use super::state::State;
use super::{Failpoint, Job, Jobs, pass};

/// Records removed at once.
const AT_ONCE: usize = 32;
/// Between two attempts at a store that does not let it happen.
const PAUSE: Duration = Duration::from_secs(30);
/// How often a store may refuse before what is there stays.
const ATTEMPTS: u32 = 20;

impl Jobs {
    /// Cleans up, after the lease, as often as it takes.
    pub(super) async fn tidy(&self, job: &Arc<Job>) {
        if job.record().tidy {
            return;
        }
        for _ in 0..ATTEMPTS {
            self.parts.clock.sleep(self.parts.limits.lease).await;
            match self.clean_up(job).boxed().await {
                Ok(0) => {
                    pass(Failpoint::Swept);
                    match self.amend(job, |record| record.tidy = true).await {
                        Ok(()) => return,
                        Err(error) => {
                            tracing::warn!(score_job = %job.id(), %error, "a sweep cannot be noted")
                        }
                    }
                }
                Ok(swept) => {
                    tracing::info!(score_job = %job.id(), swept, "removed what attempts left behind")
                }
                Err(error) => {
                    tracing::warn!(score_job = %job.id(), %error, "what a score job left behind cannot be removed yet");
                    self.parts.clock.sleep(PAUSE).await;
                }
            }
        }
        tracing::error!(score_job = %job.id(), "what a score job left behind stays until the scheduler starts again");
    }

    /// Removes what was left behind; how many uploads it were. Where it were none, the records go too.
    async fn clean_up(&self, job: &Job) -> Result<usize, Error> {
        let record = job.record();
        let output = self.output(&record)?;
        let records = Records::of(job.id());
        let told = |error| output.explain(&error);
        disown(&output, job.id()).await?;
        let manifest = match record.state {
            State::Succeeded => kept(&output, &records).await?,
            _ => None,
        };
        // What somebody has removed was seen, and has no uploads; those that are left are nobody's.
        let manifest = manifest.unwrap_or_else(|| nothing(job));
        let spec = serde_json::Value::Null;
        let commit = output.commit(&records, &spec);
        let swept = commit.sweep(&manifest).boxed().await.map_err(told)?;
        if swept > 0 {
            return Ok(swept);
        }
        let mut gone = output.io().list(&records.folder()).await.map_err(told)?;
        let stays = [records.manifest(), records.decision()];
        gone.retain(|object| !stays.contains(&object.path));
        for some in gone.chunks(AT_ONCE) {
            let deletes = some
                .iter()
                .map(|object| output.io().delete(&object.path, None));
            try_join_all(deletes).await.map_err(told)?;
        }
        output.io().clear(&records.folder()).await.map_err(told)?;
        // What has succeeded was revealed, and stays.
        output.abandon().await?;
        Ok(0)
    }
}

/// What the output consists of; none where somebody has removed it.
async fn kept(output: &Output, records: &Records) -> Result<Option<Manifest>, Error> {
    let path = records.manifest();
    let found = output.io().get(&path).await;
    let found = found.map_err(|error| output.explain(&error))?;
    let Some(found) = found else { return Ok(None) };
    serde_json::from_slice(&found).map(Some).map_err(|error| {
        let place = output.place().show();
        let text = format!("'{path}' in '{place}' is not what was written there: {error}");
        Error::new(ErrorCode::Data, text)
    })
}

/// A manifest of nothing.
fn nothing(job: &Job) -> Manifest {
    Manifest {
        job: job.id().to_string(),
        job_spec: serde_json::Value::Null,
        counts: Counts::default(),
        objects: Vec::new(),
        dead_letters: Vec::new(),
    }
}
