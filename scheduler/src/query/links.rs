//! The links to object stores that a plan's scans and outputs need go with the plan: an executor that runs a task of it knows them then,
//! however lately they were made.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use whimbrel_predict::sink::ScoreSinkExec;
use whimbrel_stores::{Bucket, Stores, Travelling};

/// Puts the links into the settings that travel with the plan's tasks.
pub(super) fn pack(stores: &Stores, plan: &Arc<dyn ExecutionPlan>, config: &mut SessionConfig) {
    pack_with(stores, plan, None, config);
}

/// The same for a plan whose tasks write to a place.
pub(super) fn pack_with(
    stores: &Stores,
    plan: &Arc<dyn ExecutionPlan>,
    output: Option<&str>,
    config: &mut SessionConfig,
) {
    let mut buckets = buckets(stores, plan);
    if let Some(Ok(Some(place))) = output.map(|uri| stores.locate(uri))
        && !buckets.contains(&place.bucket)
    {
        buckets.push(place.bucket);
    }
    let links = stores.links_for(&buckets);
    if !links.is_empty() {
        let extensions = &mut config.options_mut().extensions;
        extensions.insert(Travelling::with(&links));
    }
}

/// The buckets that the plan reads from and writes to.
fn buckets(stores: &Stores, plan: &Arc<dyn ExecutionPlan>) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let walked = plan.apply(|node| {
        let scan = node
            .downcast_ref::<DataSourceExec>()
            .and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
        let sink = node
            .downcast_ref::<ScoreSinkExec>()
            .map(ScoreSinkExec::spec);
        let uris = scan
            .map(|scan| scan.object_store_url.as_str())
            .into_iter()
            .chain(sink.into_iter().flat_map(|spec| spec.outputs()));
        for uri in uris {
            // What is no object store's needs no link.
            if let Ok(Some(place)) = stores.locate(uri)
                && !buckets.contains(&place.bucket)
            {
                buckets.push(place.bucket);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "the walk raises nothing");
    buckets
}
