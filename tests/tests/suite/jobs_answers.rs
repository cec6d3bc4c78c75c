//! Stores that do what they are asked and say otherwise: a write that is done and answered 503, a creation that is answered 409
//! though nothing was in its way. Every row arrives once, and nothing is left behind.

use anyhow::{Context, Result, ensure};
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::data;
use whimbrel_tests::jobs::{Job, say};
use whimbrel_tests::lake::before;
use whimbrel_tests::places::Place;
use whimbrel_tests::pool::Asker;
use whimbrel_tests::proxy::{Proxy, Struck, Weather};

const SEED: u64 = 20_261_121;
const ROWS_EACH: usize = 200;
const ROWS: usize = ROWS_EACH * data::FILES;

struct World {
    cluster: Cluster,
    client: Asker,
    place: Place,
    proxy: Proxy,
}

impl World {
    async fn start() -> Result<Self> {
        let place = Place::s3()?;
        let mut variables = place.variables.clone();
        let proxy = before("AWS_ENDPOINT_URL", &mut variables, SEED).await?;
        let executor: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut scheduler = executor.clone();
        scheduler.push(("WHIMBREL_JOB_LEASE", "1s"));
        let cluster = Cluster::with(Options {
            executors: 1,
            slots: 2,
            scheduler: &scheduler,
            executor: &executor,
            ..Options::default()
        })
        .await?;
        let client = cluster.client().await?;
        let big = data::write_big(cluster.folder(), ROWS_EACH)?;
        client.add_table("big", &big).await?;
        client.bind_model("m", "slow").await?;
        Ok(Self {
            cluster,
            client,
            place,
            proxy,
        })
    }

    /// A job in this weather from the moment that it is submitted; what has struck until its end.
    async fn weathered(&self, output: &str, weather: Weather) -> Result<Struck> {
        let uri = self.place.uri(output);
        let options = [
            "--model", "m", "--input", "big", "--keep", "trip_id", "--output", &uri,
        ];
        self.proxy.set(Weather::default());
        let job = Job::submit(&self.cluster, &options)?;
        self.proxy.set(weather);
        let done = job.ended().await?;
        let struck = self.proxy.struck();
        self.proxy.set(Weather::default());
        ensure!(done.state() == "succeeded", "{output}: {}", done.json);
        say(&format!("{output}: {struck:?}, seed {SEED}"));
        let expected = "SELECT trip_id, PREDICT('m', *) AS prediction FROM big";
        let expected = self.client.rows(expected, false).await?;
        let written = format!("SELECT trip_id, prediction FROM '{uri}/'");
        let written = self.client.rows(&written, false).await?;
        ensure!(written.len() == ROWS, "{} rows", written.len());
        written.must_equal(&expected, output)?;
        self.place
            .must_be_clean(&[(output, &job.id)])
            .await
            .with_context(|| output.to_owned())?;
        Ok(struck)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_done_and_said_to_have_failed_is_done_once() -> Result<()> {
    let world = World::start().await?;
    let weather = Weather {
        lost: 30,
        ..Weather::default()
    };
    let struck = world.weathered("lost", weather).await?;
    ensure!(struck.lost > 3, "it hardly struck: {struck:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_that_is_none_costs_no_row() -> Result<()> {
    let world = World::start().await?;
    let weather = Weather {
        conflict: 60,
        ..Weather::default()
    };
    let struck = world.weathered("conflict", weather).await?;
    ensure!(struck.conflict > 1, "it hardly struck: {struck:?}");
    Ok(())
}
