//! The journal of a job as the scheduler reads it: which of the splits that the job consists of now are done.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::physical_plan::ExecutionPlan;
use whimbrel_predict::sink::{SinkSpec, splits, with_spec, without};
use whimbrel_proto::Error;
use whimbrel_proto::ids::SplitId;
use whimbrel_stores::job::{Entry, Journal, Records};

use super::output::Output;
use super::progress::Done;
use crate::error::plan_error;

/// A job's plan as it is run, and the splits that it consists of.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    plan: Arc<dyn ExecutionPlan>,
    splits: Vec<SplitId>,
}

/// The plan of a job, cut for a run of it.
pub(super) fn cut(
    plan: &Arc<dyn ExecutionPlan>,
    sink: &SinkSpec,
    run: Option<u32>,
    generations: BTreeMap<SplitId, u32>,
) -> Result<Cut, Error> {
    let spec = SinkSpec {
        run,
        generations,
        ..sink.clone()
    };
    let cut = || {
        let splits = splits(plan, &spec)?;
        let plan = with_spec(plan, &Arc::new(spec.clone()))?;
        Ok(Cut { plan, splits })
    };
    cut().map_err(|error| plan_error(&error))
}

impl Cut {
    /// The plan of what is not done, and in nobody's hands; `None` where that is nothing.
    pub(super) fn left(
        &self,
        read: &Read,
        held: &HashSet<SplitId>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>, Error> {
        let done: HashSet<SplitId> = self
            .splits
            .iter()
            .filter(|split| read.entries.contains_key(split.as_str()) || held.contains(*split))
            .cloned()
            .collect();
        without(&self.plan, &done).map_err(|error| plan_error(&error))
    }

    /// The entries of this job's splits, if all of them are there. Those of an earlier run of it are not its own any more.
    pub(super) fn complete(&self, read: &Read) -> Option<BTreeMap<String, Entry>> {
        let entry = |split: &SplitId| {
            let entry = read.entries.get(split.as_str())?;
            Some((split.to_string(), entry.clone()))
        };
        self.splits.iter().map(entry).collect()
    }

    /// What is done of them.
    pub(super) fn done(&self, read: &Read, sizes: &HashMap<String, u64>) -> Done {
        let mut entries = read.entries.clone();
        let own: HashSet<&str> = self.splits.iter().map(SplitId::as_str).collect();
        entries.retain(|split, _| own.contains(split.as_str()));
        Done::of(&entries, sizes)
    }

    pub(super) fn splits(&self) -> usize {
        self.splits.len()
    }
}

/// What the journal says.
#[derive(Clone, Debug, Default)]
pub(super) struct Read {
    pub(super) entries: BTreeMap<String, Entry>,
    /// Splits whose object was lost, and the generation that is next.
    pub(super) generations: BTreeMap<SplitId, u32>,
}

/// The entries that were read so far: they never change, so each is fetched once.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<BTreeMap<String, Entry>>);

impl Known {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the journal.
pub(super) async fn read(output: &Output, records: &Records, known: &Known) -> Result<Read, Error> {
    let journal = Journal::new(output.io(), records);
    let before = known.lock().clone();
    let (entries, begin_at) = journal
        .read_on(&before)
        .await
        .map_err(|error| output.explain(&error))?;
    known.lock().clone_from(&entries);
    let generations = begin_at
        .into_iter()
        .map(|(split, generation)| Ok((split.parse()?, generation)))
        .collect::<Result<_, Error>>()?;
    Ok(Read {
        entries,
        generations,
    })
}
