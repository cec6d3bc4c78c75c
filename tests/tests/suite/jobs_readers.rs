//! What readers of an output see while a score job writes it: nothing until it commits, and then what its mode and its store
//! promise. They list all the time, and know nothing of this program.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use whimbrel_proto::ids::ScoreJobId;
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::data;
use whimbrel_tests::jobs::{Job, say};
use whimbrel_tests::places::Place;
use whimbrel_tests::pool::Asker;
use whimbrel_tests::wait;

const ROWS_EACH: usize = 300;
/// So many last until somebody cancels them.
const LONG: usize = 1_500;
const ROWS: i64 = (ROWS_EACH * data::FILES) as i64;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);

struct World {
    cluster: Cluster,
    client: Asker,
    place: Arc<Place>,
}

impl World {
    async fn start(place: Place, rows_each: usize) -> Result<Self> {
        let cluster = Cluster::start_in(1, 2, &place.variables).await?;
        let client = cluster.client().await?;
        let big = data::write_big(cluster.folder(), rows_each)?;
        client.add_table("big", &big).await?;
        client.bind_model("slow", "slow").await?;
        Ok(Self {
            cluster,
            client,
            place: Arc::new(place),
        })
    }

    fn submit(&self, output: &str) -> Result<Job> {
        let uri = self.place.uri(output);
        let options = [
            "--model", "slow", "--input", "big", "--keep", "trip_id", "--output", &uri,
        ];
        Job::submit(&self.cluster, &options)
    }

    /// Lists the output until it is told to stop; after each listing that shows something, what is the job's state?
    fn watch(&self, output: &str, job: &Job) -> Result<Reader> {
        let (stop, stopped) = watch::channel(false);
        let (place, client) = (Arc::clone(&self.place), self.client.clone());
        let (output, job) = (output.to_owned(), job.id.parse::<ScoreJobId>()?);
        let reads = tokio::spawn(async move {
            let mut seen = Seen::default();
            let mut looks = tokio::time::interval(LOOK);
            loop {
                looks.tick().await;
                // The last look comes after the last word.
                let last = *stopped.borrow();
                let listed = place.seen(&output).await?.len();
                ensure!(listed >= seen.most, "what was seen is gone");
                seen.most = listed;
                if listed == 0 {
                    seen.empty += 1;
                } else if seen.states.last().is_none_or(|state| state != "succeeded") {
                    seen.states.push(client.0.get_job(&job).await?.state);
                }
                if last {
                    return Ok::<_, anyhow::Error>(seen);
                }
            }
        });
        Ok(Reader { stop, reads })
    }
}

/// What a reader has seen.
#[derive(Debug, Default)]
struct Seen {
    /// Listings without an object.
    empty: usize,
    most: usize,
    /// The job's, right after each listing with some.
    states: Vec<String>,
}

struct Reader {
    stop: watch::Sender<bool>,
    reads: JoinHandle<Result<Seen>>,
}

impl Reader {
    async fn end(self) -> Result<Seen> {
        self.stop.send_replace(true);
        self.reads.await?
    }
}

/// Waits for `_SUCCESS`, and reads every row at once: where this reader gets fewer than all, it was told too early.
async fn gated(place: &Place, output: &str) -> Result<(String, i64)> {
    let path = format!("{output}/_SUCCESS");
    let told = wait::until("_SUCCESS", || async {
        place.read(&path).await.ok().flatten()
    })
    .await?;
    let told: serde_json::Value = serde_json::from_slice(&told)?;
    let mut rows = 0;
    for path in place.seen(output).await? {
        let object = place.read(&path).await?;
        let object = object.with_context(|| format!("{path} is gone"))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(object)?;
        rows += reader.metadata().file_metadata().num_rows();
    }
    let job = told["job"].as_str().context("whose it is")?;
    Ok((job.to_owned(), rows))
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_object_store_nothing_is_seen_before_the_commit() -> Result<()> {
    let world = World::start(Place::s3()?, ROWS_EACH).await?;
    let job = world.submit("out")?;
    let reader = world.watch("out", &job)?;
    let (done, read) = tokio::join!(job.ended(), gated(&world.place, "out"));
    let (done, (told, rows)) = (done?, read?);
    ensure!(done.state() == "succeeded", "{}", done.json);
    ensure!(told == job.id && rows == ROWS, "{rows} rows of job {told}");
    let manifest = world.place.manifest("out", &job.id).await?;
    ensure!(world.place.seen("out").await? == manifest, "{manifest:?}");
    let seen = reader.end().await?;
    ensure!(seen.empty > 0, "it looked too late: {seen:?}");
    ensure!(seen.most == manifest.len(), "{seen:?}");
    let committed = |state: &String| matches!(state.as_str(), "committing" | "succeeded");
    ensure!(
        seen.states.iter().all(committed),
        "seen too early: {seen:?}"
    );
    say(&format!(
        "S3: {} objects became visible within {} ms; {} listings showed none",
        manifest.len(),
        done.number("/commit_ms"),
        seen.empty
    ));
    Ok(())
}

/// What a listing of a local folder shows.
fn names(folder: &std::path::Path) -> Result<Option<Vec<String>>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => bail!("{}: {error}", folder.display()),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(Some(names))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_output_is_nothing_and_then_everything() -> Result<()> {
    let world = World::start(Place::local()?, ROWS_EACH).await?;
    let folder = std::path::PathBuf::from(world.place.uri("out"));
    let job = world.submit("out")?;
    let looks = tokio::spawn(async move {
        let mut nothing = 0_u64;
        let mut pause = tokio::time::interval(LOOK);
        loop {
            pause.tick().await;
            match names(&folder)? {
                None => nothing += 1,
                Some(first) => return Ok::<_, anyhow::Error>((nothing, first)),
            }
        }
    });
    let done = job.ended().await?;
    ensure!(done.state() == "succeeded", "{}", done.json);
    let (nothing, first) = tokio::time::timeout(wait::DEADLINE, looks).await???;
    ensure!(nothing > 0, "it looked too late");
    let manifest = world.place.manifest("out", &job.id).await?;
    ensure!(!manifest.is_empty());
    for path in &manifest {
        let name = path.trim_start_matches("out/");
        ensure!(
            first.iter().any(|seen| seen == name),
            "{name} came later than {first:?}"
        );
    }
    let success = first.iter().any(|seen| seen == "_SUCCESS");
    ensure!(success, "{first:?}");
    let (told, rows) = gated(&world.place, "out").await?;
    ensure!(told == job.id && rows == ROWS, "{rows} rows of job {told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_cancelled_job_is_ever_seen() -> Result<()> {
    for place in [Place::s3()?, Place::local()?] {
        let world = World::start(place, LONG).await?;
        let job = world.submit("out")?;
        let reader = world.watch("out", &job)?;
        job.until("a split is done", |status| {
            status.number("/progress/splits_done") > 0
        })
        .await?;
        job.cancel()?;
        let done = job.ended().await?;
        ensure!(done.state() == "cancelled", "{}", done.json);
        let seen = reader.end().await?;
        ensure!(seen.most == 0 && seen.empty > 0, "{seen:?}");
        ensure!(world.place.seen("out").await?.is_empty());
        let success = world.place.read("out/_SUCCESS").await?;
        ensure!(success.is_none(), "it says that it is whole");
    }
    Ok(())
}
