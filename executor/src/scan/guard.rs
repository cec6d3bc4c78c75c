//! The node above every scan of files. A panic in a decoder is caught where it still is known to be one, and is what it
//! nearly always means: damaged input. Files of the machine are looked at once more when they have been read. Rows from
//! object stores are read ahead, so that the next request is on its way while the model scores.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::internal_err;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::execution_plan::{
    CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{
    ChildStats, DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
    Statistics, StatisticsArgs,
};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::pinned_with;
use super::refusal::Refusal;
use super::small::SMALL;

/// Batches of an object store that are read before anybody asks for them.
const AHEAD: usize = 2;

/// A decoder that panicked.
#[derive(Debug)]
pub(crate) struct DecoderPanic(String);

impl DecoderPanic {
    fn of(panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no text");
        Self(text.to_owned())
    }
}

impl fmt::Display for DecoderPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its decoder gave up: {}", self.0)
    }
}

impl std::error::Error for DecoderPanic {}

/// The plan with a guard above each scan, and each scan with stores that give its files only as they were planned.
pub(crate) fn guard_scans(
    plan: Arc<dyn ExecutionPlan>,
    runtime: &Arc<RuntimeEnv>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let refusal = Refusal::default();
    let runtime = pinned_with(runtime, &plan, refusal.clone());
    plan.transform_up(|node| {
        let scan = node
            .downcast_ref::<DataSourceExec>()
            .and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
        let Some(config) = scan else {
            return Ok(Transformed::no(node));
        };
        let url = config.object_store_url.clone();
        let local = url.as_str().starts_with("file:");
        let files = config.file_groups.iter().flat_map(|group| group.iter());
        let files = files
            .filter(|file| local && file.object_meta.size > SMALL)
            .map(|file| file.object_meta.location.clone())
            .collect();
        Ok(Transformed::yes(Arc::new(ScanGuardExec {
            input: with_stores_of(&runtime, config)?.unwrap_or_else(|| Arc::clone(&node)),
            url,
            local,
            files,
            refusal: refusal.clone(),
        })))
    })
    .map(|done| done.data)
}

/// A scan of Parquet files took its store when its plan was decoded, when nobody knew yet what the task may read of it; `None` for
/// other scans, which take theirs when they begin.
fn with_stores_of(
    runtime: &RuntimeEnv,
    config: &FileScanConfig,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(source) = config.file_source().downcast_ref::<ParquetSource>() else {
        return Ok(None);
    };
    let store = runtime.object_store(&config.object_store_url)?;
    let footers = runtime.cache_manager.get_file_metadata_cache();
    let readers = Arc::new(CachedParquetFileReaderFactory::new(store, footers));
    let source = source.clone().with_parquet_file_reader_factory(readers);
    let config = FileScanConfigBuilder::from(config.clone())
        .with_source(Arc::new(source))
        .build();
    Ok(Some(DataSourceExec::from_data_source(config)))
}

/// See the module.
#[derive(Clone, Debug)]
struct ScanGuardExec {
    input: Arc<dyn ExecutionPlan>,
    url: ObjectStoreUrl,
    local: bool,
    /// Of the machine only, and not small: an object store holds its answers to what was planned, each by itself, and a small file
    /// is read at once.
    files: Vec<Path>,
    refusal: Refusal,
}

impl DisplayAs for ScanGuardExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScanGuardExec")
    }
}

/// `metrics` stays `None`: the scheduler's copy of the plan has no such node, and it compares the number of metric sets.
impl ExecutionPlan for ScanGuardExec {
    fn name(&self) -> &'static str {
        "ScanGuardExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(Self {
                input,
                ..self.as_ref().clone()
            })),
            Err(children) => internal_err!("ScanGuardExec has one input, not {}", children.len()),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schema = self.input.schema();
        let refusal = self.refusal.clone();
        let rows = caught(self.input.execute(partition, Arc::clone(&context))?)
            .map_err(move |error| refusal.or(error));
        if self.local {
            let (url, files) = (self.url.clone(), self.files.clone());
            let look = async move { look_again(&url, &files, &context).await };
            let rows = rows.chain(stream::once(look).filter_map(async |end| end.err().map(Err)));
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)));
        }
        let mut ahead = RecordBatchReceiverStream::builder(schema, AHEAD);
        let sender = ahead.tx();
        ahead.spawn(async move {
            let mut rows = std::pin::pin!(rows);
            while let Some(batch) = rows.next().await {
                let failed = batch.is_err();
                if sender.send(batch).await.is_err() || failed {
                    break;
                }
            }
            Ok(())
        });
        Ok(ahead.build())
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        match inputs {
            [input] => Ok(Arc::clone(input)),
            _ => internal_err!("ScanGuardExec has one input, not {}", inputs.len()),
        }
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

/// The same rows; a panic is an error, and the last item.
fn caught(
    rows: SendableRecordBatchStream,
) -> impl futures::Stream<Item = Result<RecordBatch>> + Send {
    AssertUnwindSafe(rows)
        .catch_unwind()
        .map(|polled| match polled {
            Ok(batch) => batch,
            Err(panic) => Err(DataFusionError::External(Box::new(DecoderPanic::of(
                panic.as_ref(),
            )))),
        })
}

/// The pinned store refuses a file that is no longer the one that was planned.
async fn look_again(url: &ObjectStoreUrl, files: &[Path], context: &TaskContext) -> Result<()> {
    let store = context.runtime_env().object_store(url)?;
    for file in files {
        store.head(file).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_decoder_is_an_error_of_the_data() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let broken = stream::once(async { panic!("index out of bounds") });
        let rows: SendableRecordBatchStream =
            Box::pin(RecordBatchStreamAdapter::new(schema, broken));
        let error = caught(rows).try_collect::<Vec<_>>().await.unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("its decoder gave up: index out of bounds"),
            "{error}"
        );
    }
}
