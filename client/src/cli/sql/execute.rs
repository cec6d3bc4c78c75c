//! One statement from its text to its last row.

use std::fmt;
use std::time::Duration;

use futures::StreamExt;
use whimbrel::clock::{Stopwatch, unique_name};
use whimbrel::ids::QueryId;
use whimbrel::{Client, QueryStream};

use super::progress::Progress;
use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::cli::format;
use crate::cli::output::{Place, RowSink, Target};

/// What to run and where its rows go.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) console: Console,
    pub(crate) client: &'a Client,
    pub(crate) sql: &'a str,
    pub(crate) target: &'a Target,
}

/// How a statement went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) rows: u64,
    pub(crate) took: Duration,
    /// A statement that changes something has no columns and gives no rows.
    pub(crate) has_columns: bool,
    pub(crate) file: Option<String>,
}

/// A pool that does not answer to a cancel must not keep its user waiting.
const CANCEL_DEADLINE: Duration = Duration::from_secs(2);

/// Runs a statement. Where the future is dropped, the query is cancelled.
pub(crate) async fn execute(run: Run<'_>) -> Result<Summary, Failure> {
    let watch = Stopwatch::start();
    let id: QueryId = unique_name().parse()?;
    let progress = Progress::start(run.console, run.client, &id);
    let mut stream = run.client.sql_as(&id, run.sql).await?;
    let schema = stream.schema();
    let has_columns = !schema.fields().is_empty();
    if run.target.place == Place::Stdout && run.console.stdout_is_terminal {
        progress.clear();
    }
    progress.fetching(stream.total_rows());
    let sink = RowSink::start(run.target, schema)?;
    let rows = copy(&mut stream, &sink, &progress).await;
    progress.clear();
    match rows {
        Ok(rows) => {
            sink.finish().await?;
            let file = match &run.target.place {
                Place::File(path) => Some(path.display().to_string()),
                Place::Stdout | Place::Nowhere => None,
            };
            Ok(Summary {
                rows,
                took: watch.elapsed(),
                has_columns,
                file,
            })
        }
        Err(Stopped::Failed(failure)) => Err(failure),
        Err(Stopped::NobodyTakes) => {
            // The rows cannot be put anywhere: the query ends, and the writer says why.
            tokio::time::timeout(CANCEL_DEADLINE, stream.cancel())
                .await
                .ok();
            sink.finish().await?;
            Err(Failure::NobodyReads)
        }
    }
}

enum Stopped {
    Failed(Failure),
    NobodyTakes,
}

async fn copy(
    stream: &mut QueryStream,
    sink: &RowSink,
    progress: &Progress,
) -> Result<u64, Stopped> {
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| Stopped::Failed(error.into()))?;
        progress.fetched(batch.num_rows());
        if !sink.write(batch).await {
            return Err(Stopped::NobodyTakes);
        }
    }
    Ok(stream.rows())
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.has_columns {
            return write!(f, "done in {}", format::duration(self.took));
        }
        let noun = if self.rows == 1 { "row" } else { "rows" };
        write!(
            f,
            "{} {noun} in {}",
            format::count(self.rows),
            format::duration(self.took)
        )?;
        if self.rows >= 100_000 {
            write!(
                f,
                " ({} rows/s)",
                format::count(format::rate(self.rows, self.took))
            )?;
        }
        match &self.file {
            Some(file) => write!(f, ", written to {file}"),
            None => Ok(()),
        }
    }
}
