//! Score jobs whose processes are killed at moments that nobody chose: executors, the scheduler, both. Every row arrives once,
//! little is scored twice, and nothing is left behind. `make chaos` runs it, and prints the seed that has the same moments again.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::data;
use whimbrel_tests::dice::Dice;
use whimbrel_tests::jobs::{Job, Status, chaos, say, scored};
use whimbrel_tests::places::{Place, record};
use whimbrel_tests::pool::Asker;

/// Small splits, so that none is in hand at three kills: that would be the model's doing, and end the job.
const FILES: usize = 64;
const ROWS_EACH: usize = 250;
const ROWS: usize = FILES * ROWS_EACH;
const EXECUTORS: usize = 2;
/// Of each executor.
const SLOTS: usize = 1;
/// Of executors, while a job ran.
const KILLS: u64 = 20;
/// Jobs that may be over before all kills have struck.
const JOBS: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Executor,
    Scheduler,
    Both,
}

const VICTIMS: [Victim; 5] = [
    Victim::Executor,
    Victim::Executor,
    Victim::Scheduler,
    Victim::Executor,
    Victim::Both,
];

/// Kills that struck while a job ran.
#[derive(Clone, Copy, Debug, Default)]
struct Killed {
    executors: u64,
    schedulers: u64,
}

struct Storm {
    cluster: Cluster,
    client: Asker,
    place: Place,
    dice: Dice,
    strikes: usize,
    killed: Killed,
}

impl Storm {
    async fn begin(place: Place, what: &str) -> Result<Self> {
        let mut settings: Vec<(&str, &str)> = place
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let executor = settings.clone();
        // As many partitions as there are files, and a sweep that does not keep us waiting.
        settings.extend([
            ("WHIMBREL_PARTITIONS_PER_SLOT", "32"),
            ("WHIMBREL_JOB_LEASE", "1s"),
        ]);
        let cluster = Cluster::with(Options {
            executors: EXECUTORS,
            slots: SLOTS,
            scheduler: &settings,
            executor: &executor,
            ..Options::default()
        })
        .await?;
        let client = cluster.client().await?;
        let many = data::write_files(cluster.folder(), "many", FILES, ROWS_EACH)?;
        client.add_table("many", &many).await?;
        client.bind_model("m", "slow").await?;
        Ok(Self {
            cluster,
            client,
            place,
            dice: Dice::of_this_run(what)?,
            strikes: 0,
            killed: Killed::default(),
        })
    }

    /// One job to its end; kills strike until it is over, or until there were enough.
    async fn job(&mut self, output: &str) -> Result<Job> {
        self.cluster.wait_executors(EXECUTORS).await?;
        let uri = self.place.uri(output);
        let options = [
            "--model", "m", "--input", "many", "--keep", "trip_id", "--output", &uri,
        ];
        let job = Job::submit(&self.cluster, &options)?;
        let mut goal = 0;
        while self.killed.executors < KILLS {
            let moved =
                |status: &Status| status.is_over() || status.number("/progress/rows_done") >= goal;
            if job.until("the job goes on", moved).await?.is_over() {
                break;
            }
            let victim = VICTIMS[self.strikes % VICTIMS.len()];
            self.strike(victim).await?;
            // Whoever goes on after a kill was not over when it struck.
            let after = job.until("it is told of again", |_| true).await?;
            if after.is_over() {
                break;
            }
            self.note(victim);
            let further = self.dice.below(2 * ROWS_EACH as u64) + ROWS_EACH as u64;
            goal = after.number("/progress/rows_done") + further;
        }
        let done = job.ended().await?;
        ensure!(done.state() == "succeeded", "{output}: {}", done.json);
        Ok(job)
    }

    /// Kills at some moment within a second, and starts again what was killed.
    async fn strike(&mut self, victim: Victim) -> Result<()> {
        let span = Duration::from_millis(self.dice.below(1_000) + 1);
        let mut moment = tokio::time::interval(span);
        moment.tick().await;
        moment.tick().await;
        let which = self.dice.below(EXECUTORS as u64);
        if victim != Victim::Scheduler {
            let mut executor = self.cluster.executors.remove(usize::try_from(which)?);
            executor.kill()?;
        }
        if victim != Victim::Executor {
            self.cluster.restart_killed_scheduler()?;
        }
        if victim != Victim::Scheduler {
            self.cluster.add_executor(SLOTS)?;
        }
        Ok(())
    }

    fn note(&mut self, victim: Victim) {
        self.strikes += 1;
        self.killed.executors += u64::from(victim != Victim::Scheduler);
        self.killed.schedulers += u64::from(victim != Victim::Executor);
    }

    /// Who lived to the end has scored what is in the journals in its name. More than that may be what was in hand at a kill: of one
    /// executor where one was killed, of all where the scheduler was.
    async fn must_have_scored_once(&self, jobs: &[(String, Job)]) -> Result<()> {
        let (mut own, mut split) = (BTreeMap::<String, u64>::new(), 0);
        for (output, job) in jobs {
            let path = record(output, &job.id, "decision.json");
            let decision = self.place.json(&path).await?;
            let entries = decision["entries"].as_object().context("its entries")?;
            for entry in entries.values() {
                let executor = entry["executor"].as_str().context("its executor")?;
                let rows = entry["rows_read"].as_u64().context("its rows")?;
                *own.entry(executor.to_owned()).or_default() += rows;
                split = rows.max(split);
            }
        }
        let last = &jobs.last().context("no job")?.1;
        let ended = last.status()?.number("/ended_at_ms");
        let mut again = 0;
        for executor in &self.cluster.executors {
            let id = executor.field("executor_id")?;
            let rows = scored(&self.cluster, &id, ended).await?;
            let entered = own.get(&id).copied().unwrap_or_default();
            ensure!(rows >= entered, "{id}: {rows} rows scored for {entered}");
            again += rows - entered;
        }
        let slots = SLOTS as u64;
        let most = (self.killed.executors + self.killed.schedulers * EXECUTORS as u64) * slots;
        ensure!(
            again <= most * split,
            "{again} rows scored again, in splits of {split}; {:?}",
            self.killed
        );
        say(&format!(
            "{:?} in {} jobs: {again} rows scored again by those who lived",
            self.killed,
            jobs.len()
        ));
        Ok(())
    }

    /// Every row of the table, once, with the prediction that a query gives.
    async fn must_be_whole(&self, jobs: &[(String, Job)]) -> Result<()> {
        let expected = "SELECT trip_id, PREDICT('m', *) AS prediction FROM many";
        let expected = self.client.rows(expected, false).await?;
        ensure!(expected.len() == ROWS, "{} rows", expected.len());
        for (output, _) in jobs {
            let uri = self.place.uri(output);
            let written = format!("SELECT trip_id, prediction FROM '{uri}/'");
            let written = self.client.rows(&written, false).await?;
            written.must_equal(&expected, &uri)?;
        }
        Ok(())
    }
}

/// Jobs at `place` until every kill has struck, and what came of them.
async fn kills(place: Place, what: &str) -> Result<()> {
    let mut storm = Storm::begin(place, what).await?;
    let mut jobs = Vec::new();
    while storm.killed.executors < KILLS {
        ensure!(
            jobs.len() < JOBS,
            "too few kills struck: {:?}",
            storm.killed
        );
        let output = format!("out-{}", jobs.len());
        let job = storm.job(&output).await?;
        jobs.push((output, job));
    }
    ensure!(storm.killed.schedulers > 0, "{:?}", storm.killed);
    storm.must_have_scored_once(&jobs).await?;
    let done: Vec<(&str, &str)> = jobs
        .iter()
        .map(|(output, job)| (output.as_str(), job.id.as_str()))
        .collect();
    storm.place.must_be_clean(&done).await?;
    storm.must_be_whole(&jobs).await
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_change_nothing_in_a_folder() -> Result<()> {
    if !chaos() {
        return Ok(());
    }
    kills(Place::local()?, "kills, a folder").await
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_change_nothing_on_s3() -> Result<()> {
    if !chaos() {
        return Ok(());
    }
    kills(Place::s3()?, "kills, S3").await
}
