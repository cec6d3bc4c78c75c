//! Whose turn it is: how many score jobs have their splits handed out at once, in all and of one user. Those of a higher priority
//! come first, of equals the one that was submitted first; a user who has enough of them is passed over.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use whimbrel_proto::ids::ScoreJobId;

use super::priority::Priority;
use super::record::Record;

/// How many jobs have a turn at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    pub(crate) all: usize,
    pub(crate) per_user: usize,
}

/// A job's place in the queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    priority: Reverse<Priority>,
    submitted_at_ms: i64,
    id: ScoreJobId,
    user: String,
}

impl Place {
    fn of(record: &Record) -> Self {
        Self {
            priority: Reverse(record.spec.priority),
            submitted_at_ms: record.submitted_at_ms,
            id: record.id.clone(),
            user: record.user.clone(),
        }
    }
}

/// Who waits and who has a turn.
#[derive(Debug, Default)]
struct Line {
    /// In the order in which they come.
    waiting: Vec<Place>,
    at_work: Vec<Place>,
}

impl Line {
    /// The next one to have a turn; a pure decision.
    fn next(&self, turns: Turns) -> Option<usize> {
        if self.at_work.len() >= turns.all {
            return None;
        }
        let of = |user: &str| {
            let own = self.at_work.iter().filter(|place| place.user == user);
            own.count()
        };
        self.waiting
            .iter()
            .position(|place| of(&place.user) < turns.per_user)
    }

    fn advance(&mut self, turns: Turns) {
        while let Some(next) = self.next(turns) {
            let place = self.waiting.remove(next);
            self.at_work.push(place);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    turns: Turns,
    line: Mutex<Line>,
    changed: watch::Sender<()>,
}

/// A job's stay in the queue, and then its turn; over when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    queue: Arc<Queue>,
    id: ScoreJobId,
}

impl Queue {
    pub(super) fn new(turns: Turns) -> Arc<Self> {
        Arc::new(Self {
            turns,
            line: Mutex::default(),
            changed: watch::Sender::new(()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Line)) {
        let mut line = self.lock();
        change(&mut line);
        line.advance(self.turns);
        drop(line);
        self.changed.send_replace(());
    }

    /// Puts a job into the queue.
    pub(super) fn enter(self: &Arc<Self>, record: &Record) -> Turn {
        let place = Place::of(record);
        let id = place.id.clone();
        self.change(|line| {
            let at = line.waiting.partition_point(|other| *other < place);
            line.waiting.insert(at, place);
        });
        Turn {
            queue: Arc::clone(self),
            id,
        }
    }

    /// Gives a job its turn at once, whoever waits.
    pub(super) fn pass(self: &Arc<Self>, record: &Record) -> Turn {
        let place = Place::of(record);
        let id = place.id.clone();
        self.change(|line| line.at_work.push(place));
        Turn {
            queue: Arc::clone(self),
            id,
        }
    }

    /// Changes whenever a turn may have come.
    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

impl Turn {
    /// How many jobs are before it, in the queue and at work; 0 once it is its turn.
    pub(super) fn behind(&self) -> usize {
        let line = self.queue.lock();
        let before = line.waiting.iter().position(|place| place.id == self.id);
        before.map_or(0, |before| before + line.at_work.len())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.change(|line| {
            line.waiting.retain(|place| place.id != self.id);
            line.at_work.retain(|place| place.id != self.id);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::record::tests::record;

    fn wanting(id: &str, user: &str, priority: Priority, at: i64) -> Record {
        let mut record = record(id, "");
        record.user = user.to_owned();
        record.submitted_at_ms = at;
        record.spec.priority = priority;
        record
    }

    #[test]
    fn the_most_urgent_is_next_and_of_equals_the_oldest() {
        let queue = Queue::new(Turns {
            all: 1,
            per_user: 9,
        });
        let first = queue.enter(&wanting("a", "ann", Priority::Low, 1));
        assert_eq!(first.behind(), 0);
        let late = queue.enter(&wanting("d", "ann", Priority::Normal, 4));
        let old = queue.enter(&wanting("b", "ann", Priority::Normal, 2));
        let urgent = queue.enter(&wanting("c", "bob", Priority::High, 3));
        assert_eq!(
            [urgent.behind(), old.behind(), late.behind()],
            [1, 2, 3],
            "one is at work"
        );
        drop(first);
        assert_eq!([urgent.behind(), old.behind()], [0, 1]);
        drop((urgent, old));
        assert_eq!(late.behind(), 0);
    }

    #[test]
    fn a_user_who_has_enough_is_passed_over_until_one_of_them_ends() {
        let queue = Queue::new(Turns {
            all: 9,
            per_user: 1,
        });
        let first = queue.enter(&wanting("a", "ann", Priority::Normal, 1));
        let second = queue.enter(&wanting("b", "ann", Priority::High, 2));
        let other = queue.enter(&wanting("c", "bob", Priority::Low, 3));
        assert_eq!(other.behind(), 0);
        assert_eq!(second.behind(), 2);
        drop(first);
        assert_eq!(second.behind(), 0);
    }
}
