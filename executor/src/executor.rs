//! The handle of a running executor: start, drain, stop.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::BALLISTA_PROTOCOL_VERSION;
use ballista_core::serde::protobuf::executor_grpc_server::ExecutorGrpcServer;
use ballista_core::serde::protobuf::{
    ExecutorOperatingSystemSpecification, ExecutorRegistration, ExecutorResource,
    ExecutorSpecification, executor_resource,
};
use tokio::time::timeout;
use tonic::service::Routes;
use tracing::{info, warn};
use whimbrel_proto::ids::ExecutorId;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::{Allow, Environment, Patience, Process, Stores};

use crate::clock::new_executor_id;
use crate::config::Config;
use crate::engine::{ClientPool, Engine, EngineParts};
use crate::flight::results::ResultsService;
use crate::flight::shuffle::ShuffleService;
use crate::health;
use crate::host::Parts;
use crate::listeners::{Listeners, address, advertised, with_port};
use crate::memory::query_memory;
use crate::runtime::{HostOptions, ScoringHost};
use crate::serve::{Ending, Port, serve};
use crate::shell::{Ingredients, Link, Outcomes, SchedulerModels, Shared, TaskService};
use crate::tls::Tls;
use crate::workdir::WorkDir;
use crate::workers::Workers;

/// How long cancelled tasks may take to see it.
const GIVE_UP: Duration = Duration::from_secs(2);

/// How often certificates are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How long calls and streams may take to end in order before their connections are cut.
const CLOSE: Duration = Duration::from_secs(1);

/// A running executor. Dropping the handle stops it without waiting; `stop` waits until nothing of it is left.
#[must_use = "an executor stops when its handle is dropped"]
pub struct Executor {
    pub(crate) shared: Arc<Shared>,
    cluster_address: SocketAddr,
    ending: Ending,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("id", self.id())
            .finish_non_exhaustive()
    }
}

impl Executor {
    /// Starts an executor with ONNX Runtime. It serves at once, and joins the pool as soon as the scheduler answers.
    pub async fn start(config: Config, listeners: Listeners) -> Result<Self, Error> {
        let make = |work: &WorkDir, link: &Link| ort_parts(&config, work, link);
        Self::start_parts(&config, listeners, make)
    }

    /// Starts an executor that scores with the caller's model host.
    pub async fn start_with(
        config: Config,
        listeners: Listeners,
        parts: Parts,
    ) -> Result<Self, Error> {
        Self::start_parts(&config, listeners, |_, _| Ok(parts))
    }

    fn start_parts(
        config: &Config,
        listeners: Listeners,
        make: impl FnOnce(&WorkDir, &Link) -> Result<Parts, Error>,
    ) -> Result<Self, Error> {
        config.check()?;
        let tls = Tls::of(config)?;
        let (client_tls, cluster_tls) = tls.open()?;
        let (shared, outcomes, cluster_address) = prepare(config, &tls, &listeners, make)?;
        let ending = Ending {
            stop: shared.stop.clone(),
            ..Ending::default()
        };
        let (client, cluster) = (client_routes(&shared), cluster_routes(&shared, config));
        for tls in [&client_tls, &cluster_tls].into_iter().flatten().cloned() {
            let stop = shared.stop.clone();
            let follow = async move { stop.run_until_cancelled(tls.follow(LOOK)).await };
            shared.tracker.spawn(follow);
        }
        let client_port = Port {
            listener: listeners.client,
            tls: client_tls,
        };
        let cluster_port = Port {
            listener: listeners.cluster,
            tls: cluster_tls,
        };
        shared
            .tracker
            .spawn(serve(client_port, client, ending.clone()));
        shared
            .tracker
            .spawn(serve(cluster_port, cluster, ending.clone()));
        shared.start(outcomes);
        info!(
            executor_id = %shared.id, client = shared.client_address, cluster = %cluster_address, slots = shared.slots,
            "an executor serves"
        );
        Ok(Self {
            shared,
            cluster_address,
            ending,
        })
    }

    /// The executor's name in the pool.
    pub fn id(&self) -> &ExecutorId {
        &self.shared.id
    }

    /// host:port where clients reach it.
    pub fn client_address(&self) -> &str {
        &self.shared.client_address
    }

    /// Where the scheduler and other executors reach it.
    pub fn cluster_address(&self) -> SocketAddr {
        self.cluster_address
    }

    /// Takes no new tasks, finishes the running ones, serves results until nobody wants them or `grace` is over, and stops.
    pub async fn drain(self, grace: Duration) {
        info!(executor_id = %self.id(), grace_s = grace.as_secs(), "draining");
        if timeout(grace, self.shared.finish()).await.is_err() {
            warn!(executor_id = %self.id(), "the grace is over before all tasks and results were done with");
        }
        self.end("drained").await;
    }

    /// Stops now: running tasks are given up. Returns when no thread, port or file of the executor is left.
    pub async fn stop(self) {
        self.end("stopped").await;
    }

    /// Returns when the scheduler asks this executor to end; `drain` or `stop` are up to the caller.
    pub async fn wait(&self) {
        self.shared.stop_asked.cancelled().await;
    }

    async fn end(self, reason: &str) {
        let shared = &self.shared;
        if !shared.give_up(GIVE_UP).await {
            warn!(executor_id = %shared.id, "a task did not end in time");
        }
        shared.leave(reason).await;
        self.ending.stop.cancel();
        shared.tracker.close();
        if timeout(CLOSE, shared.tracker.wait()).await.is_err() {
            self.ending.cut.cancel();
            // Tasks that do not end are dropped with their threads.
            let _ = timeout(CLOSE, shared.tracker.wait()).await;
        }
        shared.workers.shut_down().await;
        let stats = Arc::clone(&shared.stats);
        if let Err(error) = tokio::task::spawn_blocking(move || stats.shut_down()).await {
            warn!(%error, "the model host did not end in order");
        }
        info!(executor_id = %shared.id, reason, "the executor has ended");
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.shared.cancel_all();
        self.ending.stop.cancel();
        self.ending.cut.cancel();
    }
}

/// ONNX Runtime, with the models of this pool's scheduler.
fn ort_parts(config: &Config, work: &WorkDir, link: &Link) -> Result<Parts, Error> {
    let options = HostOptions {
        library: Some(config.onnxruntime.clone()).filter(|path| !path.as_os_str().is_empty()),
        scoring_threads: config.model_threads(),
        batch_rows: config.batch_rows,
        model_cache_bytes: config.model_cache_bytes.get(),
        ..HostOptions::new(work.models())
    };
    let host = ScoringHost::new(options, Arc::new(SchedulerModels { link: link.clone() }))?;
    Ok(Parts {
        host: host.clone(),
        stats: host,
    })
}

fn prepare(
    config: &Config,
    tls: &Tls,
    listeners: &Listeners,
    make: impl FnOnce(&WorkDir, &Link) -> Result<Parts, Error>,
) -> Result<(Arc<Shared>, Outcomes, SocketAddr), Error> {
    let id = new_executor_id()?;
    let client = address(&listeners.client)?;
    let cluster = address(&listeners.cluster)?;
    let host = advertised(config, client.ip())?;
    let slots = config.task_slots();
    let work = WorkDir::open(&config.work_dir, &id)?;
    let link = Link::new(config, tls.cluster.clone())?;
    let clients = ClientPool::new(tls.cluster.clone());
    let parts = make(&work, &link)?;
    let process = Process::Executor(id.to_string());
    let allow = Allow::parse(&config.allow, process.clone())?;
    let engine = Engine::new(EngineParts {
        executor: id.clone(),
        stores: Stores::within(Environment::of_process(), process, allow)
            .with_patience(Patience::new(config.store_budget.get())),
        jobs: &work.jobs(),
        spill: &work.spill(),
        memory: query_memory(config),
        max_message: config.max_message_bytes,
        host: parts.host,
        clients: clients.clone(),
    })
    .map_err(|error| {
        Error::new(
            ErrorCode::Exhausted,
            format!("cannot start the engine: {error}"),
        )
    })?;
    let (shared, outcomes) = Shared::new(Ingredients {
        registration: registration(&id, &host, cluster.port(), slots),
        client_address: with_port(&host, client.port()),
        client_tls: tls.client.is_some(),
        scheduler: config.scheduler.clone(),
        slots,
        heartbeat: config.heartbeat.get(),
        result_ttl: config.result_ttl.get(),
        link,
        engine,
        clients,
        workers: Workers::start(slots, thread_name(&id))?,
        id,
        stats: parts.stats,
        work,
    });
    Ok((shared, outcomes, cluster))
}

/// The end of an id is what differs.
pub(crate) fn thread_name(id: &ExecutorId) -> String {
    let id = id.as_str();
    format!("task-{}", &id[id.len().saturating_sub(8)..])
}

/// Ballista's view: tasks and shuffles have one port here, and one slot is one of its vcores.
fn registration(id: &ExecutorId, host: &str, port: u16, slots: usize) -> ExecutorRegistration {
    let vcores = executor_resource::Resource::Vcores(u32::try_from(slots).unwrap_or(u32::MAX));
    ExecutorRegistration {
        id: id.to_string(),
        host: Some(host.to_owned()),
        port: port.into(),
        grpc_port: port.into(),
        specification: Some(ExecutorSpecification {
            resources: vec![ExecutorResource {
                resource: Some(vcores),
            }],
        }),
        os_info: Some(ExecutorOperatingSystemSpecification::default()),
        ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
    }
}

fn client_routes(shared: &Arc<Shared>) -> Routes {
    let results = ResultsService {
        id: shared.id.clone(),
        index: Arc::clone(&shared.index),
        door: Arc::clone(&shared.door),
        served: shared.served.clone(),
        stop: shared.stop.clone(),
    };
    let grpc = Routes::new(FlightServiceServer::new(results)).into_axum_router();
    grpc.merge(health::routes(Arc::clone(&shared.standing)))
        .into()
}

fn cluster_routes(shared: &Arc<Shared>, config: &Config) -> Routes {
    let limit = config.max_message_bytes.as_usize();
    let tasks = ExecutorGrpcServer::new(TaskService(Arc::clone(shared)))
        .max_decoding_message_size(limit)
        .max_encoding_message_size(limit);
    let jobs = shared.work.jobs().to_string_lossy().into_owned();
    let shuffle = FlightServiceServer::new(ShuffleService::new(jobs, shared.stop.clone()));
    Routes::new(tasks).add_service(shuffle)
}
