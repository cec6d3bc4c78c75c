//! Embedded pools come and go in one process and leave nothing behind.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use whimbrel_tests::command;
use whimbrel_tests::data::{self, Datasets};
use whimbrel_tests::pool::Asker;
use whimbrel_tests::wait;

/// Names of this process's threads and the targets of its open descriptors.
fn footprint() -> Result<(Vec<String>, BTreeSet<String>)> {
    let mut threads = Vec::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        // A thread may end while its entry is read.
        if let Ok(name) = std::fs::read_to_string(task?.path().join("comm")) {
            threads.push(name.trim().to_owned());
        }
    }
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        if let Ok(target) = std::fs::read_link(entry?.path()) {
            files.insert(target.to_string_lossy().into_owned());
        }
    }
    threads.sort();
    Ok((threads, files))
}

#[test]
fn ten_pools_in_one_process_leave_nothing_behind() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let datasets = Datasets::write(folder.path())?;
    let state = folder.path().join("state");
    // tokio's own pipe for signals stays once a runtime was there.
    drop(
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
    );
    let (threads_before, files_before) = footprint()?;
    for round in 0..10 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let pool = whimbrel_tests::embedded(&state).await.context("start")?;
            let client = Asker(pool.client().await?);
            if round == 0 {
                client.add_table("trips", &datasets.trips).await?;
                client.bind_model("fare", "fare").await?;
            }
            ensure!(
                client
                    .rows("SELECT count(PREDICT('fare', *)) FROM trips", false)
                    .await?
                    .len()
                    == 1
            );
            drop(client);
            pool.stop().await.context("stop")
        })?;
    }
    let (threads_after, files_after) = footprint()?;
    ensure!(
        threads_before == threads_after,
        "threads before {threads_before:?}, after {threads_after:?}"
    );
    let left: Vec<_> = files_after
        .difference(&files_before)
        .filter(|file| !file.contains("libonnxruntime"))
        .collect();
    ensure!(left.is_empty(), "open files left: {left:?}");
    let names: Vec<_> = std::fs::read_dir(&state)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    ensure!(
        names
            .iter()
            .all(|name| name == "state.redb" || name == "models"),
        "left in the state folder: {names:?}"
    );
    Ok(())
}

/// Commands of one folder share the pool of the first one; what they make outlives it.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_command_asks_the_first_ones_pool() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let datasets = Datasets::write(folder.path())?;
    let pool = whimbrel_tests::embedded(&folder.path().join(".whimbrel")).await?;
    let trips = datasets.trips.to_string_lossy().into_owned();
    let model = data::model("fare")?.to_string_lossy().into_owned();
    let run = async |args: Vec<String>| {
        let at = folder.path().to_owned();
        let outcome = tokio::task::spawn_blocking(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            command::run(&at, None, &args)
        });
        let outcome = outcome.await??;
        ensure!(outcome.code == 0, "{}", outcome.stderr);
        anyhow::Ok(outcome.stdout)
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    run(words(&format!("table add trips --uri {trips}"))).await?;
    run(words(&format!("model bind fare --uri {model}"))).await?;
    let count = ["sql", "SELECT count(PREDICT('fare', *)) AS n FROM trips"].map(str::to_owned);
    let expected = format!("n\n{}\n", data::TRIPS);
    ensure!(run(count.to_vec()).await? == expected);
    let client = Asker(pool.client().await?);
    wait::until("this pool has scored the rows", || async {
        let status = client.status().await.ok()?;
        let models = status
            .executors
            .iter()
            .flat_map(|executor| &executor.models);
        let scored: u64 = models.map(|model| model.rows_scored).sum();
        (scored == data::TRIPS as u64).then_some(())
    })
    .await?;
    drop(client);
    pool.stop().await?;
    ensure!(
        run(count.to_vec()).await? == expected,
        "a pool of its own finds what was bound"
    );
    Ok(())
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let query = "SELECT count(*) FROM (VALUES (1)) v";
    let mut command = command::command(folder.path(), None, &["sql", query])?;
    command.env("WHIMBREL_LOG", "trace").stderr(writer);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", output.status);
    ensure!(output.stdout == b"count(*)\n1\n", "{:?}", output.stdout);
    Ok(())
}
