//! URIs become places, and what clouds answer becomes one line.

use whimbrel_proto::ErrorCode;

use crate::{Bucket, Environment, Location, Stores, entra_refusal, explain};

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
    let first = stores.open(&bucket).unwrap();
    assert!(std::sync::Arc::ptr_eq(
        &first,
        &stores.open(&bucket).unwrap()
    ));
    let open = environment(&[keys[0], keys[1], ("AWS_ENDPOINT_URL", "http://127.0.0.1:9")]);
    let error = Stores::new(open).open(&bucket).unwrap_err();
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
    ];
    for (bucket, error, want) in cases {
        let error = explain(bucket, "x", &error);
        assert_eq!(error.message(), want);
        assert!(error.hint().is_some(), "{error}");
    }
    assert_eq!(entra_refusal("AADSTS70002159"), None);
}
