//! `whimbrel pool`: who is in the pool, and what runs.

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use whimbrel::Client;
use whimbrel_proto::v1::{ExecutorStatus, GetPoolStatusResponse, LoadedModel, QueryStatus};

use crate::cli::args::PoolCommand;
use crate::cli::console::{Console, aligned};
use crate::cli::context::{Context, End};
use crate::cli::failure::Failure;
use crate::cli::format;

/// Runs the command.
pub(crate) async fn run(context: &Context, command: PoolCommand) -> Result<(), Failure> {
    let console = context.console;
    match command {
        PoolCommand::Status => {
            let status = async |client: Client| show(console, &client.pool_status().await?);
            context.with_pool(End::AnySignal, status).await
        }
        PoolCommand::Serve => serve(context).await,
    }
}

/// Holds the folder's pool open for another program, which ends it by closing our standard input.
async fn serve(context: &Context) -> Result<(), Failure> {
    if context.names_pool() {
        return Err(Failure::usage(
            "`whimbrel pool serve` runs the pool of a folder, and another pool is named",
            "leave out --pool and WHIMBREL_POOL",
        ));
    }
    let console = context.console;
    let hold = async |client: Client| {
        console.print_json(&json!({
            "address": client.address().uri(),
            "token": client.token().reveal(),
        }))?;
        let mut input = tokio::io::stdin();
        let mut scrap = [0; 256];
        while input.read(&mut scrap).await.unwrap_or(0) > 0 {}
        Ok(())
    };
    context.with_pool(End::AnySignal, hold).await
}

fn show(console: Console, status: &GetPoolStatusResponse) -> Result<(), Failure> {
    if console.json {
        return console.print_json(&as_json(status));
    }
    console.print(&format!(
        "scheduler {} (version {})",
        status.scheduler_address, status.version
    ))?;
    if status.executors.is_empty() {
        console.print("no executor has joined")?;
    } else {
        let rows: Vec<_> = status.executors.iter().map(executor_row).collect();
        console.print(&aligned(
            &[
                "executor",
                "address",
                "state",
                "slots",
                "free",
                "models",
                "rows scored",
            ],
            &rows,
        ))?;
    }
    if !status.queries.is_empty() {
        let rows: Vec<_> = status.queries.iter().map(query_row).collect();
        console.print(&aligned(&["query", "state", "tasks", "sql"], &rows))?;
    }
    Ok(())
}

fn executor_row(executor: &ExecutorStatus) -> Vec<String> {
    let scored = executor.models.iter().map(|model| model.rows_scored).sum();
    vec![
        executor.executor_id.clone(),
        executor.address.clone(),
        executor.state.clone(),
        executor.slots.to_string(),
        executor.free_slots.to_string(),
        executor.models.len().to_string(),
        format::count(scored),
    ]
}

const SQL_SHOWN: usize = 60;

fn query_row(query: &QueryStatus) -> Vec<String> {
    let sql = query.sql.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = match sql.char_indices().nth(SQL_SHOWN) {
        Some((end, _)) => format!("{}…", &sql[..end]),
        None => sql,
    };
    vec![
        query.query_id.clone(),
        query.state.clone(),
        format!("{}/{}", query.tasks_done, query.tasks_total),
        shown,
    ]
}

fn as_json(status: &GetPoolStatusResponse) -> Value {
    let GetPoolStatusResponse {
        version,
        scheduler_address,
        started_at_ms,
        executors,
        queries,
        proxied_bytes,
    } = status;
    json!({
        "version": version,
        "scheduler_address": scheduler_address,
        "started_at_ms": started_at_ms,
        "executors": executors.iter().map(executor_json).collect::<Vec<_>>(),
        "queries": queries.iter().map(query_json).collect::<Vec<_>>(),
        "proxied_bytes": proxied_bytes,
    })
}

fn executor_json(executor: &ExecutorStatus) -> Value {
    let ExecutorStatus {
        executor_id,
        address,
        slots,
        free_slots,
        state,
        last_seen_ms,
        models,
        served_bytes,
        open_streams,
    } = executor;
    json!({
        "executor_id": executor_id, "address": address, "slots": slots, "free_slots": free_slots, "state": state,
        "last_seen_ms": last_seen_ms, "models": models.iter().map(loaded_json).collect::<Vec<_>>(),
        "served_bytes": served_bytes, "open_streams": open_streams,
    })
}

/// One model in an executor's memory.
pub(crate) fn loaded_json(model: &LoadedModel) -> Value {
    let LoadedModel {
        digest,
        bytes,
        loads,
        rows_scored,
        last_used_ms,
        score_micros,
        held_bytes,
        runtime,
    } = model;
    json!({
        "digest": digest, "runtime": runtime, "bytes": bytes, "loads": loads, "rows_scored": rows_scored, "last_used_ms": last_used_ms,
        "score_micros": score_micros, "held_bytes": held_bytes,
    })
}

fn query_json(query: &QueryStatus) -> Value {
    let QueryStatus {
        query_id,
        state,
        sql,
        tasks_total,
        tasks_done,
    } = query;
    json!({"query_id": query_id, "state": state, "sql": sql, "tasks_total": tasks_total, "tasks_done": tasks_done})
}
