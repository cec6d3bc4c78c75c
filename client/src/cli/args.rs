//! The command line as typed. Its doc comments are what `--help` prints.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::cli::link::args::LinkCommand;

/// Scores whole datasets with trained models, on a pool of workers or inside this process.
#[derive(Debug, Parser)]
#[command(
    name = "whimbrel",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// The pool's client port, http://host:port; WHIMBREL_POOL says the same. Without either the command runs a pool of its
    /// own, whose state is in ./.whimbrel (or WHIMBREL_STATE)
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Global options"
    )]
    pub(crate) pool: Option<String>,
    /// A file with the pool's token; WHIMBREL_TOKEN_FILE names one too, WHIMBREL_TOKEN holds the token itself
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// A file with the CA (PEM) that the certificates of an https:// pool are signed by; WHIMBREL_TLS_CA says the same. Without
    /// it those that the system trusts
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) tls_ca: Option<PathBuf>,
    /// A file with a certificate (PEM) of one's own, for pools that ask for one; WHIMBREL_CLIENT_CERT says the same
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) client_cert: Option<PathBuf>,
    /// A file with its key; WHIMBREL_CLIENT_KEY says the same
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) client_key: Option<PathBuf>,
    /// Print JSON, one value a line; errors too
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch the ONNX Runtime library into the user's cache
    Setup,
    /// Score a million sample trips with a sample model
    Demo(DemoArgs),
    /// Run a scheduler until SIGTERM
    Scheduler(SchedulerArgs),
    /// Run an executor until SIGTERM
    Executor(ExecutorArgs),
    /// Bind models to the names that SQL calls them by
    #[command(subcommand)]
    Model(ModelCommand),
    /// Name the model registries that `models:/` and `aml://` lead to, and how object stores are reached
    #[command(subcommand)]
    Link(LinkCommand),
    /// Name the datasets that SQL reads
    #[command(subcommand)]
    Table(TableCommand),
    /// Score a dataset and write the rows, each once, whatever dies meanwhile
    Score(Box<ScoreArgs>),
    /// Look at score jobs, follow, cancel and resume them
    #[command(subcommand)]
    Job(JobCommand),
    /// Run SQL and print or write its rows; interactive without QUERY
    Sql(SqlArgs),
    /// Look at the pool itself
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Make tokens for the users of a pool
    #[command(subcommand)]
    Token(TokenCommand),
    /// Print the completions of a shell
    Completions {
        /// The shell to print for
        shell: Shell,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// The folder with the sample trips, in folders 'parquet' and 'csv'
    #[arg(long, value_name = "DIR", default_value = ".dev/data/trips-1m")]
    pub(crate) trips: PathBuf,
    /// The sample model
    #[arg(long, value_name = "FILE", default_value = ".dev/models/fare.onnx")]
    pub(crate) model: PathBuf,
    /// The folder for the predictions
    #[arg(long, value_name = "DIR", default_value = ".dev/demo")]
    pub(crate) out: PathBuf,
}

/// What both daemons take.
#[derive(Debug, clap::Args)]
pub(crate) struct DaemonArgs {
    /// A TOML file of settings; WHIMBREL_* variables come over it, flags over those
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the settings that hold, as TOML without secrets, and end
    #[arg(long)]
    pub(crate) print_config: bool,
    /// How log lines are written, to standard error; WHIMBREL_LOG chooses which (info, debug, whimbrel_scheduler=debug, ...)
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    /// The address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: Option<String>,
    /// The client port; 0 picks a free one
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// The cluster port; 0 picks a free one
    #[arg(long, value_name = "PORT")]
    pub(crate) cluster_port: Option<u16>,
    /// The host name or address that others reach this process by
    #[arg(long, value_name = "HOST")]
    pub(crate) advertise: Option<String>,
    /// A place that may be read, such as s3://lake/ or file:///data/; may be repeated [default: s3:// abfss://]
    #[arg(long, value_name = "PLACE")]
    pub(crate) allow: Vec<String>,
    /// Start on an address that others reach without TLS and without asking who calls
    #[arg(long)]
    pub(crate) insecure: bool,
    /// The certificate (PEM) of the client port
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The certificate (PEM) of the cluster port, for mutual TLS between scheduler and executors
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster_tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster_tls_key: Option<PathBuf>,
    /// The CA that the certificates of the pool's processes are signed by
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster_tls_ca: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One readable line each
    #[default]
    Text,
    /// One JSON object each
    Json,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SchedulerArgs {
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    /// The folder for bindings and tables, or 'memory' to forget them at the end
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<String>,
    /// The folder for model content [default: 'models' in the state folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) storage: Option<String>,
    /// A file with the token that clients must present
    #[arg(long, value_name = "FILE")]
    pub(crate) client_token_file: Option<PathBuf>,
    /// A file of tokens with names and roles, as `whimbrel token new` makes them
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens_file: Option<PathBuf>,
    /// Clients cannot reach executors: all rows go through this scheduler
    #[arg(long)]
    pub(crate) flight_proxy_only: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExecutorArgs {
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    /// The scheduler's cluster port
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) scheduler: Option<String>,
    /// The folder for results and models [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) work_dir: Option<PathBuf>,
    /// How many tasks run at once [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) slots: Option<u32>,
    /// Start the executor again when a signal has ended it, such as a crash in a model
    #[arg(long)]
    pub(crate) supervise: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Bind a name to a model
    Bind(BindArgs),
    /// List the bindings
    List {
        /// The models in the executors' memory instead
        #[arg(long)]
        loaded: bool,
    },
    /// Show one binding with its inputs and outputs
    Show {
        /// The name in SQL
        alias: String,
    },
    /// Score some rows of a table and report what feeds what, what is lost, what comes out and how fast; writes nothing
    Check(CheckArgs),
    /// List the versions of a registry's entry, newest first
    Versions {
        /// models:/NAME or aml://NAME
        uri: String,
        /// The link to the registry, where there are several
        #[arg(long, value_name = "NAME")]
        link: Option<String>,
    },
    /// Remove a binding
    Unbind {
        /// The name in SQL
        alias: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The name in SQL
    pub(crate) alias: String,
    /// The table whose first rows are scored
    #[arg(long, value_name = "TABLE")]
    pub(crate) on: String,
    /// How many rows [default: 100]
    #[arg(long, value_name = "ROWS")]
    pub(crate) sample: Option<u32>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BindArgs {
    /// The name that SQL calls the model by
    pub(crate) alias: String,
    /// Where the model is: the path of a model's file or an MLflow folder, s3://, abfss://, wasbs://, models:/NAME/VERSION,
    /// models:/NAME@ALIAS, aml://NAME:VERSION
    #[arg(long, required_unless_present = "query")]
    pub(crate) uri: Option<String>,
    /// A query whose one value is the model, as bytes or as hex text
    #[arg(long, value_name = "SQL", conflicts_with_all = ["uri", "link"])]
    pub(crate) query: Option<String>,
    /// The link to the registry, where there are several
    #[arg(long, value_name = "NAME")]
    pub(crate) link: Option<String>,
    /// The type that PREDICT returns, such as float or bigint [default: the model's own]
    #[arg(long, value_name = "TYPE")]
    pub(crate) returns: Option<String>,
    /// What runs the model [default: found by looking at it]
    #[arg(long)]
    pub(crate) runtime: Option<String>,
    /// Which column feeds which input, where the names differ
    #[arg(long, value_name = "INPUT=COLUMN", value_delimiter = ',', value_parser = parse_pair)]
    pub(crate) map: Vec<(String, String)>,
    /// What else to know of the model, such as output=probabilities; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_option)]
    pub(crate) option: Vec<(String, String)>,
}

fn parse_option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        Some(_) | None => Err("write key=value".to_owned()),
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((input, column)) if !input.trim().is_empty() && !column.trim().is_empty() => {
            Ok((input.trim().to_owned(), column.trim().to_owned()))
        }
        Some(_) | None => Err("write input=column".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum TableCommand {
    /// Name a dataset
    Add(Box<AddTableArgs>),
    /// List the tables
    List,
    /// Show one table with its columns
    Show {
        /// The table's name
        name: String,
    },
    /// Forget a table; its files stay
    Drop {
        /// The table's name
        name: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddTableArgs {
    /// The table's name in SQL
    pub(crate) name: String,
    /// Where its files are: a file, a folder or a pattern, that scheduler and executors can read
    #[arg(long)]
    pub(crate) uri: String,
    /// csv, parquet, json or arrow [default: by the files' ending]
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// The CSV files have no line of column names
    #[arg(long)]
    pub(crate) no_header: bool,
    /// What separates CSV fields [default: ,]
    #[arg(long, value_name = "CHAR")]
    pub(crate) delimiter: Option<String>,
    /// What encloses CSV values that hold a delimiter [default: "]
    #[arg(long, value_name = "CHAR")]
    pub(crate) quote: Option<String>,
    /// What makes the next character of an enclosed CSV value an ordinary one
    #[arg(long, value_name = "CHAR")]
    pub(crate) escape: Option<String>,
    /// CSV lines that begin with it are passed over
    #[arg(long, value_name = "CHAR")]
    pub(crate) comment: Option<String>,
    /// Enclosed CSV values hold line breaks: read each file in one piece
    #[arg(long)]
    pub(crate) multiline: bool,
    /// A CSV text that stands for NULL, beside the empty one; may be given several times
    #[arg(long = "null", value_name = "TEXT")]
    pub(crate) nulls: Vec<String>,
    /// Take CSV columns by their order, whatever names a file's header has
    #[arg(long)]
    pub(crate) any_header: bool,
    /// How CSV and JSON files are packed: none, gzip, zstd, bzip2 or xz [default: by their endings]
    #[arg(long, value_name = "NAME")]
    pub(crate) compression: Option<String>,
    /// How CSV and JSON files are written: utf-8, latin1, windows-1252 or utf-16 [default: utf-8]
    #[arg(long, value_name = "NAME")]
    pub(crate) encoding: Option<String>,
    /// Find the types of CSV and JSON columns by this many records [default: 10000]
    #[arg(long, value_name = "N")]
    pub(crate) infer_rows: Option<u64>,
    /// Take the place of a table of that name
    #[arg(long)]
    pub(crate) replace: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ScoreArgs {
    /// The bound model
    #[arg(long, value_name = "ALIAS", required_unless_present = "sql")]
    pub(crate) model: Option<String>,
    /// What is scored: a table, or the place of files that scheduler and executors can read
    #[arg(long, value_name = "URI|TABLE", required_unless_present = "sql")]
    pub(crate) input: Option<String>,
    /// Write the rows of a SELECT instead
    #[arg(long, value_name = "SELECT", conflicts_with_all = ["model", "input", "keep", "keep_all", "prediction"])]
    pub(crate) sql: Option<String>,
    /// The folder to write to: a path, s3:// or abfss://
    #[arg(long, value_name = "URI")]
    pub(crate) output: String,
    /// The input's columns that the output has too
    #[arg(
        long,
        value_name = "COLUMN,...",
        value_delimiter = ',',
        conflicts_with = "keep_all"
    )]
    pub(crate) keep: Vec<String>,
    /// The output has all columns of the input
    #[arg(long)]
    pub(crate) keep_all: bool,
    /// What the prediction's column is called [default: prediction]
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) prediction: Option<String>,
    /// What becomes of what the output holds already: error (there must be nothing), append, overwrite [default: error]
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<String>,
    /// parquet, csv, json or arrow [default: parquet]
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Parquet: zstd, snappy, lz4, gzip or none; CSV and JSON: none, gzip or zstd [default: zstd, none]
    #[arg(long, value_name = "NAME")]
    pub(crate) compression: Option<String>,
    /// The most rows of a Parquet row group [default: 1048576]
    #[arg(long, value_name = "N")]
    pub(crate) row_group_rows: Option<u64>,
    /// Write CSV without a line of column names
    #[arg(long)]
    pub(crate) no_header: bool,
    /// What separates CSV fields [default: ,]
    #[arg(long, value_name = "CHAR")]
    pub(crate) delimiter: Option<String>,
    /// What becomes of a row that cannot be scored: fail, null or deadletter=URI [default: fail]
    #[arg(long, value_name = "POLICY")]
    pub(crate) on_error: Option<String>,
    /// More rows than this that cannot be scored end the job
    #[arg(long, value_name = "N")]
    pub(crate) max_errors: Option<u64>,
    /// low, normal or high: who is next, and who gets more slots, where several jobs want them [default: normal]
    #[arg(long, value_name = "NAME")]
    pub(crate) priority: Option<String>,
    /// Whose job it is: a user has a certain number of jobs running at once [default: the user's name here]
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// A name for this submission: a second one with the same name and the same wishes is the same job
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Follow the job to its end
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// List the jobs, oldest first
    List,
    /// Show one job: what was asked, how far it is, what came of it
    Show {
        /// The job's id
        job: String,
    },
    /// Follow a job to its end
    Watch {
        /// The job's id
        job: String,
    },
    /// End a job so that nothing of it is ever visible
    Cancel {
        /// The job's id
        job: String,
    },
    /// Go on with a job that failed
    Resume {
        /// The job's id
        job: String,
        /// Follow it to its end
        #[arg(long)]
        watch: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct SqlArgs {
    /// The statement to run; several are separated by ';'
    #[arg(conflicts_with = "file")]
    pub(crate) query: Option<String>,
    /// Run the statements of a file; '-' is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// How rows are written [default: by the ending of -o; else a table on a terminal, CSV elsewhere]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Write the rows of the last statement to a file; those of the others are not shown
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, to read
    Table,
    /// Comma-separated values with a header line
    Csv,
    /// One JSON object a line
    Json,
    /// Arrow IPC
    Arrow,
    /// Apache Parquet
    Parquet,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    /// Show the executors, their models, and the running queries
    Status,
    /// Run the pool of this folder until standard input ends; says where it is and what its token is, as JSON. For programs
    Serve,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token: it is printed once, and the line for the pool's `tokens_file` holds only its hash
    New {
        /// Whose it is
        name: String,
        /// reader, scorer or operator
        #[arg(long)]
        role: String,
        /// The day from which it counts no more, such as 2027-01-31
        #[arg(long, value_name = "DATE")]
        expires: Option<String>,
    },
}
