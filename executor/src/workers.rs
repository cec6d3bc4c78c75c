//! The threads that tasks run on: an own runtime with one thread per slot at low priority, so that heartbeats, cancels and
//! results are answered however busy the tasks are, and joined at the end.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tracing::warn;
use whimbrel_proto::{Error, ErrorCode};

/// The priority of task threads, as of `nice`: what answers the network goes first.
const NICENESS: i32 = 10;

/// How long tasks that were told to stop may take to see it.
const JOIN: Duration = Duration::from_secs(5);

/// Plans are deep trees, and decoding one is a deep recursion.
const STACK: usize = 16 << 20;

/// The runtime of the tasks.
#[derive(Debug)]
pub(crate) struct Workers {
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
}

impl Workers {
    /// `name` tells the threads of several executors in one process apart; 15 characters of it are seen.
    pub(crate) fn start(threads: usize, name: String) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .thread_stack_size(STACK)
            .on_thread_start(lower_priority)
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(
                    ErrorCode::Exhausted,
                    format!("cannot start {threads} task threads: {error}"),
                )
            })?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Mutex::new(Some(runtime)),
        })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends the threads and waits for them.
    pub(crate) async fn shut_down(&self) {
        let Some(runtime) = self.take() else { return };
        // Joining blocks, which an async thread must not.
        let joined = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(JOIN)).await;
        if let Err(error) = joined {
            warn!(%error, "the task threads did not end in order");
        }
    }

    fn take(&self) -> Option<Runtime> {
        self.runtime
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // A runtime dropped on an async thread panics.
        if let Some(runtime) = self.take() {
            runtime.shutdown_background();
        }
    }
}

fn lower_priority() {
    // SAFETY: the call takes three numbers; 0 means the calling thread, and a failure changes nothing.
    let changed = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
    if changed != 0 {
        warn!("the priority of a task thread could not be lowered");
    }
}
