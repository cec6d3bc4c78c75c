//! Which splits are done: one entry per split, created by the attempt that did it first. An entry never changes. Where the store has
//! dropped the object that it speaks of, the entry is voided and the split done again under the next generation.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::Result;
use serde::{Deserialize, Serialize};

use super::{Records, from_json, to_json};
use crate::output::{Claim, DeferredOutput, Patience, Receipt, claim};

/// Records read at once.
const AT_ONCE: usize = 64;

/// A split, and how often it had to begin anew because its object was lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SplitKey {
    pub split: String,
    pub generation: u32,
}

impl SplitKey {
    /// The split's first time.
    pub fn first(split: impl Into<String>) -> Self {
        Self {
            split: split.into(),
            generation: 0,
        }
    }

    /// After what this one made was lost.
    #[must_use]
    pub fn next(&self) -> Self {
        Self {
            split: self.split.clone(),
            generation: self.generation + 1,
        }
    }
}

impl fmt::Display for SplitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.split, self.generation)
    }
}

impl FromStr for SplitKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (split, generation) = text.rsplit_once('.').ok_or(())?;
        Ok(Self {
            split: split.to_owned(),
            generation: generation.parse().map_err(|_| ())?,
        })
    }
}

/// What one attempt made of a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub key: SplitKey,
    /// Nobody else's: it tells an attempt's own entry from another's.
    pub attempt: String,
    pub executor: String,
    /// None where the split has no rows.
    pub output: Option<Receipt>,
    pub dead_letters: Option<Receipt>,
    pub rows_read: u64,
    pub rows_written: u64,
    pub rows_dead: u64,
    pub bytes_read: u64,
    #[serde(default)]
    pub times: Times,
}

/// Where the time of a split went, in milliseconds; those of threads that work side by side add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    pub read_ms: u64,
    pub tensor_ms: u64,
    pub model_ms: u64,
    pub write_ms: u64,
}

impl std::ops::AddAssign for Times {
    fn add_assign(&mut self, other: Self) {
        self.read_ms += other.read_ms;
        self.tensor_ms += other.tensor_ms;
        self.model_ms += other.model_ms;
        self.write_ms += other.write_ms;
    }
}

impl Entry {
    /// What must be published for this entry to be true.
    pub(super) fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.output.iter().chain(&self.dead_letters)
    }
}

/// The journal of a job.
#[derive(Clone, Copy, Debug)]
pub struct Journal<'a> {
    output: &'a dyn DeferredOutput,
    records: &'a Records,
}

impl<'a> Journal<'a> {
    /// The journal among `records` in `output`.
    pub fn new(output: &'a dyn DeferredOutput, records: &'a Records) -> Self {
        Self { output, records }
    }

    fn path(&self, key: &SplitKey) -> String {
        format!("{}/{key}", self.records.journal())
    }

    /// The entry of a split, if it is done.
    pub async fn get(&self, key: &SplitKey) -> Result<Option<Entry>> {
        let path = self.path(key);
        match self.output.get(&path).await? {
            Some(bytes) => from_json(&path, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Enters what an attempt made. `Some` is the entry of another that was first: only then may this attempt throw its own away.
    pub async fn enter(&self, entry: &Entry, patience: &impl Patience) -> Result<Option<Entry>> {
        let path = self.path(&entry.key);
        match claim(self.output, &path, to_json(entry)?.into(), patience).await? {
            Claim::Won => Ok(None),
            Claim::Lost(other) => from_json(&path, &other).map(Some),
        }
    }

    /// Says that what an entry speaks of is lost. Again does no harm.
    pub async fn void(&self, key: &SplitKey) -> Result<()> {
        let path = format!("{}/{key}", self.records.void());
        self.output.put(&path, "{}".into()).await.map(drop)
    }

    /// The valid entry of each split that is done, and the generation in which each of the others must be done, where that is not
    /// the first.
    pub async fn read(&self) -> Result<(BTreeMap<String, Entry>, BTreeMap<String, u32>)> {
        self.read_on(&BTreeMap::new()).await
    }

    /// The same, where these entries were read before: an entry never changes, so only new ones are fetched.
    pub async fn read_on(
        &self,
        known: &BTreeMap<String, Entry>,
    ) -> Result<(BTreeMap<String, Entry>, BTreeMap<String, u32>)> {
        let void = self.keys(&self.records.void()).await?;
        let entered = self.keys(&self.records.journal()).await?;
        let mut begin_at: BTreeMap<String, u32> = BTreeMap::new();
        for SplitKey { split, generation } in void {
            let next = begin_at.entry(split).or_default();
            *next = (*next).max(generation + 1);
        }
        let valid = entered.into_iter().filter(|key| {
            let from = begin_at.get(&key.split).copied().unwrap_or_default();
            key.generation >= from
        });
        let is_known = |key: &SplitKey| {
            let entry = known.get(&key.split);
            entry.filter(|entry| entry.key == *key).cloned()
        };
        let (mut entries, mut new) = (Vec::new(), Vec::new());
        for key in valid {
            match is_known(&key) {
                Some(entry) => entries.push(Some(entry)),
                None => new.push(key),
            }
        }
        let fetched: Vec<Option<Entry>> = stream::iter(new)
            .map(|key| async move { self.get(&key).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        entries.extend(fetched);
        let done: BTreeMap<String, Entry> = entries
            .into_iter()
            .flatten()
            .map(|entry| (entry.key.split.clone(), entry))
            .collect();
        begin_at.retain(|split, _| !done.contains_key(split));
        Ok((done, begin_at))
    }

    async fn keys(&self, folder: &str) -> Result<Vec<SplitKey>> {
        let listed = self.output.list(folder).await?;
        let name = |path: &str| path.rsplit('/').next().and_then(|name| name.parse().ok());
        Ok(listed
            .iter()
            .filter_map(|object| name(&object.path))
            .collect())
    }
}
