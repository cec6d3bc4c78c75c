//! The commit under faults: a process that dies at any call, schedulers that disagree, a store that forgets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, Result};
use serde_json::json;

use super::*;
use crate::output::fault::{Call, Fault, FaultStore};
use crate::output::{
    CloudOutput, DeferredOutput, Intent, Listed, LocalOutput, Patience, Published, Receipt,
};

const SPLITS: usize = 3;

/// Asks three times.
struct Thrice;

impl Patience for Thrice {
    async fn wait(&self, attempt: u32) -> bool {
        attempt < 2
    }
}

/// An output whose process dies at its n-th call: before the call does anything, or after it has done all.
#[derive(Debug)]
struct Dying {
    inner: Arc<dyn DeferredOutput>,
    calls: AtomicUsize,
    dies_at: usize,
    after: bool,
}

impl Dying {
    fn at(inner: &Arc<dyn DeferredOutput>, dies_at: usize, after: bool) -> Self {
        Self {
            inner: Arc::clone(inner),
            calls: AtomicUsize::new(0),
            dies_at,
            after,
        }
    }

    fn dead() -> Error {
        Error::NotSupported {
            source: "the process is dead".into(),
        }
    }

    async fn call<T>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if call > self.dies_at || (call == self.dies_at && !self.after) {
            return Err(Self::dead());
        }
        let done = work.await?;
        if call == self.dies_at {
            return Err(Self::dead());
        }
        Ok(done)
    }
}

#[async_trait]
impl DeferredOutput for Dying {
    async fn begin(&self, path: &str) -> Result<Intent> {
        self.call(self.inner.begin(path)).await
    }
    fn part_bytes(&self) -> u64 {
        self.inner.part_bytes()
    }
    async fn part(&self, intent: &Intent, index: usize, bytes: Bytes) -> Result<String> {
        self.call(self.inner.part(intent, index, bytes)).await
    }
    async fn seal(&self, intent: Intent, parts: Vec<String>, bytes: u64) -> Result<Receipt> {
        self.call(self.inner.seal(intent, parts, bytes)).await
    }
    async fn publish(&self, receipt: &Receipt) -> Result<Published> {
        self.call(self.inner.publish(receipt)).await
    }
    async fn discard(&self, intent: &Intent) -> Result<()> {
        self.call(self.inner.discard(intent)).await
    }
    async fn staged(&self, prefix: &str) -> Result<Vec<Intent>> {
        self.call(self.inner.staged(prefix)).await
    }
    async fn create(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.call(self.inner.create(path, bytes)).await
    }
    async fn put(&self, path: &str, bytes: Bytes) -> Result<Option<String>> {
        self.call(self.inner.put(path, bytes)).await
    }
    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        self.call(self.inner.get(path)).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.call(self.inner.list(prefix)).await
    }
    async fn delete(&self, path: &str, etag: Option<&str>) -> Result<()> {
        self.call(self.inner.delete(path, etag)).await
    }
    async fn reveal(&self) -> Result<()> {
        self.call(self.inner.reveal()).await
    }
    fn tells_all(&self) -> bool {
        self.inner.tells_all()
    }
    async fn clear(&self, prefix: &str) -> Result<()> {
        self.call(self.inner.clear(prefix)).await
    }
    async fn abandon(&self) -> Result<()> {
        self.call(self.inner.abandon()).await
    }
}

/// One attempt at a split, as an executor makes it: intent, object, entry.
async fn attempt(output: &dyn DeferredOutput, key: &SplitKey, name: &str) -> Result<()> {
    let records = Records::of("job");
    let journal = Journal::new(output, &records);
    if journal.get(key).await?.is_some() {
        return Ok(());
    }
    let intent = output.begin(&records.object(key, name, "txt")).await?;
    let intents = serde_json::to_vec(&[&intent]).unwrap();
    output.put(&records.intent(name), intents.into()).await?;
    let content = Bytes::from(format!("rows of {}", key.split));
    let bytes = content.len() as u64;
    let part = output.part(&intent, 0, content).await?;
    let receipt = output.seal(intent, vec![part], bytes).await?;
    let entry = Entry {
        key: key.clone(),
        attempt: name.to_owned(),
        executor: "e1".to_owned(),
        output: Some(receipt),
        dead_letters: None,
        rows_read: 10,
        rows_written: 10,
        rows_dead: 0,
        bytes_read: 100,
        times: Times::default(),
    };
    if journal.enter(&entry, &Thrice).await?.is_some() {
        let lost = entry.output.unwrap();
        output.discard(&lost.intent).await?;
    }
    Ok(())
}

/// A job from wherever it is to its end, as a scheduler and its executors drive it; `life` names this attempt's objects.
async fn drive(output: &dyn DeferredOutput, life: &str) -> Result<Ended> {
    let (records, spec) = (Records::of("job"), json!({"model": "fare"}));
    let commit = Commit::new(output, &records, &spec);
    let journal = Journal::new(output, &records);
    let mut round = 0;
    loop {
        let (done, begin_at) = journal.read().await?;
        for split in 0..SPLITS {
            let split = split.to_string();
            if !done.contains_key(&split) {
                let generation = begin_at.get(&split).copied().unwrap_or_default();
                let key = SplitKey { split, generation };
                attempt(output, &key, &format!("{life}-{round}-{key}")).await?;
            }
        }
        let decision = match commit.decided().await? {
            Some(decision) => decision,
            None => {
                let (entries, _) = journal.read().await?;
                let proposal = Proposal {
                    verdict: Verdict::Commit,
                    by: life.to_owned(),
                    entries,
                    replaced: replaced(output).await?,
                };
                commit.decide(proposal, &Thrice).await?
            }
        };
        match commit.finish(decision).await? {
            Ended::Lost(_) if round < 3 => round += 1,
            ended => {
                if let Ended::Succeeded(manifest) = &ended {
                    commit.sweep(manifest).await?;
                }
                return Ok(ended);
            }
        }
    }
}

/// What stood there before the job.
async fn replaced(output: &dyn DeferredOutput) -> Result<Vec<Listed>> {
    let mut listed = output.list("").await?;
    listed.retain(|object| object.path == "old");
    Ok(listed)
}

/// Every split's rows once, all in the manifest, `_SUCCESS` beside them, and nothing else.
async fn assert_whole(output: &dyn DeferredOutput, what: &str) {
    let mut rows = Vec::new();
    for object in output.list("").await.unwrap() {
        if object.path.starts_with("part-") {
            let content = output.get(&object.path).await.unwrap().unwrap();
            rows.push(String::from_utf8(content.to_vec()).unwrap());
        }
    }
    rows.sort();
    assert_eq!(rows, ["rows of 0", "rows of 1", "rows of 2"], "{what}");
    let success: Success =
        serde_json::from_slice(&output.get(SUCCESS).await.unwrap().unwrap()).unwrap();
    assert_eq!((success.job.as_str(), success.rows), ("job", 30), "{what}");
    let manifest = output.get(&success.manifest).await.unwrap().unwrap();
    let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
    for object in &manifest.objects {
        assert!(output.get(&object.path).await.unwrap().is_some(), "{what}");
    }
    assert_eq!(manifest.counts.objects, 3, "{what}");
    assert_eq!(output.get("old").await.unwrap(), None, "{what}");
    assert_eq!(output.staged("").await.unwrap(), [], "{what}: strays");
}

fn store() -> (FaultStore, Arc<dyn DeferredOutput>) {
    let store = FaultStore::default();
    let output = CloudOutput::new(
        Arc::new(store.clone()),
        Arc::new(store.clone()),
        Some(Arc::new(store.clone())),
        Path::from("out"),
    );
    (store, Arc::new(output))
}

/// A fresh output with an older one's remains in it.
async fn used(output: &Arc<dyn DeferredOutput>) {
    output.put("old", "old rows".into()).await.unwrap();
    let other = json!({"job": "older", "manifest": "m", "rows": 1});
    output.put(SUCCESS, other.to_string().into()).await.unwrap();
}

#[tokio::test]
async fn a_job_survives_a_death_at_any_call() {
    let (_, fault_free) = store();
    used(&fault_free).await;
    let counted = Dying::at(&fault_free, usize::MAX, false);
    drive(&counted, "a").await.unwrap();
    assert_whole(fault_free.as_ref(), "without a fault").await;
    let calls = counted.calls.load(Ordering::SeqCst);
    assert!(calls > 40, "{calls} calls");
    for dies_at in 0..calls {
        for after in [false, true] {
            for local in [false, true] {
                let what = format!("call {dies_at}, after: {after}, local: {local}");
                let folder = tempfile::tempdir().unwrap();
                let output: Arc<dyn DeferredOutput> = if local {
                    Arc::new(LocalOutput::new(folder.path().join("out")))
                } else {
                    store().1
                };
                used(&output).await;
                let dying = Dying::at(&output, dies_at, after);
                let died = drive(&dying, "a").await;
                // On a local disk a discard of what is gone makes fewer calls than a store's.
                assert!(died.is_err() || local, "{what}: the fault did not happen");
                let ended = drive(output.as_ref(), "b").await.unwrap();
                assert!(matches!(ended, Ended::Succeeded(_)), "{what}");
                assert_whole(output.as_ref(), &what).await;
            }
        }
    }
}

#[tokio::test]
async fn before_the_decision_nothing_is_visible_and_a_cancel_stays_so() {
    let (_, output) = store();
    let (records, spec) = (Records::of("job"), json!({}));
    for split in 0..SPLITS {
        let key = SplitKey::first(split.to_string());
        attempt(output.as_ref(), &key, &format!("a-{split}"))
            .await
            .unwrap();
    }
    let visible = async || {
        let listed = output.list("").await.unwrap();
        let seen = listed
            .iter()
            .filter(|object| !object.path.starts_with(RECORDS));
        seen.count()
    };
    assert_eq!(visible().await, 0);
    let commit = Commit::new(output.as_ref(), &records, &spec);
    let proposal = |verdict, by: &str| Proposal {
        verdict,
        by: by.to_owned(),
        entries: BTreeMap::new(),
        replaced: Vec::new(),
    };
    let cancel = proposal(Verdict::Cancel, "one");
    let decision = commit.decide(cancel, &Thrice).await.unwrap();
    assert_eq!(commit.finish(decision).await.unwrap(), Ended::Cancelled);
    // A scheduler that has slept through it cannot commit any more.
    let late = commit
        .decide(proposal(Verdict::Commit, "two"), &Thrice)
        .await
        .unwrap();
    assert_eq!(
        (late.verdict, late.decided_by.as_str()),
        (Verdict::Cancel, "one")
    );
    assert_eq!(commit.finish(late).await.unwrap(), Ended::Cancelled);
    assert_eq!(visible().await, 0);
}

#[tokio::test]
async fn of_two_attempts_at_a_split_the_later_one_leaves_nothing() {
    let (_, output) = store();
    let records = Records::of("job");
    let key = SplitKey::first("0");
    // Both looked before either had entered.
    let racing = futures::future::join(
        attempt(output.as_ref(), &key, "a"),
        attempt(output.as_ref(), &key, "b"),
    );
    let (first, second) = racing.await;
    first.unwrap();
    second.unwrap();
    let staged = output.staged("").await.unwrap();
    let entry = Journal::new(output.as_ref(), &records)
        .get(&key)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(staged, [entry.output.unwrap().intent]);
}

#[tokio::test]
async fn an_upload_that_the_store_dropped_is_made_again() {
    let (store, output) = store();
    used(&output).await;
    store.order(Call::Complete, Fault::Dropped);
    store.order(Call::Complete, Fault::Lost);
    let ended = drive(output.as_ref(), "a").await.unwrap();
    assert!(matches!(ended, Ended::Succeeded(_)), "{ended:?}");
    assert_eq!(store.fired(), 2);
    assert_whole(output.as_ref(), "dropped").await;
    let listed = output.list("").await.unwrap();
    let again = listed
        .iter()
        .filter(|object| object.path.starts_with("part-") && object.path.contains(".1-"));
    assert_eq!(again.count(), 1, "{listed:?}");
}

#[tokio::test]
async fn readers_of_success_see_all_rows_and_never_another_jobs_word() {
    let (_, output) = store();
    used(&output).await;
    let (_, probe) = store();
    used(&probe).await;
    let counted = Dying::at(&probe, usize::MAX, false);
    drive(&counted, "a").await.unwrap();
    let calls = counted.calls.load(Ordering::SeqCst);
    for dies_at in 0..calls {
        let (_, output) = store();
        used(&output).await;
        let dying = Dying::at(&output, dies_at, true);
        drop(drive(&dying, "a").await);
        let parts = output.list("").await.unwrap();
        let parts = parts
            .iter()
            .filter(|object| object.path.starts_with("part-"))
            .count();
        match output.get(SUCCESS).await.unwrap() {
            None => {}
            Some(found) => {
                let success: Success = serde_json::from_slice(&found).unwrap();
                let expected = if success.job == "job" { SPLITS } else { 0 };
                assert_eq!(parts, expected, "call {dies_at}: {success:?}");
            }
        }
    }
}
