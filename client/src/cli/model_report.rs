//! `whimbrel model check` and `whimbrel model list --loaded`: what a model makes of some rows, and which executors hold it.

use arrow::array::{Array, AsArray, RecordBatch};
use futures::TryStreamExt;
use serde_json::{Value, json};
use whimbrel::Client;
use whimbrel_proto::v1::{ExecutorStatus, GetPoolStatusResponse, LoadedModel};
use whimbrel_proto::{Error, ErrorCode};

use crate::cli::args::CheckArgs;
use crate::cli::console::{Console, aligned};
use crate::cli::failure::Failure;
use crate::cli::format;
use crate::cli::pool::loaded_json;

/// One row of the pool's report.
struct Line {
    part: String,
    name: String,
    value: String,
    remark: Option<String>,
}

/// Runs CHECK MODEL and prints its report.
pub(crate) async fn check(
    console: Console,
    client: &Client,
    args: &CheckArgs,
) -> Result<(), Failure> {
    let batches: Vec<RecordBatch> = client.sql(&statement(args)).await?.try_collect().await?;
    let lines = lines(&batches)?;
    let (warnings, facts): (Vec<Line>, Vec<Line>) =
        lines.into_iter().partition(|line| line.part == "warning");
    if console.json {
        return console.print_json(&json!({
            "alias": args.alias, "table": args.on,
            "report": facts.iter().map(line_json).collect::<Vec<_>>(),
            "warnings": warnings.iter().map(|line| line.value.clone()).collect::<Vec<_>>(),
        }));
    }
    let row = |line: &Line| {
        let Line {
            part,
            name,
            value,
            remark,
        } = line;
        vec![
            part.clone(),
            name.clone(),
            value.clone(),
            remark.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = facts.iter().map(row).collect();
    console.print(&aligned(&["", "name", "value", "remark"], &rows))?;
    warnings
        .iter()
        .try_for_each(|line| console.print(&format!("warning: {}", line.value)))
}

/// A table's name is taken as it is, unless it is written as SQL writes it.
fn statement(args: &CheckArgs) -> String {
    let CheckArgs { alias, on, sample } = args;
    let table = if on.contains(['.', '"']) {
        on.clone()
    } else {
        format!("\"{on}\"")
    };
    let sample = sample.map_or_else(String::new, |rows| format!(" SAMPLE {rows}"));
    format!(
        "CHECK MODEL '{}' ON {table}{sample}",
        alias.replace('\'', "''")
    )
}

fn lines(batches: &[RecordBatch]) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for batch in batches {
        let texts: Option<Vec<_>> = batch
            .columns()
            .iter()
            .map(|column| column.as_string_opt::<i32>())
            .collect();
        let Some([part, name, value, remark]) = texts.as_deref() else {
            return Err(Error::new(ErrorCode::Bug, "the pool's report has other columns").into());
        };
        lines.extend((0..batch.num_rows()).map(|row| Line {
            part: part.value(row).to_owned(),
            name: name.value(row).to_owned(),
            value: value.value(row).to_owned(),
            remark: remark.is_valid(row).then(|| remark.value(row).to_owned()),
        }));
    }
    Ok(lines)
}

fn line_json(line: &Line) -> Value {
    let Line {
        part,
        name,
        value,
        remark,
    } = line;
    json!({"part": part, "name": name, "value": value, "remark": remark})
}

/// The models in the executors' memory.
pub(crate) fn loaded(console: Console, status: &GetPoolStatusResponse) -> Result<(), Failure> {
    let held = |executor: &ExecutorStatus| {
        let id = executor.executor_id.clone();
        executor
            .models
            .clone()
            .into_iter()
            .map(move |model| (id.clone(), model))
            .collect::<Vec<_>>()
    };
    let held: Vec<(String, LoadedModel)> = status.executors.iter().flat_map(held).collect();
    if console.json {
        return held.iter().try_for_each(|(executor, model)| {
            let mut value = loaded_json(model);
            if let Some(fields) = value.as_object_mut() {
                fields.insert("executor_id".to_owned(), executor.clone().into());
            }
            console.print_json(&value)
        });
    }
    if held.is_empty() {
        return console.print("no executor holds a model");
    }
    let row = |(executor, model): &(String, LoadedModel)| {
        vec![
            executor.clone(),
            model.digest.get(..12).unwrap_or(&model.digest).to_owned(),
            format::bytes(model.bytes),
            format::bytes(model.held_bytes),
            model.loads.to_string(),
            format::count(model.rows_scored),
            format::utc(model.last_used_ms),
        ]
    };
    let rows: Vec<_> = held.iter().map(row).collect();
    console.print(&aligned(
        &[
            "executor",
            "digest",
            "size",
            "memory",
            "loads",
            "rows scored",
            "last used",
        ],
        &rows,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_quotes_what_is_no_sql_name() {
        let asked = |on: &str, sample| {
            statement(&CheckArgs {
                alias: "it's".to_owned(),
                on: on.to_owned(),
                sample,
            })
        };
        assert_eq!(
            asked("Trips-24", None),
            "CHECK MODEL 'it''s' ON \"Trips-24\""
        );
        assert_eq!(
            asked("public.trips", Some(500)),
            "CHECK MODEL 'it''s' ON public.trips SAMPLE 500"
        );
    }
}
