//! What an operator may set on an executor. The doc comments are the user documentation, `docs/configuration.md` is made
//! from them; the keys are flat, so that a file, `WHIMBREL_*` variables and flags can all carry them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use whimbrel_predict::exec::BATCH_ROWS;
use whimbrel_proto::{Error, ErrorCode};

use whimbrel_proto::units::{Bytes, Span};
use whimbrel_stores::{Allow, Process, STORES_ONLY};

use crate::tls::Tls;

/// The settings of one executor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// host:port of the scheduler's cluster port.
    pub scheduler: String,
    /// The address to listen on. Anything but a loopback address lets other machines in: the cluster port belongs on a
    /// private network.
    pub bind: String,
    /// Lets an executor that other machines reach start without TLS. Without it such an executor does not start.
    pub insecure: bool,
    /// The certificate (PEM) of the client port, which then speaks TLS only. It is read again when it changes.
    pub tls_cert: Option<PathBuf>,
    /// The key of `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// The CA that clients' certificates must be signed by; without it clients need none.
    pub tls_client_ca: Option<PathBuf>,
    /// The certificate of the cluster port, shown to the scheduler and other executors too: all sides must have one (mutual TLS).
    pub cluster_tls_cert: Option<PathBuf>,
    /// The key of `cluster_tls_cert`.
    pub cluster_tls_key: Option<PathBuf>,
    /// The CA that the certificates of scheduler and executors are signed by. Whoever has one of it is a part of the pool.
    pub cluster_tls_ca: Option<PathBuf>,
    /// Port of results and health checks, reached by clients; 0 picks a free one.
    pub port: u16,
    /// Port of tasks and shuffles, reached by the scheduler and other executors; 0 picks a free one.
    pub cluster_port: u16,
    /// The host name or address under which clients, the scheduler and other executors reach this one. Empty: the address of
    /// `bind`, which must then be a real one (not 0.0.0.0).
    pub advertise: String,
    /// Where it may read tables and write the outputs of score jobs: places such as `s3://lake/`, `abfss://container@account.dfs.core.windows.net/x/` or `file:///data/`, each
    /// with everything below it. `s3://` and `abfss://` alone are every store of their kind, `file:///` is every local file. The
    /// scheduler has a list of its own.
    pub allow: Vec<String>,
    /// Where results, shuffle files and models are kept. Empty: a new temporary folder, removed at the end. A fast local disk
    /// is worth it: every result is written here once.
    pub work_dir: PathBuf,
    /// How many tasks run at once. 0: one per core. More overlaps reading with scoring but needs more memory.
    pub slots: usize,
    /// Threads that run models. 0: one per core. Fewer leave cores to reading and writing.
    pub scoring_threads: usize,
    /// Memory for loaded models ("2GiB" or bytes); the least recently used ones go first. Too little loads models again and
    /// again.
    pub model_cache_bytes: Bytes,
    /// The most rows scored in one run of a model, 4096 at most. Fewer make more calls; a slow model gets fewer by itself.
    pub batch_rows: usize,
    /// How long a draining executor finishes tasks and keeps serving results before it stops regardless ("90s", or seconds).
    pub drain_grace: Span,
    /// The ONNX Runtime shared library. Empty: the one fetched by `whimbrel setup`.
    pub onnxruntime: PathBuf,
    /// How often it sends a heartbeat to the scheduler ("15s", or seconds).
    pub heartbeat: Span,
    /// The largest message between scheduler and executor; a task's plan must fit.
    pub max_message_bytes: Bytes,
    /// Memory for sorting, joining and grouping ("8GiB" or bytes); beyond it queries spill to `work_dir` or fail. 0: the
    /// share `memory_fraction` of what the machine or container has.
    pub memory_limit: Bytes,
    /// The share of memory for queries where `memory_limit` is 0. The rest is for models and buffers.
    pub memory_fraction: f64,
    /// How long an object store may fail ("10m", or seconds) while tasks wait and ask again, before their query fails. Every good
    /// answer of the store begins it anew.
    pub store_budget: Span,
    /// How long results that nobody removed are kept ("6h", or seconds).
    pub result_ttl: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            scheduler: "127.0.0.1:50051".to_owned(),
            bind: "127.0.0.1".to_owned(),
            insecure: false,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            cluster_tls_cert: None,
            cluster_tls_key: None,
            cluster_tls_ca: None,
            port: 50060,
            cluster_port: 50061,
            advertise: String::new(),
            allow: STORES_ONLY.map(str::to_owned).into(),
            work_dir: PathBuf::new(),
            slots: 0,
            scoring_threads: 0,
            model_cache_bytes: Bytes::gib(2),
            batch_rows: BATCH_ROWS,
            drain_grace: Span::secs(60),
            onnxruntime: PathBuf::new(),
            heartbeat: Span::secs(15),
            max_message_bytes: Bytes::mib(64),
            memory_limit: Bytes::default(),
            memory_fraction: 0.3,
            store_budget: Span::secs(600),
            result_ttl: Span::secs(6 * 3600),
        }
    }
}

impl Config {
    /// Refuses settings that cannot work, naming the key.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |key: &str, value: String, hint: &str| {
            Err(Error::new(
                ErrorCode::Invalid,
                format!("executor setting {key} = {value}"),
            )
            .with_hint(hint))
        };
        if !is_host_port(&self.scheduler) {
            return wrong(
                "scheduler",
                format!("'{}'", self.scheduler),
                "give host:port of the scheduler's cluster port",
            );
        }
        Tls::of(self)?;
        Allow::parse(&self.allow, Process::Executor(String::new()))?;
        if self.heartbeat < Span::secs(1) {
            return wrong("heartbeat", self.heartbeat.to_string(), "give at least 1s");
        }
        if !(1..=BATCH_ROWS).contains(&self.batch_rows) {
            return wrong(
                "batch_rows",
                self.batch_rows.to_string(),
                "give 1 to 4096; more rows at once leave the CPU cache",
            );
        }
        if self.max_message_bytes < Bytes::mib(1) {
            return wrong(
                "max_message_bytes",
                self.max_message_bytes.to_string(),
                "give at least 1MiB",
            );
        }
        if !(self.memory_fraction > 0.0 && self.memory_fraction <= 1.0) {
            return wrong(
                "memory_fraction",
                self.memory_fraction.to_string(),
                "give a share above 0, at most 1",
            );
        }
        Ok(())
    }

    /// Tasks that run at once.
    pub fn task_slots(&self) -> usize {
        if self.slots > 0 { self.slots } else { cores() }
    }

    /// Threads that run models.
    pub fn model_threads(&self) -> usize {
        if self.scoring_threads > 0 {
            self.scoring_threads
        } else {
            cores()
        }
    }
}

fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_give_sizes_and_spans_in_words_or_numbers() {
        let config: Config =
            toml::from_str("model_cache_bytes = '512 MiB'\nmemory_limit = 1048576\ndrain_grace = '2m'\nresult_ttl = 90")
                .expect("parses");
        assert_eq!(config.model_cache_bytes, Bytes::mib(512));
        assert_eq!(config.memory_limit, Bytes::mib(1));
        assert_eq!(
            (config.drain_grace, config.result_ttl),
            (Span::secs(120), Span::secs(90))
        );
        assert!(toml::from_str::<Config>("slotz = 3").is_err());
    }

    #[test]
    fn the_defaults_pass_their_own_check_and_survive_print_config() {
        let config = Config::default();
        assert_eq!(config.check(), Ok(()));
        let text = toml::to_string(&config).expect("prints");
        assert_eq!(toml::from_str::<Config>(&text).expect("parses"), config);
    }

    #[test]
    fn a_scheduler_without_a_port_is_refused_by_name() {
        for scheduler in ["", "host", "host:0", "host:x", ":1"] {
            let error = Config {
                scheduler: scheduler.to_owned(),
                ..Config::default()
            }
            .check()
            .expect_err("refused");
            assert!(error.message().contains("scheduler"), "{error}");
        }
    }
}
