//! Splits keep their names whatever becomes of the others, and the sink gives one row per split.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, UInt64Type};
use datafusion::config::CsvOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    CsvSource, FileGroup, FileScanConfigBuilder, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Operator;
use datafusion::object_store::ObjectStoreExt;
use datafusion::object_store::memory::InMemory;
use datafusion::physical_expr::expressions::{binary, col, lit};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::SessionConfig;
use datafusion_proto::physical_plan::{AsExecutionPlan, DefaultPhysicalExtensionCodec};
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use prost::Message;
use whimbrel_proto::ids::SplitId;

use super::*;
use crate::codec::WhimbrelPhysicalCodec;
use crate::error::find;
use crate::exec::PredictExec;
use crate::runtime::ModelHostRef;
use crate::signature::ElementType;
use crate::testing::{self, SumHost};

fn spec(run: Option<u32>) -> SinkSpec {
    SinkSpec {
        job: "job1".parse().unwrap(),
        output: "s3://lake/scored/".to_owned(),
        mode: OutputMode::Error,
        format: SinkFormat::default(),
        marks: vec![("whimbrel.job".to_owned(), "job1".to_owned())],
        run,
        generations: BTreeMap::new(),
        on_error: OnError::Fail,
        stall_ms: 60_000,
    }
}

fn piece(name: &str, range: Option<(i64, i64)>) -> PartitionedFile {
    let file = PartitionedFile::new(name, 200);
    match range {
        Some((start, end)) => file.with_range(start, end),
        None => file,
    }
}

fn over(groups: Vec<Vec<PartitionedFile>>, limit: Option<usize>) -> Arc<dyn ExecutionPlan> {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let store = ObjectStoreUrl::parse("file://").unwrap();
    let config = FileScanConfigBuilder::new(store, Arc::new(ParquetSource::new(schema)))
        .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
        .with_limit(limit)
        .build();
    DataSourceExec::from_data_source(config)
}

fn groups() -> Vec<Vec<PartitionedFile>> {
    vec![
        vec![piece("a.parquet", Some((0, 100)))],
        vec![piece("a.parquet", Some((100, 200)))],
        vec![piece("b.parquet", None), piece("c.parquet", None)],
    ]
}

fn filtered(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(FilterExec::try_new(lit(true), input).unwrap())
}

fn sink(input: Arc<dyn ExecutionPlan>, spec: SinkSpec) -> Arc<dyn ExecutionPlan> {
    Arc::new(ScoreSinkExec::new(input, Arc::new(spec)))
}

fn ids(plan: &Arc<dyn ExecutionPlan>) -> Vec<SplitId> {
    splits(plan, spec_in(plan)).unwrap()
}

fn spec_in(plan: &Arc<dyn ExecutionPlan>) -> &SinkSpec {
    plan.downcast_ref::<ScoreSinkExec>().unwrap().spec()
}

#[test]
fn a_split_keeps_its_name_when_others_are_done() {
    let plan = sink(filtered(over(groups(), None)), spec(None));
    let all = ids(&plan);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 3);
    // A plan from before an upgrade must find its journal again.
    assert_eq!(all[0].as_str(), "9f75afae6ec64b492cf34736b0ea4f9e");
    let left = without(&plan, &[all[1].clone()].into()).unwrap().unwrap();
    assert_eq!(ids(&left), [all[0].clone(), all[2].clone()]);
    assert_eq!(left.output_partitioning().partition_count(), 2);
    let one = without(&plan, &[all[0].clone(), all[1].clone()].into());
    let task = placed(one.unwrap().unwrap(), 7).unwrap();
    assert_eq!(
        task.downcast_ref::<ScoreSinkExec>().unwrap().split(),
        Some(&all[2])
    );
    assert!(
        without(&plan, &all.iter().cloned().collect())
            .unwrap()
            .is_none()
    );
    let mut other = spec(None);
    other.job = "job2".parse().unwrap();
    let other = with_spec(&plan, &Arc::new(other)).unwrap();
    assert!(ids(&other).iter().all(|id| !all.contains(id)));
}

#[test]
fn rows_that_may_move_between_partitions_belong_to_a_run() {
    assert!(is_split_wise(&sink(
        filtered(over(groups(), None)),
        spec(None)
    )));
    let mixed: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(over(groups(), None)));
    let plan = sink(filtered(Arc::clone(&mixed)), spec(None));
    assert!(!is_split_wise(&plan));
    assert!(!is_split_wise(&sink(over(groups(), Some(5)), spec(None))));
    assert!(splits(&plan, spec_in(&plan)).is_err());
    let plan = sink(mixed, spec(Some(2)));
    assert_eq!(ids(&plan)[0].as_str(), "r2-p0");
    let task = placed(plan, 4).unwrap();
    let split = task.downcast_ref::<ScoreSinkExec>().unwrap().split();
    assert_eq!(split.unwrap().as_str(), "r2-p4");
    // A part of a run cannot be done again by itself.
    let plan = sink(over(groups(), None), spec(Some(2)));
    let left = without(&plan, &[ids(&plan)[0].clone()].into()).unwrap();
    assert_eq!(ids(&left.unwrap()).len(), 3);
}

#[test]
fn the_same_bytes_twice_are_refused() {
    let twice = vec![vec![piece("a.parquet", None)]; 2];
    let plan = sink(over(twice, None), spec(None));
    let error = splits(&plan, spec_in(&plan)).unwrap_err();
    let error = find(&error).unwrap();
    assert_eq!(error.message(), "the input names 'a.parquet' twice");
}

#[test]
fn a_sink_comes_back_from_the_wire_the_same() {
    let mut sent = spec(None);
    sent.generations.insert("s1".parse().unwrap(), 3);
    sent.format = SinkFormat::Csv {
        header: true,
        delimiter: b';',
        compression: TextCompression::Zstd,
    };
    sent.on_error = OnError::DeadLetter {
        uri: "s3://lake/dead/".to_owned(),
        max: Some(10),
    };
    let split: SplitId = "s1".parse().unwrap();
    let exec = ScoreSinkExec::new(over(groups(), None), Arc::new(sent.clone()));
    let exec: Arc<dyn ExecutionPlan> = Arc::new(exec.with_split(Some(split.clone())));
    let codec = WhimbrelPhysicalCodec::new(Arc::new(DefaultPhysicalExtensionCodec {}));
    let node = PhysicalPlanNode::try_from_physical_plan(exec, &codec).unwrap();
    let node: PhysicalPlanNode = AsExecutionPlan::try_decode(&node.encode_to_vec()).unwrap();
    let got = node
        .try_into_physical_plan(&TaskContext::default(), &codec)
        .unwrap();
    let got = got.downcast_ref::<ScoreSinkExec>().unwrap();
    assert_eq!(got.spec().as_ref(), &sent);
    assert_eq!(got.split(), Some(&split));
}

#[test]
fn what_a_file_cannot_hold_is_refused_by_its_name() {
    let known: Result<ParquetCompression, _> = "zip".parse();
    assert_eq!(
        known.unwrap_err().message(),
        "'zip' is no compression of parquet files"
    );
    let text = Field::new("a", DataType::Utf8, true);
    let list = Field::new_list("b", Field::new_list_field(DataType::Int64, true), true);
    let csv = SinkFormat::Csv {
        header: true,
        delimiter: b',',
        compression: TextCompression::None,
    };
    let check = |format: &SinkFormat, fields: &[&Field]| {
        let fields: Vec<Field> = fields.iter().map(|field| (*field).clone()).collect();
        format.check(&Schema::new(fields))
    };
    check(&SinkFormat::default(), &[&text, &list]).unwrap();
    let nested = check(&csv, &[&text, &list]).unwrap_err();
    assert!(
        nested
            .message()
            .starts_with("column 'b' cannot be written as csv"),
        "{nested}"
    );
}

/// Keeps the rows that come to a sink.
#[derive(Debug, Default)]
struct Keeper(Mutex<Vec<RecordBatch>>);

impl SinkHost for Arc<Keeper> {
    fn write(&self, task: SinkTask) -> BoxFuture<'static, Result<SinkReport>> {
        let keeper = Self::clone(self);
        async move {
            assert_eq!(task.files, ["mem:///a.csv"]);
            let rows: Vec<_> = (task.rows)()?.try_collect().await?;
            let sorted = rows.iter().map(|rows| {
                assert_eq!(rows.project(&task.columns).unwrap().schema(), task.schema);
                rows.project(&task.errors).unwrap()
            });
            keeper
                .0
                .lock()
                .unwrap()
                .extend(rows.iter().cloned().zip(sorted).map(|(rows, errors)| {
                    RecordBatch::try_from_iter([
                        ("value", Arc::clone(rows.column(task.columns[0]))),
                        ("error", Arc::clone(errors.column(0))),
                    ])
                    .unwrap()
                }));
            Ok(SinkReport::default())
        }
        .boxed()
    }
}

/// `SELECT value + 1 AS more FROM (... PREDICT ...) WHERE value > 3`.
fn scored(scan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let binding = testing::binding("fare", &["a"], ElementType::Int64).unwrap();
    let args = vec![col("a", &scan.schema()).unwrap()];
    let predict =
        PredictExec::try_new(scan, Arc::new(binding), args, None, "value".to_owned()).unwrap();
    let schema = predict.schema();
    let value = || col("value", &schema).unwrap();
    let over = binary(value(), Operator::Gt, lit(3.0_f32), &schema).unwrap();
    let filter = FilterExecBuilder::new(over, Arc::new(predict));
    let filter = filter
        .apply_projection(Some(vec![1]))
        .unwrap()
        .build()
        .unwrap();
    let schema = filter.schema();
    let more = binary(
        col("value", &schema).unwrap(),
        Operator::Plus,
        lit(1.0_f32),
        &schema,
    );
    let more = ProjectionExpr {
        expr: more.unwrap(),
        alias: "more".to_owned(),
    };
    Arc::new(ProjectionExec::try_new([more], Arc::new(filter)).unwrap())
}

#[tokio::test]
async fn a_row_that_cannot_be_scored_comes_to_the_sink_with_its_reason_past_every_filter() {
    let store = Arc::new(InMemory::new());
    store
        .put(&"a.csv".into(), "a\n1\n5\n\"\"\n9\n".into())
        .await
        .unwrap();
    let url = ObjectStoreUrl::parse("mem://").unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let options = CsvOptions::default().with_has_header(true);
    let source = CsvSource::new(schema).with_csv_options(options);
    let config = FileScanConfigBuilder::new(url.clone(), Arc::new(source))
        .with_file(PartitionedFile::new("a.csv", 13))
        .build();
    let scan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(config);
    let mut spec = spec(None);
    spec.on_error = OnError::DeadLetter {
        uri: "s3://lake/dead/".to_owned(),
        max: None,
    };
    let plan = catching(&sink(scored(Arc::clone(&scan)), spec.clone())).unwrap();
    assert_eq!(ids(&plan).len(), 1);
    let keeper = Arc::new(Keeper::default());
    let config = SessionConfig::new()
        .with_extension(Arc::new(SinkHostRef(Arc::new(Arc::clone(&keeper)))))
        .with_extension(Arc::new(ModelHostRef(Arc::new(SumHost::default()))));
    let context = Arc::new(TaskContext::default().with_session_config(config));
    context
        .runtime_env()
        .register_object_store(url.as_ref(), store);
    let task = placed(plan, 0).unwrap();
    let _: Vec<_> = task
        .execute(0, context)
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let kept = keeper.0.lock().unwrap();
    let kept = arrow::compute::concat_batches(&kept[0].schema(), kept.iter()).unwrap();
    let values: Vec<_> = kept
        .column(0)
        .as_primitive::<Float32Type>()
        .iter()
        .collect();
    assert_eq!(values, [Some(6.0), None, Some(10.0)]);
    let errors: Vec<_> = kept.column(1).as_string::<i32>().iter().collect();
    assert_eq!((errors[0], errors[2]), (None, None));
    assert!(errors[1].unwrap().contains("got a NULL"), "{errors:?}");

    let mixed: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(scan));
    let refused = catching(&sink(scored(mixed), spec)).unwrap_err();
    assert!(
        find(&refused)
            .unwrap()
            .message()
            .starts_with("dead letters need")
    );
}

/// Writes down for which splits it was asked.
#[derive(Debug, Default)]
struct Asked(Mutex<Vec<(SplitId, u32)>>);

impl SinkHost for Asked {
    fn write(&self, task: SinkTask) -> BoxFuture<'static, Result<SinkReport>> {
        let asked = (task.split, task.generation);
        self.0.lock().unwrap().push(asked);
        let report = SinkReport {
            rows_written: 12,
            ..SinkReport::default()
        };
        async move { Ok(report) }.boxed()
    }
}

#[tokio::test]
async fn each_split_gives_one_row() {
    let host = Arc::new(Asked::default());
    let config = SessionConfig::new().with_extension(Arc::new(SinkHostRef(host.clone())));
    let context = Arc::new(TaskContext::default().with_session_config(config));
    let mut spec = spec(None);
    let one = over(groups()[2..].to_vec(), None);
    let id = splits(&one, &spec).unwrap().remove(0);
    spec.generations.insert(id.clone(), 2);
    let unplaced = sink(one, spec);
    assert!(unplaced.execute(0, Arc::clone(&context)).is_err());
    let task = placed(unplaced, 0).unwrap();
    let rows: Vec<_> = task
        .execute(0, Arc::clone(&context))
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].column(0).as_string::<i32>().value(0), id.as_str());
    assert_eq!(rows[0].column(2).as_primitive::<UInt64Type>().value(0), 12);
    assert_eq!(*host.0.lock().unwrap(), [(id, 2)]);
    let nowhere = task.execute(0, Arc::new(TaskContext::default()));
    let error = nowhere.map(drop).unwrap_err();
    assert!(
        find(&error)
            .unwrap()
            .message()
            .contains("nothing is written")
    );
}
