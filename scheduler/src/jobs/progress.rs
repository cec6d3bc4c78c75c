//! How far a job is, added up from its journal, its running tasks and what executors report. Pure sums.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use whimbrel_proto::v1;
use whimbrel_stores::job::{Entry, Times};

use super::job::Live;
use super::record::Record;

/// Over how long the present rate is taken.
const WINDOW: Duration = Duration::from_secs(10);

/// What the journal says is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) splits: u64,
    pub(crate) objects: u64,
    pub(crate) rows_read: u64,
    pub(crate) rows_written: u64,
    pub(crate) rows_dead: u64,
    pub(crate) bytes_written: u64,
    /// Of the input, as the splits' sizes say.
    pub(crate) bytes_read: u64,
    pub(crate) times: Times,
}

impl Done {
    /// The sum of these entries; `sizes` are the splits' bytes of input.
    pub(crate) fn of(entries: &BTreeMap<String, Entry>, sizes: &HashMap<String, u64>) -> Self {
        let mut done = Self::default();
        for (split, entry) in entries {
            done.splits += 1;
            done.rows_read += entry.rows_read;
            done.rows_written += entry.rows_written;
            done.rows_dead += entry.rows_dead;
            done.times += entry.times;
            done.bytes_read += sizes.get(split).copied().unwrap_or_default();
            if let Some(object) = &entry.output {
                done.objects += 1;
                done.bytes_written += object.bytes;
            }
        }
        done
    }
}

/// Where the time of these splits has gone so far.
pub(crate) fn times_of(splits: &[(String, v1::RunningSplit)]) -> Times {
    let mut sum = Times::default();
    for times in splits.iter().filter_map(|(_, split)| split.times.as_ref()) {
        let v1::SplitTimes {
            read_ms,
            tensor_ms,
            model_ms,
            write_ms,
        } = *times;
        sum += Times {
            read_ms,
            tensor_ms,
            model_ms,
            write_ms,
        };
    }
    sum
}

/// Measures how fast rows come.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    began: Duration,
    first: u64,
    seen: VecDeque<(Duration, u64)>,
}

impl Meter {
    /// Begins where `rows` are done already.
    pub(crate) fn begin(now: Duration, rows: u64) -> Self {
        Self {
            began: now,
            first: rows,
            seen: VecDeque::from([(now, rows)]),
        }
    }

    /// Notes how many there are; gives rows a second over the last seconds, and since it began.
    pub(crate) fn note(&mut self, now: Duration, rows: u64) -> (u64, u64) {
        self.seen.push_back((now, rows));
        while self.seen.len() > 2
            && self
                .seen
                .get(1)
                .is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW)
        {
            self.seen.pop_front();
        }
        let (from, before) = self.seen.front().copied().unwrap_or((now, rows));
        (
            rate(rows.saturating_sub(before), now.saturating_sub(from)),
            rate(
                rows.saturating_sub(self.first),
                now.saturating_sub(self.began),
            ),
        )
    }
}

fn rate(rows: u64, took: Duration) -> u64 {
    let millis = took.as_millis().max(1);
    u64::try_from(u128::from(rows) * 1000 / millis).unwrap_or(u64::MAX)
}

/// Rows read so far, those of running splits too. What executors report of an engine's job comes on top of what was done before
/// it; what finished since is in both, so the larger one is the truth.
pub(crate) fn rows_done(live: &Live) -> u64 {
    let reported: u64 = live.rows.values().sum();
    (live.base.rows_read + reported).max(live.journal.rows_read)
}

/// The progress of a job, for those who watch it.
pub(crate) fn report(record: &Record, live: &Live) -> v1::JobProgress {
    let total = record.pinned.splits_total;
    let splits_done = (live.base.splits + live.tasks_done)
        .max(live.journal.splits)
        .min(total);
    let rows_done = rows_done(live);
    let bytes_total = record.pinned.bytes_total;
    let share = |of: u64| {
        let done = u128::from(of) * u128::from(splits_done);
        u64::try_from(done / u128::from(total.max(1))).unwrap_or(u64::MAX)
    };
    let bytes_done = match record.state {
        super::state::State::Succeeded => bytes_total,
        _ => live
            .journal
            .bytes_read
            .max(share(bytes_total))
            .min(bytes_total),
    };
    let running = live.running.values().sum();
    let mut executors: BTreeMap<&String, v1::JobExecutor> = BTreeMap::new();
    for (id, rows) in &live.rows {
        executors.entry(id).or_default().rows = *rows;
    }
    for (id, splits) in &live.running {
        executors.entry(id).or_default().splits_running = *splits;
    }
    let executors = executors.into_iter().map(|(id, executor)| v1::JobExecutor {
        executor_id: id.clone(),
        ..executor
    });
    let mut times = record.times;
    if record.counts.is_none() {
        times = live.journal.times;
        times += live.times;
    }
    let mut progress = v1::JobProgress {
        times: Some(v1::SplitTimes {
            read_ms: times.read_ms,
            tensor_ms: times.tensor_ms,
            model_ms: times.model_ms,
            write_ms: times.write_ms,
        }),
        splits_total: total,
        splits_done,
        splits_running: running,
        tasks_failed: live.tasks_failed,
        bytes_total,
        bytes_done,
        rows_done,
        rows_written: live.journal.rows_written,
        rows_dead: live.journal.rows_dead,
        bytes_written: live.journal.bytes_written,
        objects: live.journal.objects,
        rows_per_second: live.rate_now,
        rows_per_second_overall: live.rate_overall,
        seconds_left: seconds_left(rows_done, splits_done, total, live),
        executors: executors.collect(),
    };
    // What a job came to stays known when nothing else is.
    if let Some(counts) = &record.counts {
        progress.splits_done = counts.splits;
        progress.rows_done = counts.rows_read;
        progress.rows_written = counts.rows_written;
        progress.rows_dead = counts.rows_dead;
        progress.bytes_written = counts.bytes;
        progress.objects = counts.objects;
        progress.seconds_left = None;
    }
    progress
}

/// As long as splits are alike, what is left takes as long as what was done.
fn seconds_left(rows: u64, splits: u64, total: u64, live: &Live) -> Option<u64> {
    let per_split = live.journal.rows_read.checked_div(live.journal.splits)?;
    let all = per_split.checked_mul(total)?;
    let speed = if live.rate_now > 0 {
        live.rate_now
    } else {
        live.rate_overall
    };
    if splits >= total {
        return Some(0);
    }
    all.saturating_sub(rows).checked_div(speed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::record::tests::record;

    #[test]
    fn rows_of_running_splits_count_and_none_counts_twice() {
        let mut live = Live {
            base: Done {
                splits: 1,
                rows_read: 100,
                ..Done::default()
            },
            rows: BTreeMap::from([("e1".to_owned(), 40), ("e2".to_owned(), 60)]),
            ..Live::default()
        };
        live.journal = live.base;
        assert_eq!(rows_done(&live), 200);
        live.journal.rows_read = 250;
        assert_eq!(rows_done(&live), 250);
    }

    #[test]
    fn the_rate_of_now_forgets_and_the_overall_rate_does_not() {
        let at = Duration::from_secs;
        let mut meter = Meter::begin(at(0), 0);
        assert_eq!(meter.note(at(10), 1000), (100, 100));
        assert_eq!(meter.note(at(20), 1000), (0, 50));
        assert_eq!(meter.note(at(30), 3000), (200, 100));
    }

    #[test]
    fn time_left_follows_the_rate_and_never_divides_by_nothing() {
        let record = record("a", "");
        let mut live = Live::default();
        assert_eq!(report(&record, &live).seconds_left, None);
        live.journal = Done {
            splits: 1,
            rows_read: 100,
            ..Done::default()
        };
        assert_eq!(report(&record, &live).seconds_left, None);
        live.rate_now = 50;
        assert_eq!(report(&record, &live).seconds_left, Some(4));
        live.journal.splits = 3;
        assert_eq!(report(&record, &live).seconds_left, Some(0));
    }
}
