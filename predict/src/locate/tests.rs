//! Real scans that fail, over an in-memory store: the file and line told are those of the row that was broken.

use datafusion::common::DataFusionError;
use std::fmt::Write as _;

use datafusion::object_store::ObjectStoreExt;
use datafusion::object_store::memory::InMemory;
use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion::prelude::{CsvReadOptions, SessionConfig, SessionContext};
use futures::TryStreamExt;

use super::*;

/// 400 rows in files of 100, with `broken` in place of row 250 (line 52 of the third file, its header counted).
async fn error_of(broken: &str, partitions: usize) -> String {
    let mut config = SessionConfig::new().with_target_partitions(partitions);
    config.options_mut().optimizer.repartition_file_min_size = 1;
    let context = SessionContext::new_with_config(config);
    let store = Arc::new(InMemory::new());
    for file in 0..4 {
        let mut text = "id,fare,note\n".to_owned();
        for row in file * 100..(file + 1) * 100 {
            match row {
                250 => writeln!(text, "{broken}").unwrap(),
                row => writeln!(text, "{row},{}.5,\"a, b\"", row % 7).unwrap(),
            }
        }
        store
            .put(&format!("t/{file}.csv").into(), text.into())
            .await
            .unwrap();
    }
    let url = datafusion::execution::object_store::ObjectStoreUrl::parse("memory://").unwrap();
    context.register_object_store(url.as_ref(), store);
    let schema = arrow::datatypes::Schema::new(vec![
        arrow::datatypes::Field::new("id", arrow::datatypes::DataType::Int64, true),
        arrow::datatypes::Field::new("fare", arrow::datatypes::DataType::Float64, true),
        arrow::datatypes::Field::new("note", arrow::datatypes::DataType::Utf8, true),
    ]);
    let frame = context
        .read_csv("memory:///t/", CsvReadOptions::new().schema(&schema))
        .await
        .unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    assert_eq!(plan.output_partitioning().partition_count(), partitions);
    let task = context.task_ctx();
    for partition in 0..partitions {
        let rows = plan.execute(partition, Arc::clone(&task)).unwrap();
        if let Err(error) = rows.try_collect::<Vec<_>>().await {
            // As the engine wraps errors on their way.
            let error = DataFusionError::Shared(Arc::new(error.context("stage 1")));
            return broken_row(&plan, partition, &task, &error)
                .await
                .unwrap()
                .to_string();
        }
    }
    panic!("the scan did not fail");
}

#[tokio::test]
async fn a_broken_row_is_told_with_its_file_and_line_however_the_files_are_cut() {
    for partitions in [1, 3, 7] {
        let place = "csv file 'memory:///t/2.csv' line 52";
        let short = error_of("250,1.5", partitions).await;
        assert_eq!(short, format!("{place}: expected 3 fields, got 2; {HINT}"));
        let long = error_of("250,1.5,a,b,c", partitions).await;
        assert_eq!(long, format!("{place}: expected 3 fields, got 5; {HINT}"));
        let value = error_of("250,cheap,\"a, b\"", partitions).await;
        assert_eq!(
            value,
            format!("{place}: column 'fare' has 'cheap', which is not Float64; {TYPE_HINT}")
        );
    }
}

#[tokio::test]
async fn an_uneven_row_is_found_without_the_reader() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let path = Path::from("x.csv");
    store
        .put(&path, "a,b\n\"1\n2\",3\n4\n".into())
        .await
        .unwrap();
    let error = uneven_row(&store, &path, "/x.csv", b',', &Reading::default())
        .await
        .unwrap();
    assert_eq!(
        error.message(),
        "csv file '/x.csv' line 4: expected 2 fields, got 1"
    );
    store.put(&path, "a,b\n1,2\n".into()).await.unwrap();
    assert_eq!(
        uneven_row(&store, &path, "/x.csv", b',', &Reading::default()).await,
        None
    );
}

#[tokio::test]
async fn other_errors_are_left_alone() {
    let context = SessionContext::new();
    let plan = context
        .sql("SELECT 1")
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    let task = context.task_ctx();
    let other = DataFusionError::Execution(
        "incorrect number of fields for line 5, expected 3 got 2".to_owned(),
    );
    assert_eq!(broken_row(&plan, 0, &task, &other).await, None);
}
