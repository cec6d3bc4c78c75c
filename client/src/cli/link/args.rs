//! The arguments of `whimbrel link`. Their doc comments are what `--help` prints.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum LinkCommand {
    /// Name a model registry
    Add(Box<AddLinkArgs>),
    /// List the links
    List,
    /// Show one link; never its secret
    Show {
        /// The link's name
        name: String,
    },
    /// Try a link step by step: secret, token, list of models, a model's files
    Test {
        /// The link's name
        name: String,
    },
    /// Forget a link; models that were bound through it stay bound
    Remove {
        /// The link's name
        name: String,
    },
}

/// What kind of registry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LinkKind {
    /// An MLflow tracking server
    Mlflow,
    /// A workspace of Azure Machine Learning
    Azureml,
}

#[derive(Debug, Args)]
pub(crate) struct AddLinkArgs {
    /// The link's name, as in models:/fare/3?link=NAME
    pub(crate) name: String,
    /// What kind of registry it is
    #[arg(long, value_enum)]
    pub(crate) kind: LinkKind,
    /// Take the place of a link of that name
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) mlflow: MlflowArgs,
    #[command(flatten)]
    pub(crate) azureml: AzureMlArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "With --kind mlflow")]
pub(crate) struct MlflowArgs {
    /// The server's address, http://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub(crate) uri: Option<String>,
    /// Who the scheduler is there
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// The environment variable of the scheduler that holds the password
    #[arg(long, value_name = "VAR")]
    pub(crate) password_env: Option<String>,
    /// The file on the scheduler's machine that holds the password
    #[arg(long, value_name = "FILE", conflicts_with = "password_env")]
    pub(crate) password_file: Option<PathBuf>,
    /// The environment variable of the scheduler that holds a token
    #[arg(long, value_name = "VAR")]
    pub(crate) token_env: Option<String>,
    /// The file on the scheduler's machine that holds a token
    #[arg(long, value_name = "FILE", conflicts_with = "token_env")]
    pub(crate) registry_token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "With --kind azureml")]
pub(crate) struct AzureMlArgs {
    /// The workspace's name
    #[arg(long, value_name = "NAME")]
    pub(crate) workspace: Option<String>,
    /// Its resource group
    #[arg(long, value_name = "NAME")]
    pub(crate) resource_group: Option<String>,
    /// The id of its subscription
    #[arg(long, value_name = "ID")]
    pub(crate) subscription: Option<String>,
    /// The tenant of the service principal
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<String>,
    /// The service principal's client id, or that of one of several managed identities
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// The environment variable of the scheduler that holds the client secret
    #[arg(long, value_name = "VAR")]
    pub(crate) secret_env: Option<String>,
    /// The file on the scheduler's machine that holds the client secret
    #[arg(long, value_name = "FILE", conflicts_with = "secret_env")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Be the managed identity of the scheduler's machine
    #[arg(long)]
    pub(crate) managed_identity: bool,
    /// Where tokens come from [default: https://login.microsoftonline.com]
    #[arg(long, value_name = "URL")]
    pub(crate) authority: Option<String>,
    /// Azure Resource Manager [default: https://management.azure.com]
    #[arg(long, value_name = "URL")]
    pub(crate) management: Option<String>,
    /// The workspace's MLflow address [default: Azure Resource Manager is asked for it]
    #[arg(long, value_name = "URL")]
    pub(crate) ml_endpoint: Option<String>,
}
