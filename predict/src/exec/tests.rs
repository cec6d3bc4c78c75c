//! Each promise of the node on its own: order, bounds, masks, stopping, and what happens when a model misbehaves.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Float32Type, Int64Type};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{binary, col, lit};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::limit_pushdown::LimitPushdown;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::filter_pushdown::PushedDown;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::prelude::SessionConfig;
use futures::channel::{mpsc, oneshot};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};

use super::*;
use crate::error::find;
use crate::runtime::{Feed, Model, ModelHost, ModelHostRef};
use crate::signature::ElementType;
use crate::testing::{self, SumHost, sum};

type Answer = oneshot::Sender<std::result::Result<ArrayRef, Error>>;
type Asked = Vec<(Feed, Option<Answer>)>;

/// A model that answers when the test says so.
#[derive(Clone, Debug)]
struct Probe {
    batch_rows: usize,
    feeds_ahead: usize,
    asked: Arc<Mutex<Asked>>,
}

impl Probe {
    fn new(batch_rows: usize, feeds_ahead: usize) -> Self {
        Self {
            batch_rows,
            feeds_ahead,
            asked: Arc::default(),
        }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn feed_rows(&self) -> Vec<usize> {
        self.asked().iter().map(|(feed, _)| feed.rows).collect()
    }

    /// Answers the newest feed that has no answer, and says which that was.
    fn answer_newest(&self) -> Option<usize> {
        let mut asked = self.asked();
        let newest = asked.iter().rposition(|(_, answer)| answer.is_some())?;
        let (feed, answer) = &mut asked[newest];
        answer.take()?.send(sum(feed, &DataType::Float32)).ok()?;
        Some(newest)
    }
}

#[async_trait]
impl ModelHost for Probe {
    async fn open(&self, _binding: &Binding) -> std::result::Result<Arc<dyn Model>, Error> {
        Ok(Arc::new(self.clone()))
    }
}

impl Model for Probe {
    fn score(&self, feed: Feed) -> BoxFuture<'static, std::result::Result<ArrayRef, Error>> {
        let (answer, answered) = oneshot::channel();
        self.asked().push((feed, Some(answer)));
        Box::pin(async move {
            answered
                .await
                .expect("the test answers every feed that it polls on")
        })
    }

    fn batch_rows(&self) -> usize {
        self.batch_rows
    }

    fn feeds_ahead(&self) -> usize {
        self.feeds_ahead
    }
}

/// A model that always answers with the same array.
#[derive(Debug)]
struct Stuck(ArrayRef);

#[async_trait]
impl ModelHost for Stuck {
    async fn open(&self, _binding: &Binding) -> std::result::Result<Arc<dyn Model>, Error> {
        Ok(Arc::new(Self(Arc::clone(&self.0))))
    }
}

impl Model for Stuck {
    fn score(&self, _feed: Feed) -> BoxFuture<'static, std::result::Result<ArrayRef, Error>> {
        futures::future::ready(Ok(Arc::clone(&self.0))).boxed()
    }

    fn batch_rows(&self) -> usize {
        8
    }

    fn feeds_ahead(&self) -> usize {
        1
    }
}

/// An input that the test feeds batch by batch.
#[derive(Debug)]
struct Piped {
    schema: SchemaRef,
    batches: Mutex<Option<mpsc::Receiver<RecordBatch>>>,
}

impl PartitionStream for Piped {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.batches.lock().unwrap().take().unwrap();
        let stream = batches.map(Ok);
        Box::pin(
            datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(
                Arc::clone(&self.schema),
                stream,
            ),
        )
    }
}

pub(super) fn ints(values: impl IntoIterator<Item = Option<i64>>) -> RecordBatch {
    let values: ArrayRef = Arc::new(values.into_iter().collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([("x", values, true)]).unwrap()
}

fn count(from: i64, to: i64) -> RecordBatch {
    ints((from..to).map(Some))
}

fn pipe(schema: SchemaRef, room: usize) -> (mpsc::Sender<RecordBatch>, Arc<dyn ExecutionPlan>) {
    let (sender, receiver) = mpsc::channel(room);
    let piped = Arc::new(Piped {
        schema: Arc::clone(&schema),
        batches: Mutex::new(Some(receiver)),
    });
    let exec = StreamingTableExec::try_new(schema, vec![piped], None, [], false, None).unwrap();
    (sender, Arc::new(exec))
}

pub(super) fn input(batches: Vec<RecordBatch>) -> Arc<dyn ExecutionPlan> {
    let (mut sender, exec) = pipe(batches[0].schema(), batches.len());
    for batch in batches {
        sender.try_send(batch).unwrap();
    }
    exec
}

/// Scores column x of `input`.
pub(super) fn predict(
    input: Arc<dyn ExecutionPlan>,
    mask: Option<Arc<dyn PhysicalExpr>>,
) -> PredictExec {
    let element = match input.schema().field(0).data_type() {
        DataType::Utf8 => ElementType::String,
        _ => ElementType::Int64,
    };
    let binding = testing::binding("fare", &["x"], element).unwrap();
    let args = vec![col("x", &input.schema()).unwrap()];
    PredictExec::try_new(input, Arc::new(binding), args, mask, "value".to_owned()).unwrap()
}

pub(super) fn context(host: impl ModelHost + 'static) -> Arc<TaskContext> {
    let config = SessionConfig::new().with_extension(Arc::new(ModelHostRef(Arc::new(host))));
    Arc::new(TaskContext::default().with_session_config(config))
}

pub(super) fn values(batches: &[RecordBatch]) -> Vec<Option<f32>> {
    batches
        .iter()
        .flat_map(|batch| {
            batch
                .column_by_name("value")
                .unwrap()
                .as_primitive::<Float32Type>()
                .iter()
        })
        .collect()
}

fn column_x(batches: &[RecordBatch]) -> Vec<Option<i64>> {
    batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().iter())
        .collect()
}

/// Runs the plan to its end, answering the newest feed first; the order of answers comes back too.
fn run(exec: &PredictExec, probe: &Probe) -> (Vec<RecordBatch>, Vec<usize>) {
    let mut stream = exec.execute(0, context(probe.clone())).unwrap();
    let (mut batches, mut answered) = (Vec::new(), Vec::new());
    loop {
        match stream.next().now_or_never() {
            Some(Some(batch)) => batches.push(batch.unwrap()),
            Some(None) => return (batches, answered),
            None => answered.push(probe.answer_newest().expect("something is under way")),
        }
    }
}

fn metric(exec: &PredictExec, name: &str) -> Option<usize> {
    exec.metrics()
        .unwrap()
        .sum_by_name(name)
        .map(|value| value.as_usize())
}

#[test]
fn rows_keep_their_order_whichever_feed_is_answered_first() {
    let probe = Probe::new(4, 3);
    let exec = predict(
        input((0..10).map(|n| count(n * 4, n * 4 + 4)).collect()),
        None,
    );
    let (batches, answered) = run(&exec, &probe);
    assert!(
        !answered.is_sorted(),
        "{answered:?} would be in order anyway"
    );
    assert_eq!(column_x(&batches), (0..40).map(Some).collect::<Vec<_>>());
    assert_eq!(
        values(&batches),
        (0..40).map(|n| Some(n as f32)).collect::<Vec<_>>()
    );
    assert_eq!(
        (metric(&exec, "rows_scored"), metric(&exec, "feeds")),
        (Some(40), Some(10))
    );
    assert_eq!(exec.metrics().unwrap().output_rows(), Some(40));
}

#[test]
fn guarded_rows_are_neither_computed_nor_scored() {
    let probe = Probe::new(8, 2);
    let rows = || {
        vec![
            ints([Some(5), Some(0), None, Some(2)]),
            ints([Some(0), Some(0)]),
            ints([Some(10)]),
        ]
    };
    let input = input(rows());
    let schema = input.schema();
    let x = || col("x", &schema).unwrap();
    let mask = binary(x(), Operator::NotEq, lit(0_i64), &schema).unwrap();
    let tenth = binary(lit(10_i64), Operator::Divide, x(), &schema).unwrap();
    let binding = Arc::new(testing::binding("fare", &["x"], ElementType::Int64).unwrap());
    let exec =
        PredictExec::try_new(input, binding, vec![tenth], Some(mask), "value".to_owned()).unwrap();
    let (batches, _) = run(&exec, &probe);
    assert_eq!(
        values(&batches),
        [Some(2.0), None, None, Some(5.0), None, None, Some(1.0)]
    );
    assert_eq!(column_x(&batches), column_x(&rows()));
    assert_eq!(probe.feed_rows().iter().sum::<usize>(), 3);
}

#[tokio::test]
async fn no_row_to_score_loads_no_model() {
    for (batches, mask) in [
        (vec![count(0, 0)], None),
        (vec![count(0, 9), count(0, 9)], Some(lit(false))),
        (vec![count(0, 9)], Some(lit(ScalarValue::Boolean(None)))),
    ] {
        let host = Arc::new(SumHost::default());
        let config = SessionConfig::new()
            .with_extension(Arc::new(ModelHostRef(Arc::<SumHost>::clone(&host))));
        let context = Arc::new(TaskContext::default().with_session_config(config));
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let exec = predict(input(batches), mask);
        let scored: Vec<_> = exec
            .execute(0, context)
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(values(&scored), vec![None; rows]);
        assert_eq!(host.opened.load(Ordering::Relaxed), 0);
        assert_eq!(metric(&exec, "rows_scored"), Some(0));
    }
}

#[test]
fn small_batches_are_put_together_and_large_ones_cut() {
    let probe = Probe::new(8, 1);
    let (batches, _) = run(
        &predict(input((0..40).map(|n| count(n, n + 1)).collect()), None),
        &probe,
    );
    assert_eq!(column_x(&batches), (0..40).map(Some).collect::<Vec<_>>());
    assert_eq!(values(&batches).last(), Some(&Some(39.0)));
    assert_eq!(probe.feed_rows(), [5; 8]);

    let probe = Probe::new(8, 1);
    let (batches, _) = run(&predict(input(vec![count(0, 20)]), None), &probe);
    assert_eq!(values(&batches).len(), 20);
    assert_eq!(probe.feed_rows(), [8, 8, 4]);
}

#[test]
fn a_row_does_not_wait_for_others_while_the_model_is_idle() {
    let probe = Probe::new(8, 2);
    let (mut sender, input) = pipe(count(0, 1).schema(), 4);
    let exec = predict(input, None);
    let mut stream = exec.execute(0, context(probe.clone())).unwrap();
    sender.try_send(count(0, 1)).unwrap();
    assert!(stream.next().now_or_never().is_none());
    assert_eq!(probe.feed_rows(), [1]);
    // The model is busy: these two wait for each other.
    sender.try_send(count(1, 2)).unwrap();
    assert!(stream.next().now_or_never().is_none());
    sender.try_send(count(2, 3)).unwrap();
    probe.answer_newest().unwrap();
    assert!(stream.next().now_or_never().is_some());
    assert!(stream.next().now_or_never().is_none());
    assert_eq!(probe.feed_rows(), [1, 2]);
}

#[test]
fn a_feed_of_long_texts_is_bounded_by_bytes() {
    let text = "a".repeat(1 << 20);
    let texts: ArrayRef = Arc::new(StringArray::from(vec![text.as_str(); 30]));
    let batch = RecordBatch::try_from_iter([("x", texts)]).unwrap();
    let probe = Probe::new(8192, 2);
    let (batches, _) = run(&predict(input(vec![batch.clone(), batch]), None), &probe);
    assert_eq!(values(&batches), vec![Some(text.len() as f32); 60]);
    let largest = probe.feed_rows().into_iter().max().unwrap();
    assert!((4..=8).contains(&largest), "{:?}", probe.feed_rows());
}

#[test]
fn a_row_larger_than_the_bound_goes_alone() {
    let text = "a".repeat(BATCH_BYTES + 1);
    let texts: ArrayRef = Arc::new(StringArray::from(vec![text.as_str(), "b", text.as_str()]));
    let probe = Probe::new(8192, 2);
    let batch = RecordBatch::try_from_iter([("x", texts)]).unwrap();
    let (batches, _) = run(&predict(input(vec![batch]), None), &probe);
    assert_eq!(
        values(&batches),
        [text.len(), 1, text.len()].map(|length| Some(length as f32))
    );
    assert_eq!(probe.feed_rows(), [1, 1, 1]);
}

#[test]
fn dropping_the_stream_gives_up_what_is_under_way() {
    let probe = Probe::new(4, 3);
    let exec = predict(
        input((0..100).map(|n| count(n * 4, n * 4 + 4)).collect()),
        None,
    );
    let mut stream = exec.execute(0, context(probe.clone())).unwrap();
    while probe.feed_rows().len() < 4 {
        if stream.next().now_or_never().is_none() {
            probe.answer_newest().unwrap();
        }
    }
    drop(stream);
    let fed = probe.feed_rows().len();
    assert!(fed <= 6, "{fed} feeds");
    let open: Vec<bool> = probe
        .asked()
        .iter()
        .filter_map(|(_, answer)| Some(answer.as_ref()?.is_canceled()))
        .collect();
    assert!(
        !open.is_empty() && open.iter().all(|given_up| *given_up),
        "{open:?}"
    );
}

#[tokio::test]
async fn a_reader_of_ten_rows_has_few_scored() {
    let host = SumHost::default();
    let rows = Arc::clone(&host.rows);
    let exec = predict(
        input((0..10).map(|_| count(0, 8 * BATCH_ROWS as i64)).collect()),
        None,
    );
    let mut stream = exec.execute(0, context(host)).unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().num_rows(), BATCH_ROWS);
    drop(stream);
    assert!(rows.load(Ordering::Relaxed) <= 2 * BATCH_ROWS);
}

#[tokio::test]
async fn an_answer_of_the_wrong_shape_is_the_models_error() {
    let three: ArrayRef = Arc::new(Float32Array::from(vec![1.0; 3]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"; 5]));
    for (answer, want) in [
        (three, "3 values for 5 rows"),
        (texts, "Utf8 where Float32 was promised"),
    ] {
        let mut stream = predict(input(vec![count(0, 5)]), None)
            .execute(0, context(Stuck(answer)))
            .unwrap();
        let error = stream.next().await.unwrap().unwrap_err();
        let error = find(&error).unwrap();
        assert_eq!(error.code(), ErrorCode::Model);
        assert_eq!(
            error.message(),
            format!("model 'fare' (abababababab) answered with {want}")
        );
        assert!(stream.next().await.is_none());
    }
}

#[tokio::test]
async fn a_null_is_refused_where_the_model_has_no_word_for_it() {
    let exec = predict(input(vec![ints([Some(1), None])]), None);
    let error = exec
        .execute(0, context(SumHost::default()))
        .unwrap()
        .next()
        .await
        .unwrap()
        .unwrap_err();
    let error = find(&error).unwrap();
    assert_eq!(error.code(), ErrorCode::Invalid);
    assert!(
        error
            .message()
            .contains("PREDICT('fare'): input 'x' (int64) got a NULL"),
        "{error}"
    );
}

#[tokio::test]
async fn feeds_name_the_job_that_asks() {
    let probe = Probe::new(8, 1);
    let config =
        SessionConfig::new().with_extension(Arc::new(ModelHostRef(Arc::new(probe.clone()))));
    let task = "TID AbC1xyz/1.0/3.0".to_owned();
    let (scalar, higher, aggregate, window) = (
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
    );
    let (session, runtime) = ("s".to_owned(), Arc::default());
    let context = TaskContext::new(
        Some(task),
        session,
        config,
        scalar,
        higher,
        aggregate,
        window,
        runtime,
    );
    let mut stream = predict(input(vec![count(0, 1)]), None)
        .execute(0, Arc::new(context))
        .unwrap();
    assert!(stream.next().now_or_never().is_none());
    assert_eq!(&*probe.asked()[0].0.job_id, "AbC1xyz");
}

#[test]
fn without_a_host_it_says_so() {
    let error = predict(input(vec![count(0, 1)]), None)
        .execute(0, Arc::default())
        .err()
        .unwrap();
    assert_eq!(find(&error).unwrap().code(), ErrorCode::Bug);
}

#[test]
fn only_filters_on_the_inputs_columns_go_below() {
    let exec = predict(input(vec![count(0, 1)]), None);
    let schema = exec.schema();
    let on_input = binary(
        col("x", &schema).unwrap(),
        Operator::Gt,
        lit(1_i64),
        &schema,
    )
    .unwrap();
    let on_value = binary(
        col("value", &schema).unwrap(),
        Operator::Gt,
        lit(1.0_f32),
        &schema,
    )
    .unwrap();
    let filters = vec![on_input, on_value];
    let pushed = exec
        .gather_filters_for_pushdown(FilterPushdownPhase::Pre, filters, &ConfigOptions::default())
        .unwrap();
    let pushed: Vec<bool> = pushed.parent_filters()[0]
        .iter()
        .map(|filter| matches!(filter.discriminant, PushedDown::Yes))
        .collect();
    assert_eq!(pushed, [true, false]);
}

#[test]
fn a_limit_goes_below() {
    let exec: Arc<dyn ExecutionPlan> = Arc::new(predict(input(vec![count(0, 1)]), None));
    let limited = Arc::new(GlobalLimitExec::new(exec, 0, Some(10)));
    let plan = LimitPushdown::new()
        .optimize(limited, &ConfigOptions::default())
        .unwrap();
    let text = displayable(plan.as_ref()).indent(true).to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert!(
        lines[0].starts_with("PredictExec:") && lines[1].ends_with("fetch=10"),
        "{text}"
    );
}

#[test]
fn arguments_of_the_wrong_number_or_type_are_refused() {
    let input = input(vec![count(0, 1)]);
    let x = || col("x", &input.schema()).unwrap();
    let binding = Arc::new(testing::binding("fare", &["x"], ElementType::Float32).unwrap());
    for args in [vec![], vec![x()], vec![x(), x()]] {
        let error = PredictExec::try_new(
            Arc::clone(&input),
            Arc::clone(&binding),
            args,
            None,
            "v".to_owned(),
        );
        assert_eq!(find(&error.unwrap_err()).unwrap().code(), ErrorCode::Bug);
    }
}
