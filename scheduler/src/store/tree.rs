//! The facts of one process as plain data: entries by key, the last commits for watchers, and leases. Every decision of the
//! local homes is made here, without waiting and without effects: a transaction becomes a [`Batch`] (or a conflict) by
//! `plan`, the home makes the batch durable, and `apply` makes it visible.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use whimbrel_proto::{Error, ErrorCode};

use super::{
    Change, Changes, Entry, Expect, Lagged, LeaseId, Listing, MAX_KEY_BYTES, MAX_VALUE_BYTES,
    Outcome, Revision, Transaction, Write,
};

/// How much of the past is kept for watchers.
#[derive(Clone, Copy, Debug)]
pub(super) struct HistoryLimit {
    pub(super) commits: usize,
    pub(super) bytes: usize,
}

impl Default for HistoryLimit {
    fn default() -> Self {
        Self {
            commits: 1024,
            bytes: 16 << 20,
        }
    }
}

/// What a home is asked to do.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Commit(Transaction),
    /// Ends these leases; those that have ended are passed over.
    EndLeases(Vec<LeaseId>),
}

/// What is to be done about a command.
#[derive(Debug)]
pub(super) enum Planned {
    /// Nothing changes; this is the answer.
    Answer(Outcome),
    /// Make this durable, then visible, then answer with its revision.
    Make(Batch),
}

/// One commit: what it does to each key.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) revision: Revision,
    pub(super) writes: Vec<(String, Write)>,
    ended: Vec<LeaseId>,
}

#[derive(Debug)]
struct Stored {
    entry: Entry,
    lease: Option<LeaseId>,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    deadline: Duration,
    keys: BTreeSet<String>,
}

/// All facts of one store.
#[derive(Debug, Default)]
pub(super) struct Tree {
    revision: Revision,
    entries: BTreeMap<String, Stored>,
    /// Commits after `forgotten`, oldest first.
    history: VecDeque<Changes>,
    history_bytes: usize,
    forgotten: Revision,
    limit: HistoryLimit,
    leases: BTreeMap<LeaseId, Lease>,
    granted: u64,
}

impl Tree {
    /// The facts a home has read back; its past is not known.
    pub(super) fn restore(
        revision: Revision,
        entries: Vec<(String, Entry)>,
        limit: HistoryLimit,
    ) -> Self {
        let entries = entries
            .into_iter()
            .map(|(key, entry)| (key, Stored { entry, lease: None }))
            .collect();
        Self {
            revision,
            entries,
            forgotten: revision,
            limit,
            ..Self::default()
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.entries.get(key).map(|stored| stored.entry.clone())
    }

    pub(super) fn list(&self, prefix: &str) -> Listing {
        let entries = self
            .entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, stored)| (key.clone(), stored.entry.clone()))
            .collect();
        Listing {
            revision: self.revision,
            entries,
        }
    }

    /// The first commit after `seen` that touches `prefix`, and how far the past has been looked through.
    pub(super) fn next_changes(
        &self,
        prefix: &str,
        seen: Revision,
    ) -> Result<(Option<Changes>, Revision), Lagged> {
        if seen < self.forgotten || seen > self.revision {
            return Err(Lagged { seen });
        }
        let start = self
            .history
            .partition_point(|changes| changes.revision <= seen);
        for commit in self.history.range(start..) {
            let changes: Vec<Change> = commit
                .changes
                .iter()
                .filter(|change| change.key.starts_with(prefix))
                .cloned()
                .collect();
            if !changes.is_empty() {
                let revision = commit.revision;
                return Ok((Some(Changes { revision, changes }), revision));
            }
        }
        Ok((None, self.revision))
    }

    /// Decides what a command does now.
    pub(super) fn plan(&self, command: &Command, now: Duration) -> Result<Planned, Error> {
        match command {
            Command::Commit(transaction) => self.plan_commit(transaction, now),
            Command::EndLeases(leases) => Ok(self.plan_end(leases)),
        }
    }

    fn plan_commit(&self, transaction: &Transaction, now: Duration) -> Result<Planned, Error> {
        check(transaction)?;
        let holds = |(key, expect): &(String, Expect)| {
            let found = self.entries.get(key).map(|stored| stored.entry.revision);
            match expect {
                Expect::Absent => found.is_none(),
                Expect::At(revision) => found == Some(*revision),
            }
        };
        if !transaction.conditions.iter().all(holds) {
            return Ok(Planned::Answer(Outcome::Conflict));
        }
        for (_, write) in &transaction.writes {
            if let Write::Put {
                lease: Some(lease), ..
            } = write
            {
                self.live_lease(*lease, now)?;
            }
        }
        let writes = transaction
            .writes
            .iter()
            .filter(|(key, write)| match write {
                Write::Put { .. } => true,
                Write::Delete => self.entries.contains_key(key),
            });
        Ok(self.batch(writes.cloned().collect(), Vec::new()))
    }

    fn plan_end(&self, leases: &[LeaseId]) -> Planned {
        let ended: Vec<LeaseId> = leases
            .iter()
            .copied()
            .filter(|id| self.leases.contains_key(id))
            .collect();
        let keys: BTreeSet<&String> = ended.iter().flat_map(|id| &self.leases[id].keys).collect();
        let writes = keys
            .into_iter()
            .map(|key| (key.clone(), Write::Delete))
            .collect();
        self.batch(writes, ended)
    }

    fn batch(&self, writes: Vec<(String, Write)>, ended: Vec<LeaseId>) -> Planned {
        if writes.is_empty() && ended.is_empty() {
            return Planned::Answer(Outcome::Committed(self.revision));
        }
        let revision = Revision(self.revision.0 + 1);
        Planned::Make(Batch {
            revision,
            writes,
            ended,
        })
    }

    /// Makes a planned batch visible. Batches are applied in the order they were planned, each before the next is planned.
    pub(super) fn apply(&mut self, batch: Batch) {
        let Batch {
            revision,
            writes,
            ended,
        } = batch;
        let changes = writes
            .into_iter()
            .map(|(key, write)| {
                let entry = self.apply_write(&key, write, revision);
                Change { key, entry }
            })
            .collect();
        for lease in ended {
            self.leases.remove(&lease);
        }
        self.revision = revision;
        self.remember(Changes { revision, changes });
    }

    fn apply_write(&mut self, key: &str, write: Write, revision: Revision) -> Option<Entry> {
        if let Some(before) = self.entries.remove(key)
            && let Some(lease) = before.lease.and_then(|id| self.leases.get_mut(&id))
        {
            lease.keys.remove(key);
        }
        let Write::Put { value, lease } = write else {
            return None;
        };
        if let Some(lease) = lease.and_then(|id| self.leases.get_mut(&id)) {
            lease.keys.insert(key.to_owned());
        }
        let entry = Entry { value, revision };
        let stored = Stored {
            entry: entry.clone(),
            lease,
        };
        self.entries.insert(key.to_owned(), stored);
        Some(entry)
    }

    fn remember(&mut self, changes: Changes) {
        self.history_bytes += weight(&changes);
        self.history.push_back(changes);
        while self.history.len() > self.limit.commits || self.history_bytes > self.limit.bytes {
            let Some(oldest) = self.history.pop_front() else {
                break;
            };
            self.history_bytes -= weight(&oldest);
            self.forgotten = oldest.revision;
        }
    }

    pub(super) fn grant(&mut self, ttl: Duration, now: Duration) -> LeaseId {
        self.granted += 1;
        let id = LeaseId(self.granted);
        let deadline = now.saturating_add(ttl);
        let keys = BTreeSet::new();
        self.leases.insert(
            id,
            Lease {
                ttl,
                deadline,
                keys,
            },
        );
        id
    }

    pub(super) fn keep_alive(&mut self, id: LeaseId, now: Duration) -> Result<(), Error> {
        self.live_lease(id, now)?;
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.deadline = now.saturating_add(lease.ttl);
        }
        Ok(())
    }

    /// A lease whose time is up is over, even before its keys are gone.
    fn live_lease(&self, id: LeaseId, now: Duration) -> Result<(), Error> {
        match self.leases.get(&id) {
            Some(lease) if now < lease.deadline => Ok(()),
            Some(_) | None => Err(Error::new(
                ErrorCode::NotFound,
                format!("lease {} has ended", id.0),
            )
            .with_hint("take a new lease and write its keys again")),
        }
    }

    /// Leases whose time is up, and when the next one's will be.
    pub(super) fn expired(&self, now: Duration) -> (Vec<LeaseId>, Option<Duration>) {
        let over = |lease: &Lease| lease.deadline <= now;
        let expired = self
            .leases
            .iter()
            .filter(|(_, lease)| over(lease))
            .map(|(id, _)| *id)
            .collect();
        let next = self
            .leases
            .values()
            .filter(|lease| !over(lease))
            .map(|lease| lease.deadline)
            .min();
        (expired, next)
    }
}

fn weight(changes: &Changes) -> usize {
    let bytes = |change: &Change| {
        change.key.len() + change.entry.as_ref().map_or(0, |entry| entry.value.len())
    };
    changes.changes.iter().map(bytes).sum()
}

fn check(transaction: &Transaction) -> Result<(), Error> {
    let mut written = BTreeSet::new();
    for (key, write) in &transaction.writes {
        check_key(key)?;
        if !written.insert(key) {
            return Err(Error::new(
                ErrorCode::Bug,
                format!("one transaction writes the key '{key}' twice"),
            ));
        }
        if let Write::Put { value, .. } = write {
            check_value(key, value)?;
        }
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        let text = format!(
            "a state key has {} bytes; 1 to {MAX_KEY_BYTES} are allowed",
            key.len()
        );
        return Err(Error::new(ErrorCode::Invalid, text));
    }
    Ok(())
}

fn check_value(key: &str, value: &Bytes) -> Result<(), Error> {
    if value.len() > MAX_VALUE_BYTES {
        let text = format!(
            "the state of '{key}' has {} bytes; {MAX_VALUE_BYTES} are allowed",
            value.len()
        );
        return Err(Error::new(ErrorCode::Exhausted, text)
            .with_hint("the state store holds small facts; a table or model with thousands of columns does not fit"));
    }
    Ok(())
}
