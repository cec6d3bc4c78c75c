//! `whimbrel link`: add, list, show, test, remove.

pub(crate) mod args;
mod wire;

use serde_json::{Value, json};
use whimbrel::Client;
use whimbrel_proto::v1::link::Kind;
use whimbrel_proto::v1::secret_ref::Place;
use whimbrel_proto::v1::store_link::Service;
use whimbrel_proto::v1::{
    AzureAccess, AzureMlLink, Link, LinkCheck, MlflowLink, S3Access, SecretRef, StoreLink,
};
use whimbrel_proto::{Error, ErrorCode};

use self::args::{AddLinkArgs, LinkCommand};
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
    let kind = wire::kind(args)?;
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
            Some(Kind::Store(store)) => (store.at.join(" "), whose_store(store).to_owned()),
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
        Some(Kind::Store(StoreLink {
            service: Some(Service::S3(_)),
            ..
        })) => "s3",
        Some(Kind::Store(StoreLink {
            service: Some(Service::Azure(_)),
            ..
        })) => "azure",
        Some(Kind::Store(StoreLink { service: None, .. })) | None => "unknown",
    }
}

fn whose_store(link: &StoreLink) -> &str {
    if link.anonymous {
        return "nobody";
    }
    match &link.service {
        Some(Service::S3(S3Access {
            access_key: Some(_),
            ..
        })) => "an access key",
        Some(Service::Azure(azure)) if azure.account_key.is_some() => "the account",
        Some(Service::Azure(azure)) if azure.sas.is_some() => "a signature",
        Some(Service::Azure(azure)) if azure.managed_identity => "the managed identity",
        Some(Service::Azure(AzureAccess {
            client_id,
            secret: Some(_),
            ..
        })) => client_id,
        Some(Service::S3(_) | Service::Azure(_)) | None => "the environment",
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
        Some(Kind::Store(store)) => {
            let mut shown = store_json(store);
            shown["name"] = json!(name);
            shown["kind"] = json!(kind_of(link));
            shown["added_at_ms"] = json!(added_at_ms);
            shown
        }
        None => json!({"name": name, "added_at_ms": added_at_ms}),
    }
}

fn store_json(link: &StoreLink) -> Value {
    let mut shown = json!({
        "at": link.at, "endpoint": link.endpoint, "allow_http": link.allow_http, "ca_file": link.ca_file,
        "accept_invalid_certificates": link.accept_invalid_certificates, "as": whose_store(link),
    });
    let more = match &link.service {
        Some(Service::S3(s3)) => json!({
            "region": s3.region, "virtual_hosted": s3.virtual_hosted, "access_key": secret_text(s3.access_key.as_ref()),
            "secret": secret_text(s3.secret_key.as_ref()), "session_token": secret_text(s3.session_token.as_ref()),
        }),
        Some(Service::Azure(azure)) => json!({
            "account_key": secret_text(azure.account_key.as_ref()), "sas": secret_text(azure.sas.as_ref()), "tenant": azure.tenant,
            "client_id": azure.client_id, "secret": secret_text(azure.secret.as_ref()), "authority": azure.authority,
        }),
        None => Value::Null,
    };
    if let (Some(shown), Value::Object(more)) = (shown.as_object_mut(), more) {
        shown.extend(more);
    }
    shown
}
