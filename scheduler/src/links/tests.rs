//! Links against a stand-in of Microsoft Entra and Resource Manager that checks what it is sent.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use whimbrel_proto::{Error, ErrorCode, v1};
use whimbrel_stores::Environment;

use super::{Link, LinkKind, Links, Wanted};
use crate::clock::{Clock, ManualClock, SystemClock, SystemIds};
use crate::http::Http;
use crate::http::testing::{Asked, Served};
use crate::store::{MemoryStore, StateStore};

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

async fn open(
    clock: Arc<dyn Clock>,
    environment: Environment,
) -> (Arc<Links>, Arc<dyn StateStore>) {
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new(SystemClock::shared()));
    let http = Http::new(SystemClock::shared(), Arc::new(SystemIds)).unwrap();
    let links = Links::open(Arc::clone(&store), clock, http, environment)
        .await
        .unwrap();
    (links, store)
}

fn env(name: &str) -> Option<v1::SecretRef> {
    Some(v1::SecretRef {
        place: Some(v1::secret_ref::Place::Env(name.to_owned())),
    })
}

fn azureml(name: &str, url: &str) -> v1::Link {
    v1::Link {
        name: name.to_owned(),
        kind: Some(v1::link::Kind::Azureml(v1::AzureMlLink {
            workspace: "w".to_owned(),
            resource_group: "g".to_owned(),
            subscription: "s".to_owned(),
            tenant: "t".to_owned(),
            client_id: "c".to_owned(),
            secret: env("AML_SECRET"),
            authority: url.to_owned(),
            management: url.to_owned(),
            ..v1::AzureMlLink::default()
        })),
        added_at_ms: 0,
    }
}

fn mlflow(name: &str, uri: &str) -> v1::Link {
    v1::Link {
        name: name.to_owned(),
        kind: Some(v1::link::Kind::Mlflow(v1::MlflowLink {
            uri: uri.to_owned(),
            ..v1::MlflowLink::default()
        })),
        added_at_ms: 0,
    }
}

/// Entra, Resource Manager and an MLflow server in one: the secret is "right", and tokens last ten minutes.
fn azure(asked: &Asked) -> (u16, Vec<u8>) {
    let refusal = |number: &str| {
        let text =
            format!(r#"{{"error":"invalid_client","error_description":"AADSTS{number}: no."}}"#);
        (401, text.into_bytes())
    };
    let bearer = asked.authorization.as_deref() == Some("Bearer token-1");
    match asked.path.split('?').next().unwrap() {
        "/t/oauth2/v2.0/token" if asked.body.contains("client_secret=right") => (
            200,
            br#"{"access_token":"token-1","expires_in":600}"#.to_vec(),
        ),
        "/t/oauth2/v2.0/token" if asked.body.contains("client_secret=old") => refusal("7000222"),
        "/t/oauth2/v2.0/token" => refusal("7000215"),
        "/metadata/identity/oauth2/token" => (
            200,
            br#"{"access_token":"token-1","expires_in":"600"}"#.to_vec(),
        ),
        _ if !bearer => (401, Vec::new()),
        path if path.ends_with("/workspaces/w") => (
            200,
            br#"{"properties":{"mlFlowTrackingUri":"azureml://eu.api.azureml.ms/mlflow/v1.0/x"}}"#
                .to_vec(),
        ),
        path if path.ends_with("/workspaces/forbidden") => (403, Vec::new()),
        _ => (404, Vec::new()),
    }
}

async fn add(links: &Links, wire: v1::Link) -> Result<(), Error> {
    links.add(Link::try_from(wire)?, false).await.map(drop)
}

#[tokio::test]
async fn a_token_is_fetched_once_and_renewed_before_its_end() {
    let served = Served::start(azure).await;
    let clock = ManualClock::shared();
    let (links, _store) = open(clock.clone(), environment(&[("AML_SECRET", "right")])).await;
    add(&links, azureml("aml", &served.url())).await.unwrap();
    let tokens = || {
        served
            .asked()
            .iter()
            .filter(|asked| asked.path.contains("token"))
            .count()
    };
    let ten = (0..10).map(|_| links.connect("aml"));
    for connected in futures::future::join_all(ten).await {
        let name = connected.unwrap().name();
        assert_eq!(name, "the workspace 'w' (link 'aml')");
    }
    assert_eq!(tokens(), 1);
    clock.advance(Duration::from_secs(299));
    links.connect("aml").await.unwrap();
    assert_eq!(tokens(), 1);
    clock.advance(Duration::from_secs(2));
    links.connect("aml").await.unwrap();
    assert_eq!(tokens(), 2, "it is renewed five minutes before its end");
    let asked = served.asked();
    let body = &asked
        .iter()
        .find(|asked| asked.path.contains("token"))
        .unwrap()
        .body;
    assert!(
        body.contains("grant_type=client_credentials") && body.contains(".default"),
        "{body}"
    );
}

#[tokio::test]
async fn an_old_token_serves_while_it_cannot_be_renewed_and_not_longer() {
    let served = Served::start(azure).await;
    let clock = ManualClock::shared();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "right\n").unwrap();
    let (links, _store) = open(clock.clone(), Environment::default()).await;
    let mut wire = azureml("aml", &served.url());
    if let Some(v1::link::Kind::Azureml(link)) = &mut wire.kind {
        let place = v1::secret_ref::Place::File(file.display().to_string());
        link.secret = Some(v1::SecretRef { place: Some(place) });
    }
    add(&links, wire).await.unwrap();
    links.connect("aml").await.unwrap();
    fs::write(&file, "old").unwrap();
    clock.advance(Duration::from_secs(400));
    links.connect("aml").await.unwrap();
    clock.advance(Duration::from_secs(300));
    let error = links.connect("aml").await.unwrap_err();
    assert_eq!(
        error.message(),
        format!(
            "link 'aml': '{}' gives no token: the client secret has expired",
            served.url()
        )
    );
    fs::write(&file, "right").unwrap();
    links.connect("aml").await.unwrap();
}

#[tokio::test]
async fn a_managed_identity_needs_no_secret() {
    let served = Served::start(azure).await;
    let host = served.url();
    let (links, _store) = open(
        SystemClock::shared(),
        environment(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &host)]),
    )
    .await;
    let mut wire = azureml("aml", &host);
    if let Some(v1::link::Kind::Azureml(link)) = &mut wire.kind {
        (link.secret, link.managed_identity) = (None, true);
    }
    add(&links, wire).await.unwrap();
    links.connect("aml").await.unwrap();
    let asked = served.asked();
    assert!(
        asked[0].path.contains("client_id=c") && asked[0].path.contains("resource="),
        "{asked:?}"
    );
}

/// What a link says when it does not work, word by word.
#[tokio::test]
async fn a_link_that_does_not_work_says_why_and_what_to_do() {
    let served = Served::start(azure).await;
    let url = served.url();
    let secrets = [("AML_SECRET", "right"), ("WRONG", "wrong"), ("OLD", "old")];
    let (links, _store) = open(SystemClock::shared(), environment(&secrets)).await;
    let with = |change: fn(&mut v1::AzureMlLink)| {
        let mut wire = azureml("aml", &url);
        if let Some(v1::link::Kind::Azureml(link)) = &mut wire.kind {
            change(link);
        }
        wire
    };
    let cases = [
        (with(|link| link.secret = env("UNSET")), "link 'aml': the secret is not there: the environment variable UNSET is not set; set it where the scheduler starts, and start it again".to_owned()),
        (with(|link| link.secret = env("WRONG")), format!("link 'aml': '{url}' gives no token: the client secret is wrong; use the secret's value, not its id, of the app registration")),
        (with(|link| link.secret = env("OLD")), format!("link 'aml': '{url}' gives no token: the client secret has expired; make a new one in the app registration, and put it where the old one is")),
        (with(|link| link.workspace = "forbidden".to_owned()), "link 'aml': the identity may not see the workspace 'forbidden' (403); give it the role AzureML Data Scientist (or Reader) on the workspace".to_owned()),
        (with(|link| link.workspace = "gone".to_owned()), "link 'aml': there is no workspace 'gone' in resource group 'g' of the subscription; check --workspace, --resource-group and --subscription".to_owned()),
    ];
    for (wire, want) in cases {
        links
            .add(Link::try_from(wire).unwrap(), true)
            .await
            .unwrap();
        assert_eq!(links.connect("aml").await.unwrap_err().to_string(), want);
    }
}

#[tokio::test]
async fn a_link_is_kept_with_the_places_of_its_secrets_and_comes_back() {
    let (links, store) = open(
        SystemClock::shared(),
        environment(&[("AML_SECRET", "s3cr3t-value")]),
    )
    .await;
    add(&links, azureml("aml", "https://login.example.com"))
        .await
        .unwrap();
    let again = add(&links, azureml("aml", "https://login.example.com"))
        .await
        .unwrap_err();
    assert_eq!(
        again.to_string(),
        "link 'aml' exists already; replace it with --replace, or remove it: `whimbrel link remove aml`"
    );
    let entries = store.list("").await.unwrap().entries;
    let kept = format!("{entries:?} {:?} {links:?}", links.get("aml").unwrap());
    assert!(
        kept.contains("AML_SECRET") && !kept.contains("s3cr3t-value"),
        "{kept}"
    );
    let http = Http::new(SystemClock::shared(), Arc::new(SystemIds)).unwrap();
    let reopened = Links::open(store, SystemClock::shared(), http, Environment::default())
        .await
        .unwrap();
    assert_eq!(reopened.list(), links.list());
    assert!(matches!(
        reopened.get("aml").unwrap().kind,
        LinkKind::AzureMl(_)
    ));
    assert_eq!(
        links.get("amll").unwrap_err().to_string(),
        "link 'amll' does not exist; did you mean 'aml'?"
    );
    links.remove("aml").await.unwrap();
    assert_eq!(links.list(), []);
}

#[tokio::test]
async fn a_uri_without_a_link_means_the_only_one_or_the_environments() {
    let (links, _store) = open(
        SystemClock::shared(),
        environment(&[("MLFLOW_TRACKING_URI", "http://env:5000/")]),
    )
    .await;
    let registry = |wanted, named: Option<&'static str>| links.registry(wanted, named);
    assert_eq!(
        registry(Wanted::Mlflow, None).await.unwrap().name(),
        "the registry 'http://env:5000' (MLFLOW_TRACKING_URI)"
    );
    let none = registry(Wanted::AzureMl, None).await.unwrap_err();
    assert_eq!(none.message(), "there is no link to an Azure ML workspace");
    add(&links, mlflow("one", "http://one:5000")).await.unwrap();
    assert_eq!(
        registry(Wanted::Mlflow, None).await.unwrap().name(),
        "the registry 'http://one:5000' (link 'one')"
    );
    add(&links, mlflow("two", "http://two:5000")).await.unwrap();
    assert_eq!(
        registry(Wanted::Mlflow, None).await.unwrap().name(),
        "the registry 'http://env:5000' (MLFLOW_TRACKING_URI)",
        "of several none is taken by chance"
    );
    assert_eq!(
        registry(Wanted::Mlflow, Some("two")).await.unwrap().name(),
        "the registry 'http://two:5000' (link 'two')"
    );
    let kind = registry(Wanted::AzureMl, Some("two")).await.unwrap_err();
    assert_eq!(
        kind.message(),
        "link 'two' is one of kind mlflow, and aml:// means an Azure ML workspace"
    );
    let (links, _store) = open(SystemClock::shared(), Environment::default()).await;
    let none = links.registry(Wanted::Mlflow, None).await.unwrap_err();
    assert_eq!(none.message(), "no MLflow registry is known");
    for name in ["one", "two"] {
        add(&links, mlflow(name, "http://host:5000")).await.unwrap();
    }
    let several = links.registry(Wanted::Mlflow, None).await.unwrap_err();
    assert_eq!(
        several.to_string(),
        "several links could be meant: 'one', 'two'; say which: put ?link=NAME at the end of the uri"
    );
    let login = [("MLFLOW_TRACKING_URI", "http://me:hunter2@env:5000")];
    let (links, _store) = open(SystemClock::shared(), environment(&login)).await;
    let error = links.registry(Wanted::Mlflow, None).await.unwrap_err();
    assert_eq!(
        error.message(),
        "MLFLOW_TRACKING_URI has a user or a password in it"
    );
}

#[test]
fn a_link_that_cannot_be_is_refused_and_a_secret_given_as_a_name_is_not_repeated() {
    let change = |change: fn(&mut v1::AzureMlLink)| {
        let mut wire = azureml("aml", "https://a.example.com");
        if let Some(v1::link::Kind::Azureml(link)) = &mut wire.kind {
            change(link);
        }
        Link::try_from(wire).unwrap_err()
    };
    let cases = [
        (
            change(|link| link.workspace = String::new()),
            "the link has no workspace",
        ),
        (
            change(|link| link.workspace = "a/../b".to_owned()),
            "'a/../b' is not the name of a workspace",
        ),
        (change(|link| link.secret = None), "the link has no secret"),
        (
            change(|link| link.tenant = String::new()),
            "the link has no tenant",
        ),
        (
            change(|link| link.managed_identity = true),
            "a managed identity has no secret",
        ),
        (
            change(|link| link.secret = env("hunter2-~value")),
            "'hunt...' is not the name of an environment variable",
        ),
        (
            change(|link| link.authority = "ftp://x".to_owned()),
            "the authority is 'ftp://x'",
        ),
        (
            Link::try_from(mlflow("m", "http://user:hunter2@host")).unwrap_err(),
            "the uri of the MLflow server has a user or a password in it",
        ),
        (
            Link::try_from(mlflow("m", "host:5000x/")).unwrap_err(),
            "the uri of the MLflow server is 'host:5000x/'",
        ),
        (
            Link::try_from(mlflow("a b", "http://host")).unwrap_err(),
            "'a b' is not a link name",
        ),
    ];
    for (error, want) in cases {
        assert_eq!((error.code(), error.message()), (ErrorCode::Invalid, want));
        assert!(
            error.hint().is_some() && !error.to_string().contains("hunter2"),
            "{error}"
        );
    }
}
