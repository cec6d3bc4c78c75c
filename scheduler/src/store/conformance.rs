//! What every home of the state store promises, as one suite that each home runs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use tempfile::TempDir;
use whimbrel_proto::ErrorCode;

use super::tree::HistoryLimit;
use super::{
    ChangeStream, Changes, Expect, Lagged, MAX_VALUE_BYTES, MemoryStore, Outcome, RedbStore,
    Revision, StateStore, Transaction,
};
use crate::clock::ManualClock;

const DEADLINE: Duration = Duration::from_secs(20);
const HISTORY: HistoryLimit = HistoryLimit {
    commits: 8,
    bytes: 1 << 20,
};

/// A store under test, its clock, and what must live as long.
struct Subject {
    store: Arc<dyn StateStore>,
    clock: Arc<ManualClock>,
    _folder: Option<TempDir>,
}

async fn memory() -> Subject {
    let clock = ManualClock::shared();
    let store = Arc::new(MemoryStore::with_history(clock.clone(), HISTORY));
    Subject {
        store,
        clock,
        _folder: None,
    }
}

async fn redb() -> Subject {
    let clock = ManualClock::shared();
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(
        RedbStore::with_history(folder.path(), clock.clone(), HISTORY)
            .await
            .unwrap(),
    );
    Subject {
        store,
        clock,
        _folder: Some(folder),
    }
}

macro_rules! every_home_keeps {
    ($($promise:ident),* $(,)?) => {
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() { super::$promise(super::memory().await).await; })*
        }
        mod in_redb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() { super::$promise(super::redb().await).await; })*
        }
    };
}

every_home_keeps!(
    a_commit_is_all_or_nothing,
    of_racing_commits_exactly_one_wins,
    no_increment_of_racing_writers_is_lost,
    a_listing_holds_a_prefix_in_order,
    a_watcher_sees_every_commit_once_in_order,
    a_lagging_watcher_is_told,
    keys_of_a_lease_vanish_when_it_ends,
    a_lease_that_is_kept_alive_or_ended_early,
    what_is_too_large_or_senseless_is_refused,
    a_closed_store_ends_its_watches_and_refuses,
);

fn committed(outcome: Outcome) -> Revision {
    match outcome {
        Outcome::Committed(revision) => revision,
        Outcome::Conflict => panic!("a conflict where none can be"),
    }
}

async fn value(store: &dyn StateStore, key: &str) -> Option<String> {
    let entry = store.get(key).await.unwrap()?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

async fn next(watch: &mut ChangeStream) -> Option<Result<Changes, Lagged>> {
    tokio::time::timeout(DEADLINE, watch.next())
        .await
        .expect("the watch says nothing")
}

/// A commit as `key=value` and `key-` for a removal.
fn shown(changes: &Changes) -> Vec<String> {
    let show = |change: &super::Change| match &change.entry {
        Some(entry) => format!("{}={}", change.key, String::from_utf8_lossy(&entry.value)),
        None => format!("{}-", change.key),
    };
    changes.changes.iter().map(show).collect()
}

async fn a_commit_is_all_or_nothing(subject: Subject) {
    let store = subject.store.as_ref();
    let first = store.put("a", Bytes::from("1")).await.unwrap();
    let writes = || Transaction::new().put("a", "2").put("b", "2").delete("c");
    for (key, expect) in [
        ("a", Expect::Absent),
        ("b", Expect::At(first)),
        ("a", Expect::At(Revision(first.0 + 1))),
    ] {
        let outcome = store
            .commit(writes().expect("a", Expect::At(first)).expect(key, expect))
            .await
            .unwrap();
        assert_eq!(outcome, Outcome::Conflict, "{key} {expect:?}");
        assert_eq!(
            (value(store, "a").await, value(store, "b").await),
            (Some("1".into()), None)
        );
    }
    let good = writes()
        .expect("a", Expect::At(first))
        .expect("b", Expect::Absent);
    let second = committed(store.commit(good).await.unwrap());
    assert!(second > first);
    let listing = store.list("").await.unwrap();
    assert_eq!(listing.revision, second);
    assert!(
        listing
            .entries
            .iter()
            .all(|(_, entry)| entry.revision == second && entry.value == "2")
    );
    assert_eq!(listing.entries.len(), 2);
    let gone = store
        .commit(Transaction::new().delete("a").delete("b"))
        .await
        .unwrap();
    assert!(committed(gone) > second);
    assert_eq!(store.list("").await.unwrap().entries, []);
}

async fn of_racing_commits_exactly_one_wins(subject: Subject) {
    let claims = (0..16).map(|claimant| {
        let store = Arc::clone(&subject.store);
        tokio::spawn(async move {
            let claim = Transaction::new()
                .expect("k", Expect::Absent)
                .put("k", claimant.to_string());
            (claimant, store.commit(claim).await.unwrap())
        })
    });
    let outcomes = join_all(claims).await.into_iter().map(Result::unwrap);
    let winners: Vec<i32> = outcomes
        .filter(|(_, outcome)| *outcome != Outcome::Conflict)
        .map(|(claimant, _)| claimant)
        .collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(
        value(subject.store.as_ref(), "k").await,
        Some(winners[0].to_string())
    );
}

async fn no_increment_of_racing_writers_is_lost(subject: Subject) {
    subject.store.put("n", Bytes::from("0")).await.unwrap();
    let writers = (0..4).map(|_| {
        let store = Arc::clone(&subject.store);
        tokio::spawn(async move {
            for _ in 0..10 {
                loop {
                    let entry = store.get("n").await.unwrap().unwrap();
                    let count: u32 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                    let add = Transaction::new().expect("n", Expect::At(entry.revision));
                    let outcome = store
                        .commit(add.put("n", (count + 1).to_string()))
                        .await
                        .unwrap();
                    if outcome != Outcome::Conflict {
                        break;
                    }
                }
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    assert_eq!(value(subject.store.as_ref(), "n").await, Some("40".into()));
}

async fn a_listing_holds_a_prefix_in_order(subject: Subject) {
    let store = subject.store.as_ref();
    for key in ["b/1", "a/2", "a", "a/1", "a0", "é/x"] {
        store.put(key, Bytes::from("v")).await.unwrap();
    }
    let keys = |listing: super::Listing| {
        listing
            .entries
            .into_iter()
            .map(|(key, _)| key)
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(store.list("a/").await.unwrap()), ["a/1", "a/2"]);
    assert_eq!(keys(store.list("é").await.unwrap()), ["é/x"]);
    assert_eq!(keys(store.list("c").await.unwrap()), Vec::<String>::new());
    assert_eq!(keys(store.list("").await.unwrap()).len(), 6);
}

async fn a_watcher_sees_every_commit_once_in_order(subject: Subject) {
    let store = subject.store.as_ref();
    store.put("a/0", Bytes::from("old")).await.unwrap();
    let start = store.list("a/").await.unwrap().revision;
    store.put("a/1", Bytes::from("x")).await.unwrap();
    let mut watch = store.watch("a/", start).await.unwrap();
    store.put("b/1", Bytes::from("elsewhere")).await.unwrap();
    let both = Transaction::new()
        .put("a/2", "y")
        .put("b/2", "y")
        .delete("a/0")
        .delete("a/none");
    committed(store.commit(both).await.unwrap());
    assert_eq!(shown(&next(&mut watch).await.unwrap().unwrap()), ["a/1=x"]);
    let second = next(&mut watch).await.unwrap().unwrap();
    assert_eq!(shown(&second), ["a/2=y", "a/0-"]);
    let writer = tokio::spawn({
        let store = Arc::clone(&subject.store);
        async move { store.put("a/3", Bytes::from("z")).await.unwrap() }
    });
    let third = next(&mut watch).await.unwrap().unwrap();
    assert_eq!(shown(&third), ["a/3=z"]);
    assert_eq!(third.revision, writer.await.unwrap());
    let mut again = store.watch("a/", second.revision).await.unwrap();
    assert_eq!(next(&mut again).await.unwrap().unwrap(), third);
}

async fn a_lagging_watcher_is_told(subject: Subject) {
    let store = subject.store.as_ref();
    let start = store.list("").await.unwrap().revision;
    let mut sleeper = store.watch("a/", start).await.unwrap();
    for count in 0..HISTORY.commits + 2 {
        store
            .put("b/n", Bytes::from(count.to_string()))
            .await
            .unwrap();
    }
    let mut late = store.watch("a/", start).await.unwrap();
    for watch in [&mut sleeper, &mut late] {
        assert_eq!(next(watch).await, Some(Err(Lagged { seen: start })));
        assert_eq!(next(watch).await, None);
    }
    let now = store.list("").await.unwrap().revision;
    let mut ahead = store.watch("", Revision(now.0 + 1)).await.unwrap();
    assert!(
        matches!(next(&mut ahead).await, Some(Err(Lagged { .. }))),
        "a revision of another store's life"
    );
    let mut fresh = store.watch("a/", now).await.unwrap();
    store.put("a/x", Bytes::from("1")).await.unwrap();
    assert_eq!(shown(&next(&mut fresh).await.unwrap().unwrap()), ["a/x=1"]);
}

async fn keys_of_a_lease_vanish_when_it_ends(subject: Subject) {
    let store = subject.store.as_ref();
    let lease = store.grant(Duration::from_secs(10)).await.unwrap();
    let held = Transaction::new()
        .put_leased("l/1", "x", lease)
        .put_leased("l/2", "x", lease)
        .put("d", "x");
    committed(store.commit(held).await.unwrap());
    // A durable write takes the key out of the lease.
    store.put("l/2", Bytes::from("stays")).await.unwrap();
    let seen = store.list("").await.unwrap().revision;
    let mut watch = store.watch("", seen).await.unwrap();
    subject.clock.advance(Duration::from_secs(9));
    assert_eq!(value(store, "l/1").await, Some("x".into()));
    subject.clock.advance(Duration::from_secs(1));
    assert_eq!(shown(&next(&mut watch).await.unwrap().unwrap()), ["l/1-"]);
    assert_eq!(value(store, "l/1").await, None);
    assert_eq!(
        (value(store, "l/2").await, value(store, "d").await),
        (Some("stays".into()), Some("x".into()))
    );
    assert_eq!(
        store.keep_alive(lease).await.unwrap_err().code(),
        ErrorCode::NotFound
    );
    let late = store
        .commit(Transaction::new().put_leased("l/3", "x", lease))
        .await
        .unwrap_err();
    assert_eq!(late.code(), ErrorCode::NotFound);
    assert_eq!(value(store, "l/3").await, None);
}

async fn a_lease_that_is_kept_alive_or_ended_early(subject: Subject) {
    let store = subject.store.as_ref();
    let kept = store.grant(Duration::from_secs(10)).await.unwrap();
    let dropped = store.grant(Duration::from_secs(100)).await.unwrap();
    committed(
        store
            .commit(Transaction::new().put_leased("kept", "x", kept))
            .await
            .unwrap(),
    );
    committed(
        store
            .commit(Transaction::new().put_leased("dropped", "x", dropped))
            .await
            .unwrap(),
    );
    for _ in 0..3 {
        subject.clock.advance(Duration::from_secs(6));
        store.keep_alive(kept).await.unwrap();
    }
    assert_eq!(value(store, "kept").await, Some("x".into()));
    store.revoke(dropped).await.unwrap();
    assert_eq!(value(store, "dropped").await, None);
    store.revoke(dropped).await.unwrap();
    // Its time is up before the clean-up has run: it cannot be brought back.
    subject.clock.advance(Duration::from_secs(10));
    assert_eq!(
        store.keep_alive(kept).await.unwrap_err().code(),
        ErrorCode::NotFound
    );
}

async fn what_is_too_large_or_senseless_is_refused(subject: Subject) {
    let store = subject.store.as_ref();
    let largest = Bytes::from(vec![b'x'; MAX_VALUE_BYTES]);
    store.put("k", largest.clone()).await.unwrap();
    assert_eq!(store.get("k").await.unwrap().unwrap().value, largest);
    let larger = Bytes::from(vec![b'x'; MAX_VALUE_BYTES + 1]);
    assert_eq!(
        store.put("k2", larger).await.unwrap_err().code(),
        ErrorCode::Exhausted
    );
    assert_eq!(
        store.put("", Bytes::new()).await.unwrap_err().code(),
        ErrorCode::Invalid
    );
    assert_eq!(
        store
            .put(&"k".repeat(600), Bytes::new())
            .await
            .unwrap_err()
            .code(),
        ErrorCode::Invalid
    );
    let twice = Transaction::new().put("k", "1").delete("k");
    assert_eq!(
        store.commit(twice).await.unwrap_err().code(),
        ErrorCode::Bug
    );
    assert_eq!(store.get("k").await.unwrap().unwrap().value, largest);
}

async fn a_closed_store_ends_its_watches_and_refuses(subject: Subject) {
    let store = subject.store.as_ref();
    let mut watch = store.watch("", Revision(0)).await.unwrap();
    tokio::time::timeout(DEADLINE, store.close())
        .await
        .expect("close does not end");
    assert_eq!(next(&mut watch).await, None);
    assert_eq!(
        store.get("k").await.unwrap_err().code(),
        ErrorCode::Unavailable
    );
    assert_eq!(
        store.put("k", Bytes::new()).await.unwrap_err().code(),
        ErrorCode::Unavailable
    );
    store.close().await;
}
