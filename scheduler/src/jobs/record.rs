//! The record of a score job in the state store: what was asked, what it is pinned to, and where it is in its life. Small facts
//! only; plan and splits are objects beside the output, known here by their digests.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use whimbrel_proto::ids::{Digest, Generation, ScoreJobId};
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::job::{Counts, Times};

use super::spec::Spec;
use super::state::State;
use crate::store::{Expect, Outcome, Revision, StateStore, Transaction, keys};

/// The layout of a record, as its first byte; JSON follows.
const LAYOUT: u8 = 1;

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: ScoreJobId,
    /// What its submitter calls this submission; empty where nothing.
    pub(crate) key: String,
    /// Who submitted it, as they say.
    #[serde(default)]
    pub(crate) user: String,
    pub(crate) spec: Spec,
    pub(crate) spec_digest: Digest,
    pub(crate) state: State,
    pub(crate) submitted_at_ms: i64,
    pub(crate) ended_at_ms: i64,
    pub(crate) pinned: Pinned,
    /// What was said when it was submitted.
    pub(crate) notes: Vec<String>,
    /// Why it failed.
    pub(crate) error: Option<Told>,
    /// What it came to, once it has succeeded.
    pub(crate) counts: Option<Counts>,
    /// Where the time of its splits went.
    #[serde(default)]
    pub(crate) times: Times,
    pub(crate) commit_ms: u64,
    /// Nothing is left of it but its output and its manifest.
    pub(crate) tidy: bool,
}

/// What a job is pinned to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pinned {
    pub(crate) plan: Digest,
    pub(crate) splits: Digest,
    pub(crate) splits_total: u64,
    pub(crate) bytes_total: u64,
    /// Where its splits are those of a run: which one.
    pub(crate) run: Option<u32>,
    pub(crate) models: Vec<Model>,
    /// Where the tables that it reads have their files.
    pub(crate) inputs: Vec<String>,
    /// The settings of the session that it was planned in.
    pub(crate) settings: BTreeMap<String, String>,
}

/// The version of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Model {
    pub(crate) alias: String,
    pub(crate) digest: Digest,
    pub(crate) generation: Generation,
    pub(crate) version: String,
}

/// An error, to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    code: String,
    message: String,
    hint: String,
}

impl From<&Error> for Told {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code().name().to_owned(),
            message: error.message().to_owned(),
            hint: error.hint().unwrap_or_default().to_owned(),
        }
    }
}

impl From<&Told> for Error {
    fn from(told: &Told) -> Self {
        whimbrel_proto::v1::ErrorDetail {
            code: told.code.clone(),
            message: told.message.clone(),
            hint: told.hint.clone(),
        }
        .into()
    }
}

impl Record {
    fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![LAYOUT];
        serde_json::to_writer(&mut bytes, self).map_err(|error| {
            Error::new(
                ErrorCode::Bug,
                format!("a job's record cannot be written: {error}"),
            )
        })?;
        Ok(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let Some((&LAYOUT, json)) = bytes.split_first() else {
            return Err(Error::new(
                ErrorCode::Invalid,
                "not a job: its layout is not known",
            ));
        };
        serde_json::from_slice(json)
            .map_err(|error| Error::new(ErrorCode::Invalid, format!("not a job: {error}")))
    }
}

/// What a key stands for, beside the key.
#[derive(Debug, Serialize, Deserialize)]
struct Keyed {
    job: ScoreJobId,
}

/// The records of all jobs. The scheduler is their only writer, so a record is changed at the revision that it was written at,
/// and another's write in between is a defect or a second scheduler: nothing is written then.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    store: Arc<dyn StateStore>,
}

impl Book {
    pub(crate) fn new(store: Arc<dyn StateStore>) -> Self {
        Self { store }
    }

    /// Every record that can be read; one that cannot is left alone, and said to be there.
    pub(crate) async fn all(&self) -> Result<Vec<(Record, Revision)>, Error> {
        let listing = self.store.list(keys::JOBS).await?;
        let mut records = Vec::with_capacity(listing.entries.len());
        for (key, entry) in listing.entries {
            match Record::decode(&entry.value) {
                Ok(record) => records.push((record, entry.revision)),
                Err(error) => tracing::error!(key, %error, "a job's record cannot be read"),
            }
        }
        Ok(records)
    }

    /// The job that has this key.
    pub(crate) async fn keyed(&self, key: &str) -> Result<Option<ScoreJobId>, Error> {
        let Some(entry) = self.store.get(&keys::job_key(key)).await? else {
            return Ok(None);
        };
        let keyed: Keyed = serde_json::from_slice(&entry.value).map_err(|error| {
            Error::new(
                ErrorCode::Bug,
                format!("the key '{key}' cannot be read: {error}"),
            )
        })?;
        Ok(Some(keyed.job))
    }

    /// Writes a new job and its key; `None` where another has the key.
    pub(crate) async fn create(&self, record: &Record) -> Result<Option<Revision>, Error> {
        let job = keys::job(&record.id);
        let mut transaction = Transaction::new()
            .expect(job.clone(), Expect::Absent)
            .put(job, record.encode()?);
        if !record.key.is_empty() {
            let keyed = Keyed {
                job: record.id.clone(),
            };
            let value = serde_json::to_vec(&keyed).map_err(|error| {
                Error::new(ErrorCode::Bug, format!("a key cannot be written: {error}"))
            })?;
            let key = keys::job_key(&record.key);
            transaction = transaction
                .expect(key.clone(), Expect::Absent)
                .put(key, value);
        }
        match self.store.commit(transaction).await? {
            Outcome::Committed(revision) => Ok(Some(revision)),
            Outcome::Conflict => Ok(None),
        }
    }

    /// Writes a job anew.
    pub(crate) async fn change(&self, record: &Record, from: Revision) -> Result<Revision, Error> {
        let job = keys::job(&record.id);
        let transaction = Transaction::new()
            .expect(job.clone(), Expect::At(from))
            .put(job, record.encode()?);
        self.commit(record, transaction).await
    }

    /// Forgets a job and its key.
    pub(crate) async fn forget(&self, record: &Record, from: Revision) -> Result<(), Error> {
        let job = keys::job(&record.id);
        let mut transaction = Transaction::new()
            .expect(job.clone(), Expect::At(from))
            .delete(job);
        if !record.key.is_empty() {
            transaction = transaction.delete(keys::job_key(&record.key));
        }
        self.commit(record, transaction).await.map(drop)
    }

    async fn commit(&self, record: &Record, transaction: Transaction) -> Result<Revision, Error> {
        match self.store.commit(transaction).await? {
            Outcome::Committed(revision) => Ok(revision),
            Outcome::Conflict => Err(Error::new(
                ErrorCode::Bug,
                format!("another has changed the record of job {}", record.id),
            )
            .with_hint("two schedulers may run on one state; stop one of them")),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use whimbrel_proto::v1;

    use super::*;
    use crate::clock::ManualClock;
    use crate::models::digest_of;
    use crate::store::MemoryStore;

    pub(crate) fn record(id: &str, key: &str) -> Record {
        let spec = Spec::try_from(v1::JobSpec {
            sql: "SELECT 1".to_owned(),
            output: "/out".to_owned(),
            ..v1::JobSpec::default()
        })
        .unwrap();
        Record {
            id: id.parse().unwrap(),
            key: key.to_owned(),
            user: String::new(),
            spec_digest: spec.digest().unwrap(),
            spec,
            state: State::Submitted,
            submitted_at_ms: 1,
            ended_at_ms: 0,
            pinned: Pinned {
                plan: digest_of(b"plan").unwrap(),
                splits: digest_of(b"splits").unwrap(),
                splits_total: 3,
                bytes_total: 9,
                run: None,
                models: Vec::new(),
                inputs: Vec::new(),
                settings: BTreeMap::new(),
            },
            notes: Vec::new(),
            error: Some(Told::from(
                &Error::new(ErrorCode::Model, "it broke").with_hint("mend it"),
            )),
            counts: None,
            times: Times::default(),
            commit_ms: 0,
            tidy: false,
        }
    }

    #[tokio::test]
    async fn a_key_is_one_jobs_until_that_job_is_forgotten() {
        let book = Book::new(Arc::new(MemoryStore::new(ManualClock::shared())));
        let first = record("a", "nightly");
        let revision = book.create(&first).await.unwrap().unwrap();
        assert_eq!(book.create(&record("b", "nightly")).await.unwrap(), None);
        assert_eq!(book.keyed("nightly").await.unwrap(), Some(first.id.clone()));
        let mut changed = first.clone();
        changed.state = State::Running;
        let later = book.change(&changed, revision).await.unwrap();
        assert!(
            book.change(&first, revision).await.is_err(),
            "an old revision"
        );
        assert_eq!(book.all().await.unwrap(), [(changed.clone(), later)]);
        book.forget(&changed, later).await.unwrap();
        assert_eq!(book.keyed("nightly").await.unwrap(), None);
        assert!(
            book.create(&record("b", "nightly"))
                .await
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn an_error_is_kept_whole() {
        let error = Error::new(ErrorCode::Data, "row 3").with_hint("mend it");
        assert_eq!(Error::from(&Told::from(&error)), error);
    }
}
