//! The scoring threads: started once with the host, one per core, fed through a bounded queue. What waits for a place in the
//! queue waits asynchronously. Only what is over sooner than it could be handed over runs on the thread that asks.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{Semaphore, oneshot};
use whimbrel_predict::error::panic_text;
use whimbrel_proto::{Error, ErrorCode};

use super::tensors::Scratch;

/// Feeds that wait per thread, so that a thread finds the next one when it ends the last.
const QUEUED_PER_THREAD: usize = 2;

/// What one scoring thread owns and lends to each job in turn.
pub(super) struct Worker {
    /// 0 .. threads: which of a model's sessions is this thread's.
    pub(super) index: usize,
    pub(super) scratch: Scratch,
    /// What our own kernels write to.
    pub(super) native: whimbrel_graph::Scratch,
}

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// The threads themselves; joined on [`ScoringThreads::stop`] or drop.
pub(super) struct ScoringThreads {
    queue: ScoringQueue,
    count: usize,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

/// The way to the threads; cheap to clone, and does not keep them alive.
#[derive(Clone)]
pub(super) struct ScoringQueue(Arc<Shared>);

struct Shared {
    /// One permit per place in the queue; held by a job until a thread takes it.
    places: Arc<Semaphore>,
    state: Mutex<State>,
    arrived: Condvar,
    /// For those that do not wait for a thread, as many as there ever were at once.
    spare: Mutex<Vec<whimbrel_graph::Scratch>>,
}

struct State {
    jobs: VecDeque<Job>,
    stopped: bool,
}

impl ScoringThreads {
    pub(super) fn start(count: usize) -> Result<Self, Error> {
        let queue = ScoringQueue(Arc::new(Shared {
            places: Arc::new(Semaphore::new(count * QUEUED_PER_THREAD)),
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                stopped: false,
            }),
            arrived: Condvar::new(),
            spare: Mutex::default(),
        }));
        // Made before the threads, so that those already started end if a later one cannot be.
        let threads = Self {
            queue,
            count,
            handles: Mutex::default(),
        };
        for index in 0..count {
            let shared = Arc::clone(&threads.queue.0);
            let handle = std::thread::Builder::new()
                .name(format!("whimbrel-score-{index}"))
                .spawn(move || work(&shared, index))
                .map_err(|error| {
                    Error::new(
                        ErrorCode::Exhausted,
                        format!("cannot start scoring thread {index}: {error}"),
                    )
                })?;
            threads
                .handles
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(handle);
        }
        Ok(threads)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn queue(&self) -> &ScoringQueue {
        &self.queue
    }

    /// Lets each thread finish the job it is in, gives up what waits, and joins them. May be called again.
    pub(super) fn stop(&self) {
        self.queue.0.close();
        let handles =
            std::mem::take(&mut *self.handles.lock().unwrap_or_else(PoisonError::into_inner));
        for handle in handles {
            if handle.join().is_err() {
                tracing::error!("a scoring thread ended by a panic outside its jobs");
            }
        }
    }
}

impl Drop for ScoringThreads {
    fn drop(&mut self) {
        self.stop();
    }
}

impl ScoringQueue {
    /// Runs `job` on a scoring thread. Waits for a place in the queue; a job whose future was dropped before a thread took
    /// it never runs.
    pub(super) async fn run<T, F>(&self, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut Worker) -> Result<T, Error> + Send + 'static,
    {
        let place = Arc::clone(&self.0.places)
            .acquire_owned()
            .await
            .map_err(|_| stopping())?;
        let (answer, answered) = oneshot::channel();
        self.0.push(Box::new(move |worker| {
            drop(place);
            if answer.is_closed() {
                return;
            }
            let result = caught(|| job(worker));
            // The caller may have left meanwhile; then nobody wants the answer.
            answer.send(result).ok();
        }))?;
        answered.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Runs `job` at once, on the calling thread: only for what takes it no longer than to hand the job over and to be woken.
    pub(super) fn run_here<T>(
        &self,
        job: impl FnOnce(&mut whimbrel_graph::Scratch) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.0.places.is_closed() {
            return Err(stopping());
        }
        let spare = || self.0.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = spare().pop().unwrap_or_default();
        caught(|| {
            let done = job(&mut scratch);
            spare().push(scratch);
            done
        })
    }
}

impl Shared {
    fn push(&self, job: Job) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return Err(stopping());
        }
        state.jobs.push_back(job);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.stopped {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state = self
                .arrived
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        self.places.close();
        let waiting = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.stopped = true;
            std::mem::take(&mut state.jobs)
        };
        self.arrived.notify_all();
        // Dropped outside the lock: each wakes a caller, which gets the error that the executor is stopping.
        drop(waiting);
    }
}

fn work(shared: &Shared, index: usize) {
    lower_priority();
    let mut worker = Worker {
        index,
        scratch: Scratch::default(),
        native: whimbrel_graph::Scratch::default(),
    };
    while let Some(job) = shared.next() {
        job(&mut worker);
    }
}

/// The same as Ballista's task threads: readers and scorers share the cores evenly, and heartbeats come before both.
#[cfg(target_os = "linux")]
fn lower_priority() {
    const NICE: libc::c_int = 10;
    // SAFETY: setpriority has no memory effects; on Linux `who` 0 is the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } != 0 {
        tracing::warn!(error = %std::io::Error::last_os_error(), "cannot lower a scoring thread's priority");
    }
}

/// Elsewhere the call would change the whole process.
#[cfg(not(target_os = "linux"))]
fn lower_priority() {}

fn caught<T>(job: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn stopping() -> Error {
    Error::new(
        ErrorCode::Unavailable,
        "this executor is stopping and scores no more",
    )
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic_text(panic).unwrap_or("no message");
    Error::new(ErrorCode::Bug, format!("scoring panicked: {text}"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::sync_channel;

    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn a_job_whose_future_was_dropped_is_skipped() {
        let threads = ScoringThreads::start(1).unwrap();
        let (started, has_started) = sync_channel::<()>(1);
        let (release, released) = sync_channel::<()>(1);
        let mut first = Box::pin(threads.queue().run(move |_| {
            started.send(()).unwrap();
            released.recv().unwrap();
            Ok(1)
        }));
        assert!(poll!(&mut first).is_pending());
        has_started.recv().unwrap();

        let ran = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ran);
        let mut second = Box::pin(threads.queue().run(move |_| {
            flag.store(true, Ordering::SeqCst);
            Ok(2)
        }));
        assert!(poll!(&mut second).is_pending());
        drop(second);
        release.send(()).unwrap();
        assert_eq!(first.await, Ok(1));
        assert_eq!(threads.queue().run(|_| Ok(3)).await, Ok(3));
        assert!(!ran.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_thread_lives_on() {
        let threads = ScoringThreads::start(1).unwrap();
        let error = threads
            .queue()
            .run::<(), _>(|_| panic!("index out of bounds"))
            .await
            .unwrap_err();
        assert_eq!(
            (error.code(), error.message()),
            (ErrorCode::Bug, "scoring panicked: index out of bounds")
        );
        assert_eq!(threads.queue().run(|worker| Ok(worker.index)).await, Ok(0));
    }

    #[test]
    fn what_runs_here_has_scratch_of_its_own_until_the_threads_stop() {
        let threads = ScoringThreads::start(1).unwrap();
        let queue = threads.queue().clone();
        let spares = || queue.0.spare.lock().unwrap().len();
        assert_eq!(queue.run_here(|_| queue.run_here(|_| Ok(1))), Ok(1));
        assert_eq!(spares(), 2);
        assert_eq!(queue.run_here(|_| Ok(spares())), Ok(1));
        let error = queue
            .run_here::<()>(|_| panic!("index out of bounds"))
            .unwrap_err();
        assert_eq!(error.message(), "scoring panicked: index out of bounds");
        assert_eq!(spares(), 1);
        threads.stop();
        let error = queue.run_here(|_| Ok(())).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unavailable);
    }

    #[tokio::test]
    async fn more_jobs_than_places_all_run_and_stop_answers_those_that_wait() {
        let threads = ScoringThreads::start(2).unwrap();
        let queue = threads.queue().clone();
        let sum: usize = futures::future::join_all((0..100).map(|n| queue.run(move |_| Ok(n))))
            .await
            .into_iter()
            .map(Result::unwrap)
            .sum();
        assert_eq!(sum, 4950);
        threads.stop();
        let error = queue.run(|_| Ok(())).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unavailable);
    }
}
