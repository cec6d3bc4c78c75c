//! What the pieces of a score job are called, so that one that is done is known again by whoever comes later: where a piece is
//! certain bytes of certain files, after these; else after its place in one run of the plan.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use sha2::{Digest, Sha256};
use whimbrel_proto::ids::{ScoreJobId, SplitId};
use whimbrel_proto::{Error, ErrorCode};

use super::{ScoreSinkExec, SinkSpec};
use crate::error::external;
use crate::exec::PredictExec;
use crate::locate::shown;

/// The hex digits of a digest that are kept.
const DIGITS: usize = 32;

/// Whether the rows of each partition are those of one group of files, whatever the other partitions do.
pub fn is_split_wise(plan: &Arc<dyn ExecutionPlan>) -> bool {
    scan(plan).is_some()
}

/// The splits of a job's plan, one per partition.
pub fn splits(plan: &Arc<dyn ExecutionPlan>, spec: &SinkSpec) -> Result<Vec<SplitId>> {
    if let Some(run) = spec.run {
        let partitions = plan.output_partitioning().partition_count();
        return (0..partitions)
            .map(|partition| of_run(run, partition))
            .collect();
    }
    let config = scan(plan).ok_or_else(|| not_split_wise(&spec.job))?;
    let ids = config
        .file_groups
        .iter()
        .map(|group| of_files(&spec.job, config, group))
        .collect::<Result<Vec<_>>>()?;
    let mut seen = HashSet::new();
    match ids.iter().position(|id| !seen.insert(id)) {
        None => Ok(ids),
        Some(twice) => {
            let file = config.file_groups[twice].files().first();
            let file = file.map_or_else(String::new, |file| file.object_meta.location.to_string());
            let text = format!("the input names '{file}' twice");
            Err(external(Error::new(ErrorCode::Invalid, text).with_hint(
                "name each file once; a split is known by the bytes that it reads",
            )))
        }
    }
}

/// The plan with only the splits that are not `done`; `None` where nothing is left. A plan whose splits belong to a run stays
/// whole as long as one of them is left: the others say of themselves that they are done.
pub fn without(
    plan: &Arc<dyn ExecutionPlan>,
    done: &HashSet<SplitId>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let spec = spec_of(plan)?;
    let ids = splits(plan, spec)?;
    let left: Vec<usize> = (0..ids.len())
        .filter(|&place| !done.contains(&ids[place]))
        .collect();
    if left.is_empty() {
        return Ok(None);
    }
    match scan(plan) {
        Some(config) if spec.run.is_none() && left.len() < ids.len() => {
            let groups = left
                .iter()
                .map(|&place| config.file_groups[place].clone())
                .collect();
            let fewer = FileScanConfigBuilder::from(config.clone())
                .with_file_groups(groups)
                .with_output_partitioning(None)
                .build();
            let fewer: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(fewer);
            on_scan(plan, &fewer).map(Some)
        }
        Some(_) | None => Ok(Some(Arc::clone(plan))),
    }
}

/// The plan with another spec in its sink.
pub fn with_spec(
    plan: &Arc<dyn ExecutionPlan>,
    spec: &Arc<SinkSpec>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let sink = sink_of(plan)?;
    let input = Arc::clone(sink.input());
    Ok(Arc::new(ScoreSinkExec::new(input, Arc::clone(spec))))
}

/// A task's plan, each sink in it with the split that the task is; `partition` is the task's place in its stage.
pub fn placed(plan: Arc<dyn ExecutionPlan>, partition: usize) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_down(|node| {
        let Some(sink) = node.downcast_ref::<ScoreSinkExec>() else {
            return Ok(Transformed::no(node));
        };
        let split = of_task(sink, partition)?;
        let placed = sink.with_split(Some(split));
        Ok(Transformed::yes(Arc::new(placed) as Arc<dyn ExecutionPlan>))
    })
    .data()
}

/// The files that a plan reads, as people call them.
pub(super) fn input_files(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let mut files: Vec<String> = pieces(plan)
        .into_iter()
        .map(|(config, file)| shown(config, &file.object_meta.location))
        .collect();
    files.dedup();
    files
}

/// The bytes that a plan reads of a file, where it is one and not all of it.
pub(super) fn input_range(plan: &Arc<dyn ExecutionPlan>) -> Option<(i64, i64)> {
    match pieces(plan).as_slice() {
        [(_, file)] => file.range.as_ref().map(|range| (range.start, range.end)),
        _ => None,
    }
}

/// The bytes of all files that a plan reads.
pub(super) fn input_bytes(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let bytes = |(_, file)| {
        let (start, end) = range(file);
        u64::try_from(end - start).unwrap_or_default()
    };
    pieces(plan).into_iter().map(bytes).sum()
}

/// What a plan reads, whatever nodes are above it: an executor puts its own between.
fn pieces(plan: &Arc<dyn ExecutionPlan>) -> Vec<(&FileScanConfig, &PartitionedFile)> {
    let scan = plan.downcast_ref::<DataSourceExec>();
    let own = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
    let own = own.into_iter().flat_map(|config| {
        let files = config.file_groups.iter().flat_map(FileGroup::iter);
        files.map(move |file| (config, file))
    });
    own.chain(plan.children().into_iter().flat_map(pieces))
        .collect()
}

fn of_task(sink: &ScoreSinkExec, partition: usize) -> Result<SplitId> {
    let spec = sink.spec();
    if let Some(run) = spec.run {
        return of_run(run, partition);
    }
    let config = scan(sink.input()).ok_or_else(|| not_split_wise(&spec.job))?;
    match config.file_groups.as_slice() {
        [group] => of_files(&spec.job, config, group),
        groups => {
            let text = format!("score job {}: a task has {} splits", spec.job, groups.len());
            Err(external(Error::new(ErrorCode::Bug, text)))
        }
    }
}

fn of_run(run: u32, partition: usize) -> Result<SplitId> {
    format!("r{run}-p{partition}").parse().map_err(external)
}

fn of_files(job: &ScoreJobId, config: &FileScanConfig, group: &FileGroup) -> Result<SplitId> {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    add(job.as_str().as_bytes());
    add(config.object_store_url.as_str().as_bytes());
    for file in group.files() {
        let (start, end) = range(file);
        add(file.object_meta.location.as_ref().as_bytes());
        add(&start.to_be_bytes());
        add(&end.to_be_bytes());
    }
    let digest = hash.finalize();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hex[..DIGITS].parse().map_err(external)
}

fn range(file: &PartitionedFile) -> (i64, i64) {
    let size = i64::try_from(file.object_meta.size).unwrap_or(i64::MAX);
    file.range
        .as_ref()
        .map_or((0, size), |range| (range.start, range.end))
}

/// The one scan of files below nodes that work row by row.
fn scan(plan: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    if plan.fetch().is_some() {
        return None;
    }
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
        return scan.data_source().downcast_ref::<FileScanConfig>();
    }
    let by_row = plan.is::<ScoreSinkExec>()
        || plan.is::<PredictExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<FilterExec>()
        || plan.is::<CooperativeExec>();
    match plan.children().as_slice() {
        [input] if by_row => scan(input),
        _ => None,
    }
}

/// The plan over another scan.
fn on_scan(
    plan: &Arc<dyn ExecutionPlan>,
    scan: &Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    match plan.children().as_slice() {
        [input] => {
            let input = on_scan(input, scan)?;
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            Arc::clone(plan).replace_children(vec![input], options)
        }
        _ => Ok(Arc::clone(scan)),
    }
}

pub(super) fn sink_of(plan: &Arc<dyn ExecutionPlan>) -> Result<&ScoreSinkExec> {
    plan.downcast_ref::<ScoreSinkExec>().ok_or_else(|| {
        let text = format!("a score job's plan ends in {}", plan.name());
        external(Error::new(ErrorCode::Bug, text))
    })
}

fn spec_of(plan: &Arc<dyn ExecutionPlan>) -> Result<&SinkSpec> {
    sink_of(plan).map(|sink| sink.spec().as_ref())
}

fn not_split_wise(job: &ScoreJobId) -> datafusion::error::DataFusionError {
    let text = format!("score job {job}: its plan is not one scan whose rows stay apart");
    external(Error::new(ErrorCode::Bug, text))
}
