//! The executor's place in the pool: it joins, says every few seconds that it lives and what it does, and joins again for ever
//! when it is no longer known, so that a scheduler's restart ends no executor.

use std::sync::Arc;
use std::time::Duration;

use ballista_core::serde::protobuf::{
    ExecutorStatus, ExecutorStoppedParams, HeartBeatParams, RegisterExecutorParams, executor_status,
};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::{Code, Status};
use tracing::{debug, info, warn};
use whimbrel_proto::Error;
use whimbrel_proto::v1::{JoinPoolRequest, ReportExecutorRequest};

use super::Shared;
use super::link::Backoff;
use crate::clock::pause;

/// How often live facts are reported; progress bars show them.
const REPORT: Duration = Duration::from_secs(1);

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Joins and stays, until the executor stops.
pub(super) async fn stay(shared: Arc<Shared>) {
    shared.stop.run_until_cancelled(members(&shared)).await;
}

async fn members(shared: &Shared) {
    loop {
        join(shared).await;
        remain(shared).await;
        // Whoever waited for these tasks has forgotten them. A score job goes on by its journal, so its splits still count.
        shared.standing.next_membership();
        shared
            .tasks
            .cancel_others(&shared.engine.running_split_jobs());
    }
}

/// Tries until the pool has taken this executor.
async fn join(shared: &Shared) {
    let mut backoff = Backoff::new();
    while let Err(status) = try_join(shared).await {
        let error = Error::from(status);
        if shared.standing.set_connected(false) || backoff.is_fresh() {
            warn!(executor_id = %shared.id, scheduler = shared.scheduler, %error, "cannot join the pool, trying on");
        } else {
            debug!(executor_id = %shared.id, %error, "cannot join the pool yet");
        }
        pause(backoff.step()).await;
    }
    shared.standing.set_connected(true);
    info!(executor_id = %shared.id, scheduler = shared.scheduler, "joined the pool");
}

async fn try_join(shared: &Shared) -> Result<(), Status> {
    let request = JoinPoolRequest {
        executor_id: shared.id.to_string(),
        client_address: shared.client_address.clone(),
        slots: u32::try_from(shared.slots).unwrap_or(u32::MAX),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        client_tls: shared.client_tls,
    };
    let answer = shared.link.cluster().join_pool(request).await?.into_inner();
    shared.door.joined(answer)?;
    let metadata = Some(shared.registration.clone());
    match shared
        .link
        .engine()
        .register_executor(RegisterExecutorParams { metadata })
        .await
    {
        Ok(answer) if answer.get_ref().success => Ok(()),
        Ok(_) => Err(Status::unavailable(
            "the scheduler did not register this executor",
        )),
        // An answer that was lost on its way: the id is this executor's alone.
        Err(status) if status.code() == Code::AlreadyExists => heartbeat(shared).await.map(drop),
        Err(status) => Err(status),
    }
}

/// Returns once the pool no longer knows this executor.
async fn remain(shared: &Shared) {
    let mut hearts = interval(shared.heartbeat);
    let mut reports = interval(REPORT);
    hearts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let known = tokio::select! {
            _ = hearts.tick() => beat(shared).await,
            _ = reports.tick() => report(shared).await,
            () = shared.standing.report_asked() => report(shared).await,
            () = shared.standing.join_asked() => false,
        };
        if !known {
            info!(executor_id = %shared.id, "the scheduler no longer knows this executor, joining again");
            return;
        }
    }
}

/// Sends a heartbeat; false where the scheduler asks for a new registration.
async fn beat(shared: &Shared) -> bool {
    match heartbeat(shared).await {
        Ok(reregister) => {
            if shared.standing.set_connected(true) {
                info!(executor_id = %shared.id, "the scheduler answers again");
            }
            !reregister
        }
        Err(status) => {
            if shared.standing.set_connected(false) {
                let error = Error::from(status);
                warn!(executor_id = %shared.id, scheduler = shared.scheduler, %error, "a heartbeat failed");
            }
            true
        }
    }
}

async fn heartbeat(shared: &Shared) -> Result<bool, Status> {
    let status = executor_status::Status::Active(String::new());
    let params = HeartBeatParams {
        executor_id: shared.id.to_string(),
        metrics: Vec::new(),
        status: Some(ExecutorStatus {
            status: Some(status),
        }),
        metadata: Some(shared.registration.clone()),
    };
    let answer = shared
        .link
        .engine()
        .heart_beat_from_executor(params)
        .await?;
    Ok(answer.into_inner().reregister)
}

/// Reports live facts; false where the scheduler does not know this executor.
async fn report(shared: &Shared) -> bool {
    let request = ReportExecutorRequest {
        executor_id: shared.id.to_string(),
        draining: shared.standing.is_draining(),
        models: shared.stats.loaded(),
        rows_by_job: shared.stats.rows_by_job(),
        running_splits: shared.engine.running_splits(),
        served_bytes: shared.served.bytes(),
        open_streams: shared.served.open_streams(),
        read_jobs: shared.served.read_jobs(),
    };
    match shared.link.cluster().report_executor(request).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            shared.engine.give_up_splits(&answer.ended_jobs);
            if answer.known {
                shared.standing.answered(answer.wanted_jobs);
            }
            answer.known
        }
        // The next heartbeat tells whether the scheduler is there at all.
        Err(status) => {
            debug!(executor_id = %shared.id, error = %Error::from(status), "a report failed");
            true
        }
    }
}

/// Tells the scheduler that this executor ends, so that it need not find out.
pub(super) async fn leave(shared: &Shared, reason: &str) {
    let params = ExecutorStoppedParams {
        executor_id: shared.id.to_string(),
        reason: reason.to_owned(),
    };
    match timeout(GOODBYE, shared.link.engine().executor_stopped(params)).await {
        Ok(Ok(_)) => {}
        Ok(Err(status)) => {
            debug!(executor_id = %shared.id, error = %Error::from(status), "could not take leave")
        }
        Err(_) => debug!(executor_id = %shared.id, "could not take leave in time"),
    }
}
