//! A score job's tasks, as the scheduler sends them: each writes its split once, however often it comes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ballista_core::execution_plans::ShuffleWriterExec;
use ballista_core::serde::protobuf::task_status;
use datafusion::physical_plan::ExecutionPlan;
use whimbrel_predict::sink::{OnError, OutputMode, ScoreSinkExec, SinkFormat, SinkSpec, splits};
use whimbrel_stores::job::{Journal, Records, SplitKey};
use whimbrel_stores::output::{DeferredOutput, LocalOutput};

use super::fake::FakeScheduler;
use super::{Folder, csv_stage, joined, launch, tasks_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_comes_twice_writes_its_split_once() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let executor = joined(&scheduler, &folder.0).await;
    let file = folder.write("a.csv", "id,name\n1,a\n2,b\n3,c\n");
    let out = folder.0.join("out");
    let spec = SinkSpec {
        job: "job1".parse().expect("an id"),
        output: out.display().to_string(),
        mode: OutputMode::Append,
        format: SinkFormat::default(),
        marks: Vec::new(),
        run: None,
        generations: BTreeMap::new(),
        on_error: OnError::Fail,
        stall_ms: 60_000,
    };
    let scan = csv_stage("job", &file).await.children()[0].clone();
    let sink: Arc<dyn ExecutionPlan> = Arc::new(ScoreSinkExec::new(scan, Arc::new(spec.clone())));
    let split = splits(&sink, &spec).expect("one split").remove(0);
    let stage: Arc<dyn ExecutionPlan> =
        Arc::new(ShuffleWriterExec::try_new("job".into(), 1, sink, String::new()).expect("stage"));
    let mut tasks = tasks_of(&executor).await;
    for task in 0..2 {
        tasks
            .launch_multi_task(launch("job", task, Arc::clone(&stage)))
            .await
            .expect("launched");
        let status = scheduler.status(task).await;
        let Some(task_status::Status::Successful(done)) = status.status else {
            panic!("{status:?}")
        };
        // One row that says what came of the split.
        assert_eq!(
            done.partitions
                .iter()
                .map(|part| part.num_rows)
                .sum::<u64>(),
            1
        );
    }
    let (output, records) = (LocalOutput::new(out), Records::of("job1"));
    let entry = Journal::new(&output, &records)
        .get(&SplitKey::first(split.as_str()))
        .await
        .expect("read")
        .expect("entered");
    assert_eq!((entry.rows_written, entry.bytes_read), (3, 20));
    assert_eq!(entry.executor, executor.id().as_str());
    let staged = output.staged("").await.expect("listed");
    assert_eq!(staged, [entry.output.expect("an object").intent]);
    executor.stop().await;
}
