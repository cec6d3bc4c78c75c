//! What an executor gives to Ballista's engine: how a task is decoded, what it runs with, and the guard that makes it stop.

mod client_pool;
mod guard;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use ballista_core::error::BallistaError;
use ballista_core::extension::{
    SessionConfigExt, ballista_aggregate_functions, ballista_scalar_functions,
    ballista_window_functions,
};
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::protobuf::MultiTaskDefinition;
use ballista_core::serde::scheduler::TaskDefinition;
use ballista_core::serde::scheduler::from_proto::get_task_definition_vec;
use ballista_core::serde::{
    BallistaCodec, BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec,
};
use ballista_executor::execution_engine::{
    DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor,
};
use datafusion::common::internal_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionStateBuilder, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::prelude::SessionConfig;
use tokio_util::sync::CancellationToken;
use whimbrel_predict::codec::WhimbrelPhysicalCodec;
use whimbrel_predict::input::strict;
use whimbrel_predict::runtime::{ModelHost, ModelHostRef};
use whimbrel_predict::sink::{SinkHostRef, placed};
use whimbrel_proto::ids::ExecutorId;
use whimbrel_proto::v1::RunningSplit;

pub(crate) use self::client_pool::ClientPool;
use self::guard::CancelGuard;
pub(crate) use self::guard::panicked;
use crate::pass::PassExec;
use crate::scan::{guard_scans, informed, pinned};
use crate::sink::Writer;
use whimbrel_proto::units::Bytes;
use whimbrel_stores::{Refusals, Registry, Stores, Travelling};

/// Turns task definitions into running stages. One per executor, shared by all its tasks.
pub(crate) struct Engine {
    stages: DefaultExecutionEngine,
    functions: Arc<BallistaFunctionRegistry>,
    codec: BallistaCodec,
    stores: Stores,
    runtime: Arc<RuntimeEnv>,
    session: SessionConfig,
    writer: Arc<Writer>,
    jobs: String,
}

/// What the engine of an executor is made of.
pub(crate) struct EngineParts<'a> {
    pub(crate) executor: ExecutorId,
    pub(crate) stores: Stores,
    pub(crate) jobs: &'a Path,
    pub(crate) spill: &'a Path,
    pub(crate) memory: Bytes,
    pub(crate) max_message: Bytes,
    pub(crate) host: Arc<dyn ModelHost>,
    pub(crate) clients: ClientPool,
}

impl Engine {
    pub(crate) fn new(parts: EngineParts<'_>) -> Result<Self> {
        let EngineParts {
            executor,
            stores,
            jobs,
            spill,
            memory,
            max_message,
            host,
            clients,
        } = parts;
        // One environment for all tasks: its object-store clients and file footers are worth sharing, and its memory is bounded.
        let runtime = RuntimeEnvBuilder::new()
            .with_object_store_registry(Arc::new(Registry::new(stores.clone())))
            .with_memory_pool(Arc::new(FairSpillPool::new(memory.as_usize())))
            .with_temp_file_path(spill)
            .build_arc()?;
        let writer = Arc::new(Writer::new(stores.clone(), executor));
        let session = SessionConfig::new_with_ballista()
            .with_ballista_grpc_client_max_message_size(max_message.as_usize())
            .with_extension(Arc::new(ModelHostRef(host)))
            .with_extension(Arc::new(SinkHostRef(Arc::clone(&writer) as Arc<_>)))
            // A setting that arrives with a task is kept only where it is known.
            .with_option_extension(Travelling::default());
        Ok(Self {
            stages: DefaultExecutionEngine::with_client_pool(Arc::new(clients)),
            functions: Arc::new(functions()),
            codec: codec(),
            stores,
            runtime,
            session,
            writer,
            jobs: jobs.to_string_lossy().into_owned(),
        })
    }

    /// Decodes the plan that the tasks share.
    pub(crate) fn decode(
        &self,
        tasks: MultiTaskDefinition,
    ) -> Result<Vec<TaskDefinition>, BallistaError> {
        let runtime = Arc::clone(&self.runtime);
        let BallistaFunctionRegistry {
            scalar_functions,
            aggregate_functions,
            window_functions,
            higher_order_functions,
        } = self.functions.as_ref();
        get_task_definition_vec(
            tasks,
            // What takes its store while it is decoded gets that of its task with the guards.
            Arc::new(move |_| Ok(Arc::clone(&runtime))),
            self.session.clone(),
            scalar_functions.clone(),
            aggregate_functions.clone(),
            window_functions.clone(),
            higher_order_functions.clone(),
            self.codec.clone(),
        )
    }

    /// The task's plan, where its models know what the footers of its files tell.
    pub(crate) async fn informed(
        &self,
        task: &TaskDefinition,
        runtime: &RuntimeEnv,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = &task.global_output_partition_ids;
        informed(Arc::clone(&task.plan), partitions, runtime).await
    }

    /// The stage of one task, which runs `plan` and ends soon after `token` fires.
    pub(crate) fn stage(
        &self,
        task: &TaskDefinition,
        plan: Arc<dyn ExecutionPlan>,
        token: &CancellationToken,
        runtime: &RuntimeEnv,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        let plan = strict(plan)?;
        let plan = match task.global_output_partition_ids.first() {
            Some(partition) => placed(plan, *partition)?,
            None => plan,
        };
        self.stages.create_query_stage_exec(
            task.job_id.clone(),
            task.stage_id,
            file_id(task),
            task.global_output_partition_ids.clone(),
            guarded(&plan, token, runtime)?,
            &self.jobs,
            &task.session_config,
        )
    }

    /// The splits of score jobs that are being written now.
    pub(crate) fn running_splits(&self) -> Vec<RunningSplit> {
        self.writer.running()
    }

    /// The engine's jobs that those splits are of.
    pub(crate) fn running_split_jobs(&self) -> HashSet<String> {
        self.writer.engine_jobs()
    }

    /// These score jobs have ended: what is written for them is for nobody.
    pub(crate) fn give_up_splits(&self, jobs: &[String]) {
        self.writer.give_up(jobs);
    }

    /// What the operators of one task see.
    pub(crate) fn context(
        &self,
        task: &TaskDefinition,
        name: String,
        runtime: Arc<RuntimeEnv>,
    ) -> Arc<TaskContext> {
        let functions = &task.function_registry;
        Arc::new(TaskContext::new(
            Some(name),
            task.session_id.clone(),
            task.session_config.clone(),
            functions.scalar_functions.clone(),
            functions.higher_order_functions.clone(),
            functions.aggregate_functions.clone(),
            functions.window_functions.clone(),
            runtime,
        ))
    }

    /// The stores of one task, reached by the links that came with it, which give its input files as they were planned. Their errors
    /// are noted in `refusals`.
    pub(crate) fn runtime(
        &self,
        task: &TaskDefinition,
        refusals: &Refusals,
    ) -> Result<Arc<RuntimeEnv>> {
        let linked = linked(&self.stores, &self.runtime, &task.session_config, refusals)?;
        Ok(pinned(&linked, &task.plan, refusals))
    }
}

/// The shared environment, whose stores are reached by the links that came with a task.
fn linked(
    stores: &Stores,
    runtime: &Arc<RuntimeEnv>,
    session: &SessionConfig,
    refusals: &Refusals,
) -> Result<Arc<RuntimeEnv>> {
    let stores = linked_stores(stores, session)?.noting(refusals.clone());
    Ok(Arc::new(RuntimeEnv {
        object_store_registry: Arc::new(Registry::new(stores)),
        ..runtime.as_ref().clone()
    }))
}

/// The stores as they are reached by the links that came with a task.
pub(crate) fn linked_stores(stores: &Stores, session: &SessionConfig) -> Result<Stores> {
    let came = session.options().extensions.get::<Travelling>();
    let links = came
        .map(Travelling::arrived)
        .transpose()
        .map_err(|error| DataFusionError::External(Box::new(error)))?;
    Ok(stores.with_links(Arc::new(links.unwrap_or_default())))
}

/// The number in the names of a task's files. Ballista names them by the task alone, and counts tasks from 0 again when a
/// stage is run again: a file that somebody reads would be cut under the reader, or mistaken for another. The stage's attempt
/// in the upper half makes the name its own.
fn file_id(task: &TaskDefinition) -> usize {
    (task.stage_attempt_num << 32) | task.task_id
}

/// The plan with a guard under its shuffle writer, and one above each scan.
fn guarded(
    plan: &Arc<dyn ExecutionPlan>,
    token: &CancellationToken,
    runtime: &RuntimeEnv,
) -> Result<Arc<dyn ExecutionPlan>> {
    match plan.children().as_slice() {
        [input] => {
            let input = guard_scans(Arc::clone(input), runtime)?;
            let guard = PassExec::over(input, CancelGuard(token.clone()));
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            Arc::clone(plan).replace_children(vec![guard], options)
        }
        inputs => internal_err!("a stage's root has one input, not {}", inputs.len()),
    }
}

/// All functions that the scheduler may plan with: DataFusion's, the nested ones among them, and Ballista's.
fn functions() -> BallistaFunctionRegistry {
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_scalar_functions(ballista_scalar_functions())
        .with_aggregate_functions(ballista_aggregate_functions())
        .with_window_functions(ballista_window_functions())
        .build();
    BallistaFunctionRegistry::from(&state)
}

fn codec() -> BallistaCodec {
    BallistaCodec::new(
        Arc::new(BallistaLogicalExtensionCodec::default()),
        Arc::new(WhimbrelPhysicalCodec::new(Arc::new(
            BallistaPhysicalExtensionCodec::default(),
        ))),
    )
}
