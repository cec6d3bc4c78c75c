//! Which files a plan reads, and what they were when it was planned.

use std::collections::HashMap;
use std::fs::Metadata;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{CsvSource, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, Result};
use url::Url;
use whimbrel_predict::input::InputSource;
use whimbrel_stores::is_version;

use super::borders::Quoting;

/// A file as it was, and the pieces of it that the plan reads by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    pub(super) size: u64,
    meta: ObjectMeta,
    /// A file of the machine: its time is exact.
    local: bool,
    /// How its values are quoted, where line breaks in them would make a cut unsafe.
    quoting: Option<Quoting>,
    ranges: Vec<(u64, u64)>,
}

impl Pin {
    pub(super) fn of(meta: &ObjectMeta, local: bool, quoting: Option<Quoting>) -> Self {
        Self {
            size: meta.size,
            meta: meta.clone(),
            local,
            quoting,
            ranges: Vec::new(),
        }
    }

    /// Refuses another file than the one that was there.
    pub(super) fn check(&self, meta: &ObjectMeta) -> Result<()> {
        let same = match self.local {
            true => (meta.size, meta.last_modified) == (self.size, self.meta.last_modified),
            false => is_version(&self.meta, meta),
        };
        if same {
            return Ok(());
        }
        Err(Error::Precondition {
            path: meta.location.to_string(),
            source: "it is another file than when the query was planned".into(),
        })
    }

    /// As `check`, for a file of the machine that is open.
    pub(super) fn check_open(&self, facts: &Metadata) -> Result<()> {
        let mut meta = self.meta.clone();
        meta.size = facts.len();
        if let Ok(modified) = facts.modified() {
            meta.last_modified = modified.into();
        }
        self.check(&meta)
    }

    pub(super) fn add(&mut self, start: u64, end: u64) {
        self.ranges.push((start, end));
    }

    /// The piece whose reader asks for these bytes: it begins one byte early, to see whether a line ends there.
    pub(super) fn piece(&self, asked: &std::ops::Range<u64>) -> Option<(Quoting, u64, u64)> {
        let quoting = self.quoting?;
        let mut ranges = self.ranges.iter();
        let (start, end) = ranges.find(|(start, end)| {
            start.saturating_sub(1) == asked.start && asked.end >= *end.min(&self.size)
        })?;
        Some((quoting, *start, *end))
    }
}

/// The files of one store.
pub(super) type StorePins = HashMap<Path, Pin>;

/// The files of a plan, by store.
#[derive(Debug, Default)]
pub(super) struct Pins(HashMap<String, Arc<StorePins>>);

impl Pins {
    pub(super) fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut stores: HashMap<String, StorePins> = HashMap::new();
        let walked = plan.apply(|node| {
            if let Some(scan) = node.downcast_ref::<DataSourceExec>()
                && let Some(config) = scan.data_source().downcast_ref::<FileScanConfig>()
            {
                let url: &Url = config.object_store_url.as_ref();
                let pins = stores.entry(key(url)).or_default();
                let local = is_local(url);
                let input = scan.downcast_to_file_source::<InputSource>();
                let quoting = input.and_then(|(_, input)| quoting(input.csv()?));
                for file in config.file_groups.iter().flat_map(|group| group.iter()) {
                    pin(pins, file, local, quoting);
                }
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(walked.is_ok(), "the walk raises nothing");
        Self(
            stores
                .into_iter()
                .map(|(key, pins)| (key, Arc::new(pins)))
                .collect(),
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn of_store(&self, url: &Url) -> Option<Arc<StorePins>> {
        self.0.get(&key(url)).cloned()
    }
}

fn pin(pins: &mut StorePins, file: &PartitionedFile, local: bool, quoting: Option<Quoting>) {
    let meta = &file.object_meta;
    let pin = pins
        .entry(meta.location.clone())
        .or_insert_with(|| Pin::of(meta, local, quoting));
    if let Some(range) = &file.range
        && let (Ok(start), Ok(end)) = (u64::try_from(range.start), u64::try_from(range.end))
    {
        pin.add(start, end);
    }
}

/// `None` where the reader takes every line break for the end of a record, or is given whole files.
fn quoting(source: &CsvSource) -> Option<Quoting> {
    (!source.newlines_in_values()).then(|| Quoting {
        delimiter: source.delimiter(),
        quote: source.quote(),
        escape: source.escape(),
    })
}

pub(super) fn is_local(url: &Url) -> bool {
    url.scheme() == "file"
}

/// A store's name: everything before the path.
fn key(url: &Url) -> String {
    url[..url::Position::BeforePath].to_owned()
}
