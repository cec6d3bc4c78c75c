//! `whimbrel job`: list, show, watch, cancel, resume.

mod report;
mod watch;

use whimbrel::Client;
use whimbrel::ids::ScoreJobId;

use crate::cli::args::JobCommand;
use crate::cli::console::{Console, aligned};
use crate::cli::context::{Context, End};
use crate::cli::failure::Failure;

pub(crate) use report::as_json;
pub(crate) use watch::follow;

/// Runs the command.
pub(crate) async fn run(context: &Context, command: JobCommand) -> Result<(), Failure> {
    let console = context.console;
    context
        .with_pool(End::AnySignal, async |client| match &command {
            JobCommand::List => list(console, &client).await,
            JobCommand::Show { job } => {
                let job = client.get_job(&parse(job)?).await?;
                if console.json {
                    return console.print_json(&as_json(&job));
                }
                console.print(&report::page(&job))
            }
            JobCommand::Watch { job } => follow(console, &client, &parse(job)?).await,
            JobCommand::Cancel { job } => {
                let job = client.cancel_job(&parse(job)?).await?;
                if console.json {
                    return console.print_json(&as_json(&job));
                }
                console.note(&format!("job {} is {}", job.job_id, job.state));
                Ok(())
            }
            JobCommand::Resume { job, watch } => {
                let job = client.resume_job(&parse(job)?).await?;
                if *watch || !context.names_pool() {
                    return follow(console, &client, &parse(&job.job_id)?).await;
                }
                if console.json {
                    return console.print_json(&as_json(&job));
                }
                console.note(&format!("job {} is {}", job.job_id, job.state));
                Ok(())
            }
        })
        .await
}

fn parse(job: &str) -> Result<ScoreJobId, Failure> {
    job.parse().map_err(Failure::Usage)
}

async fn list(console: Console, client: &Client) -> Result<(), Failure> {
    let jobs = client.list_jobs().await?;
    if console.json {
        return jobs
            .iter()
            .try_for_each(|job| console.print_json(&as_json(job)));
    }
    if jobs.is_empty() {
        console.note("the pool remembers no job; `whimbrel score` submits one");
        return Ok(());
    }
    let rows: Vec<_> = jobs.iter().map(report::row).collect();
    console.print(&aligned(
        &["job", "state", "splits", "rows", "submitted", "output"],
        &rows,
    ))
}
