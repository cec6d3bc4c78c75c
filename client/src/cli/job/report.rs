//! A job in words, and as JSON.

use std::time::Duration;

use serde_json::{Value, json};
use whimbrel_proto::v1::{
    ErrorDetail, JobExecutor, JobModel, JobProgress, JobSpec, JobStatus, SplitTimes,
};

use crate::cli::format;

/// A line of a list.
pub(super) fn row(job: &JobStatus) -> Vec<String> {
    let progress = job.progress.clone().unwrap_or_default();
    let output = job.spec.as_ref().map(|spec| spec.output.clone());
    vec![
        job.job_id.clone(),
        job.state.clone(),
        format!("{}/{}", progress.splits_done, progress.splits_total),
        format::count(progress.rows_done),
        format::utc(job.submitted_at_ms),
        output.unwrap_or_default(),
    ]
}

/// All there is to say of a job.
pub(super) fn page(job: &JobStatus) -> String {
    let spec = job.spec.clone().unwrap_or_default();
    let progress = job.progress.clone().unwrap_or_default();
    let mut lines = vec![
        format!("job        {}", job.job_id),
        format!("state      {}", state(job)),
        format!("submitted  {}", format::utc(job.submitted_at_ms)),
    ];
    let mut add = |name: &str, text: String| lines.push(format!("{name:<10} {text}"));
    if job.ended_at_ms > 0 {
        let took = u64::try_from(job.ended_at_ms - job.submitted_at_ms).unwrap_or_default();
        let took = format::duration(Duration::from_millis(took));
        add(
            "ended",
            format!("{}, after {took}", format::utc(job.ended_at_ms)),
        );
    }
    for (name, said) in [("key", &job.key), ("user", &job.user)] {
        if !said.is_empty() {
            add(name, said.clone());
        }
    }
    add("priority", spec.priority.clone());
    if spec.sql.is_empty() {
        add("model", spec.model.clone());
        add("input", spec.input.clone());
    } else {
        add(
            "query",
            spec.sql.split_whitespace().collect::<Vec<_>>().join(" "),
        );
    }
    add(
        "output",
        format!("{} ({}, {})", spec.output, spec.mode, spec.format),
    );
    for model in &job.models {
        add("pinned", format!("{} is {}", model.alias, model.digest));
    }
    add("splits", splits(&progress));
    add("rows", rows(&progress));
    if let Some(spent) = spent(&progress) {
        add("time", spent);
    }
    for JobExecutor {
        executor_id,
        rows,
        splits_running,
    } in &progress.executors
    {
        let text = format!(
            "{executor_id}: {} rows, {splits_running} splits running",
            format::count(*rows)
        );
        add("executor", text);
    }
    for note in &job.notes {
        add("note", note.clone());
    }
    if let Some(error) = &job.error {
        let what = if job.state == "failed" {
            "error"
        } else {
            "held up"
        };
        add(what, sentence(error));
    }
    if job.resumable {
        add("resume", format!("`whimbrel job resume {}`", job.job_id));
    }
    if !job.manifest.is_empty() {
        add(
            "manifest",
            format!("{}/{}", spec.output.trim_end_matches('/'), job.manifest),
        );
        let took = format::duration(Duration::from_millis(job.commit_ms));
        add(
            "commit",
            format!("its objects became visible within {took}"),
        );
    }
    lines.join("\n")
}

/// The state, and since when where that matters.
pub(super) fn state(job: &JobStatus) -> String {
    match (job.waiting_since_ms, job.queued_behind) {
        (0, 0) => job.state.clone(),
        (0, before) => format!("{}, {before} jobs are before it", job.state),
        (since, _) => format!("waiting for executors since {}", format::utc(since)),
    }
}

/// Where the time of the splits has gone; none where nothing is known yet.
fn spent(progress: &JobProgress) -> Option<String> {
    let SplitTimes {
        read_ms,
        tensor_ms,
        model_ms,
        write_ms,
    } = progress.times?;
    let all = read_ms + tensor_ms + model_ms + write_ms;
    let part = |ms: u64| ms * 100 / all.max(1);
    (all > 0).then(|| {
        format!(
            "read {} %, tensors {} %, model {} %, write {} %",
            part(read_ms),
            part(tensor_ms),
            part(model_ms),
            part(write_ms)
        )
    })
}

fn splits(progress: &JobProgress) -> String {
    let JobProgress {
        splits_total,
        splits_done,
        splits_running,
        tasks_failed,
        ..
    } = progress;
    let mut text = format!("{splits_done} of {splits_total} done");
    if *splits_running > 0 {
        text.push_str(&format!(", {splits_running} running"));
    }
    if *tasks_failed > 0 {
        text.push_str(&format!(", {tasks_failed} failed and run again"));
    }
    text
}

fn rows(progress: &JobProgress) -> String {
    let mut text = format!(
        "{} read, {} written in {} objects of {}",
        format::count(progress.rows_done),
        format::count(progress.rows_written),
        format::count(progress.objects),
        format::bytes(progress.bytes_written)
    );
    if progress.rows_dead > 0 {
        text.push_str(&format!(
            ", {} put aside",
            format::count(progress.rows_dead)
        ));
    }
    if progress.rows_per_second > 0 {
        text.push_str(&format!(
            ", {} rows/s",
            format::count(progress.rows_per_second)
        ));
    }
    text
}

fn sentence(error: &ErrorDetail) -> String {
    let ErrorDetail { message, hint, .. } = error;
    if hint.is_empty() {
        message.clone()
    } else {
        format!("{message}; {hint}")
    }
}

/// How far a job is, in a line.
pub(super) fn line(job: &JobStatus, elapsed: Duration) -> String {
    let progress = job.progress.clone().unwrap_or_default();
    let took = format::duration(elapsed);
    if job.state != "running" {
        return format!("{}, {took}", state(job));
    }
    let mut text = format!(
        "{} of {} splits, {} rows",
        progress.splits_done,
        progress.splits_total,
        format::count(progress.rows_done)
    );
    if progress.rows_per_second > 0 {
        text.push_str(&format!(
            ", {} rows/s",
            format::count(progress.rows_per_second)
        ));
    }
    if let Some(left) = progress.seconds_left.filter(|left| *left > 0) {
        text.push_str(&format!(
            ", {} left",
            format::duration(Duration::from_secs(left))
        ));
    }
    if let Some(spent) = spent(&progress) {
        text.push_str(&format!(" ({spent})"));
    }
    format!("{text}, {took}")
}

/// How a job that has succeeded went, in a line.
pub(super) fn summary(job: &JobStatus) -> String {
    let progress = job.progress.clone().unwrap_or_default();
    let took = u64::try_from(job.ended_at_ms - job.submitted_at_ms).unwrap_or_default();
    let took = Duration::from_millis(took);
    let output = job.spec.as_ref().map(|spec| spec.output.as_str());
    let mut text = format!(
        "{} rows in {} objects, {}, written to {} in {} ({} rows/s)",
        format::count(progress.rows_written),
        format::count(progress.objects),
        format::bytes(progress.bytes_written),
        output.unwrap_or_default(),
        format::duration(took),
        format::count(format::rate(progress.rows_done, took))
    );
    if progress.rows_dead > 0 {
        text.push_str(&format!(
            "; {} of {} rows read were put aside",
            format::count(progress.rows_dead),
            format::count(progress.rows_done)
        ));
    }
    text
}

/// A job as JSON.
pub(crate) fn as_json(job: &JobStatus) -> Value {
    let JobStatus {
        job_id,
        key,
        spec,
        state,
        submitted_at_ms,
        ended_at_ms,
        waiting_since_ms,
        error,
        resumable,
        notes,
        models,
        inputs,
        progress,
        manifest,
        commit_ms,
        user,
        queued_behind,
    } = job;
    json!({
        "job_id": job_id,
        "key": Some(key).filter(|key| !key.is_empty()),
        "user": Some(user).filter(|user| !user.is_empty()),
        "state": state,
        "queued_behind": queued_behind,
        "spec": spec.as_ref().map(spec_json),
        "submitted_at_ms": submitted_at_ms,
        "ended_at_ms": Some(ended_at_ms).filter(|at| **at > 0),
        "waiting_since_ms": Some(waiting_since_ms).filter(|at| **at > 0),
        "error": error.as_ref().map(|error| json!({"code": error.code, "message": error.message, "hint": error.hint})),
        "resumable": resumable,
        "notes": notes,
        "models": models.iter().map(model_json).collect::<Vec<_>>(),
        "inputs": inputs,
        "progress": progress.as_ref().map(progress_json),
        "manifest": Some(manifest).filter(|path| !path.is_empty()),
        "commit_ms": commit_ms,
    })
}

fn spec_json(spec: &JobSpec) -> Value {
    let JobSpec {
        model,
        input,
        keep,
        keep_all,
        prediction,
        sql,
        output,
        mode,
        format,
        compression,
        row_group_rows,
        header,
        delimiter,
        on_error,
        dead_letters,
        max_errors,
        priority,
    } = spec;
    let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    json!({
        "model": said(model), "input": said(input), "keep": keep, "keep_all": keep_all,
        "prediction": said(prediction), "sql": said(sql), "output": output, "mode": mode, "format": format,
        "compression": said(compression), "row_group_rows": Some(row_group_rows).filter(|rows| **rows > 0),
        "header": header, "delimiter": said(delimiter), "on_error": on_error,
        "dead_letters": said(dead_letters), "max_errors": max_errors, "priority": priority,
    })
}

fn model_json(model: &JobModel) -> Value {
    let JobModel {
        alias,
        digest,
        generation,
        version,
    } = model;
    json!({"alias": alias, "digest": digest, "generation": generation, "version": version})
}

fn progress_json(progress: &JobProgress) -> Value {
    let JobProgress {
        splits_total,
        splits_done,
        splits_running,
        tasks_failed,
        bytes_total,
        bytes_done,
        rows_done,
        rows_written,
        rows_dead,
        bytes_written,
        objects,
        rows_per_second,
        rows_per_second_overall,
        seconds_left,
        executors,
        times,
    } = progress;
    let SplitTimes {
        read_ms,
        tensor_ms,
        model_ms,
        write_ms,
    } = times.unwrap_or_default();
    let executor = |executor: &JobExecutor| {
        let JobExecutor {
            executor_id,
            rows,
            splits_running,
        } = executor;
        json!({"executor_id": executor_id, "rows": rows, "splits_running": splits_running})
    };
    json!({
        "splits_total": splits_total, "splits_done": splits_done, "splits_running": splits_running,
        "tasks_failed": tasks_failed, "bytes_total": bytes_total, "bytes_done": bytes_done,
        "rows_done": rows_done, "rows_written": rows_written, "rows_dead": rows_dead,
        "bytes_written": bytes_written, "objects": objects, "rows_per_second": rows_per_second,
        "rows_per_second_overall": rows_per_second_overall, "seconds_left": seconds_left,
        "times_ms": {"read": read_ms, "tensors": tensor_ms, "model": model_ms, "write": write_ms},
        "executors": executors.iter().map(executor).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_and_why_it_waits() {
        let mut job = JobStatus {
            state: "running".to_owned(),
            progress: Some(JobProgress {
                splits_total: 8,
                splits_done: 3,
                rows_done: 12_000,
                rows_per_second: 4_000,
                seconds_left: Some(5),
                ..JobProgress::default()
            }),
            ..JobStatus::default()
        };
        let at = Duration::from_secs(3);
        assert_eq!(
            line(&job, at),
            "3 of 8 splits, 12,000 rows, 4,000 rows/s, 5.00 s left, 3.00 s"
        );
        job.state = "waiting".to_owned();
        job.waiting_since_ms = 1_709_210_096_789;
        assert_eq!(
            line(&job, at),
            "waiting for executors since 2024-02-29 12:34:56 UTC, 3.00 s"
        );
    }
}
