//! Results over Flight: whole ones come whole, and no ticket reads what is not its own.

use std::path::PathBuf;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightData, Ticket};
use ballista_core::serde::protobuf::{RemoveJobDataParams, TaskStatus, task_status};
use futures::TryStreamExt;
use prost::Message;
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};
use whimbrel_access::TicketSigner;
use whimbrel_proto::v1::ResultTicket;
use whimbrel_proto::{Error, ErrorCode};

use super::fake::{FakeScheduler, OTHER_TOKEN, TOKEN, USER};
use super::{Folder, csv_stage, joined, launch, tasks_of};
use crate::Executor;

/// An executor with one finished task of three rows, and the ticket for it.
async fn with_result(scheduler: &FakeScheduler, folder: &Folder) -> (Executor, ResultTicket) {
    let executor = joined(scheduler, &folder.0).await;
    let file = folder.write("a.csv", "id,name\n1,a\n2,b\n3,c\n");
    let tasks = launch("job", 7, csv_stage("job", &file).await);
    tasks_of(&executor)
        .await
        .launch_multi_task(tasks)
        .await
        .expect("launched");
    let status = scheduler.status(7).await;
    let ticket = ticket_of(&executor, &status);
    assert_eq!(
        status.metrics.len(),
        2,
        "the writer's and the scan's, but none of the guard"
    );
    (executor, ticket)
}

fn ticket_of(executor: &Executor, status: &TaskStatus) -> ResultTicket {
    let Some(task_status::Status::Successful(done)) = &status.status else {
        panic!("{status:?}")
    };
    let written = &done.partitions[0];
    ResultTicket {
        query_id: "query".to_owned(),
        job_id: "job".to_owned(),
        stage_id: 1,
        partition: u32::try_from(written.partition_id).expect("small"),
        executor_id: executor.id().to_string(),
        file: format!("job/1/0/data-{}.arrow", written.file_id.expect("a file")),
        rows: written.num_rows,
        user: USER.to_owned(),
        expires_unix: i64::MAX,
        own: false,
    }
}

async fn open(
    executor: &Executor,
    ticket: &ResultTicket,
    token: &str,
) -> Result<Streaming<FlightData>, Error> {
    let signed = FakeScheduler::sign(ticket);
    open_bytes(executor, signed, token).await
}

async fn open_bytes(
    executor: &Executor,
    ticket: Vec<u8>,
    token: &str,
) -> Result<Streaming<FlightData>, Error> {
    let endpoint =
        Endpoint::from_shared(format!("http://{}", executor.client_address())).expect("an address");
    let mut client = FlightServiceClient::new(endpoint.connect().await.expect("connected"));
    let mut request = Request::new(Ticket {
        ticket: ticket.into(),
    });
    request.metadata_mut().insert(
        "authorization",
        format!("Bearer {token}").parse().expect("header"),
    );
    Ok(client.do_get(request).await?.into_inner())
}

async fn get(
    executor: &Executor,
    ticket: &ResultTicket,
    token: &str,
) -> Result<Vec<RecordBatch>, Error> {
    let stream = open(executor, ticket, token)
        .await?
        .map_err(|status| FlightError::Tonic(Box::new(status)));
    FlightRecordBatchStream::new_from_flight_data(stream)
        .try_collect()
        .await
        .map_err(|error| match error {
            FlightError::Tonic(status) => Error::from(*status),
            other => panic!("{other}"),
        })
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// Where the result lies.
fn path(folder: &Folder, executor: &Executor, ticket: &ResultTicket) -> PathBuf {
    folder
        .0
        .join("executors")
        .join(executor.id().as_str())
        .join("jobs")
        .join(&ticket.file)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_brings_its_rows_and_nothing_else() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let (executor, ticket) = with_result(&scheduler, &folder).await;
    assert_eq!(
        rows(&get(&executor, &ticket, TOKEN).await.expect("rows")),
        3
    );
    assert!(path(&folder, &executor, &ticket).is_file());

    let code = async |ticket: ResultTicket, token: &str| {
        get(&executor, &ticket, token)
            .await
            .expect_err("refused")
            .code()
    };
    assert_eq!(
        code(
            ResultTicket {
                rows: 4,
                ..ticket.clone()
            },
            TOKEN
        )
        .await,
        ErrorCode::Data
    );
    for file in [
        "../../../a.csv",
        "/etc/passwd",
        "job/1/0/../0/data-7.arrow",
        "job/1/1/data-7.arrow",
        "",
    ] {
        assert_eq!(
            code(
                ResultTicket {
                    file: file.to_owned(),
                    ..ticket.clone()
                },
                TOKEN
            )
            .await,
            ErrorCode::NotFound,
            "{file}"
        );
    }
    assert_eq!(
        code(
            ResultTicket {
                partition: 1,
                ..ticket.clone()
            },
            TOKEN
        )
        .await,
        ErrorCode::NotFound
    );
    assert_eq!(
        code(
            ResultTicket {
                stage_id: 2,
                ..ticket.clone()
            },
            TOKEN
        )
        .await,
        ErrorCode::NotFound
    );
    assert_eq!(
        code(
            ResultTicket {
                job_id: "../x".to_owned(),
                ..ticket.clone()
            },
            TOKEN
        )
        .await,
        ErrorCode::Invalid
    );
    assert_eq!(
        code(
            ResultTicket {
                executor_id: "another".to_owned(),
                ..ticket.clone()
            },
            TOKEN
        )
        .await,
        ErrorCode::Denied
    );
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_its_users_and_this_pools() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let (executor, ticket) = with_result(&scheduler, &folder).await;
    let code = async |ticket: ResultTicket, token: &str| {
        get(&executor, &ticket, token)
            .await
            .expect_err("refused")
            .code()
    };
    for token in ["wrong", ""] {
        let code = code(ticket.clone(), token).await;
        assert_eq!(code, ErrorCode::Unauthenticated, "{token:?}");
    }
    assert_eq!(code(ticket.clone(), OTHER_TOKEN).await, ErrorCode::Denied);
    let expired = ResultTicket {
        expires_unix: 1,
        ..ticket.clone()
    };
    assert_eq!(code(expired, TOKEN).await, ErrorCode::Denied);
    let own = ResultTicket {
        own: true,
        user: "bob".to_owned(),
        ..ticket.clone()
    };
    let read = get(&executor, &own, "").await.expect("the scheduler's own");
    assert_eq!(rows(&read), 3);
    let foreign = TicketSigner::new().expect("a key").sign(&ticket);
    let unsigned = ticket.encode_to_vec();
    for (what, bytes) in [("foreign", foreign), ("unsigned", unsigned)] {
        let refused = open_bytes(&executor, bytes, TOKEN).await;
        let code = refused.map(drop).expect_err(what).code();
        assert!(
            matches!(code, ErrorCode::Denied | ErrorCode::Invalid),
            "{what}: {code}"
        );
    }
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_cut_at_a_message_is_an_error_and_never_a_clean_end() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let (executor, ticket) = with_result(&scheduler, &folder).await;
    let file = path(&folder, &executor, &ticket);
    let bytes = std::fs::read(&file).expect("read");
    // The end marker is eight bytes; without it the file ends exactly after its last batch.
    std::fs::write(&file, &bytes[..bytes.len() - 8]).expect("cut");
    let error = get(&executor, &ticket, TOKEN).await.expect_err("seen");
    assert_eq!(error.code(), ErrorCode::Data, "{error}");

    // A whole but shorter file: only the count can tell.
    let schema_end = 8 + u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes")) as usize;
    let shorter = [&bytes[..schema_end], &bytes[bytes.len() - 8..]].concat();
    std::fs::write(&file, shorter).expect("shortened");
    let error = get(&executor, &ticket, TOKEN).await.expect_err("seen");
    assert_eq!(error.code(), ErrorCode::Data, "{error}");
    assert!(
        error.message().contains("0 rows here, 3 promised"),
        "{error}"
    );
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_results_are_gone_and_no_path_leaves_the_folder() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let (executor, ticket) = with_result(&scheduler, &folder).await;
    let mut tasks = tasks_of(&executor).await;
    for job_id in ["..", "../../models", "/tmp", ""] {
        let params = RemoveJobDataParams {
            job_id: job_id.to_owned(),
            remove_stage_ids: vec![],
        };
        assert!(tasks.remove_job_data(params).await.is_err(), "{job_id}");
    }
    let other = RemoveJobDataParams {
        job_id: "job".to_owned(),
        remove_stage_ids: vec![9],
    };
    tasks.remove_job_data(other).await.expect("removed");
    assert_eq!(
        rows(&get(&executor, &ticket, TOKEN).await.expect("rows")),
        3
    );

    let whole = RemoveJobDataParams {
        job_id: "job".to_owned(),
        remove_stage_ids: vec![],
    };
    tasks.remove_job_data(whole).await.expect("removed");
    assert_eq!(
        get(&executor, &ticket, TOKEN)
            .await
            .expect_err("gone")
            .code(),
        ErrorCode::NotFound
    );
    assert!(!path(&folder, &executor, &ticket).exists());
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_cannot_hold_up_a_stop() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let executor = joined(&scheduler, &folder.0).await;
    let rows: String = (0..300_000_i64)
        .map(|id| format!("{id},{}\n", id * 7919 % 1_000_003))
        .collect();
    let file = folder.write("large.csv", &format!("id,name\n{rows}"));
    let tasks = launch("job", 7, csv_stage("job", &file).await);
    tasks_of(&executor)
        .await
        .launch_multi_task(tasks)
        .await
        .expect("launched");
    let ticket = ticket_of(&executor, &scheduler.status(7).await);
    assert_eq!(ticket.rows, 300_000);

    let mut stream = open(&executor, &ticket, TOKEN).await.expect("opened");
    stream.message().await.expect("sent").expect("the schema");
    tokio::time::timeout(Duration::from_secs(5), executor.stop())
        .await
        .expect("stopped");
    let rest = async {
        while stream.message().await?.is_some() {}
        Ok::<_, tonic::Status>(())
    };
    assert!(rest.await.is_err(), "what was cut off must not look whole");
}
