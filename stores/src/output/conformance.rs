//! What every home of an output promises, as one suite that each home runs; and what only stores can do to it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use object_store::path::Path;
use tempfile::TempDir;

use super::fault::{Call, Fault, FaultStore};
use super::{
    Claim, CloudOutput, DeferredOutput, LocalOutput, Patience, Published, Receipt, claim, probe,
};

/// An output under test, and what must live as long.
struct Subject {
    output: Arc<dyn DeferredOutput>,
    _folder: Option<TempDir>,
}

fn cloud() -> (FaultStore, Arc<dyn DeferredOutput>) {
    let store = FaultStore::default();
    let output = CloudOutput::new(
        Arc::new(store.clone()),
        Arc::new(store.clone()),
        Some(Arc::new(store.clone())),
        Path::from("lake/out"),
    );
    (store, Arc::new(output))
}

fn in_store() -> Subject {
    Subject {
        output: cloud().1,
        _folder: None,
    }
}

fn in_folder() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    Subject {
        output: Arc::new(LocalOutput::new(folder.path().join("out"))),
        _folder: Some(folder),
    }
}

fn under_another_name() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    Subject {
        output: Arc::new(LocalOutput::hidden(folder.path().join("out"), "job-1")),
        _folder: Some(folder),
    }
}

macro_rules! every_home_keeps {
    ($($promise:ident),* $(,)?) => {
        mod a_store {
            $(#[tokio::test] async fn $promise() { super::$promise(super::in_store()).await; })*
        }
        mod a_folder {
            $(#[tokio::test] async fn $promise() { super::$promise(super::in_folder()).await; })*
        }
        mod a_hidden_folder {
            $(#[tokio::test] async fn $promise() { super::$promise(super::under_another_name()).await; })*
        }
    };
}

every_home_keeps!(
    what_is_staged_is_unseen_until_it_is_published,
    publishing_again_does_no_harm,
    what_is_discarded_is_gone,
    a_sound_home_passes_the_probe,
    what_nobody_keeps_is_found_and_thrown_away,
    of_racing_claims_one_wins_and_all_know_it,
    small_objects_are_replaced_and_deleted_by_their_tag,
    paths_stay_below_the_output,
);

async fn staged(output: &dyn DeferredOutput, path: &str, content: &[Bytes]) -> Receipt {
    let intent = output.begin(path).await.unwrap();
    let (mut parts, mut bytes) = (Vec::new(), 0);
    for (index, part) in content.iter().enumerate() {
        bytes += part.len() as u64;
        parts.push(output.part(&intent, index, part.clone()).await.unwrap());
    }
    output.seal(intent, parts, bytes).await.unwrap()
}

fn content(output: &dyn DeferredOutput) -> Vec<Bytes> {
    let first = vec![7; usize::try_from(output.part_bytes()).unwrap()];
    vec![first.into(), Bytes::from_static(b"the rest")]
}

async fn paths(output: &dyn DeferredOutput) -> Vec<String> {
    let listed = output.list("").await.unwrap();
    listed.into_iter().map(|object| object.path).collect()
}

async fn what_is_staged_is_unseen_until_it_is_published(subject: Subject) {
    let output = subject.output.as_ref();
    let receipt = staged(output, "part/a-1.parquet", &content(output)).await;
    assert_eq!(paths(output).await, Vec::<String>::new());
    assert_eq!(output.get("part/a-1.parquet").await.unwrap(), None);
    let published = output.publish(&receipt).await.unwrap();
    assert!(matches!(published, Published::Visible { .. }));
    assert_eq!(paths(output).await, ["part/a-1.parquet"]);
    let whole = output.get("part/a-1.parquet").await.unwrap().unwrap();
    assert_eq!(whole, content(output).concat());
    assert_eq!(output.list("").await.unwrap()[0].bytes, receipt.bytes);
}

async fn publishing_again_does_no_harm(subject: Subject) {
    let output = subject.output.as_ref();
    let receipt = staged(output, "a", &content(output)).await;
    let first = output.publish(&receipt).await.unwrap();
    assert_eq!(output.publish(&receipt).await.unwrap(), first);
    // A receipt survives the process that made it.
    let read: Receipt = serde_json::from_str(&serde_json::to_string(&receipt).unwrap()).unwrap();
    assert_eq!(output.publish(&read).await.unwrap(), first);
    assert_eq!(
        output.get("a").await.unwrap().unwrap(),
        content(output).concat()
    );
}

async fn what_is_discarded_is_gone(subject: Subject) {
    let output = subject.output.as_ref();
    let receipt = staged(output, "a", &content(output)).await;
    output.discard(&receipt.intent).await.unwrap();
    output.discard(&receipt.intent).await.unwrap();
    assert_eq!(output.publish(&receipt).await.unwrap(), Published::Gone);
    assert_eq!(paths(output).await, Vec::<String>::new());
    let kept = staged(output, "b", &content(output)).await;
    output.publish(&kept).await.unwrap();
    output.discard(&kept.intent).await.unwrap();
    assert_eq!(paths(output).await, ["b"]);
}

async fn what_nobody_keeps_is_found_and_thrown_away(subject: Subject) {
    let output = subject.output.as_ref();
    let kept = staged(output, "x/kept", &content(output)).await;
    staged(output, "x/stray", &content(output)).await;
    output.begin("x/empty").await.unwrap();
    staged(output, "y/other", &content(output)).await;
    let mut strays = output.staged("x").await.unwrap();
    strays.retain(|intent| *intent != kept.intent);
    assert_eq!(strays.len(), 2);
    for stray in &strays {
        output.discard(stray).await.unwrap();
    }
    let left = output.staged("x").await.unwrap();
    assert_eq!(left, std::slice::from_ref(&kept.intent));
    assert_eq!(output.staged("y").await.unwrap().len(), 1);
    let published = output.publish(&kept).await.unwrap();
    assert!(matches!(published, Published::Visible { .. }));
}

/// Gives up after some attempts, without a pause.
struct Attempts(u32, AtomicU32);

impl Patience for Attempts {
    async fn wait(&self, attempt: u32) -> bool {
        self.1.store(attempt + 1, Ordering::Relaxed);
        attempt + 1 < self.0
    }
}

fn attempts(most: u32) -> Attempts {
    Attempts(most, AtomicU32::new(0))
}

async fn of_racing_claims_one_wins_and_all_know_it(subject: Subject) {
    let racers = (0..16).map(|own| {
        let output = Arc::clone(&subject.output);
        tokio::spawn(async move {
            let bytes = Bytes::from(format!("racer {own}"));
            let patience = attempts(3);
            (
                own,
                claim(output.as_ref(), "journal/1", bytes, &patience)
                    .await
                    .unwrap(),
            )
        })
    });
    let mut winners = Vec::new();
    let mut seen = HashSet::new();
    for racer in racers.collect::<Vec<_>>() {
        match racer.await.unwrap() {
            (own, Claim::Won) => winners.push(own),
            (_, Claim::Lost(other)) => drop(seen.insert(other)),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    let bytes = Bytes::from(format!("racer {}", winners[0]));
    assert_eq!(seen, [bytes].into());
}

async fn a_sound_home_passes_the_probe(subject: Subject) {
    let output = subject.output.as_ref();
    probe(output, "it", "_whimbrel/job").await.unwrap();
    assert_eq!(paths(output).await, Vec::<String>::new());
}

async fn small_objects_are_replaced_and_deleted_by_their_tag(subject: Subject) {
    let output = subject.output.as_ref();
    let old = output.put("_SUCCESS", "one".into()).await.unwrap();
    let new = output.put("_SUCCESS", "other".into()).await.unwrap();
    assert_ne!(old, new);
    output.delete("_SUCCESS", old.as_deref()).await.unwrap();
    assert_eq!(output.get("_SUCCESS").await.unwrap().unwrap(), "other");
    output.delete("_SUCCESS", new.as_deref()).await.unwrap();
    assert_eq!(output.get("_SUCCESS").await.unwrap(), None);
    output.delete("_SUCCESS", new.as_deref()).await.unwrap();
    output.delete("never/there", None).await.unwrap();
}

async fn paths_stay_below_the_output(subject: Subject) {
    let output = subject.output.as_ref();
    for path in ["../x", "a/../../x", "a/./../x"] {
        assert!(output.create(path, "x".into()).await.is_err(), "{path}");
        assert!(output.begin(path).await.is_err(), "{path}");
        assert!(output.list(path).await.is_err(), "{path}");
    }
    assert_eq!(paths(output).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_claim_is_settled_whatever_the_store_answers() {
    for (fault, after) in [(Fault::Lost, 0), (Fault::Refused, 1), (Fault::Conflict, 1)] {
        let (store, output) = cloud();
        store.order(Call::Put, fault);
        let patience = attempts(3);
        let won = claim(output.as_ref(), "journal/1", "mine".into(), &patience).await;
        assert_eq!(won.unwrap(), Claim::Won, "{fault:?}");
        assert_eq!(store.fired(), 1);
        assert_eq!(patience.1.load(Ordering::Relaxed), after, "{fault:?}");
        let other = claim(output.as_ref(), "journal/1", "other".into(), &patience).await;
        assert_eq!(other.unwrap(), Claim::Lost("mine".into()));
    }
    let (store, output) = cloud();
    for _ in 0..3 {
        store.order(Call::Put, Fault::Refused);
    }
    let patience = attempts(3);
    assert!(
        claim(output.as_ref(), "j", "mine".into(), &patience)
            .await
            .is_err()
    );
    assert_eq!(store.fired(), 3);
}

#[tokio::test]
async fn publishing_is_settled_by_the_object_itself() {
    let (store, output) = cloud();
    let receipt = staged(output.as_ref(), "a", &content(output.as_ref())).await;
    store.order(Call::Complete, Fault::Lost);
    let published = output.publish(&receipt).await.unwrap();
    assert!(matches!(published, Published::Visible { .. }));

    let receipt = staged(output.as_ref(), "b", &content(output.as_ref())).await;
    store.order(Call::Complete, Fault::Refused);
    assert!(
        output.publish(&receipt).await.is_err(),
        "it may be there later"
    );
    let published = output.publish(&receipt).await.unwrap();
    assert!(matches!(published, Published::Visible { .. }));

    let receipt = staged(output.as_ref(), "c", &content(output.as_ref())).await;
    store.order(Call::Complete, Fault::Dropped);
    assert_eq!(output.publish(&receipt).await.unwrap(), Published::Gone);
    assert_eq!(store.fired(), 3);
}

#[tokio::test]
async fn a_hidden_output_appears_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    let output = LocalOutput::hidden(target.clone(), "job-1");
    let receipt = staged(&output, "a", &content(&output)).await;
    staged(&output, "stray", &content(&output)).await;
    output.publish(&receipt).await.unwrap();
    assert!(!target.exists());
    output.reveal().await.unwrap();
    output.reveal().await.unwrap();
    assert_eq!(paths(&output).await, ["a"]);
    assert!(target.join("a").exists() && !target.join("stray").exists());
    // Whoever comes after the move still finds what was there.
    let published = output.publish(&receipt).await.unwrap();
    assert!(matches!(published, Published::Visible { .. }));
    // A writer that has stood still since before the move left a record half written, and goes on where it was.
    let records = target.join("_whimbrel/job-1/journal");
    std::fs::create_dir_all(&records).unwrap();
    std::fs::write(records.join(".whimbrel-half-1"), "{").unwrap();
    output
        .put("_whimbrel/job-1/manifest.json", "{}".into())
        .await
        .unwrap();
    let elsewhere = folder.path().join(".out.whimbrel-job-1");
    std::fs::create_dir_all(elsewhere.join("_whimbrel/job-1/journal")).unwrap();
    output.clear("_whimbrel/job-1").await.unwrap();
    output.abandon().await.unwrap();
    assert_eq!(std::fs::read_dir(&records).unwrap().count(), 0);
    assert!(!elsewhere.exists());
    assert_eq!(paths(&output).await, ["_whimbrel/job-1/manifest.json", "a"]);
    // Another job's output does not replace it.
    let late = LocalOutput::hidden(target.clone(), "job-2");
    late.put("b", "b".into()).await.unwrap();
    assert!(late.reveal().await.is_err());
}

#[tokio::test]
async fn a_store_whose_conditional_writes_are_not_atomic_is_refused() {
    for (faults, says) in [
        // Two look while a third creates it, and all do.
        ([Fault::Late; 2].as_slice(), "3 of 16 writers created"),
        (&[Fault::Late; 16], "16 of 16 writers created"),
        // A store that always says that there is one.
        (&[Fault::Conflict; 48], "none of 16 writers"),
    ] {
        let (store, output) = cloud();
        for fault in faults {
            store.order(Call::Put, *fault);
        }
        let error = probe(output.as_ref(), "s3://lake/out/", "_whimbrel/job").await;
        let error = error.unwrap_err();
        assert!(error.message().contains(says), "{error}");
        assert!(
            error.message().starts_with("'s3://lake/out/' cannot hold"),
            "{error}"
        );
        assert_eq!(store.fired(), faults.len());
        assert_eq!(paths(output.as_ref()).await, Vec::<String>::new());
    }
    // One whose answers are lost is sound.
    let (store, output) = cloud();
    store.order(Call::Put, Fault::Lost);
    probe(output.as_ref(), "s3://lake/out/", "_whimbrel/job")
        .await
        .unwrap();
    assert_eq!(store.fired(), 1);
}
