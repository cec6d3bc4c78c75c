//! The registry end to end on a real model file that skl2onnx wrote.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use whimbrel_predict::binding::BindingSource;
use whimbrel_proto::ErrorCode;
use whimbrel_proto::ids::Generation;
use whimbrel_stores::{Environment, Stores};

use super::{BindModel, ContentStore, Registry, Sources, digest_of};
use crate::clock::{SystemClock, SystemIds};
use crate::http::Http;
use crate::links::Links;
use crate::store::{MemoryStore, RedbStore, StateStore};

/// Five inputs of one column each: trip_distance, duration_min, passenger_count, payment_type, borough; gives float32.
const COLUMNS: &[u8] = include_bytes!("../../../predict/src/onnx/fixtures/columns.onnx");
/// Gives a label, which is text.
const LABEL: &[u8] = include_bytes!("../../../predict/src/onnx/fixtures/classifier_zipmap.onnx");

/// The same model with another producer: other content, same signature.
fn retrained() -> Vec<u8> {
    [COLUMNS, b"\x1a\x01x"].concat()
}

struct Subject {
    registry: Arc<Registry>,
    folder: TempDir,
}

async fn open(store: Arc<dyn StateStore>, folder: &Path) -> Arc<Registry> {
    let content = ContentStore::new(folder.join("models"), Arc::new(SystemIds));
    let clock = SystemClock::shared();
    let http = Http::new(Arc::clone(&clock), Arc::new(SystemIds)).unwrap();
    let environment = Environment::default();
    let links = Links::open(
        Arc::clone(&store),
        Arc::clone(&clock),
        http,
        environment.clone(),
    )
    .await
    .unwrap();
    let sources = Arc::new(Sources::new(
        Stores::new(environment),
        links,
        folder.to_owned(),
    ));
    Registry::open(store, content, clock, sources)
        .await
        .unwrap()
}

async fn subject() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("fare.onnx"), COLUMNS).unwrap();
    let registry = open(
        Arc::new(MemoryStore::new(SystemClock::shared())),
        folder.path(),
    )
    .await;
    Subject { registry, folder }
}

fn ask(alias: &str, uri: &str) -> BindModel {
    BindModel {
        alias: alias.to_owned(),
        uri: uri.to_owned(),
        ..BindModel::default()
    }
}

#[tokio::test]
async fn a_bound_model_is_pinned_by_content_and_a_rebind_makes_the_next_generation() {
    let Subject { registry, folder } = subject().await;
    let first = registry.bind(ask("fare", "fare.onnx")).await.unwrap();
    assert_eq!(first.digest, digest_of(COLUMNS).unwrap());
    assert_eq!(
        (first.generation, first.size_bytes),
        (Generation(1), COLUMNS.len() as u64)
    );
    assert_eq!(
        first.uri,
        folder.path().join("fare.onnx").display().to_string()
    );
    assert_eq!(registry.binding("fare"), Some(Arc::clone(&first)));

    fs::write(folder.path().join("fare.onnx"), retrained()).unwrap();
    let wish = BindModel {
        returns: "double".to_owned(),
        ..ask("fare", "fare.onnx")
    };
    let second = registry.bind(wish).await.unwrap();
    assert_eq!(second.generation, Generation(2));
    assert_ne!(second.digest, first.digest);
    assert_eq!(registry.get("fare").unwrap(), second);
    // What was planned with the first still finds its content.
    assert_eq!(
        registry.content().read(&first.digest).await.unwrap(),
        COLUMNS
    );
    assert_eq!(
        registry.content().read(&second.digest).await.unwrap(),
        retrained()
    );

    registry.unbind("fare").await.unwrap();
    assert_eq!(registry.binding("fare"), None);
    assert_eq!(registry.aliases(), Vec::<String>::new());
    assert_eq!(
        registry.content().read(&second.digest).await.unwrap(),
        retrained()
    );
}

#[tokio::test]
async fn bindings_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("fare.onnx"), COLUMNS).unwrap();
    let state = folder.path().join("state");
    let before = {
        let store = Arc::new(
            RedbStore::open(&state, SystemClock::shared())
                .await
                .unwrap(),
        );
        let registry = open(store.clone(), folder.path()).await;
        let columns = vec![("BOROUGH".to_owned(), "zone name".to_owned())];
        let kept = registry
            .bind(BindModel {
                columns,
                ..ask("kept", "fare.onnx")
            })
            .await
            .unwrap();
        registry.bind(ask("gone", "fare.onnx")).await.unwrap();
        registry.unbind("gone").await.unwrap();
        store.close().await;
        kept
    };
    assert_eq!(
        before.columns,
        [("borough".to_owned(), "zone name".to_owned())]
    );
    fs::remove_file(folder.path().join("fare.onnx")).unwrap();
    let store = Arc::new(
        RedbStore::open(&state, SystemClock::shared())
            .await
            .unwrap(),
    );
    let registry = open(store, folder.path()).await;
    assert_eq!(registry.list(), [before]);
    assert_eq!(
        registry
            .content()
            .read(&registry.get("kept").unwrap().digest)
            .await
            .unwrap(),
        COLUMNS
    );
}

#[tokio::test]
async fn of_binds_at_once_none_is_lost() {
    let Subject {
        registry,
        folder: _folder,
    } = subject().await;
    let binds = (0..6).map(|_| registry.bind(ask("fare", "fare.onnx")));
    let mut generations: Vec<u64> = futures::future::join_all(binds)
        .await
        .into_iter()
        .map(|binding| binding.unwrap().generation.0)
        .collect();
    generations.sort_unstable();
    assert_eq!(generations, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn what_cannot_be_bound_is_refused_in_one_line_and_leaves_nothing() {
    let Subject { registry, folder } = subject().await;
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(folder.path().join("notes.txt"), "not a model\n").unwrap();
    fs::write(folder.path().join("label.onnx"), LABEL).unwrap();
    fs::create_dir(folder.path().join("mlflow")).unwrap();
    let pair = |input: &str, column: &str| BindModel {
        columns: vec![(input.to_owned(), column.to_owned())],
        ..ask("fare", "fare.onnx")
    };
    let twice = BindModel {
        columns: vec![
            ("borough".into(), "a".into()),
            ("borough".into(), "b".into()),
        ],
        ..ask("fare", "fare.onnx")
    };
    let returns = |text: &str, uri: &str| BindModel {
        returns: text.to_owned(),
        ..ask("fare", uri)
    };
    let cases = [
        (
            ask("fare", "none.onnx"),
            format!("the model '{}' does not exist", at("none.onnx")),
        ),
        (
            ask("fare", "mlflow"),
            format!("'{}' is a folder without an MLmodel file", at("mlflow")),
        ),
        (
            ask("fare", "notes.txt"),
            format!(
                "'{}' is not an ONNX, LightGBM or XGBoost model: it is text",
                at("notes.txt")
            ),
        ),
        (ask("fare", ""), "the model's location is empty".to_owned()),
        (
            ask("fare", "models:/fare/3"),
            "no MLflow registry is known".to_owned(),
        ),
        (
            ask("fare", "gs://b/m.onnx"),
            "models cannot be read from 'gs:'".to_owned(),
        ),
        (
            returns("flaot", "fare.onnx"),
            "'flaot' is not a type".to_owned(),
        ),
        (
            returns("double", "label.onnx"),
            "output 'output_label' is text, which cannot be returned as DOUBLE".to_owned(),
        ),
        (
            BindModel {
                runtime: "tf".to_owned(),
                ..ask("fare", "fare.onnx")
            },
            "'tf' is not a runtime".to_owned(),
        ),
        (
            pair("boro", "zone"),
            "'boro=zone': the model has no input 'boro'".to_owned(),
        ),
        (pair("borough", ""), "'borough=' names no column".to_owned()),
        (twice, "input 'borough' is given two columns".to_owned()),
    ];
    for (request, want) in cases {
        let error = registry.bind(request).await.unwrap_err();
        assert_eq!(error.message(), want);
        assert!(error.hint().is_some(), "{error}");
    }
    for alias in ["", "a b", "../../etc", "x'; DROP", "é"] {
        assert_eq!(
            registry
                .bind(ask(alias, "fare.onnx"))
                .await
                .unwrap_err()
                .code(),
            ErrorCode::Invalid,
            "{alias:?}"
        );
    }
    assert_eq!(registry.list(), []);
    assert!(
        !folder.path().join("models").exists(),
        "content was kept for a binding that was refused"
    );
}

#[tokio::test]
async fn a_mistyped_alias_is_offered_the_right_one() {
    let Subject {
        registry,
        folder: _folder,
    } = subject().await;
    let none = registry.get("fare").unwrap_err().to_string();
    assert!(
        none.starts_with("model 'fare' is not bound; no model is bound"),
        "{none}"
    );
    registry.bind(ask("fare", "fare.onnx")).await.unwrap();
    let error = registry.get("fara").unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (
            ErrorCode::NotFound,
            "model 'fara' is not bound; did you mean 'fare'?"
        )
    );
    assert_eq!(registry.unbind("fara").await.unwrap_err(), error);
}

#[tokio::test]
async fn damaged_content_is_never_handed_out_and_is_repaired_by_a_bind() {
    let folder = tempfile::tempdir().unwrap();
    let content = ContentStore::new(folder.path().join("deep/models"), Arc::new(SystemIds));
    let digest = content.put(Bytes::from("model")).await.unwrap();
    let kept = folder.path().join("deep/models").join(digest.as_str());
    fs::write(&kept, "modem").unwrap();
    let error = content.read(&digest).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message().ends_with("is damaged")),
        (ErrorCode::Data, true),
        "{error}"
    );
    assert_eq!(content.put(Bytes::from("model")).await.unwrap(), digest);
    assert_eq!(content.read(&digest).await.unwrap(), "model");
    fs::remove_file(&kept).unwrap();
    assert_eq!(
        content.read(&digest).await.unwrap_err().code(),
        ErrorCode::NotFound
    );
    assert_eq!(
        fs::read_dir(folder.path().join("deep/models"))
            .unwrap()
            .count(),
        0,
        "no part is left behind"
    );
}

#[tokio::test]
async fn the_fastest_runtime_that_covers_a_model_is_chosen_unless_one_is_named() {
    let Subject { registry, folder } = subject().await;
    let bind = async |runtime: &str| {
        let mut wish = ask("fare", "fare.onnx");
        wish.runtime = runtime.to_owned();
        registry.bind(wish).await
    };
    for (asked, given) in [
        ("", "native"),
        ("onnx", "native"),
        ("NATIVE", "native"),
        ("ort", "ort"),
    ] {
        assert_eq!(bind(asked).await.unwrap().runtime.name(), given, "{asked}");
    }
    // The same graph with an operator that our kernels do not have.
    let other = replace(COLUMNS, b"Concat", b"Konkat");
    fs::write(folder.path().join("fare.onnx"), other).unwrap();
    let binding = bind("").await.unwrap();
    assert_eq!(binding.runtime.name(), "ort");
    let note = "ONNX Runtime scores it, since the native kernels do not cover it: ";
    assert!(
        binding.notes.iter().any(|text| text.starts_with(note)),
        "{:?}",
        binding.notes
    );
    let refused = bind("native").await.unwrap_err().to_string();
    assert!(
        refused.contains("operator 'Konkat' is not covered"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_librarys_own_file_is_never_onnx_runtimes() {
    let Subject { registry, folder } = subject().await;
    let text = "tree\nnum_tree_per_iteration=1\nmax_feature_idx=0\nfeature_names=age\nobjective=regression\n\nend of trees\n";
    fs::write(folder.path().join("m.lgb"), text).unwrap();
    let bind = async |runtime: &str| {
        let mut wish = ask("light", "m.lgb");
        wish.runtime = runtime.to_owned();
        registry.bind(wish).await
    };
    let binding = bind("").await.unwrap();
    assert_eq!(binding.runtime.name(), "native");
    assert_eq!(binding.elements[0].name, "age");
    let refused = bind("ort").await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "ONNX Runtime does not read files of LightGBM; leave the runtime out: the native kernels score it; or export it to ONNX (onnxmltools.convert_lightgbm)"
    );
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    for at in 0..=bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
    }
    bytes
}
