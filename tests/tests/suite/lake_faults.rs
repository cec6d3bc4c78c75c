//! Object stores that are overloaded, slow, break connections and go away: queries over S3 and Azure storage end with the
//! rows that local files give, or with one line that says which file and why.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::data;
use whimbrel_tests::lake::{Lake, Lakes};
use whimbrel_tests::objects::Object;
use whimbrel_tests::pool::Asker;
use whimbrel_tests::proxy::{Struck, Weather};
use whimbrel_tests::rows::Rows;
use whimbrel_tests::wait;

const SEED: u64 = 20_261_121;
const PARQUET_ROWS: usize = 20_000;
const CSV_ROWS: usize = 60_000;
/// Sums of whole numbers, which are the same in whatever order they are added.
const QUESTION: &str = "SELECT count(*), sum(trip_id), min(p), max(p), sum(CAST(p * 1000 AS BIGINT)) FROM \
    (SELECT trip_id, PREDICT('tree', *) AS p FROM TABLE) x";

/// A pool, two stores behind proxies with the same files in them, and the answers that local files give.
struct World {
    _cluster: Cluster,
    client: Asker,
    lakes: Lakes,
    right: Vec<(&'static str, Rows)>,
    _folder: TempDir,
}

fn write_files(folder: &TempDir) -> Result<(PathBuf, PathBuf)> {
    let parquet = data::write_big(folder.path(), PARQUET_ROWS)?;
    let csv = folder.path().join("trips.csv");
    data::write_csv(&csv, &data::trips(0, CSV_ROWS)?)?;
    Ok((parquet, csv))
}

impl World {
    async fn start(budget: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (parquet, csv) = write_files(&folder)?;
        let objects: [Object<'_>; 2] = [("big", &parquet), ("trips.csv", &csv)];
        let lakes = Lakes::start(&objects, SEED).await?;
        let mut variables = lakes.variables.clone();
        variables.push(("WHIMBREL_STORE_BUDGET".to_owned(), budget.to_owned()));
        let cluster = Cluster::start_in(2, 2, &variables).await?;
        let client = cluster.client().await?;
        client.bind_to_ort("tree", "lightgbm").await?;
        let mut right = Vec::new();
        for (table, path) in [("big", &parquet), ("trips", &csv)] {
            client.add_table(&format!("local_{table}"), path).await?;
            let sql = QUESTION.replace("TABLE", &format!("local_{table}"));
            right.push((table, client.rows(&sql, false).await?));
        }
        for lake in &lakes.lakes {
            for (table, place) in [("big", "big/"), ("trips", "trips.csv")] {
                let name = format!("{}_{table}", lake.name);
                let uri = format!("{}/{place}", lake.base);
                client.add_table_at(&name, &uri).await?;
            }
        }
        Ok(Self {
            _cluster: cluster,
            client,
            lakes,
            right,
            _folder: folder,
        })
    }

    /// Asks of a lake until the weather has struck often enough, and compares every answer.
    #[expect(
        clippy::disallowed_methods,
        reason = "the time is printed, and not judged"
    )]
    async fn weather(
        &self,
        lake: &Lake,
        what: &str,
        weather: Weather,
        enough: impl Fn(&Struck) -> bool,
    ) -> Result<()> {
        lake.proxy.set(weather);
        let mut rounds = 0;
        while !enough(&lake.proxy.struck()) {
            ensure!(
                rounds < 20,
                "{what} never struck: {:?}",
                lake.proxy.struck()
            );
            rounds += 1;
            for (table, right) in &self.right {
                let sql = QUESTION.replace("TABLE", &format!("{}_{table}", lake.name));
                let begun = Instant::now();
                let rows = self.client.rows(&sql, false).await;
                let rows = rows.with_context(|| format!("{what} at {}", lake.name))?;
                rows.must_equal(right, what)?;
                say(&format!(
                    "{what}: {} {table}: right rows in {:?}",
                    lake.name,
                    begun.elapsed()
                ));
            }
        }
        say(&format!(
            "{what}: {} struck {:?}, seed {SEED}",
            lake.name,
            lake.proxy.struck()
        ));
        Ok(())
    }

    /// A query that reads at this moment, so slowly that half of its files are not asked for yet.
    async fn begin(&self, lake: &Lake) -> Result<JoinHandle<Result<Rows>>> {
        lake.proxy.set(Weather {
            delay: Duration::from_millis(200),
            ..Weather::default()
        });
        let sql = QUESTION.replace("TABLE", &format!("{}_big", lake.name));
        let client = self.client.clone();
        let query = tokio::spawn(async move { client.rows(&sql, false).await });
        wait::until("the query reads", || async {
            (lake.proxy.struck().requests > 2).then_some(())
        })
        .await?;
        Ok(query)
    }

    /// The store goes away in the middle of a query, and comes back.
    #[expect(
        clippy::disallowed_methods,
        reason = "the time is printed, and not judged"
    )]
    async fn outage(&self, lake: &Lake, span: Duration) -> Result<()> {
        let begun = Instant::now();
        let query = self.begin(lake).await?;
        lake.proxy.set(Weather {
            away: true,
            ..Weather::default()
        });
        wait::until("the store is missed", || async {
            (lake.proxy.struck().away > 2).then_some(())
        })
        .await?;
        let mut over = tokio::time::interval(span);
        over.tick().await;
        over.tick().await;
        ensure!(!query.is_finished(), "the query did not wait for the store");
        let struck = lake.proxy.struck();
        lake.proxy.set(Weather::default());
        let rows = query.await??;
        rows.must_equal(&self.right[0].1, "after the outage")?;
        say(&format!(
            "away {span:?}: {} right rows in {:?}, {struck:?}",
            lake.name,
            begun.elapsed()
        ));
        Ok(())
    }
}

/// The times are printed, and judged by nobody but the reader.
#[expect(clippy::print_stdout, reason = "a measurement of the suite")]
fn say(text: &str) {
    println!("{text}");
}

/// How long a store is away: `make chaos` takes its time.
#[expect(clippy::disallowed_methods, reason = "the one setting of this suite")]
fn outage() -> Duration {
    match std::env::var_os("WHIMBREL_CHAOS") {
        Some(_) => Duration::from_secs(30),
        None => Duration::from_secs(2),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_fail_delay_a_query_and_change_nothing() -> Result<()> {
    let world = World::start("10m").await?;
    let busy = Weather {
        busy: 30,
        ..Weather::default()
    };
    let reset = Weather {
        reset: 30,
        ..Weather::default()
    };
    let slow = Weather {
        delay: Duration::from_millis(200),
        ..Weather::default()
    };
    for lake in &world.lakes.lakes {
        world
            .weather(lake, "30 % answer 503", busy, |struck| struck.busy > 8)
            .await?;
        world
            .weather(lake, "30 % are reset", reset, |struck| {
                struck.reset > 8 && struck.in_body > 2
            })
            .await?;
        world
            .weather(lake, "200 ms late", slow, |struck| struck.delayed > 8)
            .await?;
        world.outage(lake, outage()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stays_away_fails_the_query_once_its_budget_is_spent() -> Result<()> {
    let world = World::start("2s").await?;
    for lake in &world.lakes.lakes {
        let gone = Weather {
            busy: 100,
            ..Weather::default()
        };
        let query = world.begin(lake).await?;
        lake.proxy.set(gone);
        let reading = query.await?.expect_err("the store is away");
        ensure!(lake.proxy.struck().busy > 3, "{:?}", lake.proxy.struck());
        let sql = QUESTION.replace("TABLE", &format!("{}_trips", lake.name));
        let listing = world
            .client
            .rows(&sql, false)
            .await
            .expect_err("still away");
        for (error, place) in [(reading, "big/part-"), (listing, "trips.csv' cannot")] {
            let text = format!("{error:#}");
            ensure!(
                text.contains(&format!("'{}/{place}", lake.base))
                    && text.contains("cannot be read: the store answers 503 Service Unavailable")
                    && text.contains("store_budget"),
                "{text}"
            );
        }
        lake.proxy.set(Weather::default());
        world.client.rows(&sql, false).await.context("it is back")?;
    }
    Ok(())
}

/// Planning asks for one listing, however many files there are, and nothing of the files themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_many_files_is_listed_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (name, files) in [("few", 4), ("many", 400)] {
        std::fs::create_dir(folder.path().join(name))?;
        for file in 0..files {
            let path = folder.path().join(format!("{name}/{file:03}.csv"));
            data::write_csv(&path, &data::trips(file * 2, file * 2 + 2)?)?;
        }
    }
    let (few, many) = (folder.path().join("few"), folder.path().join("many"));
    let lakes = Lakes::start(&[("few", &few), ("many", &many)], SEED).await?;
    let cluster = Cluster::start_in(1, 1, &lakes.variables).await?;
    let client = cluster.client().await?;
    for lake in &lakes.lakes {
        let mut asked = Vec::new();
        for name in ["few", "many"] {
            let table = format!("{}_{name}", lake.name);
            let uri = format!("{}/{name}/", lake.base);
            client.add_table_at(&table, &uri).await?;
            lake.proxy.set(Weather::default());
            let sql = format!("EXPLAIN SELECT sum(trip_id) FROM {table}");
            client.rows(&sql, false).await?;
            asked.push(lake.proxy.struck().requests);
        }
        let sql = format!("SELECT count(*), sum(trip_id) FROM {}_many", lake.name);
        client.rows(&sql, false).await?.must_equal(
            &client.rows("SELECT 800, 319600", false).await?,
            "all files",
        )?;
        ensure!(
            asked[0] == asked[1] && (1..10).contains(&asked[0]),
            "{}: {asked:?} requests to plan",
            lake.name
        );
    }
    Ok(())
}
