//! What only the file home promises (restart, lock, kill), and the mirror over any home.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use whimbrel_proto::{Error, ErrorCode};

use super::{Expect, MemoryStore, Mirror, Outcome, RedbStore, Revision, StateStore, Transaction};
use crate::clock::SystemClock;

async fn open(folder: &Path) -> Result<RedbStore, Error> {
    RedbStore::open(folder, SystemClock::shared()).await
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart_and_leased_keys_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("deep/state");
    let store = open(&state).await.unwrap();
    let first = store.put("a", Bytes::from("1")).await.unwrap();
    store.put("b", Bytes::from("2")).await.unwrap();
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let rest = Transaction::new()
        .put_leased("b", "leased", lease)
        .put("c", "3")
        .delete("none");
    let Outcome::Committed(last) = store.commit(rest).await.unwrap() else {
        panic!("conflict")
    };
    store.close().await;
    let store = open(&state).await.unwrap();
    let listing = store.list("").await.unwrap();
    let keys: Vec<&str> = listing
        .entries
        .iter()
        .map(|(key, _)| key.as_str())
        .collect();
    assert_eq!((keys, listing.revision), (vec!["a", "c"], last));
    assert_eq!(store.get("a").await.unwrap().unwrap().revision, first);
    let again = Transaction::new()
        .expect("a", Expect::At(first))
        .put("a", "9");
    assert_eq!(
        store.commit(again).await.unwrap(),
        Outcome::Committed(Revision(last.0 + 1))
    );
    // A watcher of the earlier life cannot have seen what happened since; it is told so.
    let mut watch = store.watch("", Revision(1)).await.unwrap();
    assert!(futures::StreamExt::next(&mut watch).await.unwrap().is_err());
}

#[tokio::test]
async fn a_second_opener_is_told_who_has_the_file_until_it_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).await.unwrap();
    let error = open(folder.path()).await.unwrap_err();
    let file = folder.path().join("state.redb");
    let want = format!(
        "the state file '{}' is in use by process {}; connect to that pool with --pool, stop it, or choose another folder with --state",
        file.display(),
        std::process::id()
    );
    assert_eq!(
        (error.code(), error.to_string()),
        (ErrorCode::Unavailable, want)
    );
    first.put("k", Bytes::from("v")).await.unwrap();
    first.close().await;
    let second = open(folder.path()).await.unwrap();
    assert!(second.get("k").await.unwrap().is_some());
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "the file and the owner's note"
    );
}

#[tokio::test]
async fn what_is_no_state_folder_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("state.redb"),
        "this is a letter, and not a short one\n".repeat(200),
    )
    .unwrap();
    let error = open(folder.path()).await.unwrap_err();
    assert!(
        error
            .message()
            .ends_with("state.redb' is not a state file of whimbrel"),
        "{error}"
    );
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(&file).await.unwrap_err();
    assert!(
        error.message().starts_with("cannot use the state folder"),
        "{error}"
    );
}

/// The other half of the kill test: writes and says so until it is killed. It runs only where the kill test put its mark.
#[tokio::test]
#[ignore = "started and killed by the kill test"]
async fn writer_to_be_killed() {
    if !Path::new("kill-me").exists() {
        return;
    }
    let store = open(Path::new(".")).await.unwrap();
    for count in 1..100_000_u64 {
        let both = Transaction::new()
            .put("left", count.to_string())
            .put("right", count.to_string());
        assert_ne!(store.commit(both).await.unwrap(), Outcome::Conflict);
        println!("acked {count}");
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_answered_and_tears_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("kill-me"), "").unwrap();
    for round in 1..=3_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::tests::writer_to_be_killed",
                "--ignored",
                "--nocapture",
            ])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut acked = 0;
        // libtest writes the test's name in front of its first line.
        let lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        for line in lines {
            if let Some((_, count)) = line.split_once("acked ") {
                acked = count.parse().unwrap();
            }
            if acked == 10 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(
            acked >= 10 * round,
            "the writer ended by itself after {acked}"
        );
        let store = open(folder.path()).await.unwrap();
        let read = async |key| -> u64 {
            let entry = store.get(key).await.unwrap().unwrap();
            std::str::from_utf8(&entry.value).unwrap().parse().unwrap()
        };
        let (left, right) = (read("left").await, read("right").await);
        assert_eq!(left, right);
        assert!(
            left == acked || left == acked + 1,
            "{acked} answered, {left} kept"
        );
        store.close().await;
    }
}

fn decode(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::new(ErrorCode::Invalid, "not text"))
}

#[tokio::test]
async fn a_mirror_follows_the_store_and_catches_up_on_demand() {
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new(SystemClock::shared()));
    store.put("m/old", Bytes::from("1")).await.unwrap();
    store
        .put("m/bad", Bytes::from_static(b"\xff"))
        .await
        .unwrap();
    let mirror = Arc::new(
        Mirror::open(Arc::clone(&store), "m/", decode)
            .await
            .unwrap(),
    );
    assert_eq!(mirror.names(), ["bad", "old"]);
    assert_eq!(mirror.values().len(), 1);
    let broken = mirror.get("bad").unwrap().value.unwrap_err();
    assert!(
        broken
            .message()
            .starts_with("the record 'm/bad' cannot be read"),
        "{broken}"
    );

    store.put("m/new", Bytes::from("2")).await.unwrap();
    assert!(mirror.get("new").is_none(), "nobody follows yet");
    mirror.refresh().await.unwrap();
    assert_eq!(*mirror.get("new").unwrap().value.unwrap(), "2");

    let stop = CancellationToken::new();
    let following = tokio::spawn({
        let (mirror, stop) = (Arc::clone(&mirror), stop.clone());
        async move { mirror.follow(SystemClock::shared(), stop).await }
    });
    let change = Transaction::new()
        .put("m/new", "3")
        .delete("m/old")
        .put("other", "x");
    assert_ne!(store.commit(change).await.unwrap(), Outcome::Conflict);
    let caught_up = async {
        while mirror.get("old").is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), caught_up)
        .await
        .expect("the mirror does not follow");
    assert_eq!(*mirror.get("new").unwrap().value.unwrap(), "3");
    assert_eq!(mirror.names(), ["bad", "new"]);
    stop.cancel();
    following.await.unwrap();
}
