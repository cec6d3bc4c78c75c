//! How far a query is: a bar on a terminal, a plain line now and then elsewhere, both on standard error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};
use whimbrel::Client;
use whimbrel::clock::Stopwatch;
use whimbrel::ids::QueryId;
use whimbrel::v1::QueryProgress;

use crate::cli::console::Console;
use crate::cli::format;

/// A query that is answered sooner needs no bar.
const BEFORE_FIRST: Duration = Duration::from_millis(400);
/// How often a bar is drawn, and how often a pool that does not know the query yet is asked again.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// How often a plain line is written.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Follows one query and shows how far it is. Ends when dropped.
pub(crate) struct Progress {
    facts: Arc<Facts>,
    bar: ProgressBar,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Facts {
    tasks_total: AtomicU64,
    tasks_done: AtomicU64,
    rows_scored: AtomicU64,
    rows_total: AtomicU64,
    rows_fetched: AtomicU64,
}

impl Progress {
    /// Shows nothing where the console is quiet.
    pub(crate) fn start(console: Console, client: &Client, query: &QueryId) -> Self {
        let facts = Arc::new(Facts::default());
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let mut tasks = Vec::new();
        if !console.quiet {
            tasks.push(tokio::spawn(follow(
                client.clone(),
                query.clone(),
                Arc::clone(&facts),
            )));
            tasks.push(if console.stderr_is_terminal {
                tokio::spawn(draw(bar.clone(), Arc::clone(&facts)))
            } else {
                tokio::spawn(say(console, Arc::clone(&facts)))
            });
        }
        Self { facts, bar, tasks }
    }

    /// The query is done and its rows are on their way.
    pub(crate) fn fetching(&self, total: Option<u64>) {
        self.facts
            .rows_total
            .store(total.unwrap_or(0), Ordering::Relaxed);
    }

    /// Rows have come.
    pub(crate) fn fetched(&self, rows: usize) {
        self.facts
            .rows_fetched
            .fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Shows nothing more, and takes the bar away.
    pub(crate) fn clear(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Keeps the facts up to date. The pool knows the query a moment after it was asked, so it is asked until it does.
async fn follow(client: Client, query: QueryId, facts: Arc<Facts>) {
    let mut tries = ticks(DRAW_EVERY);
    loop {
        tries.tick().await;
        let Ok(mut stream) = client.watch_query(&query).await else {
            return;
        };
        while let Some(Ok(QueryProgress {
            state: _,
            tasks_total,
            tasks_done,
            rows_done,
        })) = stream.next().await
        {
            facts
                .tasks_total
                .store(tasks_total.into(), Ordering::Relaxed);
            facts.tasks_done.store(tasks_done.into(), Ordering::Relaxed);
            facts.rows_scored.store(rows_done, Ordering::Relaxed);
        }
        if facts.tasks_total.load(Ordering::Relaxed) > 0 {
            return;
        }
    }
}

async fn draw(bar: ProgressBar, facts: Arc<Facts>) {
    let watch = Stopwatch::start();
    let mut draws = ticks(DRAW_EVERY);
    while watch.elapsed() < BEFORE_FIRST {
        draws.tick().await;
    }
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
        bar.set_style(style);
    }
    loop {
        let (done, total) = facts.share();
        bar.update(|state| {
            state.set_len(total.max(1));
            state.set_pos(done);
        });
        bar.set_message(facts.line(watch.elapsed()));
        draws.tick().await;
    }
}

async fn say(console: Console, facts: Arc<Facts>) {
    let watch = Stopwatch::start();
    let mut lines = ticks(SAY_EVERY);
    lines.tick().await;
    loop {
        lines.tick().await;
        console.note(&facts.line(watch.elapsed()));
    }
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl Facts {
    fn read(&self) -> [u64; 5] {
        [
            &self.tasks_done,
            &self.tasks_total,
            &self.rows_scored,
            &self.rows_fetched,
            &self.rows_total,
        ]
        .map(|fact| fact.load(Ordering::Relaxed))
    }

    /// How much of the present step is done.
    fn share(&self) -> (u64, u64) {
        let [tasks_done, tasks_total, _, fetched, rows_total] = self.read();
        if fetched > 0 && rows_total > 0 {
            (fetched, rows_total)
        } else {
            (tasks_done, tasks_total)
        }
    }

    fn line(&self, elapsed: Duration) -> String {
        let [tasks_done, tasks_total, scored, fetched, rows_total] = self.read();
        let took = format::duration(elapsed);
        if fetched > 0 {
            let total = if rows_total > 0 {
                format!(" of {}", format::count(rows_total))
            } else {
                String::new()
            };
            return format!("fetched {}{total} rows, {took}", format::count(fetched));
        }
        if tasks_total == 0 {
            return format!("planning, {took}");
        }
        let rows = match scored {
            0 => String::new(),
            rows => format!(
                ", {} rows scored, {} rows/s",
                format::count(rows),
                format::count(format::rate(rows, elapsed))
            ),
        };
        format!("{tasks_done} of {tasks_total} tasks{rows}, {took}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_the_present_step() {
        let facts = Facts::default();
        let at = Duration::from_secs(2);
        assert_eq!(facts.line(at), "planning, 2.00 s");
        facts.tasks_total.store(8, Ordering::Relaxed);
        facts.rows_scored.store(3000, Ordering::Relaxed);
        assert_eq!(
            facts.line(at),
            "0 of 8 tasks, 3,000 rows scored, 1,500 rows/s, 2.00 s"
        );
        facts.rows_total.store(10, Ordering::Relaxed);
        facts.rows_fetched.store(5, Ordering::Relaxed);
        assert_eq!(
            (facts.line(at).as_str(), facts.share()),
            ("fetched 5 of 10 rows, 2.00 s", (5, 10))
        );
    }
}
