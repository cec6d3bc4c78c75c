//! The few rows of a query that the pool itself wants: a model that lies in a table. The query runs like any client's, and its
//! rows are read like a client reads them.

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use whimbrel_access::Caller;
use whimbrel_proto::{Error, ErrorCode};

use crate::models::{Cells, many_rows};
use crate::pool::Pool;
use crate::query::{Answer, Planned, Source};

#[async_trait]
impl Cells for Pool {
    async fn rows(&self, sql: &str, most: u64) -> Result<Vec<RecordBatch>, Error> {
        let id = format!("model-{}", self.ids.id());
        let caller = Caller::anybody();
        let session = self.sessions.open(&id, &caller)?;
        let outcome = async {
            match self.runner.prepare(session.clone(), sql).await? {
                Planned::Spread(_) | Planned::Here(_) | Planned::Rows(..) => {}
                Planned::Effect(_) | Planned::Check(_) | Planned::Job(_) | Planned::Score(_) => {
                    return Err(Error::new(ErrorCode::Invalid, "the statement is no query")
                        .with_hint("write a SELECT that gives the model"));
                }
            }
            let answer = self.runner.run(session.clone(), sql, None).await?;
            let batches = read(self, &answer, most).await;
            self.runner.cancel(&answer.query_id);
            batches
        }
        .await;
        self.sessions.close(&id);
        outcome
    }
}

async fn read(pool: &Pool, answer: &Answer, most: u64) -> Result<Vec<RecordBatch>, Error> {
    if answer.rows > most {
        return Err(many_rows(answer.rows));
    }
    let endpoints = match &answer.source {
        Source::Nowhere => return Ok(Vec::new()),
        Source::Shelf => {
            return Ok(pool
                .shelf
                .take(&answer.query_id, &Caller::anybody())?
                .batches
                .as_ref()
                .clone());
        }
        Source::Executors(endpoints) => endpoints,
    };
    let mut batches = Vec::new();
    for endpoint in endpoints {
        batches.extend(pool.reader.read(endpoint).await?);
    }
    Ok(batches)
}
