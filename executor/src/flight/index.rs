//! The result files that this executor wrote itself. A ticket names a file, but only what stands here is served: a ticket is
//! made by the scheduler, yet it comes from whoever has it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ballista_core::JobId;
use ballista_core::execution_plans::create_shuffle_path;
use ballista_core::serde::protobuf::ShuffleWritePartition;
use ballista_core::serde::scheduler::TaskKey;

/// One finished partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResultFile {
    pub(crate) stage_id: u32,
    pub(crate) partition: u32,
    pub(crate) rows: u64,
    /// Where it lies.
    pub(crate) path: PathBuf,
}

/// Finished partitions by job and by their file's name relative to the folder of jobs.
#[derive(Debug)]
pub(crate) struct ResultIndex {
    jobs_dir: PathBuf,
    jobs: Mutex<HashMap<String, HashMap<String, ResultFile>>>,
}

impl ResultIndex {
    pub(crate) fn new(jobs_dir: PathBuf) -> Self {
        Self {
            jobs_dir,
            jobs: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, ResultFile>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what a finished task wrote. Sorted shuffle files hold many partitions in one and are never a result, but
    /// their job has something here all the same.
    pub(crate) fn add(&self, task: &TaskKey, written: &[ShuffleWritePartition]) {
        let results = written
            .iter()
            .filter(|partition| !partition.is_sort_shuffle);
        let files =
            results.filter_map(|partition| self.file(&task.job_id, task.stage_id, partition));
        self.lock()
            .entry(task.job_id.to_string())
            .or_default()
            .extend(files);
    }

    fn file(
        &self,
        job: &JobId,
        stage: usize,
        written: &ShuffleWritePartition,
    ) -> Option<(String, ResultFile)> {
        let ShuffleWritePartition {
            partition_id,
            num_rows,
            file_id,
            ..
        } = written;
        let partition = usize::try_from(*partition_id).ok()?;
        let name = create_shuffle_path("", job, stage, partition, *file_id, false).ok()?;
        let file = ResultFile {
            stage_id: u32::try_from(stage).ok()?,
            partition: u32::try_from(partition).ok()?,
            rows: *num_rows,
            path: self.jobs_dir.join(&name),
        };
        Some((name.to_str()?.to_owned(), file))
    }

    /// The file of that name, where this executor wrote it.
    pub(crate) fn find(&self, job_id: &str, name: &str) -> Option<ResultFile> {
        self.lock().get(job_id)?.get(name).cloned()
    }

    /// The job's files, or those of some of its stages, are about to go.
    pub(crate) fn forget(&self, job_id: &str, stages: &[u32]) {
        let mut jobs = self.lock();
        if stages.is_empty() {
            jobs.remove(job_id);
        } else if let Some(files) = jobs.get_mut(job_id) {
            files.retain(|_, file| !stages.contains(&file.stage_id));
        }
    }

    /// The jobs that have files here.
    pub(crate) fn jobs(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_task_reported_is_found_and_only_until_it_is_forgotten() {
        let index = ResultIndex::new(PathBuf::from("/pool/jobs"));
        let task = TaskKey {
            job_id: "j1".into(),
            stage_id: 2,
            task_id: 5,
        };
        let written = |partition_id, is_sort_shuffle| ShuffleWritePartition {
            partition_id,
            num_rows: 10,
            file_id: Some(5),
            is_sort_shuffle,
            ..Default::default()
        };
        index.add(&task, &[written(3, false), written(4, true)]);

        let file = index.find("j1", "j1/2/3/data-5.arrow").expect("found");
        assert_eq!((file.stage_id, file.partition, file.rows), (2, 3, 10));
        assert_eq!(file.path, PathBuf::from("/pool/jobs/j1/2/3/data-5.arrow"));
        assert_eq!(index.find("j1", "j1/2/4/data-5.arrow"), None);
        assert_eq!(index.find("j1", "../jobs/j1/2/3/data-5.arrow"), None);

        index.forget("j1", &[1]);
        assert!(index.find("j1", "j1/2/3/data-5.arrow").is_some());
        index.forget("j1", &[2]);
        assert_eq!(index.find("j1", "j1/2/3/data-5.arrow"), None);
    }
}
