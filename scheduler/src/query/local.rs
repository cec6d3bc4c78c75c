//! Results that the scheduler computed itself wait here until they are fetched, for as long as results are kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use whimbrel_access::Caller;
use whimbrel_proto::ids::QueryId;
use whimbrel_proto::{Error, ErrorCode};

use super::{Plan, Query};
use crate::clock::Clock;
use crate::error::plan_error;

/// One result, and all results together.
const RESULT_BYTES: usize = 32 << 20;
const SHELF_BYTES: usize = 256 << 20;
/// What the scheduler computes itself is small; more is a mistake.
const PATIENCE: Duration = Duration::from_secs(60);

/// A result with its columns.
#[derive(Clone, Debug)]
pub(crate) struct Shelved {
    user: String,
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Arc<Vec<RecordBatch>>,
    bytes: usize,
    fetched: bool,
    put: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shelf {
    clock: Arc<dyn Clock>,
    ttl: Duration,
    results: Mutex<HashMap<QueryId, Shelved>>,
}

impl Shelf {
    pub(crate) fn new(clock: Arc<dyn Clock>, ttl: Duration) -> Self {
        Self {
            clock,
            ttl,
            results: Mutex::new(HashMap::new()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<QueryId, Shelved>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a result; the oldest go where there is no room.
    pub(crate) fn put(&self, query: &Query, schema: SchemaRef, batches: Vec<RecordBatch>) {
        let bytes = size(&batches);
        let mut results = self.lock();
        let mut total: usize = results.values().map(|kept| kept.bytes).sum::<usize>() + bytes;
        let by_age: BTreeMap<(Duration, QueryId), usize> = results
            .iter()
            .map(|(id, kept)| ((kept.put, id.clone()), kept.bytes))
            .collect();
        for ((_, oldest), freed) in by_age {
            if total <= SHELF_BYTES {
                break;
            }
            results.remove(&oldest);
            total -= freed;
        }
        let put = self.clock.monotonic();
        results.insert(
            query.id().clone(),
            Shelved {
                user: query.owner().user.clone(),
                schema,
                batches: Arc::new(batches),
                bytes,
                fetched: false,
                put,
            },
        );
    }

    /// The result of a query of this caller, and notes that it was fetched.
    pub(crate) fn take(&self, id: &QueryId, caller: &Caller) -> Result<Shelved, Error> {
        let mut results = self.lock();
        let kept = results.get_mut(id);
        let Some(kept) = kept.filter(|kept| kept.user == caller.user) else {
            return Err(Error::new(
                ErrorCode::NotFound,
                format!("query {id} has no result here"),
            )
            .with_hint("results are kept for a while only; run it again"));
        };
        kept.fetched = true;
        Ok(kept.clone())
    }

    /// Nobody wants the result any more.
    pub(crate) fn remove(&self, id: &QueryId) {
        self.lock().remove(id);
    }

    /// Forgets results that are kept no longer.
    pub(crate) fn sweep(&self) {
        let now = self.clock.monotonic();
        self.lock()
            .retain(|_, kept| now.saturating_sub(kept.put) <= self.ttl);
    }

    /// Whether somebody was told of a result within `time` and has not fetched it.
    pub(crate) fn awaited(&self, time: Duration) -> bool {
        let now = self.clock.monotonic();
        self.lock()
            .values()
            .any(|kept| !kept.fetched && now.saturating_sub(kept.put) <= time)
    }
}

fn size(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::get_array_memory_size).sum()
}

/// Runs a plan in this process.
pub(super) async fn collect(plan: Plan) -> Result<Vec<RecordBatch>, Error> {
    let run = async {
        let mut rows = execute_stream(plan.physical, plan.ctx.task_ctx())
            .map_err(|error| plan_error(&error))?;
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = rows.try_next().await.map_err(|error| plan_error(&error))? {
            bytes += batch.get_array_memory_size();
            if bytes > RESULT_BYTES {
                return Err(Error::new(
                    ErrorCode::Exhausted,
                    "the result is too large for the scheduler to compute itself",
                )
                .with_hint("select from a table, so that executors compute it"));
            }
            batches.push(batch);
        }
        Ok(batches)
    };
    let late = |_| {
        Error::new(
            ErrorCode::Exhausted,
            "the scheduler gave the statement up after a minute",
        )
    };
    tokio::time::timeout(PATIENCE, run).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::clock::{ManualClock, SeededIds};
    use crate::query::Queries;
    use crate::query::record::Owner;
    use crate::session::Session;

    #[test]
    fn a_result_waits_for_its_reader_and_not_for_ever() {
        let clock = ManualClock::shared();
        let shelf = Shelf::new(clock.clone(), Duration::from_secs(10));
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![1]))])
            .unwrap();
        let queries = Queries::new(clock.clone(), Arc::new(SeededIds::new(1)), Duration::MAX);
        let owner = Owner::of(&Session::alone("s"));
        let query = queries.begin(None, "SELECT 1", owner).unwrap();
        let (id, anybody) = (query.id().clone(), Caller::anybody());
        shelf.put(&query, schema, vec![batch]);
        let other = Caller {
            user: "bob".to_owned(),
            ..Caller::anybody()
        };
        assert!(shelf.take(&id, &other).is_err());
        assert!(shelf.awaited(Duration::from_secs(5)));
        assert_eq!(shelf.take(&id, &anybody).unwrap().batches.len(), 1);
        assert!(!shelf.awaited(Duration::from_secs(5)));
        clock.advance(Duration::from_secs(11));
        shelf.sweep();
        assert_eq!(
            shelf.take(&id, &anybody).unwrap_err().code(),
            ErrorCode::NotFound
        );
    }
}
