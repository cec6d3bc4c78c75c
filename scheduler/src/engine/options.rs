//! What the embedded Ballista is started with.

use std::sync::Arc;
use std::time::Duration;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::extension::EndpointOverrideFn;
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_server::JobIdGenerator;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use whimbrel_access::ClusterTls;

use super::policy::FairShare;
use super::settings::session_config;
use super::shares::Shares;
use crate::clock::Ids;
use crate::executors::Executors;
use crate::failures::Failures;

/// Events are posted by the loop that reads them: a full buffer would be a deadlock.
const EVENT_BUFFER: u32 = 200_000;
/// Attempts of one task, and of one stage, before its query fails.
const ATTEMPTS: usize = 4;
/// How long the engine remembers a job and its files at the most.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Settings of the embedded engine.
pub(crate) struct Options {
    pub(crate) scheduler_id: String,
    pub(crate) host: String,
    pub(crate) cluster_port: u16,
    pub(crate) max_message_bytes: usize,
    pub(crate) heartbeat_timeout: Duration,
    pub(crate) executor_wait: Duration,
    /// Mutual TLS with executors.
    pub(crate) cluster_tls: Option<ClusterTls>,
    pub(crate) physical_codec: Arc<dyn PhysicalExtensionCodec>,
    pub(crate) ids: Arc<dyn Ids>,
}

impl Options {
    pub(super) fn into_config(
        self,
        executors: Arc<Executors>,
        failures: Arc<Failures>,
        shares: Arc<Shares>,
    ) -> SchedulerConfig {
        let max_message_bytes = self.max_message_bytes;
        let bytes = u32::try_from(max_message_bytes).unwrap_or(u32::MAX);
        let heartbeat_timeout = self.heartbeat_timeout.as_secs().max(1);
        SchedulerConfig {
            scheduler_id: self.scheduler_id,
            external_host: self.host,
            bind_port: self.cluster_port,
            scheduling_policy: TaskSchedulingPolicy::PushStaged,
            task_distribution: TaskDistributionPolicy::Custom(Arc::new(FairShare::new(
                executors, failures, shares,
            ))),
            event_loop_buffer_size: EVENT_BUFFER,
            // The pool removes results itself when nobody wants them any more; this is for what it forgot.
            finished_job_data_clean_up_interval_seconds: KEPT.as_secs(),
            finished_job_state_clean_up_interval_seconds: KEPT.as_secs(),
            // Executors say when they go; waiting after that would only delay the re-run of what they held.
            executor_termination_grace_period: 0,
            executor_timeout_seconds: heartbeat_timeout,
            expire_dead_executor_interval_seconds: (heartbeat_timeout / 4).clamp(1, 5),
            // A query gives up by itself, with a better text, before the engine does.
            no_executors_grace_period_seconds: heartbeat_timeout.max(self.executor_wait.as_secs())
                + 60,
            grpc_server_max_decoding_message_size: bytes,
            grpc_server_max_encoding_message_size: bytes,
            grpc_client_max_message_size: bytes,
            override_config_producer: Some(Arc::new(move || session_config(max_message_bytes))),
            override_physical_codec: Some(self.physical_codec),
            task_max_failures: ATTEMPTS,
            stage_max_failures: ATTEMPTS,
            override_create_grpc_client_endpoint: self.cluster_tls.map(over_tls),
            job_id_generator: Some(Arc::new(JobIds(self.ids))),
            ..SchedulerConfig::default()
        }
    }
}

/// The engine names executors as `http://`.
fn over_tls(tls: ClusterTls) -> EndpointOverrideFn {
    Arc::new(move |endpoint| Ok(tls.instead_of(&endpoint)?))
}

/// Ballista's own generator numbers every scheduler's jobs alike.
struct JobIds(Arc<dyn Ids>);

#[async_trait::async_trait]
impl JobIdGenerator for JobIds {
    async fn next_id(&self) -> String {
        self.0.id()
    }
}
