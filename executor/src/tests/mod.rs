//! Whole executors in one process, against a scheduler that only writes down what it hears.

mod cancel;
mod fake;
mod life;
mod results;
mod shuffle;
mod sink;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::execution_plans::ShuffleWriterExec;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use ballista_core::serde::protobuf::executor_grpc_client::ExecutorGrpcClient;
use ballista_core::serde::protobuf::{LaunchMultiTaskParams, MultiTaskDefinition, TaskId};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{CsvReadOptions, SessionConfig, SessionContext};
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use prost::Message;
use tonic::transport::Channel;
use whimbrel_predict::binding::Binding;
use whimbrel_predict::runtime::{Model, ModelHost};
use whimbrel_proto::v1::LoadedModel;
use whimbrel_proto::{Error, ErrorCode};

use self::fake::FakeScheduler;
use crate::clock::new_executor_id;
use crate::{Config, Executor, HostStats, Listeners, Parts};
use whimbrel_proto::units::Bytes;

/// A model host without models.
#[derive(Debug)]
struct NoModels;

#[async_trait]
impl ModelHost for NoModels {
    async fn open(&self, binding: &Binding) -> Result<Arc<dyn Model>, Error> {
        Err(Error::new(ErrorCode::NotFound, binding.alias.to_string()))
    }
}

impl HostStats for NoModels {
    fn loaded(&self) -> Vec<LoadedModel> {
        Vec::new()
    }

    fn rows_by_job(&self) -> HashMap<String, u64> {
        HashMap::new()
    }

    fn forget_job(&self, _: &str) {}

    fn shut_down(&self) {}
}

fn parts() -> Parts {
    let none = Arc::new(NoModels);
    Parts {
        host: none.clone(),
        stats: none,
    }
}

/// A folder of its own for one test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let dir =
            std::env::temp_dir().join(format!("whimbrel-test-{}", new_executor_id().expect("id")));
        std::fs::create_dir_all(&dir).expect("made");
        Self(dir)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("removed");
    }
}

fn config(scheduler: &str, work_dir: &Path) -> Config {
    Config {
        scheduler: scheduler.to_owned(),
        port: 0,
        cluster_port: 0,
        slots: 2,
        memory_limit: Bytes::mib(64),
        work_dir: work_dir.to_owned(),
        allow: vec!["file:///".to_owned()],
        ..Config::default()
    }
}

async fn start(config: Config) -> Executor {
    let listeners = Listeners::bind(&config).await.expect("bound");
    Executor::start_with(config, listeners, parts())
        .await
        .expect("started")
}

/// An executor that has joined.
async fn joined(scheduler: &FakeScheduler, work_dir: &Path) -> Executor {
    let before = scheduler.count(|heard| matches!(heard, fake::Heard::Registered));
    let executor = start(config(&scheduler.address, work_dir)).await;
    fake::eventually("the registration", || {
        (scheduler.count(|heard| matches!(heard, fake::Heard::Registered)) > before).then_some(())
    })
    .await;
    fake::eventually("the connection", || {
        executor.shared.standing.is_connected().then_some(())
    })
    .await;
    executor
}

async fn tasks_of(executor: &Executor) -> ExecutorGrpcClient<Channel> {
    ExecutorGrpcClient::connect(format!("http://{}", executor.cluster_address()))
        .await
        .expect("connected")
}

/// A stage that copies a CSV file with the columns `id` (a number) and `name`.
async fn csv_stage(job: &str, file: &Path) -> Arc<dyn ExecutionPlan> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let schema = arrow::datatypes::Schema::new(vec![
        arrow::datatypes::Field::new("id", arrow::datatypes::DataType::Int64, true),
        arrow::datatypes::Field::new("name", arrow::datatypes::DataType::Utf8, true),
    ]);
    let options = CsvReadOptions::new().schema(&schema);
    let frame = context
        .read_csv(file.to_str().expect("text"), options)
        .await
        .expect("read");
    let plan = frame.create_physical_plan().await.expect("planned");
    Arc::new(ShuffleWriterExec::try_new(job.into(), 1, plan, String::new()).expect("stage"))
}

fn launch(job: &str, task_id: u32, plan: Arc<dyn ExecutionPlan>) -> LaunchMultiTaskParams {
    let codec = BallistaPhysicalExtensionCodec::default();
    let codec = whimbrel_predict::codec::WhimbrelPhysicalCodec::new(Arc::new(codec));
    let plan = PhysicalPlanNode::try_from_physical_plan(plan, &codec)
        .expect("encoded")
        .encode_to_vec();
    let task = TaskId {
        task_id,
        task_attempt_num: 0,
        global_output_partition_ids: vec![0],
        vcores_consumed: 1,
    };
    let tasks = MultiTaskDefinition {
        task_ids: vec![task],
        job_id: job.to_owned(),
        stage_id: 1,
        plan,
        session_id: "session".to_owned(),
        ..Default::default()
    };
    LaunchMultiTaskParams {
        multi_tasks: vec![tasks],
        scheduler_endpoint: String::new(),
    }
}
