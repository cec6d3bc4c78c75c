//! Follows a job to its end: a bar on a terminal, a plain line now and then elsewhere, JSON lines where these are asked for.

use std::time::Duration;

use futures::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use whimbrel::Client;
use whimbrel::clock::Stopwatch;
use whimbrel::ids::ScoreJobId;
use whimbrel_proto::v1::{ErrorDetail, JobStatus};
use whimbrel_proto::{Error, ErrorCode};

use super::report::{as_json, line, summary};
use crate::cli::console::Console;
use crate::cli::failure::Failure;

/// How often a plain line is written.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// A pool that restarts is asked again for so long.
const AWAY: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Follows the job; how it ended is how this ends.
pub(crate) async fn follow(
    console: Console,
    client: &Client,
    job: &ScoreJobId,
) -> Result<(), Failure> {
    let mut screen = Screen::new(console);
    let mut away: Option<Stopwatch> = None;
    loop {
        let problem = match last_of(client, job, &mut screen, &mut away).await {
            Ok(Some(ended)) => {
                screen.clear();
                return said(console, &ended);
            }
            Ok(None) => None,
            Err(error @ whimbrel::Error::Unreachable { .. }) => Some(error),
            Err(error) => return Err(error.into()),
        };
        // The job goes on without its pool, and the pool comes back.
        let watch = *away.get_or_insert_with(Stopwatch::start);
        if let Some(error) = problem
            && watch.elapsed() > AWAY
        {
            return Err(error.into());
        }
        whimbrel::clock::pause(ASK_EVERY).await;
    }
}

/// The job's status at its end, or none where the pool stopped telling.
async fn last_of(
    client: &Client,
    job: &ScoreJobId,
    screen: &mut Screen,
    away: &mut Option<Stopwatch>,
) -> Result<Option<JobStatus>, whimbrel::Error> {
    let mut statuses = client.watch_job(job).await?;
    while let Some(status) = statuses.next().await {
        let status = status?;
        *away = None;
        screen.show(&status);
        if matches!(status.state.as_str(), "succeeded" | "failed" | "cancelled") {
            return Ok(Some(status));
        }
    }
    Ok(None)
}

/// Says how a job ended, and ends alike.
fn said(console: Console, job: &JobStatus) -> Result<(), Failure> {
    if console.json {
        console.print_json(&as_json(job))?;
    }
    match job.state.as_str() {
        "succeeded" => {
            if !console.json {
                console.print(&summary(job))?;
            }
            Ok(())
        }
        "cancelled" => Err(Failure::Failed(Error::new(
            ErrorCode::Cancelled,
            format!("job {} was cancelled", job.job_id),
        ))),
        _ => Err(Failure::Failed(failure(job))),
    }
}

fn failure(job: &JobStatus) -> Error {
    let error = Error::from(job.error.clone().unwrap_or_else(|| ErrorDetail {
        code: ErrorCode::Bug.name().to_owned(),
        message: format!("job {} failed", job.job_id),
        hint: String::new(),
    }));
    if !job.resumable {
        return error;
    }
    let resume = format!("then `whimbrel job resume {}` goes on", job.job_id);
    let hint = match error.hint() {
        Some(hint) => format!("{hint}; {resume}"),
        None => resume,
    };
    Error::new(error.code(), error.message()).with_hint(hint)
}

/// Where a person sees how far the job is.
struct Screen {
    console: Console,
    watch: Stopwatch,
    bar: Option<ProgressBar>,
    said: Duration,
}

impl Screen {
    fn new(console: Console) -> Self {
        let bar = (!console.quiet && console.stderr_is_terminal).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self {
            console,
            watch: Stopwatch::start(),
            bar,
            said: Duration::ZERO,
        }
    }

    fn show(&mut self, job: &JobStatus) {
        let elapsed = self.watch.elapsed();
        let text = line(job, elapsed);
        match &self.bar {
            Some(bar) => {
                let progress = job.progress.clone().unwrap_or_default();
                bar.update(|state| {
                    state.set_len(progress.splits_total.max(1));
                    state.set_pos(progress.splits_done);
                });
                bar.set_message(text);
            }
            None if elapsed.saturating_sub(self.said) >= SAY_EVERY => {
                self.said = elapsed;
                self.console.note(&text);
            }
            None => {}
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
