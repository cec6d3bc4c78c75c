//! The node above every scan of files. A panic in a decoder is caught where it still is known to be one, and is what it
//! nearly always means: damaged input. Files of the machine are looked at once more when they have been read. Rows from
//! object stores are read ahead, so that the next request is on its way while the model scores.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::physical_plan::parquet::{
    CachedParquetFileReaderFactory, DefaultParquetFileReaderFactory, ParquetFileReaderFactory,
};
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use futures::{StreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use whimbrel_predict::error::panic_text;

use super::footers::Footers;
use super::small::SMALL;
use crate::pass::{Pass, PassExec};

/// Batches of an object store that are read before anybody asks for them.
const AHEAD: usize = 2;

/// A decoder that panicked.
#[derive(Debug)]
pub(crate) struct DecoderPanic(String);

impl fmt::Display for DecoderPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its decoder gave up: {}", self.0)
    }
}

impl std::error::Error for DecoderPanic {}

/// The plan with a guard above each scan; its stores are those of `runtime`.
pub(crate) fn guard_scans(
    plan: Arc<dyn ExecutionPlan>,
    runtime: &RuntimeEnv,
) -> Result<Arc<dyn ExecutionPlan>> {
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
        let guard = ScanGuard { url, local, files };
        let scan = with_stores_of(runtime, config)?.unwrap_or_else(|| Arc::clone(&node));
        Ok(Transformed::yes(PassExec::over(scan, guard)))
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
    let url = &config.object_store_url;
    let store = runtime.object_store(url)?;
    let mut files = config.file_groups.iter().flat_map(|group| group.iter());
    // The footer of a small file is read as soon as it is found in a cache, and would drive out those of large ones.
    let readers: Arc<dyn ParquetFileReaderFactory> =
        if files.all(|file| file.object_meta.size <= SMALL) {
            Arc::new(DefaultParquetFileReaderFactory::new(store))
        } else {
            let all = runtime.cache_manager.get_file_metadata_cache();
            let footers = Arc::new(Footers::of(url, all));
            Arc::new(CachedParquetFileReaderFactory::new(store, footers))
        };
    let source = source.clone().with_parquet_file_reader_factory(readers);
    let config = FileScanConfigBuilder::from(config.clone())
        .with_source(Arc::new(source))
        .build();
    Ok(Some(DataSourceExec::from_data_source(config)))
}

/// See the module.
#[derive(Clone, Debug)]
struct ScanGuard {
    url: ObjectStoreUrl,
    local: bool,
    /// Of the machine only, and not small: an object store holds its answers to what was planned, each by itself, and a small file
    /// is read at once.
    files: Vec<Path>,
}

impl Pass for ScanGuard {
    const NAME: &'static str = "ScanGuardExec";

    fn rows(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schema = input.schema();
        let rows = caught(input.execute(partition, Arc::clone(&context))?);
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
}

/// The same rows; a panic is an error, and the last item.
fn caught(
    rows: SendableRecordBatchStream,
) -> impl futures::Stream<Item = Result<RecordBatch>> + Send {
    AssertUnwindSafe(rows)
        .catch_unwind()
        .map(|polled| match polled {
            Ok(batch) => batch,
            Err(panic) => Err(DataFusionError::External(Box::new(DecoderPanic(
                panic_text(panic.as_ref()).unwrap_or("no text").to_owned(),
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
    use futures::TryStreamExt;

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
