//! From the arguments of `whimbrel link add` to the link that is asked for.

use std::path::Path;

use whimbrel_proto::v1::link::Kind;
use whimbrel_proto::v1::secret_ref::Place;
use whimbrel_proto::v1::store_link::Service;
use whimbrel_proto::v1::{AzureAccess, AzureMlLink, MlflowLink, S3Access, SecretRef, StoreLink};

use super::args::{AddLinkArgs, LinkKind, MlflowArgs};
use crate::cli::failure::Failure;

/// What the link leads to.
pub(super) fn kind(args: &AddLinkArgs) -> Result<Kind, Failure> {
    refuse_foreign(args)?;
    Ok(match args.kind {
        LinkKind::Mlflow => Kind::Mlflow(mlflow(&args.mlflow)?),
        LinkKind::Azureml => Kind::Azureml(azureml(args)?),
        LinkKind::S3 => Kind::Store(store(args, Service::S3(s3(args)?))?),
        LinkKind::Azure => Kind::Store(store(args, Service::Azure(azure(args)?))?),
    })
}

/// A flag of another kind is a mistake that would otherwise be lost.
fn refuse_foreign(args: &AddLinkArgs) -> Result<(), Failure> {
    let given = args.given();
    let Some((flag, kinds)) = given.iter().find(|(_, kinds)| !kinds.contains(&args.kind)) else {
        return Ok(());
    };
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    Err(Failure::usage(
        format!("--{flag} is for links of kind {}", names.join(", ")),
        format!("leave it out, or say --kind {}", names[0]),
    ))
}

fn text(text: Option<&String>) -> String {
    text.cloned().unwrap_or_default()
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
        user: text(args.user.as_ref()),
        password: place(args.password_env.as_deref(), args.password_file.as_deref())?,
        token: place(
            args.token_env.as_deref(),
            args.registry_token_file.as_deref(),
        )?,
    })
}

fn azureml(args: &AddLinkArgs) -> Result<AzureMlLink, Failure> {
    let AddLinkArgs {
        azureml, identity, ..
    } = args;
    Ok(AzureMlLink {
        workspace: text(azureml.workspace.as_ref()),
        resource_group: text(azureml.resource_group.as_ref()),
        subscription: text(azureml.subscription.as_ref()),
        tenant: text(identity.tenant.as_ref()),
        client_id: text(identity.client_id.as_ref()),
        secret: secret(args)?,
        managed_identity: identity.managed_identity,
        authority: text(identity.authority.as_ref()),
        management: text(azureml.management.as_ref()),
        endpoint: text(azureml.ml_endpoint.as_ref()),
    })
}

fn store(args: &AddLinkArgs, service: Service) -> Result<StoreLink, Failure> {
    let store = &args.store;
    let ca_file = store.ca_file.as_deref().map(absolute).transpose()?;
    Ok(StoreLink {
        at: store.at.clone(),
        endpoint: text(store.endpoint.as_ref()),
        allow_http: store.allow_http,
        ca_file: ca_file.unwrap_or_default(),
        accept_invalid_certificates: store.accept_invalid_certificates,
        anonymous: store.anonymous,
        service: Some(service),
    })
}

fn s3(args: &AddLinkArgs) -> Result<S3Access, Failure> {
    let s3 = &args.s3;
    let virtual_hosted = match (s3.path_style, s3.virtual_hosted) {
        (true, _) => Some(false),
        (false, true) => Some(true),
        (false, false) => None,
    };
    Ok(S3Access {
        region: text(s3.region.as_ref()),
        virtual_hosted,
        access_key: place(s3.access_key_env.as_deref(), s3.access_key_file.as_deref())?,
        secret_key: secret(args)?,
        session_token: place(
            s3.session_token_env.as_deref(),
            s3.session_token_file.as_deref(),
        )?,
    })
}

fn azure(args: &AddLinkArgs) -> Result<AzureAccess, Failure> {
    let AddLinkArgs {
        azure, identity, ..
    } = args;
    Ok(AzureAccess {
        account_key: place(
            azure.account_key_env.as_deref(),
            azure.account_key_file.as_deref(),
        )?,
        sas: place(azure.sas_env.as_deref(), azure.sas_file.as_deref())?,
        tenant: text(identity.tenant.as_ref()),
        client_id: text(identity.client_id.as_ref()),
        secret: secret(args)?,
        authority: text(identity.authority.as_ref()),
        managed_identity: identity.managed_identity,
    })
}

fn secret(args: &AddLinkArgs) -> Result<Option<SecretRef>, Failure> {
    let identity = &args.identity;
    place(
        identity.secret_env.as_deref(),
        identity.secret_file.as_deref(),
    )
}

fn place(env: Option<&str>, file: Option<&Path>) -> Result<Option<SecretRef>, Failure> {
    let place = match (env, file) {
        (Some(name), _) => Place::Env(name.to_owned()),
        (None, Some(path)) => Place::File(absolute(path)?),
        (None, None) => return Ok(None),
    };
    Ok(Some(SecretRef { place: Some(place) }))
}

/// The pool's processes may run in other folders, so a path becomes absolute here.
fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).map_err(|error| {
        Failure::usage(
            format!("'{}' is no path: {error}", path.display()),
            "give the path of a file",
        )
    })?;
    Ok(absolute.to_string_lossy().into_owned())
}
