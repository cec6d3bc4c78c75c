//! Makes a complete job's output real, or makes sure that it never will be. What is decided beside the output binds, whatever this
//! scheduler had in mind; from there on nothing but success is possible, and every step is taken as often as it takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use serde_json::json;
use whimbrel_predict::sink::OutputMode;
use whimbrel_proto::Error;
use whimbrel_stores::job::{Commit, Decision, Ended, Manifest, Proposal, Records, Verdict};

use super::journal;
use super::output::Output;
use super::own::disown;
use super::pin::Work;
use super::progress::Done;
use super::record::Record;
use super::{Event, Failpoint, Job, Jobs, pass};

/// How a commit went.
#[derive(Debug)]
pub(super) enum Committed {
    /// The output is real.
    Real(Box<Manifest>),
    /// It was decided otherwise.
    Cancelled,
    /// Some splits are missing, or have got lost: they are scored first.
    Missing,
}

impl Jobs {
    /// What was decided about a job.
    pub(super) async fn decided(
        &self,
        job: &Job,
        output: &Output,
    ) -> Result<Option<Verdict>, Error> {
        let (records, nothing) = (Records::of(job.id()), serde_json::Value::Null);
        let commit = output.commit(&records, &nothing);
        let decision = commit.decided().await;
        let decision = decision.map_err(|error| output.explain(&error))?;
        Ok(decision.map(|decision| decision.verdict))
    }

    /// Commits a job whose splits are all in the journal.
    pub(super) async fn commit(
        &self,
        job: &Arc<Job>,
        output: &Output,
        work: &Work,
    ) -> Result<Committed, Error> {
        let records = Records::of(job.id());
        let told = |error| output.explain(&error);
        let spec = told_of(&job.record());
        let commit = output.commit(&records, &spec);
        let decision = match commit.decided().await.map_err(told)? {
            Some(decision) => {
                let done = Done::of(&decision.entries, &work.sizes);
                job.note(|live| live.journal = done);
                decision
            }
            None => match self.decide(job, output, work, &commit).boxed().await? {
                Some(decision) => decision,
                None => return Ok(Committed::Missing),
            },
        };
        match commit.finish(decision).boxed().await.map_err(told)? {
            Ended::Succeeded(manifest) => Ok(Committed::Real(manifest)),
            Ended::Cancelled => Ok(Committed::Cancelled),
            Ended::Lost(splits) => {
                tracing::warn!(score_job = %job.id(), splits = splits.len(), "the store has dropped what was uploaded, scoring it again");
                Ok(Committed::Missing)
            }
        }
    }

    /// Decides to commit; `None` where the journal is not complete after all.
    async fn decide(
        &self,
        job: &Job,
        output: &Output,
        work: &Work,
        commit: &Commit<'_>,
    ) -> Result<Option<Decision>, Error> {
        let records = Records::of(job.id());
        let read = journal::read(output, &records, &work.known).await?;
        let run = job.record().pinned.run;
        let cut = journal::cut(
            &work.plan.physical,
            &work.sink,
            run,
            read.generations.clone(),
        )?;
        let Some(entries) = cut.complete(&read) else {
            return Ok(None);
        };
        let done = cut.done(&read, &work.sizes);
        job.note(|live| live.journal = done);
        let replaced = match output.mode() {
            OutputMode::Overwrite => output.visible().await?,
            OutputMode::Error | OutputMode::Append => Vec::new(),
        };
        let proposal = Proposal {
            verdict: Verdict::Commit,
            by: self.parts.ids.id(),
            entries,
            replaced,
        };
        let decided = commit.decide(proposal, &self.parts.stores.trials()).await;
        decided.map(Some).map_err(|error| output.explain(&error))
    }

    /// Decides that nothing of the job shall ever be visible; what was decided, which may be otherwise.
    pub(super) async fn decide_cancel(&self, job: &Job, output: &Output) -> Result<Verdict, Error> {
        let (records, nothing) = (Records::of(job.id()), serde_json::Value::Null);
        let proposal = Proposal {
            verdict: Verdict::Cancel,
            by: self.parts.ids.id(),
            entries: BTreeMap::new(),
            replaced: Vec::new(),
        };
        let commit = output.commit(&records, &nothing);
        let decided = commit.decide(proposal, &self.parts.stores.trials()).await;
        let verdict = decided.map_err(|error| output.explain(&error))?.verdict;
        if verdict == Verdict::Cancel {
            pass(Failpoint::CancelDecided);
        }
        Ok(verdict)
    }

    /// Writes that the output is real.
    pub(super) async fn note_success(
        &self,
        job: &Job,
        output: &Output,
        manifest: &Manifest,
        commit_ms: u64,
    ) -> Result<(), Error> {
        pass(Failpoint::Published);
        disown(output, job.id()).await?;
        let (counts, times) = (manifest.counts, job.live().journal.times);
        self.step_with(job, Event::Published, |record| {
            record.counts = Some(counts);
            record.times = times;
            record.commit_ms = commit_ms;
        })
        .await
        .map(drop)
    }
}

/// What the manifest says of the job that made the output.
fn told_of(record: &Record) -> serde_json::Value {
    let models: Vec<_> = record
        .pinned
        .models
        .iter()
        .map(|model| {
            json!({
                "alias": model.alias, "digest": model.digest, "generation": model.generation, "version": model.version,
            })
        })
        .collect();
    json!({
        "sql": record.spec.source.sql(),
        "inputs": record.pinned.inputs,
        "splits_digest": record.pinned.splits,
        "models": models,
        "mode": record.spec.mode,
        "on_error": record.spec.on_error,
        "format": record.spec.format,
        "submitted_at_ms": record.submitted_at_ms,
    })
}
