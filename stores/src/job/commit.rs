//! From a complete journal to an output that is real. Every step can be done again, by anyone, after a crash at any point: the
//! decision fences, the records are written alike, and publishing is settled by the objects themselves.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::Result;

use super::manifest::Object;
use super::{
    Counts, Decision, Entry, Journal, Manifest, Records, SUCCESS, SplitKey, Success, Verdict,
    from_json, to_json,
};
use crate::output::{Claim, DeferredOutput, Intent, Listed, Patience, Published, Receipt, claim};

/// Objects published at once.
const AT_ONCE: usize = 64;

/// What a scheduler wants decided.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub verdict: Verdict,
    /// Nobody else's.
    pub by: String,
    /// All splits of the job where it is to be committed.
    pub entries: BTreeMap<String, Entry>,
    pub replaced: Vec<Listed>,
}

/// How a commit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The output is real.
    Succeeded(Box<Manifest>),
    /// Nothing of the job is visible, and nothing will be.
    Cancelled,
    /// The store has dropped what these splits had made: each must be done again, as this key, and the commit be finished then.
    Lost(Vec<SplitKey>),
}

/// The commit of one job.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    output: &'a dyn DeferredOutput,
    dead_letters: &'a dyn DeferredOutput,
    records: &'a Records,
    spec: &'a serde_json::Value,
}

impl<'a> Commit<'a> {
    /// The commit of the job with these records; `spec` goes into the manifest.
    pub fn new(
        output: &'a dyn DeferredOutput,
        records: &'a Records,
        spec: &'a serde_json::Value,
    ) -> Self {
        Self {
            output,
            dead_letters: output,
            records,
            spec,
        }
    }

    /// The same, where dead letters are elsewhere than the output.
    #[must_use]
    pub fn with_dead_letters(self, dead_letters: &'a dyn DeferredOutput) -> Self {
        Self {
            dead_letters,
            ..self
        }
    }

    /// What was decided, if anything was.
    pub async fn decided(&self) -> Result<Option<Decision>> {
        let path = self.records.decision();
        match self.output.get(&path).await? {
            Some(bytes) => from_json(&path, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Decides, or finds out what was decided before.
    pub async fn decide(&self, proposal: Proposal, patience: &impl Patience) -> Result<Decision> {
        let Proposal {
            verdict,
            by,
            entries,
            replaced,
        } = proposal;
        let decision = Decision {
            job: self.records.job().to_owned(),
            verdict,
            decided_by: by,
            entries,
            replaced,
        };
        let path = self.records.decision();
        match claim(self.output, &path, to_json(&decision)?.into(), patience).await? {
            Claim::Won => Ok(decision),
            Claim::Lost(other) => from_json(&path, &other),
        }
    }

    /// Does what was decided, as far as it is not done yet.
    pub async fn finish(&self, decision: Decision) -> Result<Ended> {
        match decision.verdict {
            Verdict::Cancel => Ok(Ended::Cancelled),
            Verdict::Commit => self.make_real(decision).await,
        }
    }

    async fn make_real(&self, decision: Decision) -> Result<Ended> {
        let Decision {
            entries, replaced, ..
        } = decision;
        self.take_down_success().await?;
        let (entries, mut lost) = self.as_of_now(entries).await?;
        let (objects, gone) = self.publish(&entries).await?;
        for key in gone {
            Journal::new(self.output, self.records).void(&key).await?;
            lost.push(key.next());
        }
        if !lost.is_empty() {
            lost.sort();
            return Ok(Ended::Lost(lost));
        }
        let manifest = self.manifest(&entries, objects);
        self.output
            .put(&self.records.manifest(), to_json(&manifest)?.into())
            .await?;
        for old in &replaced {
            self.output.delete(&old.path, old.etag.as_deref()).await?;
        }
        let success = Success {
            job: manifest.job.clone(),
            manifest: self.records.manifest(),
            rows: manifest.counts.rows_written,
        };
        self.output.put(SUCCESS, to_json(&success)?.into()).await?;
        self.output.reveal().await?;
        Ok(Ended::Succeeded(Box::new(manifest)))
    }

    /// Whoever waits for `_SUCCESS` must not take an earlier job's for this one's.
    async fn take_down_success(&self) -> Result<()> {
        let Some(found) = self.output.get(SUCCESS).await? else {
            return Ok(());
        };
        let own = serde_json::from_slice::<Success>(&found);
        if own.is_ok_and(|own| own.job == self.records.job()) {
            return Ok(());
        }
        self.output.delete(SUCCESS, None).await
    }

    /// The decided entries, but for those that were lost since: of these the ones that took their place, and the keys under which
    /// the others must be done.
    async fn as_of_now(
        &self,
        decided: BTreeMap<String, Entry>,
    ) -> Result<(BTreeMap<String, Entry>, Vec<SplitKey>)> {
        let void = self.output.list(&self.records.void()).await?;
        if void.is_empty() {
            return Ok((decided, Vec::new()));
        }
        let (mut now, missing) = Journal::new(self.output, self.records).read().await?;
        now.retain(|split, _| decided.contains_key(split));
        let missing = missing
            .into_iter()
            .map(|(split, generation)| SplitKey { split, generation });
        Ok((now, missing.collect()))
    }

    async fn publish(
        &self,
        entries: &BTreeMap<String, Entry>,
    ) -> Result<(Vec<(Entry, Receipt, Option<String>)>, Vec<SplitKey>)> {
        let mut receipts: Vec<(Entry, Receipt)> = Vec::new();
        for entry in entries.values() {
            receipts.extend(
                entry
                    .receipts()
                    .map(|receipt| (entry.clone(), receipt.clone())),
            );
        }
        let (output, dead_letters) = (self.output, self.dead_letters);
        let published: Vec<_> = stream::iter(receipts)
            .map(|(entry, receipt)| async move {
                let home = match entry.output.as_ref() == Some(&receipt) {
                    true => output,
                    false => dead_letters,
                };
                let published = home.publish(&receipt).await?;
                Ok::<_, object_store::Error>((entry, receipt, published))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let (mut objects, mut gone) = (Vec::new(), Vec::new());
        for (entry, receipt, published) in published {
            match published {
                Published::Visible { etag } => objects.push((entry, receipt, etag)),
                Published::Gone => gone.push(entry.key),
            }
        }
        gone.sort();
        gone.dedup();
        Ok((objects, gone))
    }

    fn manifest(
        &self,
        entries: &BTreeMap<String, Entry>,
        published: Vec<(Entry, Receipt, Option<String>)>,
    ) -> Manifest {
        let mut counts = Counts {
            splits: entries.len() as u64,
            ..Counts::default()
        };
        for entry in entries.values() {
            counts.rows_read += entry.rows_read;
            counts.rows_written += entry.rows_written;
            counts.rows_dead += entry.rows_dead;
        }
        let (mut objects, mut dead_letters) = (Vec::new(), Vec::new());
        for (entry, receipt, etag) in published {
            let is_output = entry.output.as_ref() == Some(&receipt);
            let object = Object {
                path: receipt.intent.path,
                bytes: receipt.bytes,
                rows: if is_output {
                    entry.rows_written
                } else {
                    entry.rows_dead
                },
                etag,
                sha256: receipt.sha256,
                split: entry.key.split,
            };
            if is_output {
                counts.objects += 1;
                counts.bytes += object.bytes;
                objects.push(object);
            } else {
                dead_letters.push(object);
            }
        }
        for list in [&mut objects, &mut dead_letters] {
            list.sort_by(|left, right| left.path.cmp(&right.path));
        }
        Manifest {
            job: self.records.job().to_owned(),
            job_spec: self.spec.clone(),
            counts,
            objects,
            dead_letters,
        }
    }

    /// Throws away what attempts left behind. To be done once no attempt of the job can be alive any more, and again until it
    /// finds nothing: an upload that was begun late is found late.
    pub async fn sweep(&self, kept: &Manifest) -> Result<usize> {
        let kept: HashSet<&str> = kept
            .objects
            .iter()
            .chain(&kept.dead_letters)
            .map(|object| object.path.as_str())
            .collect();
        let swept = self.sweep_one(self.output, &kept).await?;
        if std::ptr::addr_eq(self.output, self.dead_letters) {
            return Ok(swept);
        }
        Ok(swept + self.sweep_one(self.dead_letters, &kept).await?)
    }

    async fn sweep_one(&self, output: &dyn DeferredOutput, kept: &HashSet<&str>) -> Result<usize> {
        let mut strays = Vec::new();
        for listed in output.list(&self.records.intents()).await? {
            if let Some(bytes) = output.get(&listed.path).await? {
                strays.extend(from_json::<Vec<Intent>>(&listed.path, &bytes)?);
            }
        }
        strays.retain(|intent| !kept.contains(intent.path.as_str()));
        // What is listed is not finished, whatever its name: a beginning whose answer was lost is done again, and one of the two
        // uploads becomes the object.
        let mut begun = output.staged("").await?;
        begun.retain(|intent| self.records.owns(&intent.path));
        strays.extend(begun);
        strays.sort();
        strays.dedup();
        let count = strays.len();
        for intent in strays {
            output.discard(&intent).await?;
        }
        for listed in output.list(&self.records.intents()).await? {
            output.delete(&listed.path, None).await?;
        }
        Ok(count)
    }
}
