//! The arguments of `whimbrel link`. Their doc comments are what `--help` prints. A flag that means the same for several kinds
//! is one flag; [`AddLinkArgs::given`] says which kinds each is for.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum LinkCommand {
    /// Name a model registry, or how object stores are reached
    Add(Box<AddLinkArgs>),
    /// List the links
    List,
    /// Show one link; never its secret
    Show {
        /// The link's name
        name: String,
    },
    /// Try a link step by step: secret, token, what it lists, a file of it
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

/// What a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LinkKind {
    /// An MLflow tracking server
    Mlflow,
    /// A workspace of Azure Machine Learning
    Azureml,
    /// Buckets of S3, or of a service that speaks like it
    S3,
    /// Azure storage
    Azure,
}

impl LinkKind {
    /// As `--kind` names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mlflow => "mlflow",
            Self::Azureml => "azureml",
            Self::S3 => "s3",
            Self::Azure => "azure",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct AddLinkArgs {
    /// The link's name, as in models:/fare/3?link=NAME
    pub(crate) name: String,
    /// What it leads to
    #[arg(long, value_enum)]
    pub(crate) kind: LinkKind,
    /// Take the place of a link of that name
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) mlflow: MlflowArgs,
    #[command(flatten)]
    pub(crate) azureml: AzureMlArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) s3: S3Args,
    #[command(flatten)]
    pub(crate) azure: AzureArgs,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
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
    /// Azure Resource Manager [default: https://management.azure.com]
    #[arg(long, value_name = "URL")]
    pub(crate) management: Option<String>,
    /// The workspace's MLflow address [default: Azure Resource Manager is asked for it]
    #[arg(long, value_name = "URL")]
    pub(crate) ml_endpoint: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "With --kind s3 or azure")]
pub(crate) struct StoreArgs {
    /// A place that it serves, with everything below it: s3://BUCKET/, s3:// for every bucket,
    /// abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/, abfss://ACCOUNT.dfs.core.windows.net/ for a whole account. May be repeated
    #[arg(long, value_name = "PLACE")]
    pub(crate) at: Vec<String>,
    /// The service's address, where it is not the cloud's own
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Let keys and data travel openly to an http:// endpoint
    #[arg(long)]
    pub(crate) allow_http: bool,
    /// A PEM file of certificates to trust, on the machines of the scheduler and of every executor
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Trust any certificate; for trials only
    #[arg(long, conflicts_with = "ca_file")]
    pub(crate) accept_invalid_certificates: bool,
    /// Ask as nobody. Without it and without credentials those of each process's environment or machine are used
    #[arg(long)]
    pub(crate) anonymous: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "With --kind s3")]
pub(crate) struct S3Args {
    /// The buckets' region [default: AWS_REGION, else us-east-1]
    #[arg(long, value_name = "NAME")]
    pub(crate) region: Option<String>,
    /// The bucket is a part of the path, as on-premises stores like it
    #[arg(long)]
    pub(crate) path_style: bool,
    /// The bucket is a part of the host's name
    #[arg(long, conflicts_with = "path_style")]
    pub(crate) virtual_hosted: bool,
    /// The environment variable of scheduler and executors that holds the access key
    #[arg(long, value_name = "VAR")]
    pub(crate) access_key_env: Option<String>,
    /// The file that holds the access key
    #[arg(long, value_name = "FILE", conflicts_with = "access_key_env")]
    pub(crate) access_key_file: Option<PathBuf>,
    /// The environment variable that holds a session token
    #[arg(long, value_name = "VAR")]
    pub(crate) session_token_env: Option<String>,
    /// The file that holds a session token
    #[arg(long, value_name = "FILE", conflicts_with = "session_token_env")]
    pub(crate) session_token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "With --kind azure")]
pub(crate) struct AzureArgs {
    /// The environment variable of scheduler and executors that holds the account's key
    #[arg(long, value_name = "VAR")]
    pub(crate) account_key_env: Option<String>,
    /// The file that holds the account's key
    #[arg(long, value_name = "FILE", conflicts_with = "account_key_env")]
    pub(crate) account_key_file: Option<PathBuf>,
    /// The environment variable that holds a shared access signature
    #[arg(long, value_name = "VAR")]
    pub(crate) sas_env: Option<String>,
    /// The file that holds a shared access signature
    #[arg(long, value_name = "FILE", conflicts_with = "sas_env")]
    pub(crate) sas_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "As whom, with --kind azureml, azure or s3")]
pub(crate) struct IdentityArgs {
    /// The environment variable that holds the client secret, or the secret key of S3
    #[arg(long, value_name = "VAR")]
    pub(crate) secret_env: Option<String>,
    /// The file that holds the client secret, or the secret key of S3
    #[arg(long, value_name = "FILE", conflicts_with = "secret_env")]
    pub(crate) secret_file: Option<PathBuf>,
    /// The tenant of the service principal
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<String>,
    /// The service principal's client id, or that of one of several managed identities
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// Be the managed identity of the machine
    #[arg(long)]
    pub(crate) managed_identity: bool,
    /// Where tokens come from [default: https://login.microsoftonline.com]
    #[arg(long, value_name = "URL")]
    pub(crate) authority: Option<String>,
}

impl AddLinkArgs {
    /// The flags of some kinds that were given, with the kinds each is for.
    pub(crate) fn given(&self) -> Vec<(&'static str, &'static [LinkKind])> {
        use LinkKind::{Azure, Azureml, Mlflow, S3};
        const MLFLOW: &[LinkKind] = &[Mlflow];
        const AZUREML: &[LinkKind] = &[Azureml];
        const STORES: &[LinkKind] = &[S3, Azure];
        const ONLY_S3: &[LinkKind] = &[S3];
        const ONLY_AZURE: &[LinkKind] = &[Azure];
        const ENTRA: &[LinkKind] = &[Azureml, Azure];
        const SECRET: &[LinkKind] = &[Azureml, Azure, S3];
        let Self {
            mlflow,
            azureml,
            store,
            s3,
            azure,
            identity,
            ..
        } = self;
        let flags: [(&'static str, bool, &'static [LinkKind]); 34] = [
            ("uri", mlflow.uri.is_some(), MLFLOW),
            ("user", mlflow.user.is_some(), MLFLOW),
            ("password-env", mlflow.password_env.is_some(), MLFLOW),
            ("password-file", mlflow.password_file.is_some(), MLFLOW),
            ("token-env", mlflow.token_env.is_some(), MLFLOW),
            (
                "registry-token-file",
                mlflow.registry_token_file.is_some(),
                MLFLOW,
            ),
            ("workspace", azureml.workspace.is_some(), AZUREML),
            ("resource-group", azureml.resource_group.is_some(), AZUREML),
            ("subscription", azureml.subscription.is_some(), AZUREML),
            ("management", azureml.management.is_some(), AZUREML),
            ("ml-endpoint", azureml.ml_endpoint.is_some(), AZUREML),
            ("at", !store.at.is_empty(), STORES),
            ("endpoint", store.endpoint.is_some(), STORES),
            ("allow-http", store.allow_http, STORES),
            ("ca-file", store.ca_file.is_some(), STORES),
            (
                "accept-invalid-certificates",
                store.accept_invalid_certificates,
                STORES,
            ),
            ("anonymous", store.anonymous, STORES),
            ("region", s3.region.is_some(), ONLY_S3),
            ("path-style", s3.path_style, ONLY_S3),
            ("virtual-hosted", s3.virtual_hosted, ONLY_S3),
            ("access-key-env", s3.access_key_env.is_some(), ONLY_S3),
            ("access-key-file", s3.access_key_file.is_some(), ONLY_S3),
            ("session-token-env", s3.session_token_env.is_some(), ONLY_S3),
            (
                "session-token-file",
                s3.session_token_file.is_some(),
                ONLY_S3,
            ),
            (
                "account-key-env",
                azure.account_key_env.is_some(),
                ONLY_AZURE,
            ),
            (
                "account-key-file",
                azure.account_key_file.is_some(),
                ONLY_AZURE,
            ),
            ("sas-env", azure.sas_env.is_some(), ONLY_AZURE),
            ("sas-file", azure.sas_file.is_some(), ONLY_AZURE),
            ("secret-env", identity.secret_env.is_some(), SECRET),
            ("secret-file", identity.secret_file.is_some(), SECRET),
            ("tenant", identity.tenant.is_some(), ENTRA),
            ("client-id", identity.client_id.is_some(), ENTRA),
            ("managed-identity", identity.managed_identity, ENTRA),
            ("authority", identity.authority.is_some(), ENTRA),
        ];
        let given = flags.into_iter().filter(|(_, given, _)| *given);
        given.map(|(flag, _, kinds)| (flag, kinds)).collect()
    }
}
