//! A job as clients see it.

use whimbrel_proto::{Error, v1};
use whimbrel_stores::job::Records;

use super::Job;
use super::progress::report;
use super::record::{Model, Record};
use super::state::State;

impl From<&Job> for v1::JobStatus {
    fn from(job: &Job) -> Self {
        let (record, live) = (job.record(), job.live());
        let progress = Some(report(&record, &live));
        let Record {
            id,
            key,
            user,
            spec,
            state,
            submitted_at_ms,
            ended_at_ms,
            pinned,
            notes,
            error,
            commit_ms,
            ..
        } = record;
        let error = error.as_ref().map(Error::from).or(live.problem);
        let manifest = match state {
            State::Succeeded => Records::of(&id).manifest(),
            _ => String::new(),
        };
        Self {
            job_id: id.to_string(),
            key,
            user,
            queued_behind: u32::try_from(live.behind).unwrap_or(u32::MAX),
            spec: Some(v1::JobSpec::from(&spec)),
            state: state.name().to_owned(),
            submitted_at_ms,
            ended_at_ms,
            waiting_since_ms: match state {
                State::Waiting { since_ms } => since_ms,
                _ => 0,
            },
            error: error.as_ref().map(v1::ErrorDetail::from),
            resumable: state.is_resumable(),
            notes,
            models: pinned.models.into_iter().map(model).collect(),
            inputs: pinned.inputs,
            progress,
            manifest,
            commit_ms,
        }
    }
}

fn model(model: Model) -> v1::JobModel {
    let Model {
        alias,
        digest,
        generation,
        version,
    } = model;
    v1::JobModel {
        alias,
        digest: digest.to_string(),
        generation: generation.0,
        version,
    }
}
