//! Which task goes where: the job that has least of its share is next, and its task goes to the next executor in the
//! ring. Executors that drain get nothing; one on which a task of the stage has failed gets none of that stage while
//! another takes tasks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ballista_core::JobId;
use ballista_core::execution_plans::{RangeShuffleReaderExec, ShuffleReaderExec};
use ballista_core::serde::protobuf::{AvailableVcores, job_status};
use ballista_core::serde::scheduler::TaskKey;
use ballista_scheduler::cluster::{BoundTask, DistributionPolicy};
use ballista_scheduler::state::execution_graph::{
    ExecutionGraph, TaskDescription, create_task_info,
};
use ballista_scheduler::state::execution_stage::RunningStage;
use ballista_scheduler::state::task_manager::JobInfoCache;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use crate::executors::Executors;
use crate::failures::Failures;

use super::shares::Shares;

/// Shares the pool among what runs.
#[derive(Debug)]
pub(super) struct FairShare {
    executors: Arc<Executors>,
    failures: Arc<Failures>,
    shares: Arc<Shares>,
    turn: AtomicUsize,
}

impl FairShare {
    pub(super) fn new(
        executors: Arc<Executors>,
        failures: Arc<Failures>,
        shares: Arc<Shares>,
    ) -> Self {
        Self {
            executors,
            failures,
            shares,
            turn: AtomicUsize::new(0),
        }
    }

    /// The executors that should not get a task of this stage: those it failed on, as long as there is another.
    fn avoided(&self, job_id: &JobId, stage_id: usize) -> HashSet<String> {
        let avoided = self.failures.avoided(job_id.as_str(), stage_id);
        let other = |id: &str| !avoided.contains(id);
        if avoided.is_empty() || self.executors.any_taking_tasks(other) {
            avoided
        } else {
            HashSet::new()
        }
    }

    fn bind_next(
        &self,
        graph: &mut dyn ExecutionGraph,
        job_id: &JobId,
        ring: &mut Ring<'_>,
    ) -> Option<BoundTask> {
        let session_id = graph.session_id().to_owned();
        let mut passed = Vec::new();
        loop {
            let stage = graph.fetch_running_stage(&passed)?;
            let avoided = self.avoided(job_id, stage.stage_id);
            let task = ring
                .next(&avoided)
                .and_then(|budget| bind_one(stage, &session_id, job_id, budget));
            if task.is_some() {
                return task;
            }
            passed.push(stage.stage_id);
        }
    }
}

#[async_trait::async_trait]
impl DistributionPolicy for FairShare {
    async fn bind_tasks(
        &self,
        budgets: Vec<&mut AvailableVcores>,
        running_jobs: Arc<HashMap<JobId, JobInfoCache>>,
    ) -> datafusion::error::Result<Vec<BoundTask>> {
        let budgets = budgets
            .into_iter()
            .filter(|budget| self.executors.takes_tasks(&budget.executor_id))
            .collect();
        let mut ring = Ring::new(budgets, self.turn.load(Ordering::Relaxed));
        let mut queue = Vec::new();
        for (job_id, job) in running_jobs.iter() {
            if matches!(job.status, Some(job_status::Status::Running(_))) {
                let graph = job.execution_graph.read().await;
                queue.push(Contender {
                    job_id,
                    name: graph.job_name().to_owned(),
                    running: graph.running_tasks().len(),
                });
            }
        }
        let names = queue.iter().map(|contender| contender.name.clone());
        self.shares.keep(&names.collect());
        let mut bound = Vec::new();
        while let Some(next) = neediest(&queue, &self.shares) {
            if ring.is_empty() {
                break;
            }
            let mut contender = queue.swap_remove(next);
            let Some(job) = running_jobs.get(contender.job_id) else {
                continue;
            };
            let mut graph = job.execution_graph.write().await;
            if let Some(task) = self.bind_next(graph.as_mut(), contender.job_id, &mut ring) {
                bound.push(task);
                self.shares.serve(&contender.name);
                contender.running += 1;
                queue.push(contender);
            }
        }
        self.turn.store(ring.turn(), Ordering::Relaxed);
        Ok(bound)
    }

    fn name(&self) -> &str {
        "whimbrel fair share"
    }
}

/// A job that may get a task.
struct Contender<'a> {
    job_id: &'a JobId,
    name: String,
    running: usize,
}

/// The job that has least of its share; of equals the one that was served longest ago, or the oldest, for job ids sort by age.
fn neediest(queue: &[Contender<'_>], shares: &Shares) -> Option<usize> {
    (0..queue.len()).min_by_key(|index| {
        let Contender {
            job_id,
            name,
            running,
        } = &queue[*index];
        (shares.rank(name, *running), job_id.as_str())
    })
}

/// Takes the stage's next partition, or all of them where the plan collapses its input, and gives it to the executor.
///
/// Ballista's invariants: the task's id is its place in `task_infos`, taken before the push; a collapsing stage gets all its
/// partitions in one task, which takes one slot; what is taken from the budget is written into the task, for the refund.
fn bind_one(
    stage: &mut RunningStage,
    session_id: &str,
    job_id: &JobId,
    budget: &mut AvailableVcores,
) -> Option<BoundTask> {
    let most = if collapses(&stage.plan) {
        usize::MAX
    } else {
        1
    };
    let partitions = stage.pending.next_slice(most);
    if partitions.is_empty() {
        return None;
    }
    let task_id = stage.task_infos.len();
    let failures = partitions
        .iter()
        .filter_map(|partition| stage.task_failure_numbers.get(*partition));
    let task_attempt = failures.copied().max().unwrap_or(0);
    let mut info = create_task_info(budget.executor_id.clone(), task_id);
    info.global_input_partition_ids.clone_from(&partitions);
    info.vcores_consumed = 1;
    stage.task_infos.push(info);
    budget.vcores -= 1;
    let task = TaskDescription {
        session_id: session_id.to_owned(),
        key: TaskKey {
            job_id: job_id.clone(),
            stage_id: stage.stage_id,
            task_id,
        },
        stage_attempt_num: stage.stage_attempt_num,
        task_attempt,
        global_input_partition_ids: partitions,
        vcores_consumed: 1,
        plan: Arc::clone(&stage.plan),
        session_config: Arc::clone(&stage.session_config),
    };
    Some((budget.executor_id.clone(), task))
}

/// Whether some operator of the stage brings its input together in one partition. Split over tasks, each would collapse only
/// its own part.
fn collapses(writer: &Arc<dyn ExecutionPlan>) -> bool {
    let mut node = match writer.children().as_slice() {
        [child] => Arc::clone(child),
        _ => return false,
    };
    loop {
        let reads_shuffle = node.downcast_ref::<ShuffleReaderExec>().is_some()
            || node.downcast_ref::<RangeShuffleReaderExec>().is_some();
        if reads_shuffle {
            return false;
        }
        if node.output_partitioning().partition_count() == 1 {
            return true;
        }
        node = match node.children().as_slice() {
            [child] => Arc::clone(child),
            _ => return false,
        };
    }
}

/// The executors with free slots, each in its turn.
struct Ring<'a> {
    budgets: Vec<&'a mut AvailableVcores>,
    turn: usize,
}

impl<'a> Ring<'a> {
    fn new(mut budgets: Vec<&'a mut AvailableVcores>, turn: usize) -> Self {
        budgets.retain(|budget| budget.vcores > 0);
        budgets.sort_by(|a, b| a.executor_id.cmp(&b.executor_id));
        Self { budgets, turn }
    }

    fn is_empty(&self) -> bool {
        self.budgets.iter().all(|budget| budget.vcores == 0)
    }

    /// Where the next ring begins, so that the same executor is not first each time.
    fn turn(&self) -> usize {
        self.turn
    }

    fn next(&mut self, avoided: &HashSet<String>) -> Option<&mut AvailableVcores> {
        let count = self.budgets.len();
        let free =
            |budget: &AvailableVcores| budget.vcores > 0 && !avoided.contains(&budget.executor_id);
        let offset = (0..count).find(|offset| free(self.budgets[(self.turn + offset) % count]))?;
        let index = (self.turn + offset) % count;
        self.turn = (index + 1) % count;
        Some(&mut *self.budgets[index])
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use ballista_scheduler::planner::{DefaultDistributedPlanner, DistributedPlanner};
    use ballista_scheduler::state::execution_graph::StaticExecutionGraph;
    use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
    use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;

    use super::*;
    use crate::clock::ManualClock;
    use crate::engine::session_config;

    fn budgets(vcores: &[(&str, u32)]) -> Vec<AvailableVcores> {
        let budget = |(id, vcores): &(&str, u32)| AvailableVcores {
            executor_id: (*id).to_owned(),
            vcores: *vcores,
        };
        vcores.iter().map(budget).collect()
    }

    fn take(ring: &mut Ring<'_>, avoided: &HashSet<String>) -> Option<String> {
        let budget = ring.next(avoided)?;
        budget.vcores -= 1;
        Some(budget.executor_id.clone())
    }

    #[test]
    fn executors_take_turns_and_the_next_round_goes_on_where_this_one_ended() {
        let mut slots = budgets(&[("b", 2), ("a", 1), ("c", 0)]);
        let mut ring = Ring::new(slots.iter_mut().collect(), 0);
        let order: Vec<_> = std::iter::from_fn(|| take(&mut ring, &HashSet::new())).collect();
        assert_eq!(order, ["a", "b", "b"]);
        assert!(ring.is_empty());
        let turn = ring.turn();
        let mut slots = budgets(&[("a", 1), ("b", 1)]);
        let mut ring = Ring::new(slots.iter_mut().collect(), turn + 1);
        assert_eq!(take(&mut ring, &HashSet::new()).unwrap(), "b");
    }

    #[test]
    fn an_executor_that_failed_at_the_stage_is_passed_over() {
        let mut slots = budgets(&[("a", 1), ("b", 1)]);
        let mut ring = Ring::new(slots.iter_mut().collect(), 0);
        let avoided = HashSet::from(["a".to_owned()]);
        assert_eq!(take(&mut ring, &avoided).unwrap(), "b");
        assert_eq!(take(&mut ring, &avoided), None);
        assert!(!ring.is_empty(), "its slot is still there for other stages");
    }

    #[test]
    fn the_job_with_least_of_its_share_is_next_and_of_equals_the_one_served_longest_ago() {
        let ids = ["2", "1", "0"].map(JobId::new);
        let queue: Vec<_> = ids
            .iter()
            .zip([1, 1, 2])
            .map(|(job_id, running)| Contender {
                job_id,
                name: job_id.to_string(),
                running,
            })
            .collect();
        let shares = Shares::default();
        assert_eq!(neediest(&queue, &shares), Some(1));
        shares.serve("1");
        assert_eq!(neediest(&queue, &shares), Some(0));
        assert_eq!(neediest(&[], &shares), None);
    }

    fn scan(partitions: usize) -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        Arc::new(PlaceholderRowExec::new(schema).with_partitions(partitions))
    }

    fn running(job_id: &str, plan: Arc<dyn ExecutionPlan>) -> Arc<HashMap<JobId, JobInfoCache>> {
        let job_id = JobId::new(job_id);
        let config = Arc::new(session_config(1 << 26));
        let mut planner = DefaultDistributedPlanner::new();
        let mut graph = StaticExecutionGraph::new(
            "s",
            &job_id,
            "",
            "session",
            plan,
            0,
            config,
            &mut planner,
            None,
        )
        .unwrap();
        graph.revive();
        Arc::new(HashMap::from([(
            job_id,
            JobInfoCache::new(Box::new(graph)),
        )]))
    }

    fn pool(ids: &[&str]) -> Arc<Executors> {
        let executors = Arc::new(Executors::new(ManualClock::shared()));
        for id in ids {
            executors.join(&id.parse().unwrap(), "host:1".into(), 2);
            executors.set_registered(id, true);
        }
        executors
    }

    #[tokio::test]
    async fn every_partition_is_one_task_and_no_task_goes_to_an_executor_that_drains() {
        let executors = pool(&["a", "b", "c"]);
        executors.set_draining("c");
        let policy = FairShare::new(executors, Arc::default(), Arc::default());
        let jobs = running("j", scan(6));
        let mut slots = budgets(&[("a", 2), ("b", 2), ("c", 2)]);
        let bound = policy
            .bind_tasks(slots.iter_mut().collect(), Arc::clone(&jobs))
            .await
            .unwrap();
        let placed: Vec<_> = bound
            .iter()
            .map(|(executor, task)| (executor.as_str(), task.key.task_id))
            .collect();
        assert_eq!(placed, [("a", 0), ("b", 1), ("a", 2), ("b", 3)]);
        assert!(
            bound
                .iter()
                .all(|(_, task)| task.global_input_partition_ids.len() == 1)
        );
        assert_eq!(
            slots.iter().map(|slot| slot.vcores).collect::<Vec<_>>(),
            [0, 0, 2]
        );
        let graph = jobs[&JobId::new("j")].execution_graph.read().await;
        assert_eq!(graph.available_tasks(), 2);
    }

    #[test]
    fn a_stage_that_brings_its_input_together_is_one_task() {
        let plan: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(scan(4)));
        let config = session_config(1 << 26);
        let stages = DefaultDistributedPlanner::new()
            .plan_query_stages(&JobId::new("j"), plan, config.options())
            .unwrap();
        let stages: Vec<Arc<dyn ExecutionPlan>> =
            stages.into_iter().map(|stage| stage as _).collect();
        assert_eq!(
            stages.iter().map(collapses).collect::<Vec<_>>(),
            [false, true]
        );
    }
}
