//! SQL about models, the check of a model, and what happens to a pool whose model ends the processes that run it.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::AsArray;
use serde_json::Value;
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::command::run;
use whimbrel_tests::data::{self, Datasets};
use whimbrel_tests::pool::Asker;
use whimbrel_tests::process::Process;
use whimbrel_tests::wait;

async fn texts(client: &Asker, sql: &str) -> Result<Vec<Vec<String>>> {
    let (_, batches) = client.collect(sql).await?;
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .filter_map(|column| column.as_string_opt::<i32>())
            .collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            columns
                .iter()
                .map(|column| column.value(row).to_owned())
                .collect()
        }));
    }
    Ok(rows)
}

async fn refused(client: &Asker, sql: &str) -> Result<String> {
    match client.collect(sql).await {
        Ok(_) => bail!("'{sql}' was not refused"),
        Err(error) => Ok(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_bound_shown_checked_and_dropped_in_sql() -> Result<()> {
    let cluster = Cluster::start(1, 2).await?;
    let client = cluster.client().await?;
    let datasets = Datasets::write(cluster.folder())?;
    client.add_table("trips", &datasets.trips).await?;
    let fare = data::model("fare")?;
    let create = format!("MODEL fare FROM '{}'", fare.display());

    client.collect(&format!("CREATE {create}")).await?;
    let error = refused(&client, &format!("CREATE {create}")).await?;
    ensure!(
        error.contains("model 'fare' is bound already")
            && error.contains("CREATE OR REPLACE MODEL"),
        "{error}"
    );
    client
        .collect(&format!(
            "CREATE MODEL IF NOT EXISTS fare FROM '{}'",
            fare.display()
        ))
        .await?;
    client
        .collect(&format!(
            "CREATE OR REPLACE {create} RETURNS double OPTIONS (default.payment_type 1)"
        ))
        .await?;

    let shown =
        "SELECT alias, returns, options FROM information_schema.models WHERE generation = 2";
    let expected = vec![vec![
        "fare".to_owned(),
        "DOUBLE".to_owned(),
        "default.payment_type=1".to_owned(),
    ]];
    ensure!(texts(&client, shown).await? == expected);
    ensure!(texts(&client, "SHOW MODELS").await?.len() == 1);
    let described = texts(&client, "DESCRIBE MODEL fare").await?;
    let fact = |part: &str, name: &str| {
        let found = described
            .iter()
            .find(|row| row[0] == part && row[1] == name);
        found.map(|row| row[2].clone())
    };
    let payment = fact("input", "payment_type");
    ensure!(
        payment.as_deref() == Some("float32, not used by the model, default 1"),
        "{payment:?}"
    );
    ensure!(fact("model", "returns").as_deref() == Some("DOUBLE"));

    check_reports(&client, cluster.folder(), cluster.address()).await?;
    loaded_models_are_listed(cluster.folder(), cluster.address()).await?;

    client.collect("DROP MODEL fare").await?;
    client.collect("DROP MODEL IF EXISTS fare").await?;
    let error = refused(&client, "DROP MODEL fare").await?;
    ensure!(error.contains("model 'fare' is not bound"), "{error}");
    ensure!(texts(&client, "SHOW MODELS").await?.is_empty());
    Ok(())
}

async fn check_reports(client: &Asker, folder: &Path, pool: &str) -> Result<()> {
    let report = run(
        folder,
        Some(pool),
        &[
            "--json", "model", "check", "fare", "--on", "trips", "--sample", "250",
        ],
    )?;
    ensure!(report.code == 0, "{}", report.stderr);
    let report: Value = serde_json::from_str(&report.stdout).context("parse the report")?;
    let line = |part: &str, name: &str| -> Result<Value> {
        let lines = report["report"]
            .as_array()
            .context("the report has lines")?;
        let found = lines
            .iter()
            .find(|line| line["part"] == part && line["name"] == name);
        found
            .cloned()
            .with_context(|| format!("no {part} {name} in {report}"))
    };
    ensure!(line("sample", "rows")?["value"] == "250");
    let distance = line("input", "trip_distance")?;
    ensure!(
        distance["value"] == "← trips.trip_distance float64 as float32",
        "{distance}"
    );
    let remark = distance["remark"].as_str().unwrap_or_default();
    ensure!(
        remark.starts_with("loses digits in ") && remark.ends_with(" of 250 values"),
        "{distance}"
    );
    let hour = line("input", "pickup_hour")?;
    ensure!(
        hour["remark"] == "may lose digits; in the sample it loses none",
        "{hour}"
    );
    ensure!(line("value", "PREDICT")?["value"] == "DOUBLE");
    let speed = line("speed", "rows/s")?;
    ensure!(
        speed["value"]
            .as_str()
            .and_then(|text| text.parse::<u64>().ok())
            .is_some_and(|rows| rows > 0),
        "{speed}"
    );
    ensure!(line("memory", "bytes")?["value"] != "0");
    let warnings = report["warnings"].as_array().context("warnings")?;
    ensure!(
        warnings.iter().any(|text| text
            .as_str()
            .is_some_and(|text| text.contains("lose digits as float32"))),
        "{report}"
    );

    let error = refused(client, "CHECK MODEL fare ON nowhere").await?;
    ensure!(error.contains("nowhere"), "{error}");
    let error = refused(client, "CHECK MODEL fair ON trips").await?;
    ensure!(error.contains("did you mean 'fare'?"), "{error}");
    let lost = run(
        folder,
        Some(pool),
        &["model", "check", "fare", "--on", "trip"],
    )?;
    ensure!(
        lost.code == 1 && lost.stderr.lines().count() == 1,
        "{}",
        lost.stderr
    );
    Ok(())
}

async fn loaded_models_are_listed(folder: &Path, pool: &str) -> Result<()> {
    let held = run(folder, Some(pool), &["--json", "model", "list", "--loaded"])?;
    let held: Value = serde_json::from_str(&held.stdout).context("parse the list")?;
    ensure!(
        held["loads"] == 1 && held["last_used_ms"].as_i64() > Some(0),
        "{held}"
    );
    ensure!(
        held["held_bytes"].as_u64() >= held["bytes"].as_u64(),
        "{held}"
    );
    let table = run(folder, Some(pool), &["model", "list", "--loaded"])?;
    ensure!(table.stdout.contains("ROWS SCORED"), "{}", table.stdout);
    Ok(())
}

/// The process that the supervisor runs now.
fn child_of(supervisor: &Process) -> Option<i32> {
    let pid = supervisor.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// The executor that has scored rows, if it is another than those before.
async fn scoring(cluster: &Cluster, before: &[String]) -> Result<String> {
    wait::until("a new executor scores", || async {
        let status = cluster.status().await.ok()?;
        let scores = |executor: &whimbrel_proto::v1::ExecutorStatus| {
            !before.contains(&executor.executor_id)
                && executor.models.iter().any(|model| model.rows_scored > 0)
        };
        let found = status.executors.iter().find(|executor| scores(executor))?;
        Some(found.executor_id.clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_crashes_its_process_is_named_and_the_pool_lives() -> Result<()> {
    let cluster = Cluster::start(0, 1).await?;
    let client = cluster.client().await?;
    let one = cluster.folder().join("one.parquet");
    data::write_parquet(&one, &data::trips(0, 60_000)?)?;
    client.add_table("one", &one).await?;
    client.bind_model("slow", "slow").await?;
    client.bind_model("fare", "fare").await?;
    let address = cluster.scheduler.field("cluster_address")?;
    let temporary = cluster.folder().join("temporary");
    std::fs::create_dir(&temporary)?;
    let args = [
        "executor",
        "--json",
        "--supervise",
        "--scheduler",
        &address,
        "--port",
        "0",
        "--cluster-port",
        "0",
        "--slots",
        "1",
    ];
    let supervisor = Process::start(
        "supervised",
        cluster.folder(),
        &args.map(str::to_owned),
        &[("TMPDIR", &temporary.to_string_lossy())],
    )?;
    let asking = cluster.client().await?;
    let query =
        tokio::spawn(
            async move { refused(&asking, "SELECT sum(PREDICT('slow', *)) FROM one").await },
        );
    let mut dead = Vec::new();
    for _ in 0..3 {
        dead.push(scoring(&cluster, &dead).await?);
        let child = child_of(&supervisor).context("the supervisor has a child")?;
        // SAFETY: the child is alive: it has just scored, and only its supervisor reaps it.
        ensure!(unsafe { libc::kill(child, libc::SIGABRT) } == 0);
    }
    let error = query.await??;
    ensure!(
        error.contains("the executors that scored with 'slow' ended without a word")
            && dead.iter().all(|id| error.contains(id)),
        "{error}"
    );
    let rows = client
        .rows("SELECT count(PREDICT('fare', *)) FROM one", false)
        .await?;
    ensure!(rows.len() == 1);
    ensure!(
        supervisor.log().contains("signal=6"),
        "the supervisor said nothing"
    );
    supervisor.signal(libc::SIGTERM)?;
    let mut supervisor = supervisor;
    let ended = supervisor.wait_exit(std::time::Duration::from_secs(30))?;
    ensure!(ended.success(), "{ended}");
    let left = std::fs::read_dir(&temporary)?.count();
    ensure!(left == 0, "{left} folders are left of executors");
    Ok(())
}
