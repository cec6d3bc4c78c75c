//! URIs become places, and what clouds answer becomes one line.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStoreExt;
use whimbrel_proto::{ErrorCode, v1};

use crate::{
    Allow, Area, Bucket, Environment, Location, Process, Purpose, StoreLink, Stores, Travelling,
    entra_refusal, explain, told,
};

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_place_has_one_name_however_it_is_written() {
    let here = environment(&[("AZURE_STORAGE_ACCOUNT_NAME", "acct")]);
    for (uri, want) in [
        ("s3://lake/models/fare.onnx", "s3://lake/models/fare.onnx"),
        ("s3a://lake/a%20b/", "s3://lake/a b"),
        (
            "abfss://m@acct.dfs.core.windows.net/fare",
            "abfss://m@acct.dfs.core.windows.net/fare",
        ),
        (
            "abfs://m@acct.dfs.core.windows.net/fare/",
            "abfss://m@acct.dfs.core.windows.net/fare",
        ),
        (
            "wasbs://m@acct.blob.core.windows.net/fare",
            "abfss://m@acct.dfs.core.windows.net/fare",
        ),
        (
            "https://acct.blob.core.windows.net/m/fare",
            "abfss://m@acct.dfs.core.windows.net/fare",
        ),
        (
            "https://acct.dfs.core.chinacloudapi.cn/m/fare",
            "abfss://m@acct.dfs.core.chinacloudapi.cn/fare",
        ),
        (
            "abfss://m@acct/fare",
            "abfss://m@acct.dfs.core.windows.net/fare",
        ),
        ("az://m/fare", "abfss://m@acct.dfs.core.windows.net/fare"),
    ] {
        let location = Location::parse(uri, &here).unwrap().unwrap();
        assert_eq!(location.to_string(), want, "{uri}");
        assert_eq!(location.is_folder, uri.ends_with('/'), "{uri}");
    }
    for other in [
        "/data/x.onnx",
        "models:/fare/3",
        "https://example.com/x",
        "gs://b/x",
    ] {
        assert_eq!(Location::parse(other, &here).unwrap(), None, "{other}");
    }
}

#[test]
fn a_place_that_is_none_is_refused_and_a_signature_is_never_repeated() {
    for uri in [
        "s3:///x",
        "s3://key:secret@lake/x",
        "s3://lake/a//b",
        "abfss://m/fare",
        "abfss://@acct.dfs.core.windows.net/x",
        "wasbs://m@acct.example.com/x",
        "https://acct.blob.core.windows.net",
        "https://acct.blob.core.windows.net/m/x?sv=1&sig=abc",
        "abfss://m@acct.dfs.core.windows.net/x?sig=abc",
    ] {
        let error = Location::parse(uri, &Environment::default()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Invalid, "{uri}");
        assert!(
            error.hint().is_some() && !error.to_string().contains("sig=abc"),
            "{error}"
        );
    }
}

#[test]
fn a_bucket_has_one_store_and_keys_do_not_travel_openly() {
    let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    let stores = Stores::new(environment(&keys));
    let bucket = Bucket::S3 {
        bucket: "lake".to_owned(),
    };
    let first = stores.client(&bucket, None).unwrap();
    assert!(Arc::ptr_eq(&first, &stores.client(&bucket, None).unwrap()));
    let open = environment(&[keys[0], keys[1], ("AWS_ENDPOINT_URL", "http://127.0.0.1:9")]);
    let error = Stores::new(open).client(&bucket, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the endpoint 'http://127.0.0.1:9' is not encrypted; write https://, or set AWS_ALLOW_HTTP=true where the scheduler starts"
    );
    assert!(
        !format!("{stores:?} {:?}", environment(&keys)).contains("AWS"),
        "an environment is never shown"
    );
}

#[test]
fn what_a_store_answers_is_one_line_that_says_what_to_do() {
    let s3 = Bucket::S3 {
        bucket: "lake".to_owned(),
    };
    let azure = Bucket::Azure {
        account: "acct".to_owned(),
        container: "m".to_owned(),
        domain: "core.windows.net".to_owned(),
    };
    let generic = |text: &str| object_store::Error::Generic {
        store: "S3",
        source: text.to_owned().into(),
    };
    let missing = |text: &str| object_store::Error::NotFound {
        path: "x".to_owned(),
        source: text.to_owned().into(),
    };
    let denied = |text: &str| object_store::Error::PermissionDenied {
        path: "x".to_owned(),
        source: text.to_owned().into(),
    };
    let cases = [
        (
            &s3,
            missing("<Code>NoSuchKey</Code>"),
            "'s3://lake/x' does not exist",
        ),
        (
            &s3,
            missing("<Code>NoSuchBucket</Code>"),
            "bucket 'lake' does not exist",
        ),
        (
            &azure,
            missing("<Code>ContainerNotFound</Code>"),
            "account 'acct' has no container 'm'",
        ),
        (
            &s3,
            denied("<Code>SignatureDoesNotMatch</Code>"),
            "'s3://lake/x' cannot be read: the secret key is wrong",
        ),
        (
            &s3,
            denied("<Code>AccessDenied</Code>"),
            "'s3://lake/x' cannot be read: the store allows it not (403)",
        ),
        (
            &s3,
            generic("<Code>ExpiredToken</Code>"),
            "'s3://lake/x' cannot be read: the credentials have expired",
        ),
        (
            &s3,
            generic("Error performing PUT http://169.254.169.254/latest/api/token in 1s"),
            "'s3://lake/x' cannot be read: there are no credentials for it",
        ),
        (
            &azure,
            generic("AADSTS7000222: The provided client secret keys are expired"),
            "'abfss://m@acct.dfs.core.windows.net/x' cannot be read: the client secret has expired",
        ),
        (
            &azure,
            denied("<Code>AuthorizationPermissionMismatch</Code>"),
            "'abfss://m@acct.dfs.core.windows.net/x' cannot be read: the identity has no right to the data (403)",
        ),
        (
            &s3,
            generic(
                "Error performing GET http://127.0.0.1:9/lake/x in 3ms, after 6 retries: error sending request: Connection refused (os error 111)",
            ),
            "'s3://lake/x' cannot be read: Connection refused (os error 111)",
        ),
        (
            &s3,
            generic(
                "error sending request: client error (Connect): invalid peer certificate: UnknownIssuer",
            ),
            "'s3://lake/x' cannot be read: the certificate of its service is not trusted (UnknownIssuer)",
        ),
        (
            &azure,
            generic(
                "Error performing token request: Error performing POST https://login/t/oauth2/v2.0/token: Connection refused (os error 111)",
            ),
            "'abfss://m@acct.dfs.core.windows.net/x' cannot be read: no token can be fetched: Connection refused (os error 111)",
        ),
    ];
    for (bucket, error, want) in cases {
        let error = explain(bucket, "x", &error);
        assert_eq!(error.message(), want);
        assert!(error.hint().is_some(), "{error}");
    }
    assert_eq!(entra_refusal("AADSTS70002159"), None);
}

fn place(uri: &str) -> Location {
    Location::parse(uri, &Environment::default())
        .unwrap()
        .unwrap()
}

fn env(name: &str) -> Option<v1::SecretRef> {
    Some(v1::SecretRef {
        place: Some(v1::secret_ref::Place::Env(name.to_owned())),
    })
}

fn file(path: &Path) -> Option<v1::SecretRef> {
    Some(v1::SecretRef {
        place: Some(v1::secret_ref::Place::File(path.display().to_string())),
    })
}

/// A link of kind s3.
fn s3_link(name: &str, at: &[&str], secret: Option<v1::SecretRef>) -> Arc<StoreLink> {
    let service = v1::S3Access {
        access_key: env("KEY"),
        secret_key: secret,
        ..v1::S3Access::default()
    };
    let wire = v1::StoreLink {
        at: at.iter().map(|&at| at.to_owned()).collect(),
        service: Some(v1::store_link::Service::S3(service)),
        ..v1::StoreLink::default()
    };
    Arc::new(StoreLink::read(name, wire).unwrap())
}

#[test]
fn an_area_holds_what_is_below_it_and_nothing_that_only_looks_so() {
    for (area, inside, outside) in [
        ("s3://lake/", "s3a://lake/x/y", "s3://lakehouse/x"),
        ("s3://lake", "S3://lake/", "s3://lak/e"),
        (
            "s3://lake/trips/",
            "s3://lake/trips/%61.csv",
            "s3://lake/trips2/a",
        ),
        ("s3://lake/trips", "s3://lake/trips", "s3://lake/"),
        (
            "s3://",
            "s3://any/x",
            "abfss://c@acct.dfs.core.windows.net/x",
        ),
        (
            "abfss://c@acct.dfs.core.windows.net/x/",
            "https://ACCT.blob.core.windows.net/c/x/y",
            "abfss://c@acct.dfs.core.windows.net/xy",
        ),
        (
            "abfss://acct.dfs.core.windows.net/",
            "wasbs://any@acct.blob.core.windows.net/x",
            "abfss://c@acct.dfs.core.chinacloudapi.cn/x",
        ),
        (
            "abfss://",
            "abfss://c@other.dfs.core.windows.net/x",
            "s3://c/x",
        ),
    ] {
        let area = Area::parse(area).unwrap();
        assert!(area.holds(&place(inside)), "{area} {inside}");
        assert!(!area.holds(&place(outside)), "{area} {outside}");
        assert_eq!(Area::parse(&area.to_string()).unwrap(), area);
    }
    // A way up is no path at all, however it is written.
    for uri in [
        "s3://lake/a/../../b",
        "s3://lake/a/%2e%2e/b",
        "s3://lake/%2E/b",
    ] {
        assert!(
            Location::parse(uri, &Environment::default()).is_err(),
            "{uri}"
        );
    }
    for text in [
        "",
        "lake",
        "/data",
        "gs://lake/",
        "file://host/x",
        "s3:///x",
        "file:data",
    ] {
        assert_eq!(
            Area::parse(text).unwrap_err().code(),
            ErrorCode::Invalid,
            "{text}"
        );
    }
}

#[tokio::test]
async fn what_is_not_allowed_is_not_read_by_any_way() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["open", "shut"] {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::write(at(name).join("a.csv"), "1").unwrap();
    }
    std::os::unix::fs::symlink(at("shut"), at("open/link")).unwrap();
    std::os::unix::fs::symlink(at("open"), at("door")).unwrap();
    let list = [
        "s3://lake/trips/".to_owned(),
        format!("file://{}/", at("door").display()),
    ];
    let process = Process::Executor("e1".to_owned());
    let allow = Allow::parse(&list, process.clone()).unwrap();
    for fine in ["open/a.csv", "door/a.csv", "open/*.csv", "open/not/yet.csv"] {
        allow.check_path(&at(fine), Purpose::Read).unwrap();
    }
    for shut in [
        "shut/a.csv",
        "open/link/a.csv",
        "open/link/*.csv",
        "door/../shut/a.csv",
        "",
    ] {
        let error = allow.check_path(&at(shut), Purpose::Read).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Denied, "{shut}");
        assert!(
            error
                .message()
                .contains("of executor e1 holds only s3://lake/trips/, file:///"),
            "{error}"
        );
    }
    // Whoever opens the store meets the same answer, before anything is asked over the network.
    let stores = Stores::within(Environment::default(), process, allow);
    let error = stores
        .open(&place("s3://lake/x").bucket)
        .get(&"other/a".into())
        .await
        .unwrap_err();
    let told = told(&error).unwrap();
    assert_eq!(
        (told.error.code(), told.place.as_str()),
        (ErrorCode::Denied, "s3://lake/other/a")
    );
    for shut in [
        "s3://lake/other/".to_owned(),
        at("open/link/out").display().to_string(),
    ] {
        let error = stores.output(&shut, None).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Denied, "{shut}");
        assert!(
            error.message().contains("may not be written: `allow` of"),
            "{error}"
        );
    }
    stores.output("s3://lake/trips/scored/", None).unwrap();
    let folder = at("open/out").display().to_string();
    stores
        .output(&folder, Some(&"job1".parse().unwrap()))
        .unwrap();
    for bad in ["out", "gs://b/x", "file:///", "/"] {
        let error = stores.output(bad, None).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Invalid, "{bad}");
    }
    assert!(
        Allow::everything(Process::Scheduler)
            .check_path(Path::new("/etc/passwd"), Purpose::Write)
            .is_ok()
    );
    let refused = Allow::parse(&["lake".to_owned()], Process::Scheduler).unwrap_err();
    assert!(
        refused
            .message()
            .starts_with("allow: 'lake' names no place"),
        "{refused}"
    );
}

#[test]
fn the_narrowest_link_serves_and_travels_without_its_secret() {
    let links = vec![
        s3_link("all", &["s3://"], env("SECRET")),
        s3_link("lake", &["s3://lake/", "s3://pond/"], env("SECRET")),
        s3_link("trips", &["s3://lake/trips/2024/"], env("SECRET")),
    ];
    let stores = Stores::new(Environment::default()).with_links(Arc::new(links.clone()));
    for (uri, want) in [
        ("s3://other/x", "all"),
        ("s3://lake/trips/2025/x", "lake"),
        ("s3://pond/x", "lake"),
        ("s3://lake/trips/2024/x", "trips"),
    ] {
        assert_eq!(
            stores.link_at(&place(uri)).unwrap().name.as_str(),
            want,
            "{uri}"
        );
    }
    assert!(
        stores
            .link_at(&place("abfss://c@acct.dfs.core.windows.net/x"))
            .is_none()
    );
    let needed = stores.links_for(&[place("s3://lake/x").bucket]);
    assert_eq!(
        needed, links,
        "those of a part of the bucket may be needed too"
    );
    assert_eq!(stores.links_for(&[place("s3://pond/x").bucket]), links[..2]);
    assert_eq!(Travelling::with(&links).arrived().unwrap(), links);
    let (broken, none) = (
        Travelling {
            links: "zz".to_owned(),
        },
        Travelling::default(),
    );
    assert!(broken.arrived().is_err() && none.arrived().unwrap().is_empty());
}

#[test]
fn a_secret_is_read_anew_and_a_missing_one_is_named_with_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let link = s3_link("lake", &["s3://lake/"], file(&path));
    let process = Process::Executor("e1".to_owned());
    let stores = Stores::within(
        environment(&[("KEY", "k")]),
        process.clone(),
        Allow::everything(process),
    );
    let bucket = place("s3://lake/").bucket;
    let open = || stores.client(&bucket, Some(Arc::clone(&link)));
    let missing = open().unwrap_err().to_string();
    assert!(
        missing.starts_with("link 'lake': the secret is not there: the file '")
            && missing.contains("it is read on the machine of executor e1"),
        "{missing}"
    );
    std::fs::write(&path, "one\n").unwrap();
    let first = open().unwrap();
    assert!(Arc::ptr_eq(&first, &open().unwrap()));
    std::fs::write(&path, "two").unwrap();
    let second = open().unwrap();
    assert!(!Arc::ptr_eq(&first, &second), "the secret was renewed");
    let stores = Stores::within(
        Environment::default(),
        Process::Executor("e1".to_owned()),
        Allow::everything(Process::Scheduler),
    );
    assert_eq!(
        stores.client(&bucket, Some(link)).unwrap_err().to_string(),
        "link 'lake': the secret is not there: the environment variable KEY of executor e1 is not set; set it where executor e1 starts, and start it again"
    );
}

#[test]
fn a_link_that_cannot_be_is_refused() {
    use v1::store_link::Service;
    let s3 = || v1::StoreLink {
        at: vec!["s3://lake/".to_owned()],
        service: Some(Service::S3(v1::S3Access::default())),
        ..v1::StoreLink::default()
    };
    let azure = |access: v1::AzureAccess| v1::StoreLink {
        at: vec!["abfss://acct.dfs.core.windows.net/".to_owned()],
        service: Some(Service::Azure(access)),
        ..v1::StoreLink::default()
    };
    let usual = v1::AzureAccess::default;
    let cases = [
        (
            v1::StoreLink {
                at: Vec::new(),
                ..s3()
            },
            "the link serves no place",
        ),
        (
            v1::StoreLink {
                at: vec!["abfss://".to_owned()],
                ..s3()
            },
            "'abfss://' is no place of the link's kind",
        ),
        (
            v1::StoreLink {
                endpoint: "http://minio:9000".to_owned(),
                ..s3()
            },
            "the endpoint 'http://minio:9000' is not encrypted",
        ),
        (
            v1::StoreLink {
                endpoint: "https://me:hunter2@minio".to_owned(),
                ..s3()
            },
            "the endpoint has a user or a password in it",
        ),
        (
            v1::StoreLink {
                ca_file: "ca.pem".to_owned(),
                ..s3()
            },
            "the certificate file 'ca.pem' is no absolute path",
        ),
        (
            azure(v1::AzureAccess {
                account_key: env("A"),
                sas: env("B"),
                ..usual()
            }),
            "the link has more than one of a key, a signature, a service principal, a managed identity and nobody",
        ),
        (
            azure(v1::AzureAccess {
                secret: env("A"),
                client_id: "c".to_owned(),
                ..usual()
            }),
            "the link's service principal has no tenant",
        ),
        (
            azure(v1::AzureAccess {
                client_id: "c".to_owned(),
                ..usual()
            }),
            "the link has a client id and no secret",
        ),
        (
            azure(v1::AzureAccess {
                secret: env("A"),
                client_id: "c".to_owned(),
                tenant: "t".to_owned(),
                authority: "http://login".to_owned(),
                ..usual()
            }),
            "the authority 'http://login' is not encrypted",
        ),
    ];
    for (wire, want) in cases {
        let error = StoreLink::read("l", wire).unwrap_err();
        assert_eq!((error.code(), error.message()), (ErrorCode::Invalid, want));
        assert!(
            error.hint().is_some() && !error.to_string().contains("hunter2"),
            "{error}"
        );
    }
    let open = v1::StoreLink {
        endpoint: "http://minio:9000/".to_owned(),
        allow_http: true,
        ..s3()
    };
    let link = StoreLink::read("l", open).unwrap();
    assert_eq!(link.endpoint.as_deref(), Some("http://minio:9000"));
}
