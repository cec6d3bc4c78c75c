//! Puts a scheduler's parts together.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use whimbrel_access::{ClusterTls, Keyring, ServerTls, TicketKeys, TicketSigner};
use whimbrel_predict::codec::WhimbrelPhysicalCodec;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::{Allow, Environment, Patience, Process, Registry as StoreRegistry, Stores};

use super::listen::Reached;
use super::{Listeners, Scheduler, serve};
use crate::auth::Door;
use crate::catalog::Catalog;
use crate::clock::{Clock, Ids, SystemClock, SystemIds};
use crate::config::{Config, StateHome};
use crate::engine::{Engine, Options};
use crate::executors::Executors;
use crate::failures::Failures;
use crate::flight::Ways;
use crate::http::Http;
use crate::jobs::{self, JobList, Jobs};
use crate::links::Links;
use crate::models::{Cells, ContentStore, Registry, Sources};
use crate::pool::Pool;
use crate::query::{Limits, Parts, Planning, Queries, Runner, Shelf};
use crate::reading::ExecutorReader;
use crate::session::{SessionPlanner, Sessions};
use crate::store::{MemoryStore, RedbStore, StateStore};

pub(super) async fn start(config: Config, listeners: Listeners) -> Result<Scheduler, Error> {
    config.validate()?;
    let doors = Doors::open(&config)?;
    let client = Reached::of(&listeners.client, &config.advertise)?;
    let cluster = Reached::of(&listeners.cluster, &config.advertise)?;
    let facts = Facts::open(&config).await?;
    let started = assemble(&config, &doors, &client, &cluster, &facts).await;
    let (pool, planning) = match started {
        Ok(parts) => parts,
        Err(error) => {
            facts.store.close().await;
            return Err(error);
        }
    };
    let failed = CancellationToken::new();
    run(&pool, listeners, doors, &config, &failed);
    tracing::info!(client = %client, cluster = %cluster, "the scheduler serves");
    let (client_address, cluster_address) = (client.to_string(), cluster.to_string());
    let Facts {
        store, temporary, ..
    } = facts;
    Ok(Scheduler {
        client_address,
        cluster_address,
        pool,
        planning,
        store,
        temporary,
        failed,
    })
}

/// How long a store that has never answered is asked: an address may be wrong, and a person waits to be told.
const STRANGERS: Duration = Duration::from_secs(20);

/// The pool's durable facts and what they are made with.
struct Facts {
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    store: Arc<dyn StateStore>,
    runtime: Arc<RuntimeEnv>,
    stores: Stores,
    catalog: Arc<Catalog>,
    models: Arc<Registry>,
    temporary: Option<PathBuf>,
}

impl Facts {
    async fn open(config: &Config) -> Result<Self, Error> {
        let clock = SystemClock::shared();
        let ids: Arc<dyn Ids> = Arc::new(SystemIds);
        let environment = Environment::of_process();
        let allow = Allow::parse(&config.allow, Process::Scheduler)?;
        let patience = Patience::new(config.store_budget.get()).with_strangers(STRANGERS);
        let base = std::env::current_dir().map_err(|error| {
            Error::new(
                ErrorCode::Unavailable,
                format!("the working directory is not there: {error}"),
            )
        })?;
        let temporary = match config.storage_home()? {
            Some(_) => None,
            None => Some(std::env::temp_dir().join(format!("whimbrel-models-{}", ids.id()))),
        };
        let folder = config
            .storage_home()?
            .or_else(|| temporary.clone())
            .unwrap_or_default();
        let store: Arc<dyn StateStore> = match config.state_home()? {
            StateHome::Memory => Arc::new(MemoryStore::new(Arc::clone(&clock))),
            StateHome::Folder(folder) => {
                Arc::new(RedbStore::open(&folder, Arc::clone(&clock)).await?)
            }
        };
        let content = ContentStore::new(folder, Arc::clone(&ids));
        let kept = Kept {
            environment,
            allow,
            patience,
            base,
            content,
        };
        match kept.open(&store, &clock, &ids).await {
            Ok((runtime, stores, catalog, models)) => Ok(Self {
                clock,
                ids,
                store,
                runtime,
                stores,
                catalog,
                models,
                temporary,
            }),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }
}

/// What models and tables are opened with.
struct Kept {
    environment: Environment,
    allow: Allow,
    patience: Patience,
    base: PathBuf,
    content: ContentStore,
}

type Opened = (Arc<RuntimeEnv>, Stores, Arc<Catalog>, Arc<Registry>);

impl Kept {
    /// The links first: whoever reads from a store goes by them.
    async fn open(
        self,
        store: &Arc<dyn StateStore>,
        clock: &Arc<dyn Clock>,
        ids: &Arc<dyn Ids>,
    ) -> Result<Opened, Error> {
        let Self {
            environment,
            allow,
            patience,
            base,
            content,
        } = self;
        let http = Http::new(Arc::clone(clock), Arc::clone(ids))?;
        let opened = Links::open(
            Arc::clone(store),
            Arc::clone(clock),
            http,
            environment.clone(),
        );
        let links = opened.await?;
        let book = Arc::clone(&links);
        let stores = Stores::within(environment, Process::Scheduler, allow)
            .with_patience(patience)
            .with_links(book);
        let runtime = runtime(stores.clone())?;
        let catalog = Catalog::open(
            Arc::clone(store),
            Arc::clone(&runtime),
            stores.clone(),
            base.clone(),
        );
        let sources = Arc::new(Sources::new(stores.clone(), links, base));
        let models = Registry::open(Arc::clone(store), content, Arc::clone(clock), sources);
        let (catalog, models) = futures::future::try_join(catalog, models).await?;
        Ok((runtime, stores, catalog, models))
    }
}

/// Object stores and caches that all statements share. Listings are not kept: a file that is new, or gone, is seen by the
/// next statement.
fn runtime(stores: Stores) -> Result<Arc<RuntimeEnv>, Error> {
    RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(StoreRegistry::new(stores)))
        .with_object_list_cache_limit(0)
        .build_arc()
        .map_err(|error| {
            Error::new(
                ErrorCode::Bug,
                format!("the engine's runtime cannot be built: {}", error.message()),
            )
        })
}

async fn assemble(
    config: &Config,
    doors: &Doors,
    client: &Reached,
    cluster: &Reached,
    facts: &Facts,
) -> Result<(Arc<Pool>, Arc<Planning>), Error> {
    let Facts {
        clock,
        ids,
        stores,
        catalog,
        models,
        ..
    } = facts;
    let executors = Arc::new(Executors::new(Arc::clone(clock)));
    let failures = Arc::new(Failures::default());
    let codec: Arc<dyn PhysicalExtensionCodec> = Arc::new(WhimbrelPhysicalCodec::new(Arc::new(
        BallistaPhysicalExtensionCodec::default(),
    )));
    let (reader, ticket_keys) = reader(config)?;
    let keyring = Keyring::open(config.keyring()?).await?;
    let options = engine_options(config, facts, cluster, doors, Arc::clone(&codec));
    let engine = Engine::start(options, Arc::clone(&executors), Arc::clone(&failures)).await?;
    let planning = planning(config, facts, codec)?;
    let queries = Arc::new(Queries::new(
        Arc::clone(clock),
        Arc::clone(ids),
        config.result_ttl.get(),
    ));
    let shelf = Arc::new(Shelf::new(Arc::clone(clock), config.result_ttl.get()));
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    let runner = Runner::new(Parts {
        clock: Arc::clone(clock),
        engine: engine.clone(),
        executors: Arc::clone(&executors),
        failures: Arc::clone(&failures),
        planning: Arc::clone(&planning),
        catalog: Arc::clone(catalog),
        models: Arc::clone(models),
        reader: reader.clone(),
        queries: Arc::clone(&queries),
        shelf: Arc::clone(&shelf),
        tasks: tasks.clone(),
        stop: stop.clone(),
        limits: limits(config),
    });
    let jobs = Jobs::open(
        jobs::Parts {
            clock: Arc::clone(clock),
            ids: Arc::clone(ids),
            engine: engine.clone(),
            executors: Arc::clone(&executors),
            failures: Arc::clone(&failures),
            planning: Arc::clone(&planning),
            runner: Arc::clone(&runner),
            catalog: Arc::clone(catalog),
            stores: stores.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
            limits: jobs::Limits::of(config),
            knows_users: config.knows_users(),
        },
        Arc::clone(&facts.store),
    )
    .await?;
    runner.score_with(&jobs);
    let listed: Weak<dyn JobList> = Arc::downgrade(&(Arc::clone(&jobs) as Arc<dyn JobList>));
    planning.list_jobs_of(listed);
    let pool = Arc::new(Pool {
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
        engine,
        executors,
        failures,
        catalog: Arc::clone(catalog),
        models: Arc::clone(models),
        sessions: Sessions::new(Arc::clone(clock), config.session_ttl.get()),
        queries,
        shelf,
        runner,
        jobs,
        streams: Arc::new(watch::Sender::new(0)),
        tasks,
        stop,
        door: Arc::new(Door::new(keyring, Arc::clone(clock))),
        reader,
        ticket_keys,
        ways: ways(config, client),
        proxied_bytes: Arc::default(),
        client_address: client.to_string(),
        started_at_ms: clock.unix_ms(),
        max_message_bytes: config.max_message_bytes.as_usize(),
    });
    let cells: Weak<dyn Cells> = Arc::downgrade(&(Arc::clone(&pool) as Arc<dyn Cells>));
    pool.models.sources().run_queries_on(cells);
    Ok((pool, planning))
}

/// What reads rows from executors and signs tickets for them, and what checks the tickets that come back.
fn reader(config: &Config) -> Result<(ExecutorReader, TicketKeys), Error> {
    let reader = ExecutorReader {
        signer: Arc::new(TicketSigner::new()?),
        tls: config.reader_tls(),
    };
    let keys = TicketKeys::default();
    keys.add(reader.signer.public())?;
    Ok((reader, keys))
}

fn limits(config: &Config) -> Limits {
    Limits {
        executor_wait: config.executor_wait.get(),
        partitions_per_slot: config.partitions_per_slot,
        max_partitions: config.max_partitions,
        result_ttl: config.result_ttl.get(),
    }
}

fn engine_options(
    config: &Config,
    facts: &Facts,
    cluster: &Reached,
    doors: &Doors,
    physical_codec: Arc<dyn PhysicalExtensionCodec>,
) -> Options {
    Options {
        scheduler_id: facts.ids.id(),
        host: cluster.host.clone(),
        cluster_port: cluster.port,
        max_message_bytes: config.max_message_bytes.as_usize(),
        heartbeat_timeout: config.heartbeat_timeout.get(),
        executor_wait: config.executor_wait.get(),
        cluster_tls: doors.cluster.as_ref().map(|(tls, _)| tls.clone()),
        physical_codec,
        ids: Arc::clone(&facts.ids),
    }
}

/// What plans the statements of all sessions.
fn planning(
    config: &Config,
    facts: &Facts,
    codec: Arc<dyn PhysicalExtensionCodec>,
) -> Result<Arc<Planning>, Error> {
    let planner = SessionPlanner::new(
        config.max_message_bytes.as_usize(),
        Arc::clone(&facts.runtime),
        Arc::clone(&facts.models),
        Arc::clone(&facts.catalog),
    )?;
    Ok(Arc::new(Planning::new(
        planner,
        Arc::clone(&facts.models),
        facts.stores.clone(),
        codec,
        config.max_sql_bytes.as_usize(),
    )))
}

/// The TLS of both ports.
struct Doors {
    client: Option<ServerTls>,
    cluster: Option<(ClusterTls, ServerTls)>,
}

impl Doors {
    /// Reads the certificates, so that a wrong one is told before anything starts.
    fn open(config: &Config) -> Result<Self, Error> {
        let cluster = config.cluster_tls()?;
        let opened = |tls: ClusterTls| -> Result<_, Error> {
            let server = ServerTls::open(tls.server.clone())?;
            Ok((tls, server))
        };
        Ok(Self {
            client: config.client_tls()?.map(ServerTls::open).transpose()?,
            cluster: cluster.map(opened).transpose()?,
        })
    }
}

/// How clients reach results.
fn ways(config: &Config, client: &Reached) -> Ways {
    let scheme = match config.tls_cert {
        Some(_) => "grpc+tls",
        None => "grpc+tcp",
    };
    // Nobody else reaches this machine by the name that it has for itself.
    let told = !config.bind.is_unspecified() || !config.advertise.is_empty();
    Ways {
        pool: told.then(|| format!("{scheme}://{client}")),
        proxy_only: config.flight_proxy_only,
    }
}

/// How often certificates are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Starts what runs for as long as the scheduler does.
fn run(
    pool: &Arc<Pool>,
    listeners: Listeners,
    doors: Doors,
    config: &Config,
    failed: &CancellationToken,
) {
    let Listeners { client, cluster } = listeners;
    let stop = || pool.stop.clone();
    let tasks = &pool.tasks;
    let cluster_tls = doors.cluster.map(|(_, tls)| tls);
    for tls in [&doors.client, &cluster_tls].into_iter().flatten().cloned() {
        let stop = stop();
        tasks.spawn(async move { stop.run_until_cancelled(tls.follow(LOOK)).await });
    }
    let (door, ended) = (Arc::clone(&pool.door), stop());
    tasks.spawn(async move { ended.run_until_cancelled(door.follow()).await });
    tasks.spawn(serve::serve(
        serve::Port {
            listener: client,
            tls: doors.client,
        },
        serve::client_routes(pool),
        stop(),
        failed.clone(),
    ));
    tasks.spawn(serve::serve(
        serve::Port {
            listener: cluster,
            tls: cluster_tls,
        },
        serve::cluster_routes(pool),
        stop(),
        failed.clone(),
    ));
    tasks.spawn(crate::watch::run(
        Arc::clone(pool),
        config.report_timeout.get(),
    ));
    pool.jobs.start();
    tasks.spawn(Arc::clone(&pool.catalog).follow(Arc::clone(&pool.clock), stop()));
    tasks.spawn(Arc::clone(&pool.models).follow(stop()));
    tasks.spawn(Arc::clone(pool.models.sources().links()).follow(stop()));
}
