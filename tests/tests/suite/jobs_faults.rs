//! Score jobs whose processes die: every row arrives once, what was finished is not done again, and nothing is left behind. Each
//! test proves that its fault happened.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::data;
use whimbrel_tests::jobs::{Job, Status, chaos, entries, score, scored};
use whimbrel_tests::objects::{LAKE, S3};
use whimbrel_tests::pool::Asker;
use whimbrel_tests::wait;

const ROWS_EACH: usize = 1_500;
const ROWS: u64 = (ROWS_EACH * data::FILES) as u64;
/// What a commit passes on its way; the first ones come before anybody has an answer.
const BEFORE_SUBMITTED: [&str; 3] = ["recorded", "owned", "written"];
const SOME: [&str; 5] = [
    "submitted",
    "complete",
    "after-decision",
    "after-publish:3",
    "after-success",
];
const ALL: [&str; 14] = [
    "submitted",
    "started",
    "complete",
    "before-decision",
    "after-decision",
    "before-publish",
    "after-publish",
    "after-publish:8",
    "before-manifest",
    "after-manifest",
    "before-success",
    "before-reveal",
    "after-reveal",
    "published",
];

/// How long an executor stands still where there is time for it.
const FROZEN: Duration = Duration::from_secs(60);

/// What a commit passes that takes the place of another's rows.
const REPLACING: [&str; 3] = ["after-replace", "after-take-down", "before-replace"];

async fn furnish(cluster: &Cluster, model: &str) -> Result<Asker> {
    let client = cluster.client().await?;
    let big = data::write_big(cluster.folder(), ROWS_EACH)?;
    client.add_table("big", &big).await?;
    client.bind_model("m", model).await?;
    Ok(client)
}

fn options(output: &str) -> [&str; 8] {
    [
        "--model", "m", "--input", "big", "--keep", "trip_id", "--output", output,
    ]
}

/// Every row of the table, once, with the prediction that a query gives.
async fn must_be_whole(client: &Asker, output: &str) -> Result<()> {
    let expected = client.rows(
        "SELECT trip_id, PREDICT('m', *) AS prediction FROM big",
        false,
    );
    let expected = expected.await?;
    let written = format!("SELECT trip_id, prediction FROM '{output}/'");
    let written = client.rows(&written, false).await?;
    ensure!(written.len() as u64 == ROWS, "{} rows", written.len());
    written.must_equal(&expected, output)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_executor_costs_its_running_splits_and_nothing_else() -> Result<()> {
    let mut cluster = Cluster::start(2, 1).await?;
    let client = furnish(&cluster, "slow").await?;
    let output = cluster.folder().join("out");
    let shown = output.to_string_lossy().into_owned();
    let job = Job::submit(&cluster, &options(&shown))?;
    let victim = cluster.executors[1].field("executor_id")?;
    let hidden = cluster.folder().join(format!(".out.whimbrel-{}", job.id));
    let finished = |output: &Path| -> Result<Vec<String>> {
        let entries = entries(output, &job.id)?.into_iter();
        let own = entries.filter(|entry| entry["executor"] == victim.as_str());
        Ok(own.map(|entry| entry["attempt"].to_string()).collect())
    };
    let before = wait::until(
        "the victim has finished a split and has another",
        || async {
            let own = finished(&hidden).ok().filter(|own| !own.is_empty())?;
            let status = job.status().ok()?;
            let executors = status.json["progress"]["executors"].as_array()?;
            let busy = executors.iter().any(|one| {
                one["executor_id"] == victim.as_str() && one["splits_running"].as_u64() > Some(0)
            });
            (busy && !status.is_over()).then_some(own)
        },
    )
    .await?;
    cluster.executors[1].kill()?;
    let done = job.ended().await?;
    ensure!(done.state() == "succeeded", "{}", done.json);
    // What it had finished stands, and the other one has scored what is its own in the journal and nothing else.
    let after = finished(&output)?;
    ensure!(
        before.iter().all(|attempt| after.contains(attempt)),
        "{before:?} {after:?}"
    );
    let other = cluster.executors[0].field("executor_id")?;
    let own: u64 = entries(&output, &job.id)?
        .iter()
        .filter(|entry| entry["executor"] == other.as_str())
        .filter_map(|entry| entry["rows_read"].as_u64())
        .sum();
    let rows = scored(&cluster, &other, done.number("/ended_at_ms")).await?;
    ensure!(rows == own, "{rows} rows scored for {own}");
    must_be_whole(&client, &shown).await
}

/// Runs a job whose scheduler dies at `point`, starts the scheduler again, and looks at what came of the job.
async fn survives(cluster: &mut Cluster, point: &str, output: &str) -> Result<Status> {
    cluster.restart_scheduler(&[("WHIMBREL_FAILPOINT", point)])?;
    cluster.wait_executors(1).await?;
    let key = format!("{point} {output}");
    let mut wanted = options(output).to_vec();
    wanted.extend([
        "--key",
        &key,
        "--mode",
        if REPLACING.contains(&point) {
            "overwrite"
        } else {
            "error"
        },
    ]);
    let submitted = score(cluster, &wanted)?;
    let told = (submitted.code == 0).then(|| submitted.stdout.trim().to_owned());
    let status = cluster.scheduler.wait_exit(Duration::from_secs(60))?;
    ensure!(!status.success(), "the scheduler did not die at {point}");
    cluster.restart_scheduler(&[])?;
    cluster.wait_executors(1).await?;
    if BEFORE_SUBMITTED.contains(&point) {
        ensure!(told.is_none(), "{point}: it was answered");
    }
    // Whoever had no answer asks again, under the same key; whoever had one asks nobody.
    let job = match told {
        Some(id) => Job::of(cluster, &id),
        None => {
            wait::until("the same key is taken", || async {
                Job::submit(cluster, &wanted).ok()
            })
            .await?
        }
    };
    let done = job.ended().await?;
    ensure!(done.state() == "succeeded", "{point}: {}", done.json);
    Ok(done)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_dies_anywhere_loses_no_job() -> Result<()> {
    let mut cluster = Cluster::start(1, 2).await?;
    let client = furnish(&cluster, "fare").await?;
    let executor = cluster.executors[0].field("executor_id")?;
    let points: &[&str] = if chaos() { &ALL } else { &SOME };
    let first = &BEFORE_SUBMITTED[..if chaos() { 3 } else { 1 }];
    for point in first.iter().chain(points) {
        let output = cluster.folder().join(point.replace(':', "-"));
        let shown = output.to_string_lossy().into_owned();
        // What was scored until now is in the report after the last one.
        let last = cluster.wait_executors(1).await?[0].last_seen_ms;
        let before = scored(&cluster, &executor, u64::try_from(last)?).await?;
        let done = survives(&mut cluster, point, &shown).await?;
        let rows = scored(&cluster, &executor, done.number("/ended_at_ms")).await? - before;
        // At most what both slots had in hand is scored again, and nothing once the journal was complete.
        let again = match *point {
            "submitted" | "started" => 2 * ROWS / done.number("/progress/splits_total"),
            _ => 0,
        };
        ensure!(
            (ROWS..=ROWS + again).contains(&rows),
            "{point}: {rows} rows scored of {ROWS}"
        );
        must_be_whole(&client, &shown)
            .await
            .with_context(|| (*point).to_owned())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_to_an_object_store_goes_on_where_it_was() -> Result<()> {
    let s3 = S3::start(&[])?;
    let settings = s3.environment("writer")?;
    let settings: Vec<(&str, &str)> = settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut cluster = Cluster::with(Options {
        executors: 1,
        slots: 2,
        scheduler: &settings,
        executor: &settings,
        ..Options::default()
    })
    .await?;
    let client = furnish(&cluster, "fare").await?;
    let points: &[&str] = if chaos() {
        &[
            "owned",
            "after-decision",
            "after-publish:3",
            "after-manifest",
            "before-success",
            "after-success",
            "published",
        ]
    } else {
        &["owned", "after-publish:3"]
    };
    for point in points {
        let output = format!("s3://{LAKE}/{}", point.replace(':', "-"));
        survives(&mut cluster, point, &output).await?;
        must_be_whole(&client, &output).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_store_drops_is_scored_again() -> Result<()> {
    let s3 = S3::start(&[])?;
    let settings = s3.environment("writer")?;
    let mut cluster = Cluster::start_in(1, 2, &settings).await?;
    let client = furnish(&cluster, "fare").await?;
    let executor = cluster.executors[0].field("executor_id")?;
    cluster.restart_scheduler(&[("WHIMBREL_FAILPOINT", "complete")])?;
    let last = cluster.wait_executors(1).await?[0].last_seen_ms;
    let before = scored(&cluster, &executor, u64::try_from(last)?).await?;
    let output = format!("s3://{LAKE}/dropped");
    let job = Job::submit(&cluster, &options(&output))?;
    let status = cluster.scheduler.wait_exit(Duration::from_secs(60))?;
    ensure!(!status.success(), "the scheduler did not die");
    s3.drop_upload("dropped/").await?;
    cluster.restart_scheduler(&[])?;
    let done = job.ended().await?;
    ensure!(done.state() == "succeeded", "{}", done.json);
    let rows = scored(&cluster, &executor, done.number("/ended_at_ms")).await? - before;
    let split = ROWS / done.number("/progress/splits_total");
    ensure!(
        rows == ROWS + split,
        "{rows} rows scored, {split} of them again"
    );
    must_be_whole(&client, &output).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_in_the_place_of_older_rows_goes_on_where_it_was() -> Result<()> {
    let mut cluster = Cluster::start(1, 2).await?;
    let client = furnish(&cluster, "fare").await?;
    let output = cluster.folder().join("out").to_string_lossy().into_owned();
    let first = Job::submit(&cluster, &options(&output))?.ended().await?;
    ensure!(first.state() == "succeeded", "{}", first.json);
    for point in &REPLACING[..if chaos() { 3 } else { 1 }] {
        survives(&mut cluster, point, &output).await?;
        must_be_whole(&client, &output)
            .await
            .with_context(|| (*point).to_owned())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_is_cut_off_is_done_again_and_harms_nothing() -> Result<()> {
    let mut cluster = Cluster::start_with(1, 2, &[("WHIMBREL_JOB_LEASE", "1s")]).await?;
    let client = furnish(&cluster, "fare").await?;
    let output = cluster.folder().join("out");
    let shown = output.to_string_lossy().into_owned();
    survives(&mut cluster, "swept", &shown).await?;
    must_be_whole(&client, &shown).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_not_forgotten_by_a_scheduler_that_dies() -> Result<()> {
    let mut cluster = Cluster::start_with(1, 1, &[("WHIMBREL_JOB_LEASE", "1s")]).await?;
    furnish(&cluster, "slow").await?;
    for point in ["cancel-wished", "cancel-decided"] {
        cluster
            .restart_scheduler(&[("WHIMBREL_JOB_LEASE", "1s"), ("WHIMBREL_FAILPOINT", point)])?;
        cluster.wait_executors(1).await?;
        let output = cluster.folder().join(point);
        let shown = output.to_string_lossy().into_owned();
        let job = Job::submit(&cluster, &options(&shown))?;
        let hidden = cluster
            .folder()
            .join(format!(".{point}.whimbrel-{}", job.id));
        job.until("a split is staged", |_| {
            hidden.join(".whimbrel-staged").exists()
        })
        .await?;
        ensure!(
            job.cancel().is_err(),
            "{point}: the scheduler lived to answer"
        );
        let status = cluster.scheduler.wait_exit(Duration::from_secs(60))?;
        ensure!(!status.success(), "the scheduler did not die at {point}");
        cluster.restart_scheduler(&[("WHIMBREL_JOB_LEASE", "1s")])?;
        let ended = job.ended().await?;
        ensure!(ended.state() == "cancelled", "{point}: {}", ended.json);
        wait::until("nothing is left of it", || async {
            (!hidden.exists()).then_some(())
        })
        .await?;
        ensure!(!output.exists(), "{point}: something is visible");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_executor_wakes_too_late_and_changes_nothing() -> Result<()> {
    let cluster = Cluster::start_with(2, 1, &[("WHIMBREL_JOB_LEASE", "3s")]).await?;
    let client = furnish(&cluster, "slow").await?;
    let output = cluster.folder().join("out");
    let shown = output.to_string_lossy().into_owned();
    let job = Job::submit(&cluster, &options(&shown))?;
    let before = job
        .until("both executors score", |status| {
            let executors = status.json["progress"]["executors"].as_array();
            executors.is_some_and(|all| {
                all.len() == 2 && all.iter().all(|one| one["rows"].as_u64() > Some(0))
            })
        })
        .await?;
    ensure!(
        !before.is_over(),
        "it ended before the fault: that proves nothing"
    );
    cluster.executors[1].signal(libc::SIGSTOP)?;
    let mut frozen = tokio::time::interval(FROZEN);
    frozen.tick().await;
    let done = job.ended().await;
    if chaos() {
        frozen.tick().await;
    }
    cluster.executors[1].signal(libc::SIGCONT)?;
    let done = done?;
    ensure!(done.state() == "succeeded", "{}", done.json);
    cluster.wait_executors(2).await?;
    job.swept(&output).await?;
    must_be_whole(&client, &shown).await?;
    ensure!(
        !output.join(".whimbrel-staged").exists() || walk(&output.join(".whimbrel-staged"))? == 0
    );
    Ok(())
}

fn walk(folder: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        count += if path.is_dir() { walk(&path)? } else { 1 };
    }
    Ok(count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_executors_as_long_as_it_takes() -> Result<()> {
    let mut cluster = Cluster::start(0, 1).await?;
    let client = furnish(&cluster, "fare").await?;
    let output = cluster.folder().join("out").to_string_lossy().into_owned();
    let job = Job::submit(&cluster, &options(&output))?;
    let waiting = job
        .until("it waits", |status| status.state() == "waiting")
        .await?;
    let since = waiting.number("/waiting_since_ms");
    ensure!(since > 0, "{}", waiting.json);
    cluster.restart_scheduler(&[])?;
    let waiting = job
        .until("it waits again", |status| status.state() == "waiting")
        .await?;
    ensure!(
        waiting.number("/waiting_since_ms") == since,
        "it waits since it began to: {}",
        waiting.json
    );
    cluster.add_executor(2)?;
    ensure!(job.ended().await?.state() == "succeeded");
    must_be_whole(&client, &output).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_goes_on_once_its_cause_is_mended() -> Result<()> {
    let mut cluster = Cluster::with(Options {
        executors: 1,
        slots: 1,
        executor: &[("WHIMBREL_ONNXRUNTIME", "/nowhere/libonnxruntime.so")],
        ..Options::default()
    })
    .await?;
    let client = furnish(&cluster, "fare").await?;
    client.bind_to_ort("m", "fare").await?;
    let output = cluster.folder().join("out");
    let shown = output.to_string_lossy().into_owned();
    let job = Job::submit(&cluster, &options(&shown))?;
    let failed = job.ended().await?;
    ensure!(failed.state() == "failed", "{}", failed.json);
    ensure!(failed.json["resumable"] == true, "{}", failed.json);
    ensure!(
        failed
            .json
            .to_string()
            .contains("/nowhere/libonnxruntime.so"),
        "{}",
        failed.json
    );
    ensure!(!output.exists(), "a failed job shows nothing");
    cluster.executors[0].kill()?;
    cluster.set_executor(&[]);
    cluster.add_executor(1)?;
    cluster.wait_executors(1).await?;
    let resumed = job.tell("resume")?;
    ensure!(resumed.code == 0, "{}", resumed.stderr);
    let done = job.ended().await?;
    ensure!(done.state() == "succeeded", "{}", done.json);
    must_be_whole(&client, &shown).await?;
    let again = job.tell("resume")?;
    ensure!(again.stderr.contains("has succeeded"), "{}", again.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_meanwhile_ends_the_job_by_name_and_a_model_that_goes_does_not()
-> Result<()> {
    let cluster = Cluster::start(1, 1).await?;
    let client = furnish(&cluster, "slow").await?;
    let output = cluster.folder().join("out").to_string_lossy().into_owned();
    let job = Job::submit(&cluster, &options(&output))?;
    client.0.unbind_model("m").await?;
    job.until("a split is done", |status| {
        status.number("/progress/splits_done") > 0
    })
    .await?;
    let last = cluster
        .folder()
        .join("big")
        .join(format!("part-{}.parquet", data::FILES - 1));
    data::write_parquet(&last, &data::trips(0, 10)?)?;
    let failed = job.ended().await?;
    ensure!(
        failed.state() == "failed" && failed.json["resumable"] == false,
        "{}",
        failed.json
    );
    let error = failed.text("/error/message");
    ensure!(
        error.contains(&format!("part-{}.parquet", data::FILES - 1)),
        "{error}"
    );
    ensure!(!Path::new(&output).exists(), "a failed job shows nothing");
    Ok(())
}
