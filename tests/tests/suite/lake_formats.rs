//! Views, and queries over files that no table names.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use whimbrel::{Client, Token};
use whimbrel_proto::Error;
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::data::{self, Datasets};
use whimbrel_tests::golden;
use whimbrel_tests::pool::Asker;

/// The rows as one line.
pub(crate) async fn line(client: &Asker, sql: &str) -> Result<String> {
    let rows = client
        .rows(sql, true)
        .await
        .with_context(|| sql.to_owned())?;
    Ok(rows
        .to_text()
        .lines()
        .skip(1)
        .collect::<Vec<_>>()
        .join("; "))
}

/// What the statement is refused with, without this machine's paths.
async fn refused(client: &Asker, folder: &Path, sql: &str) -> Result<String> {
    let here = folder.canonicalize()?.display().to_string();
    let sql = sql.replace("DIR", &here);
    let error = match client.collect(&sql).await {
        Ok(_) => anyhow::bail!("it went through: {sql}"),
        Err(error) => error,
    };
    let text = match error.downcast_ref::<Error>() {
        Some(error) => format!("{:?}: {error}", error.code()),
        None => format!("{error:#}"),
    };
    ensure!(!text.contains('\n'), "more than one line: {text}");
    Ok(format!("{sql}\n{text}\n").replace(&here, "DIR"))
}

/// Checks the refusals of all statements against one golden file.
pub(crate) async fn refusals(
    client: &Asker,
    folder: &Path,
    name: &str,
    statements: &[&str],
) -> Result<()> {
    let mut text = String::new();
    for sql in statements {
        text += &refused(client, folder, sql).await?;
        text.push('\n');
    }
    golden::check(&format!("errors/{name}.txt"), &text)
}

async fn views_are_seen(client: &Asker, other: &Asker) -> Result<()> {
    // Another session sees them, and none of what is temporary.
    client
        .collect("CREATE TEMP VIEW mine AS SELECT 7 AS seven")
        .await?;
    client
        .collect("CREATE TEMPORARY VIEW trips AS SELECT * FROM trips WHERE trip_id < 3")
        .await?;
    ensure!(line(client, "SELECT count(*), sum(seven) FROM trips, mine").await? == "3 | 21");
    ensure!(
        line(client, "SELECT count(*) FROM few").await? == "5",
        "a view of the pool sees no temporary one"
    );
    ensure!(line(other, "SELECT count(*) FROM ids, trips").await? == "80000");
    let tables = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name";
    let listed = line(other, tables).await?;
    ensure!(
        listed == "few | VIEW; ids | VIEW; scored | VIEW; trips | BASE TABLE; zones | BASE TABLE",
        "{listed}"
    );
    let columns = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'scored' ORDER BY ordinal_position";
    ensure!(line(other, columns).await? == "trip_id | Int64; p | Float32");
    let definitions = line(client, "SELECT count(definition) FROM information_schema.views WHERE definition LIKE '%WHERE trip_id < 5'").await?;
    ensure!(definitions == "1", "{definitions}");
    ensure!(
        line(client, "DESCRIBE ids").await? == "id | Int64 | NO",
        "{}",
        line(client, "DESCRIBE ids").await?
    );
    let shown = line(other, "SHOW TABLES").await?;
    ensure!(
        shown.contains("scored") && !shown.contains("mine"),
        "{shown}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn views_of_the_pool_last_and_those_of_a_session_do_not() -> Result<()> {
    let mut cluster = Cluster::start(1, 2).await?;
    let folder = cluster.folder().to_owned();
    let datasets = Datasets::write(&folder)?;
    let client = cluster.client().await?;
    client.add_table("trips", &datasets.trips).await?;
    client.add_table("zones", &datasets.zones).await?;
    for sql in [
        "CREATE VIEW few AS SELECT * FROM trips WHERE trip_id < 5",
        "CREATE VIEW ids (id) AS SELECT trip_id FROM Few ORDER BY trip_id",
        "CREATE VIEW IF NOT EXISTS few AS SELECT 1",
        "CREATE OR REPLACE VIEW scored AS SELECT trip_id, PREDICT('fare', *) AS p FROM few",
    ] {
        if sql.contains("PREDICT") {
            client.bind_model("fare", "fare").await?;
        }
        client.collect(sql).await.with_context(|| sql.to_owned())?;
    }
    let other = Asker(Client::connect(cluster.address().parse()?, Token::none()).await?);
    views_are_seen(&client, &other).await?;

    // A view follows what it is made of, the model's type included.
    let sum = "SELECT arrow_typeof(p), count(*) FROM scored GROUP BY 1";
    ensure!(line(&client, sum).await? == "Float32 | 5");
    client.bind_model("fare", "lightgbm").await?;
    let followed = line(&client, sum).await?;
    ensure!(followed.ends_with("| 5"), "{followed}");

    refusals(
        &client,
        &folder,
        "views",
        &[
            "CREATE VIEW few AS SELECT 2",
            "CREATE VIEW zones AS SELECT 2",
            "CREATE OR REPLACE VIEW Zones AS SELECT 2",
            "CREATE EXTERNAL TABLE few STORED AS CSV LOCATION 'DIR/empty.csv'",
            "CREATE OR REPLACE VIEW few AS SELECT * FROM few",
            "CREATE OR REPLACE VIEW few AS SELECT id FROM ids",
            "CREATE TEMP VIEW loop AS SELECT * FROM loop",
            "CREATE VIEW new AS SELECT * FROM tripz",
            "CREATE VIEW new AS SELECT * FROM mine",
            "CREATE VIEW \"a b\" AS SELECT 1",
            "DROP VIEW fw",
            "DROP VIEW zones",
            "DROP TABLE few",
            "CREATE MATERIALIZED VIEW new AS SELECT 1",
        ],
    )
    .await?;
    client.collect("DROP TABLE trips").await?;
    refusals(&other, &folder, "view_of_nothing", &["SELECT * FROM ids"]).await?;
    client.add_table("trips", &datasets.trips).await?;

    // They are on disk.
    client.collect("DROP VIEW IF EXISTS few").await?;
    cluster.restart_killed_scheduler()?;
    let client = cluster.client().await?;
    refusals(
        &client,
        &folder,
        "view_of_a_dropped_view",
        &["SELECT * FROM ids"],
    )
    .await?;
    client
        .collect("CREATE VIEW few AS SELECT * FROM trips WHERE trip_id < 2")
        .await?;
    cluster.wait_executors(1).await?;
    ensure!(line(&client, "SELECT id FROM ids").await? == "0; 1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_queried_without_a_table() -> Result<()> {
    let cluster = Cluster::start(1, 2).await?;
    let folder = cluster.folder().to_owned();
    let datasets = Datasets::write(&folder)?;
    let client = cluster.client().await?;
    client.bind_model("fare", "fare").await?;
    let trips = datasets.trips.display().to_string();
    let zones = datasets.zones.display().to_string();
    for source in [
        format!("'{trips}/*.parquet'"),
        format!("'{trips}'"),
        format!("\"{trips}/\""),
        format!("'file://{trips}/**'"),
    ] {
        let sql = format!("SELECT count(PREDICT('fare', *)), count(*) FROM {source}");
        ensure!(
            line(&client, &sql).await? == format!("{0} | {0}", data::TRIPS),
            "{source}"
        );
    }
    // Relative paths begin where the scheduler runs; two sets of files are joined as two tables are.
    let join = "SELECT count(*) FROM 'trips/part-0.parquet' t JOIN './zones.parquet' z ON t.borough = z.borough WHERE z.rate > 1";
    let plain = format!(
        "SELECT count(*) FROM '{trips}/part-0.parquet' t WHERE t.borough IN (SELECT borough FROM '{zones}' WHERE rate > 1)"
    );
    let (join, plain) = (line(&client, join).await?, line(&client, &plain).await?);
    ensure!(join == plain && join != "0", "{join} {plain}");
    // A view of files lists them anew.
    std::fs::create_dir(folder.join("days"))?;
    std::fs::write(folder.join("days/day=1.csv"), "n\n1\n")?;
    client
        .collect("CREATE VIEW days AS SELECT sum(n) AS s FROM 'days/'")
        .await?;
    ensure!(line(&client, "SELECT s FROM days").await? == "1");
    std::fs::write(folder.join("days/day=2.csv"), "n\n2\n")?;
    ensure!(line(&client, "SELECT s FROM days").await? == "3");
    // A table's name is a table's name, however it is quoted.
    client.add_table("zones", &datasets.zones).await?;
    ensure!(line(&client, "SELECT count(*) FROM 'zones'").await? == "4");
    ensure!(
        client.0.list_tables().await?.len() == 1,
        "files in FROM leave no table behind"
    );

    std::fs::write(folder.join("notes.txt"), "some notes\n")?;
    std::fs::create_dir(folder.join("nothing"))?;
    refusals(
        &client,
        &folder,
        "files_in_from",
        &[
            "SELECT * FROM 'DIR/gone.parquet'",
            "SELECT * FROM 'DIR/gone*.parquet'",
            "SELECT * FROM 'DIR/nothing/'",
            "SELECT * FROM 'DIR/notes.txt'",
            "SELECT * FROM 'ftp://host/x.csv'",
            "SELECT * FROM 'zonez'",
            "SELECT * FROM DIR.csv",
            "SELECT nme FROM 'DIR/zones.parquet'",
            "DROP TABLE 'DIR/zones.parquet'",
            "CREATE VIEW \"DIR/zones.parquet\" AS SELECT 1",
        ],
    )
    .await
}
