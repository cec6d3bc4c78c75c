//! The engine settings of every query, and which of them a session may change.

use ballista_core::config::{
    BALLISTA_ADAPTIVE_PLANNER_ENABLED, BALLISTA_CLIENT_GRPC_MAX_MESSAGE_SIZE,
    BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, BALLISTA_SCHEDULER_SHARE_FILE_STATISTICS_CACHE,
    BALLISTA_SHUFFLE_COMPRESSION_CODEC,
};
use ballista_core::extension::SessionConfigExt;
use datafusion::prelude::SessionConfig;

/// The catalog and schema that a pool's tables are in.
pub(crate) const CATALOG: &str = "whimbrel";
/// See [`CATALOG`].
pub(crate) const SCHEMA: &str = "public";

/// The schema of the tables that stand for `information_schema.models` and `information_schema.jobs`.
pub(crate) const LISTS_SCHEMA: &str = "pool_lists";

/// How results and what executors hand each other are packed: a session with a slow way to the pool asks for `lz4` or `zstd`.
const CODEC: &str = BALLISTA_SHUFFLE_COMPRESSION_CODEC;

/// The settings a query starts from.
pub(crate) fn session_config(max_message_bytes: usize) -> SessionConfig {
    let mut config = SessionConfig::new_with_ballista()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        // Reading every footer on the scheduler costs more than the plans gain from it.
        .with_collect_statistics(false)
        // The catalog has cut the files into splits.
        .with_repartition_file_scans(false)
        .with_round_robin_repartition(false);
    let fixed = [
        // Losing an executor's outputs under the adaptive planner hangs the query.
        (BALLISTA_ADAPTIVE_PLANNER_ENABLED, "false".to_owned()),
        // Retries, balance and progress go by partition, and rejected tasks refund exactly what they took.
        (BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, "1".to_owned()),
        (
            BALLISTA_CLIENT_GRPC_MAX_MESSAGE_SIZE,
            max_message_bytes.to_string(),
        ),
        (
            BALLISTA_SCHEDULER_SHARE_FILE_STATISTICS_CACHE,
            "false".to_owned(),
        ),
        // Unpacking takes a reader longer than a fast network does.
        (CODEC, "none".to_owned()),
    ];
    for (key, value) in fixed {
        if let Err(error) = config.options_mut().set(key, &value) {
            tracing::error!(key, error = %error, "the engine does not know one of its own settings");
        }
    }
    config
}

/// What `SET` may change: how a query runs, never what the distributed engine or the pool rests on.
pub(crate) fn may_set(key: &str) -> bool {
    const OPEN: [&str; 5] = [
        "datafusion.execution.",
        "datafusion.optimizer.",
        "datafusion.sql_parser.",
        "datafusion.explain.",
        "datafusion.format.",
    ];
    const FIXED: [&str; 8] = [
        "datafusion.execution.collect_statistics",
        "datafusion.execution.parquet.schema_force_view_types",
        "datafusion.optimizer.enable_round_robin_repartition",
        "datafusion.optimizer.repartition_file_scans",
        "datafusion.optimizer.enable_physical_uncorrelated_scalar_subquery",
        "datafusion.optimizer.enable_dynamic_filter_pushdown",
        "datafusion.sql_parser.map_string_types_to_utf8view",
        "datafusion.sql_parser.recursion_limit",
    ];
    let key = key.to_ascii_lowercase();
    if key == CODEC {
        return true;
    }
    OPEN.iter().any(|open| key.starts_with(open))
        && !FIXED.contains(&key.as_str())
        && !key.starts_with("datafusion.optimizer.enable_join_dynamic")
        && !key.starts_with("datafusion.optimizer.enable_topk_dynamic")
        && !key.starts_with("datafusion.optimizer.enable_aggregate_dynamic")
}

#[cfg(test)]
mod tests {
    use ballista_core::extension::SessionConfigExt;

    use super::*;

    #[test]
    fn the_settings_that_the_engine_rests_on_arrive() {
        let config = session_config(1 << 26);
        assert!(!config.ballista_adaptive_query_planner_enabled());
        assert_eq!(config.ballista_config().max_partitions_per_task(), 1);
        assert_eq!(
            config.ballista_config().grpc_client_max_message_size(),
            1 << 26
        );
        let codec = config.ballista_config().shuffle_compression_codec();
        assert!(codec.expect("known").is_none());
        assert!(!config.round_robin_repartition());
    }

    #[test]
    fn set_reaches_how_a_query_runs_and_nothing_below_it() {
        assert!(may_set("datafusion.execution.batch_size"));
        assert!(!may_set(
            "datafusion.optimizer.enable_dynamic_filter_pushdown"
        ));
        assert!(!may_set("datafusion.catalog.default_schema"));
        assert!(may_set("ballista.shuffle.compression.codec"));
        assert!(!may_set("ballista.planner.adaptive.enabled"));
    }
}
