//! The scheduler's settings. The doc comments are the user documentation; keys are flat so that a file, `WHIMBREL_*` and
//! flags name them alike.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use whimbrel_proto::units::{Bytes, Span};
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::{Allow, Process, STORES_ONLY};

/// Settings of `whimbrel scheduler`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address that both ports listen on. Keep 127.0.0.1 for one machine; 0.0.0.0 opens the pool to the network.
    pub bind: IpAddr,
    /// Lets a pool that other machines reach start without TLS and without asking who calls. Without it such a pool does not start.
    pub insecure: bool,
    /// The client port: Flight SQL, gRPC and health. 0 picks a free one and prints it.
    pub port: u16,
    /// The cluster port: executors only. Keep it inside a private network, for whoever reaches it can run any plan. 0 picks a
    /// free one and prints it.
    pub cluster_port: u16,
    /// The host name or address that clients and executors reach this scheduler by; empty means `bind`.
    pub advertise: String,
    /// Where bindings and tables are kept: a folder, or `memory` to forget them at the end.
    pub state: String,
    /// The folder for model content; empty means `models` in the state folder.
    pub storage: String,
    /// The bearer token that clients must present; empty lets everyone in who reaches the client port.
    pub client_token: String,
    /// A file that holds the bearer token, so that it is in no command line and no environment; `client_token` wins.
    pub client_token_file: Option<PathBuf>,
    /// A file of tokens, each with a name and a role, as `whimbrel token new` makes them; it is read again when it changes.
    pub tokens_file: Option<PathBuf>,
    /// The issuer of OpenID Connect tokens that clients may present; empty takes none.
    pub oidc_issuer: String,
    /// What such a token must be meant for.
    pub oidc_audience: String,
    /// Where the issuer's keys are: an address, or a file; empty finds them through the issuer.
    pub oidc_jwks: String,
    /// The claim that has a user's name.
    pub oidc_user_claim: String,
    /// The claim that has a user's roles; dots lead into objects, as in `realm_access.roles`.
    pub oidc_role_claim: String,
    /// What a value of that claim means: pairs such as `data-science=scorer`. None: the roles' own names.
    pub oidc_roles: Vec<String>,
    /// The certificate (PEM) of the client port, which then speaks TLS only. It is read again when it changes.
    pub tls_cert: Option<PathBuf>,
    /// The key of `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// The CA that clients' certificates must be signed by; without it clients need none.
    pub tls_client_ca: Option<PathBuf>,
    /// The CA that the certificates of executors' client ports are signed by; without it, those that the system trusts.
    pub tls_ca: Option<PathBuf>,
    /// The certificate of the cluster port, shown to executors too: both sides must have one (mutual TLS).
    pub cluster_tls_cert: Option<PathBuf>,
    /// The key of `cluster_tls_cert`.
    pub cluster_tls_key: Option<PathBuf>,
    /// The CA that the certificates of scheduler and executors are signed by. Whoever has one of it is a part of the pool.
    pub cluster_tls_ca: Option<PathBuf>,
    /// Clients cannot reach executors: all rows go through this scheduler, and their addresses are not told.
    pub flight_proxy_only: bool,
    /// Where the pool may read tables and models and write the outputs of score jobs: places such as `s3://lake/`, `abfss://container@account.dfs.core.windows.net/x/`
    /// or `file:///data/`, each with everything below it. `s3://` and `abfss://` alone are every store of their kind, `file:///` is every
    /// local file. Executors have a list of their own. A pool inside a command may read and write everything.
    pub allow: Vec<String>,
    /// An executor whose engine heartbeat is missing for this long is given up and its tasks run elsewhere. A broken
    /// connection is noticed much earlier, see `report_timeout`.
    pub heartbeat_timeout: Span,
    /// An executor whose reports are missing for this long is given up. Short notices a lost machine sooner; long forgives
    /// a machine that stalls.
    pub report_timeout: Span,
    /// How long a query waits for an executor when the pool has none, before it fails and says so.
    pub executor_wait: Span,
    /// How long an object store may fail ("10m", or seconds) while its files are listed, before the statement fails. Every good
    /// answer of the store begins it anew; a store that has never answered is given up after 20s.
    pub store_budget: Span,
    /// How long the rows of a finished query can be fetched. They lie on the executors' disks for that time.
    pub result_ttl: Span,
    /// A session that no call has used for this long is forgotten, with its settings and temporary views.
    pub session_ttl: Span,
    /// On SIGTERM: how long running queries may take to finish, and finished ones may take to be fetched.
    pub drain_grace: Span,
    /// How many partitions a query is cut into per slot of the pool. More balances better and gives first rows earlier; fewer
    /// has less overhead per partition.
    pub partitions_per_slot: usize,
    /// The most partitions a query is cut into so that every slot of a large pool has work. Data of more than 64 MiB for each is cut
    /// into more, up to 5,000.
    pub max_partitions: usize,
    /// How long after the end of a score job its executors may still be at it, cut off from the pool: what they leave behind is
    /// removed after this.
    pub job_lease: Span,
    /// How long a score job that has ended is remembered. One that failed can be resumed for that long.
    pub job_history: Span,
    /// A split of a score job that brings no row for this long is taken from the executor that has it, and given to another. It must be longer than a model takes for 4,096 rows.
    pub job_stall: Span,
    /// How many score jobs have their splits handed out at once; the others wait, the most urgent first.
    pub jobs_running: usize,
    /// How many of them may be of one user.
    pub jobs_per_user: usize,
    /// The largest gRPC message ("64MiB" or bytes), to and from clients and executors. A plan with very many files needs more.
    pub max_message_bytes: Bytes,
    /// The longest SQL text ("256KiB" or bytes).
    pub max_sql_bytes: Bytes,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: IpAddr::from([127, 0, 0, 1]),
            insecure: false,
            port: 50050,
            cluster_port: 50051,
            advertise: String::new(),
            state: "./.whimbrel".to_owned(),
            storage: String::new(),
            client_token: String::new(),
            client_token_file: None,
            tokens_file: None,
            oidc_issuer: String::new(),
            oidc_audience: String::new(),
            oidc_jwks: String::new(),
            oidc_user_claim: "sub".to_owned(),
            oidc_role_claim: "roles".to_owned(),
            oidc_roles: Vec::new(),
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            tls_ca: None,
            cluster_tls_cert: None,
            cluster_tls_key: None,
            cluster_tls_ca: None,
            flight_proxy_only: false,
            allow: STORES_ONLY.map(str::to_owned).into(),
            heartbeat_timeout: Span::secs(60),
            report_timeout: Span::secs(5),
            executor_wait: Span::secs(30),
            store_budget: Span::secs(600),
            result_ttl: Span::secs(15 * 60),
            session_ttl: Span::secs(30 * 60),
            drain_grace: Span::secs(60),
            job_lease: Span::secs(120),
            job_history: Span::secs(7 * 24 * 3600),
            job_stall: Span::secs(15 * 60),
            jobs_running: 16,
            jobs_per_user: 8,
            partitions_per_slot: 4,
            max_partitions: 2048,
            max_message_bytes: Bytes::mib(64),
            max_sql_bytes: Bytes::new(256 << 10),
        }
    }
}

/// Where the pool's small facts live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateHome {
    /// Forgotten at the end.
    Memory,
    /// A `redb` file in this folder.
    Folder(PathBuf),
}

impl Config {
    /// Checks what serde cannot.
    pub fn validate(&self) -> Result<(), Error> {
        self.state_home()?;
        self.check_doors()?;
        Allow::parse(&self.allow, Process::Scheduler)?;
        let bad = |key: &str, rule: &str| {
            Err(Error::new(
                ErrorCode::Invalid,
                format!("{key} must be {rule}"),
            ))
        };
        if self.partitions_per_slot == 0 {
            return bad("partitions_per_slot", "at least 1");
        }
        if self.max_partitions < MIN_PARTITIONS {
            return bad("max_partitions", "at least 4");
        }
        if self.max_message_bytes < Bytes::mib(1) {
            return bad("max_message_bytes", "at least 1MiB");
        }
        if self.report_timeout < Span::secs(2) {
            return bad(
                "report_timeout",
                "at least 2s, for executors report every second",
            );
        }
        if self.jobs_running == 0 || self.jobs_per_user == 0 {
            return bad("jobs_running and jobs_per_user", "at least 1");
        }
        if self.job_stall < Span::secs(1) {
            return bad("job_stall", "at least 1s");
        }
        if self.heartbeat_timeout < Span::secs(1) || self.result_ttl < Span::secs(1) {
            return bad("heartbeat_timeout and result_ttl", "at least 1s");
        }
        Ok(())
    }

    /// `state`, understood.
    pub fn state_home(&self) -> Result<StateHome, Error> {
        match self.state.as_str() {
            "" => Err(Error::new(ErrorCode::Invalid, "state is empty")
                .with_hint("name a folder, or 'memory' to forget everything at the end")),
            "memory" => Ok(StateHome::Memory),
            uri if uri.contains("://") => Err(Error::new(
                ErrorCode::Invalid,
                format!("state '{uri}' is not supported"),
            )
            .with_hint("name a folder, or 'memory' to forget everything at the end")),
            folder => Ok(StateHome::Folder(PathBuf::from(folder))),
        }
    }

    /// The folder for model content; `None` means one that ends with the process.
    pub fn storage_home(&self) -> Result<Option<PathBuf>, Error> {
        if self.storage.contains("://") {
            return Err(Error::new(
                ErrorCode::Invalid,
                format!("storage '{}' is not supported", self.storage),
            )
            .with_hint("name a local folder"));
        }
        Ok(match (self.storage.is_empty(), self.state_home()?) {
            (false, _) => Some(PathBuf::from(&self.storage)),
            (true, StateHome::Folder(folder)) => Some(folder.join("models")),
            (true, StateHome::Memory) => None,
        })
    }

    /// The bearer token that clients must present, if any.
    pub fn token(&self) -> Result<Option<String>, Error> {
        if !self.client_token.is_empty() {
            return Ok(Some(self.client_token.clone()));
        }
        let Some(path) = &self.client_token_file else {
            return Ok(None);
        };
        let unreadable = |why: String| {
            Error::new(
                ErrorCode::Invalid,
                format!("cannot read client_token_file '{}': {why}", path.display()),
            )
        };
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        let token = text.trim();
        if token.is_empty() {
            Err(unreadable("it is empty".to_owned()))
        } else {
            Ok(Some(token.to_owned()))
        }
    }
}

/// Fewer would leave a small pool idle while the last partition runs.
pub(crate) const MIN_PARTITIONS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_survive_toml_and_unknown_keys_are_refused() {
        let text = toml::to_string(&Config::default()).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
        assert!(
            toml::from_str::<Config>("prot = 1")
                .unwrap_err()
                .to_string()
                .contains("prot")
        );
        assert_eq!(
            toml::from_str::<Config>("result_ttl = '2m'")
                .unwrap()
                .result_ttl,
            Span::secs(120)
        );
    }

    #[test]
    fn a_state_that_cannot_be_kept_is_refused_by_name() {
        let config = Config {
            state: "etcd://a:2379".to_owned(),
            ..Config::default()
        };
        assert!(
            config
                .validate()
                .unwrap_err()
                .message()
                .contains("etcd://a:2379")
        );
        let memory = Config {
            state: "memory".to_owned(),
            ..Config::default()
        };
        assert_eq!(memory.storage_home().unwrap(), None);
    }
}
