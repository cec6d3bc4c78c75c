//! Start, stop, drain, and a scheduler that forgets, refuses or goes away.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ballista_core::serde::protobuf::{FailedTask, StopExecutorParams, task_status};
use tokio::net::TcpListener;
use tonic::Status;
use whimbrel_proto::ids::Digest;
use whimbrel_proto::{Error, ErrorCode};

use super::fake::{FakeScheduler, Heard, eventually};
use super::{Folder, config, csv_stage, joined, launch, start, tasks_of};
use crate::executor::thread_name;
use crate::runtime::ModelFetcher;
use crate::shell::{Link, SchedulerModels};

/// Threads of this process with that name.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads");
    let names = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|comm| comm.trim() == name).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_executors_in_one_process_leave_no_thread_port_or_file() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    for round in 0..2 {
        let mut executors = Vec::new();
        for _ in 0..5 {
            executors.push(joined(&scheduler, &folder.0).await);
        }
        for executor in executors {
            let name: String = thread_name(executor.id()).chars().take(15).collect();
            let own = folder.0.join("executors").join(executor.id().as_str());
            let (client, cluster) = (
                executor.client_address().to_owned(),
                executor.cluster_address(),
            );
            assert!(threads(&name) > 0 && own.is_dir());
            executor.stop().await;
            assert_eq!(threads(&name), 0, "round {round}");
            assert!(!own.exists(), "round {round}");
            TcpListener::bind(client)
                .await
                .expect("the client port is free");
            TcpListener::bind(cluster)
                .await
                .expect("the cluster port is free");
        }
        assert_eq!(
            scheduler.count(|heard| matches!(heard, Heard::Stopped)),
            (round + 1) * 5
        );
    }
    let heard = scheduler.memory.heard.lock().expect("heard").clone();
    assert!(
        matches!(heard[..2], [Heard::Joined, Heard::Registered]),
        "{heard:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_outlives_its_scheduler_and_joins_the_next_one() {
    let folder = Folder::new();
    let scheduler = FakeScheduler::start().await;
    let executor = joined(&scheduler, &folder.0).await;
    scheduler.memory.forgetful.store(true, Ordering::SeqCst);
    scheduler
        .heard("a second registration", |heard| {
            (heard
                .iter()
                .filter(|heard| matches!(heard, Heard::Registered))
                .count()
                == 2)
                .then_some(())
        })
        .await;

    // Ballista's forced stop means "I gave you up", not "end".
    let executor_id = executor.id().to_string();
    let stop = StopExecutorParams {
        executor_id: executor_id.clone(),
        reason: "late".to_owned(),
        force: true,
    };
    tasks_of(&executor)
        .await
        .stop_executor(stop)
        .await
        .expect("answered");
    scheduler
        .heard("a third registration", |heard| {
            (heard
                .iter()
                .filter(|heard| matches!(heard, Heard::Registered))
                .count()
                == 3)
                .then_some(())
        })
        .await;

    let stop = StopExecutorParams {
        executor_id,
        reason: "enough".to_owned(),
        force: false,
    };
    tasks_of(&executor)
        .await
        .stop_executor(stop)
        .await
        .expect("answered");
    executor.wait().await;
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_without_a_scheduler_serves_health_and_stops() {
    let folder = Folder::new();
    let executor = start(config("127.0.0.1:1", &folder.0)).await;
    let (health, ready) = (
        get(executor.client_address(), "/healthz").await,
        get(executor.client_address(), "/readyz").await,
    );
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    executor.stop().await;
}

async fn get(address: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_is_sent_until_it_is_heard() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let executor = joined(&scheduler, &folder.0).await;
    scheduler
        .memory
        .refusals
        .lock()
        .expect("refusals")
        .extend([Status::unavailable("busy"), Status::internal("no")]);
    let file = folder.write("a.csv", "id,name\n1,a\n");
    tasks_of(&executor)
        .await
        .launch_multi_task(launch("job", 0, csv_stage("job", &file).await))
        .await
        .expect("launched");
    let status = scheduler.status(0).await;
    assert!(
        matches!(status.status, Some(task_status::Status::Successful(_))),
        "{status:?}"
    );
    assert!(
        scheduler
            .memory
            .refusals
            .lock()
            .expect("refusals")
            .is_empty()
    );
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_true_reason_of_a_failure_comes_before_the_engines_status() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let executor = joined(&scheduler, &folder.0).await;
    let file = folder.write("broken.csv", "id,name\n1,a\nnot a number,b\n");
    tasks_of(&executor)
        .await
        .launch_multi_task(launch("job", 3, csv_stage("job", &file).await))
        .await
        .expect("launched");
    let status = scheduler.status(3).await;
    let Some(task_status::Status::Failed(FailedTask {
        retryable,
        count_to_failures,
        ..
    })) = status.status
    else {
        panic!("{status:?}");
    };
    assert!(retryable && count_to_failures);
    let heard = scheduler.memory.heard.lock().expect("heard").clone();
    let error_at = heard
        .iter()
        .position(|heard| matches!(heard, Heard::Error(_)))
        .expect("an error");
    let status_at = heard
        .iter()
        .position(|heard| matches!(heard, Heard::Status(_)))
        .expect("a status");
    assert!(error_at < status_at);
    let Heard::Error(report) = &heard[error_at] else {
        panic!("not an error")
    };
    let error = Error::from(report.error.clone().expect("a reason"));
    assert_eq!(error.code(), ErrorCode::Data, "{error}");
    assert!(error.message().contains("broken.csv"), "{error}");
    assert_eq!(report.task.as_ref().expect("a task").task_id, 3);
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_decoded_fails_its_own_job_with_a_reason() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let executor = joined(&scheduler, &folder.0).await;
    let file = folder.write("a.csv", "id,name\n1,a\n");
    let mut tasks = launch("job", 0, csv_stage("job", &file).await);
    tasks.multi_tasks[0].plan = vec![0xff; 8];
    let answer = tasks_of(&executor)
        .await
        .launch_multi_task(tasks)
        .await
        .expect("answered")
        .into_inner();
    assert_eq!(answer.failed_jobs, ["job"]);
    scheduler
        .heard("the reason", |heard| {
            heard
                .iter()
                .any(|h| matches!(h, Heard::Error(_)))
                .then_some(())
        })
        .await;
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_finishes_its_tasks_and_serves_what_is_wanted() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let executor = joined(&scheduler, &folder.0).await;
    let file = folder.write("a.csv", "id,name\n1,a\n");
    tasks_of(&executor)
        .await
        .launch_multi_task(launch("job", 0, csv_stage("job", &file).await))
        .await
        .expect("launched");
    *scheduler.memory.wanted.lock().expect("wanted") = vec!["job".to_owned()];
    let client = executor.client_address().to_owned();
    let drained = tokio::spawn(executor.drain(Duration::from_secs(60)));

    eventually("draining reports", || {
        (scheduler.memory.draining_seen.load(Ordering::SeqCst) >= 4).then_some(())
    })
    .await;
    scheduler.status(0).await;
    assert!(!drained.is_finished());
    assert!(get(&client, "/readyz").await.contains("draining"));

    scheduler.memory.wanted.lock().expect("wanted").clear();
    drained.await.expect("drained");
    assert_eq!(scheduler.count(|heard| matches!(heard, Heard::Stopped)), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grace_ends_a_drain_whatever_is_wanted() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let executor = joined(&scheduler, &folder.0).await;
    let file = folder.write("a.csv", "id,name\n1,a\n");
    tasks_of(&executor)
        .await
        .launch_multi_task(launch("job", 0, csv_stage("job", &file).await))
        .await
        .expect("launched");
    scheduler.status(0).await;
    *scheduler.memory.wanted.lock().expect("wanted") = vec!["job".to_owned()];
    tokio::time::timeout(
        Duration::from_secs(15),
        executor.drain(Duration::from_secs(1)),
    )
    .await
    .expect("ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_comes_from_the_scheduler_chunk_by_chunk() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let config = config(&scheduler.address, &folder.0);
    let models = SchedulerModels {
        link: Link::new(&config, None).expect("a link"),
    };
    let digest: Digest = "ab".repeat(32).parse().expect("a digest");
    let to = folder.0.join("model");
    models.fetch(&digest, &to).await.expect("fetched");
    let content = std::fs::read_to_string(&to).expect("read");
    assert_eq!(
        content,
        digest.as_str().repeat(2),
        "the fake sends the digest twice"
    );
    let error = models
        .fetch(&digest, &to)
        .await
        .expect_err("the file is there");
    assert_eq!(error.code(), ErrorCode::Unavailable);
}
