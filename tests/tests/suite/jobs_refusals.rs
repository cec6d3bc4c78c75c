//! Score jobs that cannot be, or cannot go on: one line that says what is wrong, where, and what to do. The lines are golden files.

use std::path::Path;

use anyhow::{Result, ensure};
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::data::{self, Datasets};
use whimbrel_tests::disk::Disk;
use whimbrel_tests::golden;
use whimbrel_tests::jobs::{Job, Status, chaos, job, say, score};
use whimbrel_tests::objects::{LAKE, S3};
use whimbrel_tests::pool::Asker;

/// What is asked where a case does not say otherwise.
const USUAL: [(&str, &str); 4] = [
    ("--model", "fare"),
    ("--input", "trips"),
    ("--keep", "trip_id"),
    ("--output", "fresh"),
];

/// The name of the golden file, and what is asked otherwise; an option without a value is left out.
const CASES: &[(&str, &[(&str, &str)])] = &[
    ("output_not_empty", &[("--output", "used")]),
    ("output_is_a_file", &[("--output", "notes.txt")]),
    ("output_inside_input", &[("--output", "trips/scored")]),
    (
        "input_inside_output",
        &[("--output", "."), ("--mode", "overwrite")],
    ),
    (
        "output_is_the_input",
        &[("--output", "trips"), ("--mode", "append")],
    ),
    ("output_nowhere", &[("--output", "/proc/scored")]),
    ("unknown_column", &[("--keep", "trip_di")]),
    ("nothing_kept", &[("--keep", "")]),
    ("unknown_model", &[("--model", "fair")]),
    ("unknown_input", &[("--input", "trip")]),
    ("two_columns", &[("--as", "trip_id")]),
    ("unknown_mode", &[("--mode", "replace")]),
    ("unknown_format", &[("--format", "orc")]),
    ("unknown_way", &[("--on-error", "skip")]),
    (
        "dead_letters_inside",
        &[("--on-error", "deadletter=fresh/dead")],
    ),
];

fn asked(change: &[(&'static str, &'static str)]) -> Vec<&'static str> {
    let mut options = USUAL.to_vec();
    for &(name, value) in change {
        match options.iter_mut().find(|(usual, _)| *usual == name) {
            Some(option) => option.1 = value,
            None => options.push((name, value)),
        }
    }
    options.retain(|(_, value)| !value.is_empty());
    options
        .into_iter()
        .flat_map(|(name, value)| [name, value])
        .collect()
}

/// The line of a refusal against its golden file.
fn refused(cluster: &Cluster, name: &str, options: &[&str]) -> Result<()> {
    let outcome = score(cluster, options)?;
    let said = outcome.stderr.trim();
    ensure!(outcome.code == 1, "{name}: {said}");
    ensure!(
        said.starts_with("error: ") && said.lines().count() == 1,
        "{name}: {said}"
    );
    let folder = cluster.folder().canonicalize()?;
    let text = outcome.transcript(&[(&folder.to_string_lossy(), "DIR")]);
    let text = format!("$ whimbrel score {}\n{text}", options.join(" "));
    golden::check(&format!("jobs/{name}.txt"), &text)
}

/// Why a job has failed, in the line that `job show` has, against its golden file.
fn told(name: &str, failed: &Status, folder: &Path) -> Result<()> {
    ensure!(failed.state() == "failed", "{name}: {}", failed.json);
    let (message, hint) = (failed.text("/error/message"), failed.text("/error/hint"));
    let line = format!("error: {message}; {hint}\n");
    ensure!(line.lines().count() == 1, "{name}: {line}");
    let shown = folder.canonicalize()?.to_string_lossy().into_owned();
    // Paths in stores have no slash before them.
    let line = line.replace(&shown, "DIR");
    let line = line.replace(shown.trim_start_matches('/'), "DIR");
    golden::check(&format!("jobs/{name}.txt"), &line)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_in_one_line() -> Result<()> {
    let cluster = Cluster::start(1, 1).await?;
    let folder = cluster.folder();
    let client = cluster.client().await?;
    client
        .add_table("trips", &Datasets::write(folder)?.trips)
        .await?;
    client.bind_model("fare", "fare").await?;
    std::fs::create_dir(folder.join("used"))?;
    std::fs::write(folder.join("used/old.csv"), "1")?;
    std::fs::write(folder.join("notes.txt"), "1")?;
    let mut failures = Vec::new();
    for (name, change) in CASES {
        if let Err(error) = refused(&cluster, name, &asked(change)) {
            failures.push(format!("{error:#}"));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    let jobs = job(&cluster, &["list", "--json"])?;
    ensure!(
        jobs.stdout.is_empty(),
        "a refused job is none: {}",
        jobs.stdout
    );
    ensure!(!folder.join("fresh").exists());
    let entries: Vec<_> = std::fs::read_dir(folder)?.collect::<std::io::Result<_>>()?;
    let left: Vec<_> = entries
        .iter()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with('.'))
        .collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_may_only_be_read_is_no_output() -> Result<()> {
    let s3 = S3::start(&[])?;
    let cluster = Cluster::start_in(1, 1, &s3.environment("reader")?).await?;
    let client = cluster.client().await?;
    let trips = Datasets::write(cluster.folder())?.trips;
    client.add_table("trips", &trips).await?;
    client.bind_model("fare", "fare").await?;
    let output = format!("s3://{LAKE}/out");
    let mut options: Vec<&str> = asked(&[("--output", "")]);
    options.extend(["--output", &output]);
    refused(&cluster, "output_denied", &options)?;
    let jobs = job(&cluster, &["list", "--json"])?;
    ensure!(
        jobs.stdout.is_empty(),
        "a refused job is none: {}",
        jobs.stdout
    );
    Ok(())
}

/// A table of this many rows, scored by a model that binds as `m`.
async fn furnish(cluster: &Cluster, rows_each: usize, model: &str) -> Result<Asker> {
    let client = cluster.client().await?;
    let big = data::write_big(cluster.folder(), rows_each)?;
    client.add_table("big", &big).await?;
    client.bind_model("m", model).await?;
    Ok(client)
}

fn options(output: &str) -> [&str; 7] {
    [
        "--model",
        "m",
        "--input",
        "big",
        "--keep-all",
        "--output",
        output,
    ]
}

/// Every row of the table, once, with what a query predicts.
async fn must_be_whole(client: &Asker, output: &str, expected: &str) -> Result<()> {
    let expected = client.rows(expected, false).await?;
    let written = format!("SELECT trip_id, prediction FROM '{output}/'");
    let written = client.rows(&written, false).await?;
    ensure!(!written.is_empty());
    written.must_equal(&expected, output)
}

const EXPECTED: &str = "SELECT trip_id, PREDICT('m', *) AS prediction FROM big";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_a_job_that_goes_on_once_there_is_room() -> Result<()> {
    let disk = match Disk::mount("1m") {
        Ok(disk) => disk,
        Err(error) if chaos() => return Err(error),
        Err(error) => {
            say(&format!("NOT TESTED: a full disk: {error:#}"));
            return Ok(());
        }
    };
    // An entry that finds no room is not to be tried for as long as a store may be away.
    let settings = [("WHIMBREL_STORE_BUDGET", "5s".to_owned())];
    let cluster = Cluster::start_in(1, 2, &settings).await?;
    let client = furnish(&cluster, 4_000, "fare").await?;
    let output = disk.path().join("out");
    let shown = output.to_string_lossy().into_owned();
    let mut wanted = options(&shown).to_vec();
    // Two megabytes, and no codec that finds them smaller.
    wanted.extend(["--format", "csv"]);
    let job = Job::submit(&cluster, &wanted)?;
    let failed = job.ended().await?;
    told("disk_full", &failed, disk.path())?;
    ensure!(failed.json["resumable"] == true, "{}", failed.json);
    ensure!(!output.exists(), "a failed job shows nothing");
    disk.remount("size=64m")?;
    let resumed = job.tell("resume")?;
    ensure!(resumed.code == 0, "{}", resumed.stderr);
    let done = job.ended().await?;
    ensure!(done.state() == "succeeded", "{}", done.json);
    must_be_whole(&client, &shown, EXPECTED).await?;
    disk.remount("ro")?;
    let more = disk.path().join("more").to_string_lossy().into_owned();
    let refused = score(&cluster, &options(&more))?;
    let disk_path = disk.path().canonicalize()?;
    golden::check(
        "jobs/disk_read_only.txt",
        &refused.transcript(&[(&disk_path.to_string_lossy(), "DIR")]),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_unbound_meanwhile_is_scored_with_all_the_same() -> Result<()> {
    let cluster = Cluster::start(1, 2).await?;
    let client = furnish(&cluster, 600, "slow").await?;
    let output = cluster.folder().join("out").to_string_lossy().into_owned();
    let job = Job::submit(&cluster, &options(&output))?;
    client.0.unbind_model("m").await?;
    ensure!(
        client.rows(EXPECTED, false).await.is_err(),
        "it is still bound"
    );
    ensure!(
        !job.status()?.is_over(),
        "it ended too early: that proves nothing"
    );
    let done = job.ended().await?;
    ensure!(done.state() == "succeeded", "{}", done.json);
    client.bind_model("m", "slow").await?;
    must_be_whole(&client, &output, EXPECTED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_replaced_meanwhile_is_named() -> Result<()> {
    let cluster = Cluster::start(1, 1).await?;
    furnish(&cluster, 1_500, "slow").await?;
    let output = cluster.folder().join("out");
    let shown = output.to_string_lossy().into_owned();
    let job = Job::submit(&cluster, &options(&shown))?;
    let last = format!("big/part-{}.parquet", data::FILES - 1);
    data::write_parquet(&cluster.folder().join(last), &data::trips(0, 10)?)?;
    ensure!(
        !job.status()?.is_over(),
        "it ended too early: that proves nothing"
    );
    let failed = job.ended().await?;
    told("input_replaced", &failed, cluster.folder())?;
    ensure!(failed.json["resumable"] == false, "{}", failed.json);
    ensure!(!output.exists(), "a failed job shows nothing");
    Ok(())
}
