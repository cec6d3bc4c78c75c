//! `whimbrel link`: add, list, show, test, remove.

pub(crate) mod args;

use std::path::Path;

use serde_json::{Value, json};
use whimbrel::Client;
use whimbrel_proto::v1::link::Kind;
use whimbrel_proto::v1::secret_ref::Place;
use whimbrel_proto::v1::{AzureMlLink, Link, LinkCheck, MlflowLink, SecretRef};
use whimbrel_proto::{Error, ErrorCode};

use self::args::{AddLinkArgs, AzureMlArgs, LinkCommand, LinkKind, MlflowArgs};
use crate::cli::console::{Console, aligned};
use crate::cli::context::{Context, End};
use crate::cli::failure::Failure;

/// Runs the command.
pub(crate) async fn run(context: &Context, command: LinkCommand) -> Result<(), Failure> {
    let console = context.console;
    context
        .with_pool(End::AnySignal, async |client| match &command {
            LinkCommand::Add(args) => add(console, &client, args).await,
            LinkCommand::List => list(console, &client).await,
            LinkCommand::Show { name } => show(console, &client.get_link(name).await?),
            LinkCommand::Test { name } => test(console, &client, name).await,
            LinkCommand::Remove { name } => {
                client.remove_link(name).await?;
                console.note(&format!(
                    "{name} is no longer a link; what was bound through it stays bound"
                ));
                Ok(())
            }
        })
        .await
}

async fn add(console: Console, client: &Client, args: &AddLinkArgs) -> Result<(), Failure> {
    let kind = match args.kind {
        LinkKind::Mlflow => {
            refuse_foreign("azureml", &azureml_given(&args.azureml))?;
            Kind::Mlflow(mlflow(&args.mlflow)?)
        }
        LinkKind::Azureml => {
            refuse_foreign("mlflow", &mlflow_given(&args.mlflow))?;
            Kind::Azureml(azureml(&args.azureml)?)
        }
    };
    let link = Link {
        name: args.name.clone(),
        kind: Some(kind),
        added_at_ms: 0,
    };
    let link = client.add_link(link, args.replace).await?;
    if console.json {
        return console.print_json(&as_json(&link));
    }
    console.note(&format!(
        "{} is a link of kind {}; `whimbrel link test {}` tries it",
        link.name,
        kind_of(&link),
        link.name
    ));
    Ok(())
}

/// A flag of the other kind is a mistake that would otherwise be lost.
fn refuse_foreign(kind: &str, given: &[(&str, bool)]) -> Result<(), Failure> {
    match given.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((flag, _)) => Err(Failure::usage(
            format!("--{flag} is for links of kind {kind}"),
            format!("leave it out, or say --kind {kind}"),
        )),
    }
}

fn mlflow_given(args: &MlflowArgs) -> [(&'static str, bool); 6] {
    [
        ("uri", args.uri.is_some()),
        ("user", args.user.is_some()),
        ("password-env", args.password_env.is_some()),
        ("password-file", args.password_file.is_some()),
        ("token-env", args.token_env.is_some()),
        ("registry-token-file", args.registry_token_file.is_some()),
    ]
}

fn azureml_given(args: &AzureMlArgs) -> [(&'static str, bool); 11] {
    [
        ("workspace", args.workspace.is_some()),
        ("resource-group", args.resource_group.is_some()),
        ("subscription", args.subscription.is_some()),
        ("tenant", args.tenant.is_some()),
        ("client-id", args.client_id.is_some()),
        ("secret-env", args.secret_env.is_some()),
        ("secret-file", args.secret_file.is_some()),
        ("managed-identity", args.managed_identity),
        ("authority", args.authority.is_some()),
        ("management", args.management.is_some()),
        ("ml-endpoint", args.ml_endpoint.is_some()),
    ]
}

fn mlflow(args: &MlflowArgs) -> Result<MlflowLink, Failure> {
    let Some(uri) = args.uri.clone() else {
        return Err(Failure::usage(
            "a link of kind mlflow needs --uri",
            "say --uri http://HOST:PORT of the server",
        ));
    };
    Ok(MlflowLink {
        uri,
        user: args.user.clone().unwrap_or_default(),
        password: place(args.password_env.as_deref(), args.password_file.as_deref())?,
        token: place(
            args.token_env.as_deref(),
            args.registry_token_file.as_deref(),
        )?,
    })
}

fn azureml(args: &AzureMlArgs) -> Result<AzureMlLink, Failure> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Ok(AzureMlLink {
        workspace: text(&args.workspace),
        resource_group: text(&args.resource_group),
        subscription: text(&args.subscription),
        tenant: text(&args.tenant),
        client_id: text(&args.client_id),
        secret: place(args.secret_env.as_deref(), args.secret_file.as_deref())?,
        managed_identity: args.managed_identity,
        authority: text(&args.authority),
        management: text(&args.management),
        endpoint: text(&args.ml_endpoint),
    })
}

/// The scheduler may run in another folder, so a path becomes absolute here.
fn place(env: Option<&str>, file: Option<&Path>) -> Result<Option<SecretRef>, Failure> {
    let place = match (env, file) {
        (Some(name), _) => Place::Env(name.to_owned()),
        (None, Some(path)) => {
            let absolute = std::path::absolute(path).map_err(|error| {
                Failure::usage(
                    format!("'{}' is no path: {error}", path.display()),
                    "give the path of a file",
                )
            })?;
            Place::File(absolute.to_string_lossy().into_owned())
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(SecretRef { place: Some(place) }))
}

async fn list(console: Console, client: &Client) -> Result<(), Failure> {
    let links = client.list_links().await?;
    if console.json {
        return links
            .iter()
            .try_for_each(|link| console.print_json(&as_json(link)));
    }
    let row = |link: &Link| {
        let (leads_to, identity) = match &link.kind {
            Some(Kind::Mlflow(mlflow)) => (mlflow.uri.clone(), whose_mlflow(mlflow)),
            Some(Kind::Azureml(azure)) => (
                format!("{}/{}", azure.resource_group, azure.workspace),
                whose_azureml(azure),
            ),
            None => (String::new(), String::new()),
        };
        vec![
            link.name.clone(),
            kind_of(link).to_owned(),
            leads_to,
            identity,
        ]
    };
    let rows: Vec<_> = links.iter().map(row).collect();
    console.print(&aligned(&["link", "kind", "leads to", "as"], &rows))
}

fn kind_of(link: &Link) -> &'static str {
    match link.kind {
        Some(Kind::Mlflow(_)) => "mlflow",
        Some(Kind::Azureml(_)) => "azureml",
        None => "unknown",
    }
}

fn whose_mlflow(link: &MlflowLink) -> String {
    match (link.user.as_str(), &link.token) {
        ("", None) => "nobody".to_owned(),
        ("", Some(_)) => "a token".to_owned(),
        (user, _) => user.to_owned(),
    }
}

fn whose_azureml(link: &AzureMlLink) -> String {
    match (link.managed_identity, link.client_id.as_str()) {
        (true, "") => "the managed identity".to_owned(),
        (true, id) => format!("the managed identity {id}"),
        (false, id) => id.to_owned(),
    }
}

fn show(console: Console, link: &Link) -> Result<(), Failure> {
    let value = as_json(link);
    if console.json {
        return console.print_json(&value);
    }
    let facts = value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, fact)| !fact.is_null() && *fact != "");
    for (name, fact) in facts {
        let fact = fact
            .as_str()
            .map_or_else(|| fact.to_string(), str::to_owned);
        console.print(&format!("{name:<16}{fact}"))?;
    }
    Ok(())
}

async fn test(console: Console, client: &Client, name: &str) -> Result<(), Failure> {
    let checks = client.test_link(name).await?;
    for check in &checks {
        let LinkCheck {
            step,
            works,
            detail,
            hint,
        } = check;
        if console.json {
            console.print_json(
                &json!({"step": step, "works": works, "detail": detail, "hint": hint}),
            )?;
            continue;
        }
        let end = if hint.is_empty() {
            String::new()
        } else {
            format!("; {hint}")
        };
        console.print(&format!(
            "{:<4}{step:<12}{detail}{end}",
            if *works { "ok" } else { "no" }
        ))?;
    }
    match checks.iter().find(|check| !check.works) {
        None => Ok(()),
        Some(check) => Err(Failure::Failed(
            Error::new(
                ErrorCode::Unavailable,
                format!("link '{name}' does not work: {}", check.step),
            )
            .with_hint("the line above says why"),
        )),
    }
}

fn secret_text(place: Option<&SecretRef>) -> Value {
    match place.and_then(|secret| secret.place.as_ref()) {
        Some(Place::Env(name)) => json!(format!("environment variable {name}")),
        Some(Place::File(path)) => json!(format!("file {path}")),
        None => Value::Null,
    }
}

fn as_json(link: &Link) -> Value {
    let Link {
        name,
        kind,
        added_at_ms,
    } = link;
    match kind {
        Some(Kind::Mlflow(MlflowLink {
            uri,
            user,
            password,
            token,
        })) => json!({
            "name": name, "kind": "mlflow", "uri": uri, "user": user,
            "password": secret_text(password.as_ref()), "token": secret_text(token.as_ref()), "added_at_ms": added_at_ms,
        }),
        Some(Kind::Azureml(azure)) => json!({
            "name": name, "kind": "azureml", "workspace": azure.workspace, "resource_group": azure.resource_group,
            "subscription": azure.subscription, "tenant": azure.tenant, "client_id": azure.client_id,
            "secret": secret_text(azure.secret.as_ref()), "managed_identity": azure.managed_identity,
            "authority": azure.authority, "management": azure.management, "ml_endpoint": azure.endpoint, "added_at_ms": added_at_ms,
        }),
        None => json!({"name": name, "added_at_ms": added_at_ms}),
    }
}
