//! Sources on folders and on a stand-in of an MLflow server; what they say when they cannot be read, word by word.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use whimbrel_proto::{Error, v1};
use whimbrel_stores::{Environment, Stores};

use super::{Sources, folder, local};
use crate::clock::{SystemClock, SystemIds};
use crate::http::Http;
use crate::http::testing::{Asked, Served};
use crate::links::Links;
use crate::store::MemoryStore;

const ONNX: &[u8] = include_bytes!("../../../../predict/src/onnx/fixtures/columns.onnx");
const MLMODEL: &str = "flavors:\n  onnx:\n    data: model.onnx\n    onnx_version: 1.23.2\n";
const SKLEARN: &str = "flavors:\n  sklearn:\n    pickled_model: model.skops\n";

/// Sources whose environment is `variables`, below `base`.
async fn sources(base: &Path, variables: &[(&str, &str)]) -> Sources {
    let environment: Environment = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let clock = SystemClock::shared();
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock)));
    let http = Http::new(Arc::clone(&clock), Arc::new(SystemIds)).unwrap();
    let links = Links::open(store, clock, http, environment.clone())
        .await
        .unwrap();
    Sources::new(Stores::new(environment), links, base.to_owned())
}

/// A registry with `fare`: versions 1 (scikit-learn), 2 (@champion) and 10 (still pending), and `empty` without versions.
fn registry(asked: &Asked) -> (u16, Vec<u8>) {
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let missing = |status| {
        (
            status,
            br#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"no"}"#.to_vec(),
        )
    };
    let json = |text: &str| (200, text.as_bytes().to_vec());
    let version = |number: &str, status: &str| {
        format!(
            r#"{{"name":"fare","version":"{number}","status":"{status}","creation_timestamp":7,"tags":[{{"key":"team","value":"a"}}]}}"#
        )
    };
    let api = path.strip_prefix("/api/2.0/mlflow/");
    let artifacts = path.strip_prefix("/api/2.0/mlflow-artifacts/artifacts");
    if let Some(file) = artifacts {
        return match (file, query) {
            ("/1/v2/MLmodel", _) => json(MLMODEL),
            ("/1/v2/model.onnx", _) => (200, ONNX.to_vec()),
            ("/1/v1/MLmodel", _) => json(SKLEARN),
            ("", "path=1%2Fv10") => {
                json(r#"{"files":[{"path":"1/v10/notes.txt","is_dir":false}]}"#)
            }
            _ => missing(404),
        };
    }
    match (api.unwrap_or_default(), query) {
        ("registered-models/get", "name=fare") => json(
            r#"{"registered_model":{"name":"fare","aliases":[{"alias":"champion","version":"2"}]}}"#,
        ),
        ("registered-models/get", "name=empty") => json(r#"{"registered_model":{"name":"empty"}}"#),
        ("registered-models/search", _) => {
            json(r#"{"registered_models":[{"name":"fare"},{"name":"empty"}]}"#)
        }
        ("registered-models/alias", "name=fare&alias=champion") => {
            json(&format!(r#"{{"model_version":{}}}"#, version("2", "READY")))
        }
        ("registered-models/alias", _) => (
            400,
            br#"{"error_code":"INVALID_PARAMETER_VALUE","message":"no"}"#.to_vec(),
        ),
        ("model-versions/get", "name=fare&version=1") => {
            json(&format!(r#"{{"model_version":{}}}"#, version("1", "READY")))
        }
        ("model-versions/get", "name=fare&version=2") => {
            json(&format!(r#"{{"model_version":{}}}"#, version("2", "READY")))
        }
        ("model-versions/search", query)
            if query.contains("fare") && !query.contains("page_token") =>
        {
            json(&format!(
                r#"{{"model_versions":[{},{}],"next_page_token":"more"}}"#,
                version("1", "READY"),
                version("10", "PENDING_REGISTRATION")
            ))
        }
        ("model-versions/search", query) if query.contains("fare") => json(&format!(
            r#"{{"model_versions":[{}]}}"#,
            version("2", "READY")
        )),
        ("model-versions/search", _) => json("{}"),
        ("model-versions/get-download-uri", query) => {
            let number = query.rsplit('=').next().unwrap();
            json(&format!(
                r#"{{"artifact_uri":"mlflow-artifacts:/1/v{number}"}}"#
            ))
        }
        _ => missing(404),
    }
}

fn mlflow_folder(at: &Path) {
    fs::create_dir_all(at).unwrap();
    fs::write(at.join("MLmodel"), MLMODEL).unwrap();
    fs::write(at.join("model.onnx"), ONNX).unwrap();
}

#[tokio::test]
async fn the_same_bytes_come_from_every_source() {
    let served = Served::start(registry).await;
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(folder.path(), &[("MLFLOW_TRACKING_URI", &served.url())]).await;
    mlflow_folder(&folder.path().join("mlflow"));
    fs::write(folder.path().join("m.onnx"), ONNX).unwrap();
    let digits: String = ONNX.iter().map(|byte| format!("{byte:02X}")).collect();
    fs::write(folder.path().join("m.hex"), format!("0x{digits}\n")).unwrap();
    for (uri, version) in [
        ("m.onnx", None),
        ("m.hex", None),
        ("mlflow", None),
        ("mlflow/", None),
        ("models:/fare/2", Some("2")),
        ("models:/fare@champion", Some("2")),
    ] {
        let fetched = sources.fetch(uri).await.unwrap();
        assert!(fetched.file == ONNX, "{uri} gives other bytes");
        assert_eq!(fetched.version.as_deref(), version, "{uri}");
        assert_eq!(
            fetched.mlmodel.is_some(),
            uri.starts_with('m') && !uri.starts_with("m."),
            "{uri}"
        );
    }
    let champion = sources.fetch("models:/fare@champion").await.unwrap();
    assert_eq!(
        (champion.uri.as_str(), champion.resolved.as_str()),
        ("models:/fare@champion", "models:/fare/2")
    );
}

/// What is said of every uri that gives no model.
#[tokio::test]
async fn a_source_that_gives_no_model_says_why_and_what_to_do() {
    let served = Served::start(registry).await;
    let home = tempfile::tempdir().unwrap();
    let sources = sources(home.path(), &[("MLFLOW_TRACKING_URI", &served.url())]).await;
    let (here, place) = (
        home.path().display().to_string(),
        format!("the registry '{}' (MLFLOW_TRACKING_URI)", served.url()),
    );
    for name in ["empty", "notes", "sklearn", "part"] {
        fs::create_dir(home.path().join(name)).unwrap();
    }
    fs::write(home.path().join("notes/a.onnx"), ONNX).unwrap();
    fs::write(home.path().join("sklearn/MLmodel"), SKLEARN).unwrap();
    fs::write(home.path().join("part/MLmodel"), MLMODEL).unwrap();
    fs::write(home.path().join("cut.hex"), "0x08071").unwrap();
    let cases = [
        ("", "the model's location is empty; give the path of a model's file or of an MLflow folder, or models:/NAME/VERSION".to_owned()),
        ("none.onnx", format!("the model '{here}/none.onnx' does not exist; check the path; it is read on the scheduler's machine")),
        ("empty", format!("'{here}/empty' is a folder without an MLmodel file; the folder is empty: check the path")),
        ("notes", format!("'{here}/notes' is a folder without an MLmodel file; give the file itself: {here}/notes/a.onnx")),
        ("part", format!("'{here}/part': the MLmodel file names 'model.onnx', which is not there; copy the whole folder; a part of it is missing")),
        ("cut.hex", format!("'{here}/cut.hex' is hex text with an odd number of digits, 5; it was cut off; SQL clients cut long values: export it with a tool that does not, such as bcp")),
        ("gs://lake/m.onnx", "models cannot be read from 'gs:'; copy it to s3:// or abfss://, or give a local path".to_owned()),
        ("https://example.com/m.onnx?sig=x", "models cannot be read from 'https:'; download it first, or give https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH or models:/NAME/VERSION".to_owned()),
        ("models:/fare/7", format!("model 'fare' has no version 7 in {place}; it has 10, 2, 1")),
        ("models:/fare@chmpion", format!("model 'fare' has no alias 'chmpion' in {place}; did you mean 'champion'?")),
        ("models:/fair/2", format!("there is no model 'fair' in {place}; did you mean 'fare'?")),
        ("models:/empty", format!("model 'empty' has no version in {place}; register one: mlflow.register_model")),
        ("models:/fare", "version 10 of model 'fare' cannot be used: the registry says PENDING_REGISTRATION; name another version".to_owned()),
        ("models:/fare/Production", "model 'fare' has no version 'Production' and none in a stage of that name; versions are 10, 2, 1; an alias is written models:/fare@ALIAS".to_owned()),
        ("models:/", "'models:/' is not an entry of a registry: it names no model; write models:/NAME/VERSION, models:/NAME@ALIAS, or models:/NAME for the highest version".to_owned()),
        ("models:/fare/2?link=no", "link 'no' does not exist; there is no link: `whimbrel link add NAME --kind KIND ...` adds one".to_owned()),
        ("models:/fare/2?x=y", "'models:/fare/2?x=y' is not an entry of a registry: what follows the ? is not link=NAME; write ?link=NAME, or leave it out".to_owned()),
        ("aml://fare:2", "there is no link to an Azure ML workspace; add one: `whimbrel link add NAME --kind azureml --workspace W --resource-group R --subscription S ...`".to_owned()),
        ("runs:/r1", "'runs:/r1' is not an entry of a registry: it names no run or no path; write runs:/RUN_ID/PATH".to_owned()),
        ("sql:SELECT 1", "the pool runs no queries yet; try again".to_owned()),
    ];
    for (uri, want) in cases {
        assert_eq!(
            sources.fetch(uri).await.unwrap_err().to_string(),
            want,
            "{uri}"
        );
    }
    for python in ["sklearn", "models:/fare/1"] {
        let error = sources.fetch(python).await.unwrap_err().to_string();
        assert!(
            error.contains("sklearn") && error.contains("ONNX"),
            "{error}"
        );
    }
}

/// What is said of registries that refuse or are none.
#[tokio::test]
async fn a_registry_that_refuses_is_named_with_what_it_wants() {
    let folder = tempfile::tempdir().unwrap();
    let login = [
        ("MLFLOW_TRACKING_USERNAME", "me"),
        ("MLFLOW_TRACKING_PASSWORD", "wrong-one"),
    ];
    let cases = [
        (
            401,
            &login[..0],
            "wants credentials (401); set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, where the scheduler starts",
        ),
        (
            401,
            &login[..],
            "refuses the user or the password (401); check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of the scheduler",
        ),
        (
            403,
            &login[..],
            "does not allow it (403); give the user the permission READ on the model",
        ),
        (
            404,
            &login[..0],
            "does not answer like an MLflow server (status 404); check its address: it is the one that MLFLOW_TRACKING_URI has for MLflow's own clients",
        ),
        (
            200,
            &login[..0],
            "does not answer like an MLflow server (status 200); check its address: it is the one that MLFLOW_TRACKING_URI has for MLflow's own clients",
        ),
    ];
    for (status, variables, want) in cases {
        let served = Served::start(move |_| (status, b"<html>".to_vec())).await;
        let url = served.url();
        let variables = [variables, &[("MLFLOW_TRACKING_URI", url.as_str())]].concat();
        let error = sources(folder.path(), &variables)
            .await
            .fetch("models:/fare/1")
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            format!("the registry '{url}' (MLFLOW_TRACKING_URI) {want}")
        );
        assert!(!error.contains("wrong-one"));
    }
    let closed = Served::start(registry).await.url();
    let error = sources(folder.path(), &[("MLFLOW_TRACKING_URI", &closed)])
        .await
        .fetch("models:/fare/1")
        .await
        .unwrap_err();
    assert!(
        error.message().starts_with(&format!(
            "the registry '{closed}' (MLFLOW_TRACKING_URI) cannot be reached: "
        )),
        "{error}"
    );
}

#[tokio::test]
async fn every_version_is_listed_newest_first_with_the_reason_where_it_cannot_be_used() {
    let served = Served::start(registry).await;
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(folder.path(), &[("MLFLOW_TRACKING_URI", &served.url())]).await;
    let versions = sources.versions("models:/fare").await.unwrap();
    let versions: Vec<v1::ModelVersion> =
        versions.into_iter().map(v1::ModelVersion::from).collect();
    let shown: Vec<_> = versions
        .iter()
        .map(|version| {
            (
                version.version.as_str(),
                version.flavors.join(","),
                version.aliases.join(","),
            )
        })
        .collect();
    let texts =
        |version, flavors: &str, aliases: &str| (version, flavors.to_owned(), aliases.to_owned());
    assert_eq!(
        shown,
        [
            texts("10", "", ""),
            texts("2", "onnx", "champion"),
            texts("1", "sklearn", "")
        ]
    );
    assert_eq!(
        versions[0].unusable,
        "the registry says PENDING_REGISTRATION"
    );
    assert_eq!(versions[1].unusable, "");
    assert!(
        versions[2].unusable.contains("sklearn"),
        "{}",
        versions[2].unusable
    );
    assert_eq!(versions[1].tags[0].key, "team");
    let error: Error = sources.versions("m.onnx").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "'m.onnx' is not an entry of a registry; write models:/NAME or aml://NAME"
    );
}

#[tokio::test]
async fn a_file_is_read_within_bounds_and_inside_its_folder() {
    let home = tempfile::tempdir().unwrap();
    let inside = home.path().join("model");
    mlflow_folder(&inside);
    let folder::Found::Folder(opened) = local::open(&inside.display().to_string()).await.unwrap()
    else {
        panic!("a folder is taken for a file");
    };
    let opened: Box<dyn folder::Folder> = opened;
    assert_eq!(opened.read("none", 10).await.unwrap(), None);
    let error = opened.read("MLmodel", 10).await.unwrap_err();
    assert!(
        error
            .message()
            .ends_with("MLmodel' is larger than 10 bytes"),
        "{error}"
    );
    fs::write(home.path().join("secret"), "x").unwrap();
    std::os::unix::fs::symlink("../secret", inside.join("weights")).unwrap();
    let error = opened.read("weights", 10).await.unwrap_err();
    assert!(
        error
            .message()
            .ends_with("'weights' is a link that leads out of the folder"),
        "{error}"
    );
}
