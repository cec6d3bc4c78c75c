//! Whose an output is: two jobs that write to one place would mix their rows, or remove each other's. A record there names the
//! job; the record of a job that has ended says nothing any more.

use std::future::Future;

use object_store::Error as StoreError;
use serde::{Deserialize, Serialize};
use whimbrel_predict::sink::OutputMode;
use whimbrel_proto::ids::ScoreJobId;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::job::{Commit, Records, SUCCESS, Success, Verdict};
use whimbrel_stores::output::{Claim, Patience, Trials, claim};

use super::output::Output;
use crate::clock::Clock;

/// How often a record of another that has ended is taken away before this one gives up.
const ROUNDS: usize = 4;

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    job: ScoreJobId,
    since_ms: i64,
}

/// How often an unclear answer is asked about again. The submitter waits, and the store has been asked patiently each time.
const ASKED_AGAIN: u32 = 3;

/// A short patience, with the pauses of a long one.
#[derive(Clone, Copy, Debug)]
struct Few(Trials);

impl Patience for Few {
    async fn wait(&self, attempt: u32) -> bool {
        attempt < ASKED_AGAIN && self.0.wait(attempt).await
    }
}

/// What this pool knows of another job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It goes on.
    Alive,
    /// It has ended, and needs its output no more.
    Over,
    /// It is none of this pool's.
    Unknown,
}

/// Makes the output the job's. Where it names another job, `standing` says what is known of that.
pub(super) async fn own<F>(
    output: &Output,
    job: &ScoreJobId,
    clock: &dyn Clock,
    trials: Trials,
    standing: impl Fn(ScoreJobId) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<Standing, Error>>,
{
    if output.mode() == OutputMode::Append {
        return Ok(());
    }
    let (io, path) = output.owner();
    let told = |error: StoreError| output.explain(&error);
    let own = Owner {
        job: job.clone(),
        since_ms: clock.unix_ms(),
    };
    let bytes = encode(&own)?;
    // A store that cannot be reached says so here, once: a claim would go on asking.
    io.get(path).await.map_err(told)?;
    for _ in 0..ROUNDS {
        let holder = match claim(io, path, bytes.clone().into(), &Few(trials)).await {
            Ok(Claim::Won) => return Ok(()),
            Ok(Claim::Lost(other)) => serde_json::from_slice::<Owner>(&other),
            Err(error) => return Err(told(error)),
        };
        let holder = holder.map_err(|_| foreign(output, None))?.job;
        if holder == *job {
            return Ok(());
        }
        let over = match standing(holder.clone()).await? {
            Standing::Alive => return Err(busy(output, &holder)),
            Standing::Over => true,
            Standing::Unknown => has_ended(output, &holder).await.map_err(told)?,
        };
        if !over {
            return Err(foreign(output, Some(&holder)));
        }
        io.delete(path, None).await.map_err(told)?;
    }
    Err(Error::new(
        ErrorCode::Unavailable,
        format!("others keep taking the output '{}'", output.place().show()),
    )
    .with_hint("try again"))
}

/// The output is nobody's any more, where it was this job's.
pub(super) async fn disown(output: &Output, job: &ScoreJobId) -> Result<(), Error> {
    if output.mode() == OutputMode::Append {
        return Ok(());
    }
    let (io, path) = output.owner();
    let told = |error: StoreError| output.explain(&error);
    let Some(found) = io.get(path).await.map_err(told)? else {
        return Ok(());
    };
    match serde_json::from_slice::<Owner>(&found) {
        Ok(owner) if owner.job == *job => io.delete(path, None).await.map_err(told),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether a job that this pool does not know has ended, as its own records say.
async fn has_ended(output: &Output, job: &ScoreJobId) -> Result<bool, StoreError> {
    let records = Records::of(job);
    let nothing = serde_json::Value::Null;
    let decision = Commit::new(output.io(), &records, &nothing)
        .decided()
        .await?;
    match decision.map(|decision| decision.verdict) {
        Some(Verdict::Cancel) => Ok(true),
        Some(Verdict::Commit) => {
            let found = output.io().get(SUCCESS).await?;
            let success = found.and_then(|bytes| serde_json::from_slice::<Success>(&bytes).ok());
            Ok(success.is_some_and(|success| success.job == job.as_str()))
        }
        None => Ok(false),
    }
}

fn encode(owner: &Owner) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(owner).map_err(|error| {
        Error::new(
            ErrorCode::Bug,
            format!("an owner cannot be written: {error}"),
        )
    })
}

fn busy(output: &Output, holder: &ScoreJobId) -> Error {
    let text = format!(
        "job {holder} writes to the output '{}'",
        output.place().show()
    );
    Error::new(ErrorCode::Exists, text).with_hint(format!(
        "wait for its end, end it with `whimbrel job cancel {holder}`, or name another folder"
    ))
}

fn foreign(output: &Output, holder: Option<&ScoreJobId>) -> Error {
    let whose = holder.map_or_else(
        || "a job of another program".to_owned(),
        |holder| format!("job {holder} of another pool"),
    );
    let text = format!("the output '{}' is taken by {whose}", output.place().show());
    let (_, path) = output.owner();
    Error::new(ErrorCode::Exists, text).with_hint(format!(
        "end it there; if that pool is gone for good, remove '{path}' and try again"
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use whimbrel_stores::job::Proposal;
    use whimbrel_stores::{Environment, Stores};

    use super::*;
    use crate::clock::SystemClock;

    fn open(folder: &std::path::Path, job: &str, mode: OutputMode) -> Output {
        let uri = folder.join("out").to_string_lossy().into_owned();
        let stores = Stores::new(Environment::default());
        Output::open(&stores, &job.parse().unwrap(), &uri, mode).unwrap()
    }

    async fn take(output: &Output, job: &str, other: Standing) -> Result<(), Error> {
        let clock = SystemClock::new();
        let standing = async |_| Ok(other);
        let trials = Stores::new(Environment::default()).trials();
        own(output, &job.parse().unwrap(), &clock, trials, standing).await
    }

    #[tokio::test]
    async fn an_output_is_one_jobs_until_that_job_has_ended() {
        for mode in [OutputMode::Error, OutputMode::Overwrite] {
            let folder = tempfile::tempdir().unwrap();
            let (first, second) = (
                open(folder.path(), "a", mode),
                open(folder.path(), "b", mode),
            );
            take(&first, "a", Standing::Alive).await.unwrap();
            take(&first, "a", Standing::Alive).await.unwrap();
            let error = take(&second, "b", Standing::Alive).await.unwrap_err();
            assert!(error.message().starts_with("job a writes to"), "{error}");
            take(&second, "b", Standing::Over).await.unwrap();
            disown(&first, &"a".parse().unwrap()).await.unwrap();
            assert!(
                take(&first, "a", Standing::Alive).await.is_err(),
                "it is b's"
            );
            disown(&second, &"b".parse().unwrap()).await.unwrap();
            take(&first, "a", Standing::Alive).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_job_of_another_pool_is_judged_by_its_records() {
        let folder = tempfile::tempdir().unwrap();
        let output = open(folder.path(), "a", OutputMode::Overwrite);
        take(&output, "a", Standing::Alive).await.unwrap();
        let error = take(&output, "b", Standing::Unknown).await.unwrap_err();
        assert!(error.message().contains("job a of another pool"), "{error}");
        let (records, nothing) = (Records::of("a"), serde_json::Value::Null);
        let cancel = Proposal {
            verdict: Verdict::Cancel,
            by: "x".to_owned(),
            entries: BTreeMap::new(),
            replaced: Vec::new(),
        };
        let trials = Stores::new(Environment::default()).trials();
        let commit = Commit::new(output.io(), &records, &nothing);
        commit.decide(cancel, &trials).await.unwrap();
        take(&output, "b", Standing::Unknown).await.unwrap();
    }

    #[tokio::test]
    async fn outputs_that_are_appended_to_are_nobodys() {
        let folder = tempfile::tempdir().unwrap();
        for job in ["a", "b"] {
            let output = open(folder.path(), job, OutputMode::Append);
            take(&output, job, Standing::Alive).await.unwrap();
        }
    }
}
