//! A scheduler that knows nothing but its part of the conversation, and writes down what it hears.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use ballista_core::serde::protobuf::scheduler_grpc_server::{SchedulerGrpc, SchedulerGrpcServer};
use ballista_core::serde::protobuf::*;
use futures::stream;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use whimbrel_access::TicketSigner;
use whimbrel_proto::v1;
use whimbrel_proto::v1::cluster_service_server::{ClusterService, ClusterServiceServer};

use whimbrel_proto::{Error, ErrorCode};

use crate::serve::Outgoing;

pub(crate) const TOKEN: &str = "sesame";
/// Whom that token belongs to, and the token of another.
pub(crate) const USER: &str = "ann";
pub(crate) const OTHER_TOKEN: &str = "barley";

/// Every scheduler of these tests signs with the same key.
static SIGNER: LazyLock<TicketSigner> = LazyLock::new(|| TicketSigner::new().expect("a key"));

/// What was heard, in order.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Joined,
    Registered,
    Error(v1::ReportTaskErrorRequest),
    Status(Box<TaskStatus>),
    Stopped,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) heard: Mutex<Vec<Heard>>,
    /// Answers to come instead of accepting a status.
    pub(crate) refusals: Mutex<VecDeque<Status>>,
    pub(crate) wanted: Mutex<Vec<String>>,
    pub(crate) forgetful: AtomicBool,
    pub(crate) draining_seen: AtomicUsize,
}

/// The scheduler's cluster port; ends when dropped.
pub(crate) struct FakeScheduler {
    pub(crate) address: String,
    pub(crate) memory: Arc<Memory>,
    end: CancellationToken,
}

impl Drop for FakeScheduler {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl FakeScheduler {
    /// The ticket as a client gets it.
    pub(crate) fn sign(ticket: &v1::ResultTicket) -> Vec<u8> {
        SIGNER.sign(ticket)
    }

    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let memory = Arc::new(Memory::default());
        let end = CancellationToken::new();
        let server = Server::builder()
            .add_service(SchedulerGrpcServer::new(Fake(Arc::clone(&memory))))
            .add_service(ClusterServiceServer::new(Fake(Arc::clone(&memory))))
            .serve_with_incoming_shutdown(
                TcpListenerStream::new(listener),
                end.clone().cancelled_owned(),
            );
        tokio::spawn(server);
        Self {
            address,
            memory,
            end,
        }
    }

    /// Waits until `found` finds something in what was heard.
    pub(crate) async fn heard<T>(&self, what: &str, found: impl Fn(&[Heard]) -> Option<T>) -> T {
        eventually(what, || found(&self.memory.heard.lock().expect("heard"))).await
    }

    /// Waits for the status of a task.
    pub(crate) async fn status(&self, task_id: u32) -> TaskStatus {
        self.heard("a status", |heard| {
            heard.iter().find_map(|heard| match heard {
                Heard::Status(status) if status.task_id == task_id => Some(status.as_ref().clone()),
                _ => None,
            })
        })
        .await
    }

    pub(crate) fn count(&self, which: impl Fn(&Heard) -> bool) -> usize {
        self.memory
            .heard
            .lock()
            .expect("heard")
            .iter()
            .filter(|heard| which(heard))
            .count()
    }
}

/// Asks until there is an answer, for 20 s.
pub(crate) async fn eventually<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let asking = async {
        loop {
            ticks.tick().await;
            if let Some(answer) = ask() {
                return answer;
            }
        }
    };
    match tokio::time::timeout(Duration::from_secs(20), asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

struct Fake(Arc<Memory>);

impl Fake {
    fn note(&self, heard: Heard) {
        self.0.heard.lock().expect("heard").push(heard);
    }
}

#[tonic::async_trait]
impl ClusterService for Fake {
    async fn join_pool(
        &self,
        request: Request<v1::JoinPoolRequest>,
    ) -> Result<Response<v1::JoinPoolResponse>, Status> {
        assert!(
            request
                .into_inner()
                .client_address
                .starts_with("127.0.0.1:")
        );
        self.note(Heard::Joined);
        self.0.forgetful.store(false, Ordering::SeqCst);
        Ok(Response::new(v1::JoinPoolResponse {
            ticket_key: Some(SIGNER.public()),
            open: false,
        }))
    }

    async fn identify(
        &self,
        request: Request<v1::IdentifyRequest>,
    ) -> Result<Response<v1::IdentifyResponse>, Status> {
        let token = request.into_inner().token;
        let user = match token.as_str() {
            TOKEN => USER,
            OTHER_TOKEN => "bob",
            _ => {
                return Err(Error::new(ErrorCode::Unauthenticated, "not one of this pool").into());
            }
        };
        Ok(Response::new(v1::IdentifyResponse {
            user: user.to_owned(),
            expires_unix: 0,
        }))
    }

    async fn report_executor(
        &self,
        request: Request<v1::ReportExecutorRequest>,
    ) -> Result<Response<v1::ReportExecutorResponse>, Status> {
        if request.into_inner().draining {
            self.0.draining_seen.fetch_add(1, Ordering::SeqCst);
        }
        let wanted_jobs = self.0.wanted.lock().expect("wanted").clone();
        let known = !self.0.forgetful.load(Ordering::SeqCst);
        Ok(Response::new(v1::ReportExecutorResponse {
            known,
            wanted_jobs,
            ended_jobs: Vec::new(),
        }))
    }

    async fn report_task_error(
        &self,
        request: Request<v1::ReportTaskErrorRequest>,
    ) -> Result<Response<v1::ReportTaskErrorResponse>, Status> {
        self.note(Heard::Error(request.into_inner()));
        Ok(Response::new(v1::ReportTaskErrorResponse {}))
    }

    type FetchModelStream = Outgoing<v1::FetchModelResponse>;

    async fn fetch_model(
        &self,
        request: Request<v1::FetchModelRequest>,
    ) -> Result<Response<Self::FetchModelStream>, Status> {
        let digest = request.into_inner().digest;
        let chunks = [digest.clone(), digest].map(|text| {
            Ok(v1::FetchModelResponse {
                chunk: text.into_bytes(),
            })
        });
        Ok(Response::new(Box::pin(stream::iter(chunks))))
    }
}

#[tonic::async_trait]
impl SchedulerGrpc for Fake {
    async fn register_executor(
        &self,
        request: Request<RegisterExecutorParams>,
    ) -> Result<Response<RegisterExecutorResult>, Status> {
        let metadata = request.into_inner().metadata.expect("metadata");
        assert_eq!(
            metadata.port, metadata.grpc_port,
            "tasks and shuffles have one port"
        );
        self.note(Heard::Registered);
        Ok(Response::new(RegisterExecutorResult { success: true }))
    }

    async fn heart_beat_from_executor(
        &self,
        _: Request<HeartBeatParams>,
    ) -> Result<Response<HeartBeatResult>, Status> {
        Ok(Response::new(HeartBeatResult { reregister: false }))
    }

    async fn update_task_status(
        &self,
        request: Request<UpdateTaskStatusParams>,
    ) -> Result<Response<UpdateTaskStatusResult>, Status> {
        if let Some(refusal) = self.0.refusals.lock().expect("refusals").pop_front() {
            return Err(refusal);
        }
        for status in request.into_inner().task_status {
            self.note(Heard::Status(Box::new(status)));
        }
        Ok(Response::new(UpdateTaskStatusResult { success: true }))
    }

    async fn executor_stopped(
        &self,
        _: Request<ExecutorStoppedParams>,
    ) -> Result<Response<ExecutorStoppedResult>, Status> {
        self.note(Heard::Stopped);
        Ok(Response::new(ExecutorStoppedResult {}))
    }

    type ExecuteQueryPushStream = Outgoing<GetJobStatusResult>;

    async fn poll_work(
        &self,
        _: Request<PollWorkParams>,
    ) -> Result<Response<PollWorkResult>, Status> {
        Err(Status::unimplemented("poll_work"))
    }

    async fn create_update_session(
        &self,
        _: Request<CreateUpdateSessionParams>,
    ) -> Result<Response<CreateUpdateSessionResult>, Status> {
        Err(Status::unimplemented("create_update_session"))
    }

    async fn remove_session(
        &self,
        _: Request<RemoveSessionParams>,
    ) -> Result<Response<RemoveSessionResult>, Status> {
        Err(Status::unimplemented("remove_session"))
    }

    async fn execute_query_push(
        &self,
        _: Request<ExecuteQueryParams>,
    ) -> Result<Response<Self::ExecuteQueryPushStream>, Status> {
        Err(Status::unimplemented("execute_query_push"))
    }

    async fn execute_query(
        &self,
        _: Request<ExecuteQueryParams>,
    ) -> Result<Response<ExecuteQueryResult>, Status> {
        Err(Status::unimplemented("execute_query"))
    }

    async fn get_job_status(
        &self,
        _: Request<GetJobStatusParams>,
    ) -> Result<Response<GetJobStatusResult>, Status> {
        Err(Status::unimplemented("get_job_status"))
    }

    async fn get_job_metrics(
        &self,
        _: Request<GetJobMetricsParams>,
    ) -> Result<Response<GetJobMetricsResult>, Status> {
        Err(Status::unimplemented("get_job_metrics"))
    }

    async fn cancel_job(
        &self,
        _: Request<CancelJobParams>,
    ) -> Result<Response<CancelJobResult>, Status> {
        Err(Status::unimplemented("cancel_job"))
    }

    async fn clean_job_data(
        &self,
        _: Request<CleanJobDataParams>,
    ) -> Result<Response<CleanJobDataResult>, Status> {
        Err(Status::unimplemented("clean_job_data"))
    }
}
