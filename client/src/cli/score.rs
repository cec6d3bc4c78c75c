//! `whimbrel score`: hands a job to the pool, and follows it where that is wanted.

use whimbrel::Client;
use whimbrel_proto::v1::{JobSpec, SubmitJobRequest};

use crate::cli::args::ScoreArgs;
use crate::cli::console::Console;
use crate::cli::context::{Context, End};
use crate::cli::failure::Failure;
use crate::cli::job::{as_json, follow};
use crate::cli::table::absolute_uri;

/// What only paths have, and no table's name.
const OF_PATHS: [char; 4] = ['/', '.', '*', '?'];

/// Runs the command.
pub(crate) async fn run(context: &Context, args: &ScoreArgs) -> Result<(), Failure> {
    let console = context.console;
    let request = SubmitJobRequest {
        spec: Some(spec(args)?),
        key: args.key.clone().unwrap_or_default(),
        user: args
            .user
            .clone()
            .or_else(|| context.user())
            .unwrap_or_default(),
    };
    // A pool inside of this process ends with it, and its jobs would wait for the next command in this folder.
    let watch = args.watch || !context.names_pool();
    context
        .with_pool(End::AnySignal, async |client| {
            submit(console, &client, request.clone(), watch).await
        })
        .await
}

async fn submit(
    console: Console,
    client: &Client,
    request: SubmitJobRequest,
    watch: bool,
) -> Result<(), Failure> {
    let (job, existed) = client.submit_job(request).await?;
    for note in &job.notes {
        console.note(&format!("note: {note}"));
    }
    if existed {
        console.note(&format!(
            "job {} was there already, under this key",
            job.job_id
        ));
    }
    if watch {
        if !existed {
            console.note(&format!("job {}", job.job_id));
        }
        return follow(console, client, &job.job_id.parse()?).await;
    }
    if console.json {
        return console.print_json(&as_json(&job));
    }
    console.print(&job.job_id)?;
    console.note(&format!(
        "it goes on by itself: `whimbrel job watch {}`",
        job.job_id
    ));
    Ok(())
}

/// The job that the command line asks for.
fn spec(args: &ScoreArgs) -> Result<JobSpec, Failure> {
    let ScoreArgs {
        model,
        input,
        sql,
        output,
        keep,
        keep_all,
        prediction,
        mode,
        format,
        compression,
        row_group_rows,
        no_header,
        delimiter,
        on_error,
        max_errors,
        priority,
        user: _,
        key: _,
        watch: _,
    } = args;
    let (on_error, dead_letters) = match on_error.as_deref() {
        None => (String::new(), String::new()),
        Some(policy) => match policy.split_once('=') {
            Some(("deadletter", place)) => ("deadletter".to_owned(), absolute_uri(place)?),
            _ => (policy.to_owned(), String::new()),
        },
    };
    Ok(JobSpec {
        model: model.clone().unwrap_or_default(),
        input: input.as_deref().map(place).transpose()?.unwrap_or_default(),
        keep: keep.clone(),
        keep_all: *keep_all,
        prediction: prediction.clone().unwrap_or_default(),
        sql: sql.clone().unwrap_or_default(),
        output: absolute_uri(output)?,
        mode: mode.clone().unwrap_or_default(),
        format: format.clone().unwrap_or_default(),
        compression: compression.clone().unwrap_or_default(),
        row_group_rows: row_group_rows.unwrap_or_default(),
        header: no_header.then_some(false),
        delimiter: delimiter.clone().unwrap_or_default(),
        on_error,
        dead_letters,
        max_errors: *max_errors,
        priority: priority.clone().unwrap_or_default(),
    })
}

/// A table's name as it is, a path as the pool finds it.
fn place(input: &str) -> Result<String, Failure> {
    if input.contains(OF_PATHS) {
        absolute_uri(input)
    } else {
        Ok(input.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_absolute_and_a_table_stays() {
        assert_eq!(place("trips").unwrap(), "trips");
        assert_eq!(place("s3://lake/trips/").unwrap(), "s3://lake/trips/");
        let here = std::env::current_dir().unwrap();
        let path = place("trips/*.csv").unwrap();
        assert_eq!(path, here.join("trips/*.csv").to_string_lossy());
    }
}
