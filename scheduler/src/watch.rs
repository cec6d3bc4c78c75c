//! What the scheduler does by the clock: it notices executors that are gone, and forgets what is kept no longer.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::engine::scoring;
use crate::failures::Death;
use crate::pool::Pool;

/// A reader that left may come back within this.
const LEFT: Duration = Duration::from_secs(5);
/// How often it looks.
const STEP: Duration = Duration::from_millis(500);
/// Executors report every second; one that has missed a report is asked whether its port is still there.
const MISSED: Duration = Duration::from_millis(1500);
const PROBE: Duration = Duration::from_millis(250);
/// Looks between two sweeps, and between two reminders to the engine.
const SWEEP: u32 = 20;
const NUDGE: u32 = 4;

/// Runs until the scheduler stops.
pub(crate) async fn run(pool: Arc<Pool>, report_timeout: Duration) {
    let mut last = pool.clock.monotonic();
    let mut steps: u32 = 0;
    while pool
        .stop
        .run_until_cancelled(pool.clock.sleep(STEP))
        .await
        .is_some()
    {
        let now = pool.clock.monotonic();
        // A machine that slept, or a process that was stopped, heard nobody all the while.
        let late = now.saturating_sub(last).saturating_sub(STEP);
        last = now;
        if late > STEP {
            pool.executors.forgive(late);
        }
        lose_silent(&pool, report_timeout).await;
        give_up_left(&pool);
        steps = steps.wrapping_add(1);
        if steps.is_multiple_of(SWEEP) {
            pool.sessions.sweep();
            for job_id in pool.queries.sweep() {
                pool.engine.discard(&job_id);
            }
            pool.shelf.sweep();
        }
        let busy = *pool.queries.running().borrow() > 0 || !pool.jobs.engine_jobs().is_empty();
        if steps.is_multiple_of(NUDGE) && busy {
            remind(&pool).await;
        }
    }
}

/// Removes results whose reader has left in the middle and not come back.
fn give_up_left(pool: &Pool) {
    for query in pool.queries.all() {
        let state = query.snapshot();
        let held = state.phase.is_over() && !state.holders.is_empty();
        if let Some(job_id) = state.job_id.filter(|_| held)
            && pool.executors.is_left(job_id.as_str(), LEFT)
        {
            tracing::info!(query_id = %query.id(), "its reader has left, its rows are given up");
            pool.runner.cancel(query.id());
        }
    }
}

async fn lose_silent(pool: &Pool, report_timeout: Duration) {
    let given_up = pool.executors.silent(report_timeout);
    for id in pool.executors.silent(MISSED) {
        let reason = if given_up.contains(&id) {
            "it has not reported in time"
        } else if refuses(pool, &id).await {
            note_death(pool, &id).await;
            "its port is closed"
        } else {
            continue;
        };
        tracing::warn!(
            executor_id = id,
            reason,
            "an executor is gone, its tasks run elsewhere"
        );
        pool.executors.remove(&id);
        pool.engine.lose(&id, reason).await;
    }
}

/// Notes what an executor scored that has ended without a word: a model may have ended it.
pub(crate) async fn note_death(pool: &Pool, executor_id: &str) {
    for job_id in pool.engine_jobs() {
        let scoring = pool
            .engine
            .inspect(&job_id, |graph| scoring(graph, executor_id))
            .await;
        for (stage_id, partition, models) in scoring.unwrap_or_default() {
            let death = Death {
                stage_id,
                partition,
                executor_id: executor_id.to_owned(),
                models,
            };
            pool.failures.add_death(job_id.as_str(), death);
        }
    }
}

/// A process that has ended has its port closed at once; a machine that is only slow, or cut off, does not say so.
async fn refuses(pool: &Pool, id: &str) -> bool {
    let Some(member) = pool.executors.get(id) else {
        return false;
    };
    let answer =
        tokio::time::timeout(PROBE, TcpStream::connect(member.client_address.as_str())).await;
    matches!(answer, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
}

/// Tasks that wait while slots are free, because the executor they avoided is the only one left, are nobody's event.
async fn remind(pool: &Pool) {
    let taking = pool
        .executors
        .all()
        .into_iter()
        .find(|(id, _)| pool.executors.takes_tasks(id));
    if let Some((id, _)) = taking {
        pool.engine.nudge(&id).await;
    }
}
