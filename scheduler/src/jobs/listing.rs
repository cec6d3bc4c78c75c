//! `information_schema.jobs`: the jobs as rows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{Field, Schema};
use whimbrel_access::{Caller, Role};
use whimbrel_proto::ids::ScoreJobId;
use whimbrel_proto::{Error, ErrorCode, v1};

use super::{Job, Jobs};

/// What the session layer asks for jobs, which are made after it.
pub(crate) trait JobList: Send + Sync + std::fmt::Debug {
    /// The jobs that the caller may see, as rows.
    fn table(&self, caller: &Caller) -> Result<RecordBatch, Error>;
}

impl JobList for Jobs {
    fn table(&self, caller: &Caller) -> Result<RecordBatch, Error> {
        let jobs = self.list_for(caller);
        let jobs: Vec<_> = jobs
            .iter()
            .map(|job| v1::JobStatus::from(job.as_ref()))
            .collect();
        as_table(&jobs)
    }
}

impl Jobs {
    /// The jobs that the caller may see: where the pool knows its users, those of its own, or all for whoever runs the pool.
    pub(crate) fn list_for(&self, caller: &Caller) -> Vec<Arc<Job>> {
        let mut jobs = self.list();
        jobs.retain(|job| may_see(caller, &job.record().user));
        jobs
    }

    /// The job of that id, where the caller may see it.
    pub(crate) fn get_for(&self, caller: &Caller, id: &ScoreJobId) -> Result<Arc<Job>, Error> {
        let job = self.get(id)?;
        match may_see(caller, &job.record().user) {
            true => Ok(job),
            false => Err(
                Error::new(ErrorCode::Denied, format!("job {id} is of another user"))
                    .with_hint("its user, or whoever runs the pool, may see and end it"),
            ),
        }
    }
}

fn may_see(caller: &Caller, user: &str) -> bool {
    caller.role == Role::Operator || caller.user == user
}

/// The jobs as a table, in their order.
pub(crate) fn as_table(jobs: &[v1::JobStatus]) -> Result<RecordBatch, Error> {
    let none = v1::JobProgress::default();
    let text = |of: fn(&v1::JobStatus) -> Option<String>| -> ArrayRef {
        Arc::new(jobs.iter().map(of).collect::<StringArray>())
    };
    let count = |of: fn(&v1::JobProgress) -> Option<u64>| -> ArrayRef {
        let progress = jobs
            .iter()
            .map(|job| job.progress.as_ref().unwrap_or(&none));
        Arc::new(progress.map(of).collect::<UInt64Array>())
    };
    let time = |of: fn(&v1::JobStatus) -> i64| -> ArrayRef {
        let times = jobs.iter().map(|job| Some(of(job)).filter(|at| *at > 0));
        Arc::new(
            times
                .collect::<TimestampMillisecondArray>()
                .with_timezone("UTC"),
        )
    };
    let behind: UInt32Array = jobs.iter().map(|job| Some(job.queued_behind)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("job_id", text(|job| Some(job.job_id.clone()))),
        ("state", text(|job| Some(job.state.clone()))),
        (
            "message",
            text(|job| Some(job.error.as_ref()?.message.clone())),
        ),
        ("code", text(|job| Some(job.error.as_ref()?.code.clone()))),
        ("hint", text(|job| filled(&job.error.as_ref()?.hint))),
        (
            "output",
            text(|job| job.spec.as_ref().map(|spec| spec.output.clone())),
        ),
        ("splits_total", count(|of| Some(of.splits_total))),
        ("splits_done", count(|of| Some(of.splits_done))),
        ("rows_done", count(|of| Some(of.rows_done))),
        ("rows_written", count(|of| Some(of.rows_written))),
        ("rows_dead", count(|of| Some(of.rows_dead))),
        ("rows_per_second", count(|of| Some(of.rows_per_second))),
        ("seconds_left", count(|of| of.seconds_left)),
        ("objects", count(|of| Some(of.objects))),
        ("manifest", text(|job| filled(&job.manifest))),
        ("user", text(|job| filled(&job.user))),
        ("key", text(|job| filled(&job.key))),
        ("priority", text(priority)),
        ("queued_behind", Arc::new(behind)),
        ("submitted_at", time(|job| job.submitted_at_ms)),
        ("ended_at", time(|job| job.ended_at_ms)),
    ];
    let field =
        |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(schema), arrays)
        .map_err(|error| Error::new(ErrorCode::Bug, format!("cannot list jobs: {error}")))
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn priority(job: &v1::JobStatus) -> Option<String> {
    let asked = job.spec.as_ref().and_then(|spec| filled(&spec.priority));
    Some(asked.unwrap_or_else(|| "normal".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_a_row_and_what_is_not_known_is_null() {
        let job = v1::JobStatus {
            job_id: "j1".to_owned(),
            state: "running".to_owned(),
            submitted_at_ms: 5,
            ..v1::JobStatus::default()
        };
        let table = as_table(&[job]).unwrap();
        assert_eq!(table.num_rows(), 1);
        assert_eq!(table.column_by_name("ended_at").unwrap().null_count(), 1);
        assert_eq!(
            table.column_by_name("submitted_at").unwrap().null_count(),
            0
        );
        assert_eq!(table.column_by_name("message").unwrap().null_count(), 1);
        assert_eq!(as_table(&[]).unwrap().schema(), table.schema());
    }

    #[test]
    fn a_user_sees_its_own_jobs_and_an_operator_all() {
        let caller = |user: &str, role| Caller {
            user: user.to_owned(),
            role,
            expires: None,
        };
        assert!(may_see(&caller("ann", Role::Scorer), "ann"));
        assert!(!may_see(&caller("bob", Role::Scorer), "ann"));
        assert!(may_see(&caller("bob", Role::Operator), "ann"));
        assert!(may_see(&Caller::anybody(), "whoever"));
    }
}
