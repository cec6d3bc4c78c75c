//! What a score job writes on real object stores: nobody sees it before it is published, and what attempts leave behind is found
//! and thrown away.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use serde_json::json;
use whimbrel_proto::ErrorCode;
use whimbrel_stores::job::{
    Commit, Ended, Entry, Journal, Manifest, Proposal, Records, SplitKey, Times, Verdict,
};
use whimbrel_stores::output::{DeferredOutput, Receipt, explain, probe};
use whimbrel_stores::{Environment, Stores};
use whimbrel_tests::objects::{Azure, LAKE, S3};

const JOB: &str = "job1";

fn stores(environment: Vec<(String, String)>) -> Stores {
    Stores::new(environment.into_iter().collect::<Environment>())
}

/// Two parts, the first as large as the store asks for.
fn content(output: &dyn DeferredOutput) -> Result<[Bytes; 2]> {
    let first = vec![7; usize::try_from(output.part_bytes())?];
    Ok([first.into(), Bytes::from_static(b"the rest")])
}

/// An attempt up to its entry in the journal.
async fn attempt(output: &dyn DeferredOutput, name: &str) -> Result<Receipt> {
    let records = Records::of(JOB);
    let intent = output
        .begin(&records.object(&SplitKey::first("s1"), name, "bin"))
        .await?;
    let note = serde_json::to_vec(&[&intent])?;
    output.put(&records.intent(name), note.into()).await?;
    let (mut parts, mut bytes) = (Vec::new(), 0);
    for (index, part) in content(output)?.into_iter().enumerate() {
        bytes += part.len() as u64;
        parts.push(output.part(&intent, index, part).await?);
    }
    Ok(output.seal(intent, parts, bytes).await?)
}

/// What is there beside the records.
async fn seen(output: &dyn DeferredOutput) -> Result<Vec<String>> {
    let listed = output.list("").await?.into_iter();
    let paths = listed.map(|object| object.path);
    Ok(paths.filter(|path| !path.starts_with('_')).collect())
}

fn entry(receipt: &Receipt) -> Entry {
    Entry {
        key: SplitKey::first("s1"),
        attempt: "won".to_owned(),
        executor: "e1".to_owned(),
        output: Some(receipt.clone()),
        dead_letters: None,
        rows_read: 3,
        rows_written: 3,
        rows_dead: 0,
        bytes_read: 9,
        times: Times::default(),
    }
}

/// A job of one split and two attempts, one of which dies, up to `_SUCCESS`.
async fn committed(stores: &Stores, output: &dyn DeferredOutput) -> Result<Manifest> {
    let records = Records::of(JOB);
    let journal = Journal::new(output, &records);
    attempt(output, "died").await?;
    let receipt = attempt(output, "won").await?;
    ensure!(seen(output).await?.is_empty(), "seen before it was decided");
    let own = entry(&receipt);
    ensure!(journal.enter(&own, &stores.trials()).await?.is_none());
    let late = Entry {
        attempt: "late".to_owned(),
        ..own.clone()
    };
    ensure!(journal.enter(&late, &stores.trials()).await? == Some(own));
    let (entries, _) = journal.read().await?;
    let spec = json!({});
    let commit = Commit::new(output, &records, &spec);
    let proposal = Proposal {
        verdict: Verdict::Commit,
        by: "test".to_owned(),
        entries: entries.into_iter().collect::<BTreeMap<_, _>>(),
        replaced: Vec::new(),
    };
    let decision = commit.decide(proposal, &stores.trials()).await?;
    ensure!(
        seen(output).await?.is_empty(),
        "seen before it was published"
    );
    let Ended::Succeeded(manifest) = commit.finish(decision.clone()).await? else {
        bail!("lost");
    };
    // As after a crash behind the last step.
    let again = commit.finish(decision).await?;
    ensure!(matches!(again, Ended::Succeeded(_)), "{again:?}");
    let path = receipt.intent.path;
    let seen = seen(output).await?;
    ensure!(seen.len() == 1 && seen[0] == path, "{seen:?}");
    let whole = output.get(&path).await?.context("not there")?;
    ensure!(whole == content(output)?.concat(), "other bytes");
    Ok(*manifest)
}

#[tokio::test(flavor = "multi_thread")]
async fn on_s3_nothing_is_seen_before_it_is_published_and_strays_are_swept() -> Result<()> {
    let s3 = S3::start(&[])?;
    let stores_of = |user| -> Result<Stores> { Ok(stores(s3.environment(user)?)) };
    let writer = stores_of("writer")?;
    let uri = format!("s3://{LAKE}/out/");
    let output = writer.output(&uri, None)?;
    probe(output.as_ref(), &uri, "_whimbrel/job1").await?;
    let manifest = committed(&writer, output.as_ref()).await?;
    let records = Records::of(JOB);
    let spec = json!({});
    let commit = Commit::new(output.as_ref(), &records, &spec);
    // An attempt that could not even say what it had begun, and another job's.
    let path = records.object(&SplitKey::first("s2"), "mute", "bin");
    output.begin(&path).await?;
    output.begin("part-job2-s1.0-other.bin").await?;
    ensure!(output.staged("").await?.len() == 3);
    ensure!(commit.sweep(&manifest).await? == 2);
    ensure!(commit.sweep(&manifest).await? == 0);
    let left = output.staged("").await?;
    ensure!(left.len() == 1 && left[0].path.contains("job2"), "{left:?}");

    let reader = stores_of("reader")?.output(&uri, None)?;
    let error = reader.begin("part").await.err().context("it may write")?;
    let told = explain(&uri, &error).to_string();
    ensure!(
        told.contains("'s3://lake/out/part' cannot be written: the store allows it not")
            && told.contains("s3:PutObject"),
        "{told}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_azure_nothing_is_seen_before_it_is_published() -> Result<()> {
    let azure = Azure::start(&[]).await?;
    let writer = stores(azure.environment(None)?);
    let account = azure.account()?;
    let uri = format!("abfss://{LAKE}@{account}.dfs.core.windows.net/out/");
    let output = writer.output(&uri, None)?;
    probe(output.as_ref(), &uri, "_whimbrel/job1").await?;
    let manifest = committed(&writer, output.as_ref()).await?;
    let records = Records::of(JOB);
    let spec = json!({});
    let commit = Commit::new(output.as_ref(), &records, &spec);
    // Only the note of the attempt that died: blocks cannot be listed, and expire by themselves.
    ensure!(commit.sweep(&manifest).await? == 1);
    ensure!(commit.sweep(&manifest).await? == 0);
    ensure!(seen(output.as_ref()).await?.len() == 1);

    let reads = stores(azure.environment(Some("reads"))?);
    let error = probe(reads.output(&uri, None)?.as_ref(), &uri, "_whimbrel/job1").await;
    let error = error.err().context("it may write")?;
    ensure!(
        error.code() == ErrorCode::Denied && error.message().contains("cannot be written"),
        "{error}"
    );
    Ok(())
}
