//! Real handshakes: who is let in, what is refused and in which words, and what a renewal does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tonic::transport::Endpoint;
use whimbrel_proto::{Error, ErrorCode};

use super::files::{Identity, provider, roots};
use super::{ClientTls, ServerTls, TlsFiles};
use crate::clock;

/// A CA whose certificates lie in a folder.
struct Ca {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        Self { folder, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key`, which count from one year's begin to another's.
    fn make(&self, name: &str, from: i32, until: i32) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        (
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        )
    }

    fn files(&self, name: &str) -> TlsFiles {
        let (cert, key) = self.pair(name);
        TlsFiles {
            cert,
            key,
            peer_ca: None,
        }
    }

    fn trusting(&self) -> ClientTls {
        ClientTls {
            ca: Some(self.path("ca.pem")),
            own: None,
            domain: None,
        }
    }
}

fn leaf(path: &Path) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_file(path).unwrap()
}

/// What a handshake came to: the server's certificate and the protocol, once bytes went both ways.
async fn shake(
    tls: &ServerTls,
    config: ClientConfig,
) -> std::io::Result<(CertificateDer<'static>, Vec<u8>)> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let serve = async {
        let mut stream = tls.accept(theirs).await?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        stream.write_all(&byte).await?;
        stream.flush().await
    };
    let call = async {
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, ours).await?;
        stream.write_all(b"x").await?;
        stream.flush().await?;
        stream.read_exact(&mut [0]).await?;
        let session = stream.get_ref().1;
        let shown = session.peer_certificates().unwrap()[0].clone().into_owned();
        Ok((shown, session.alpn_protocol().unwrap_or_default().to_vec()))
    };
    let (served, called) = tokio::join!(serve, call);
    served.and(called)
}

fn client(ca: &Ca, own: Option<&str>, protocols: &[&str]) -> ClientConfig {
    let (roots, _): (RootCertStore, _) = roots(&ca.path("ca.pem")).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let (cert, key) = ca.pair(name);
            let own = Identity::read(&cert, &key, clock::now_unix()).unwrap();
            builder.with_client_auth_cert(own.chain, own.key).unwrap()
        }
    };
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    config
}

#[tokio::test]
async fn a_port_shows_its_certificate_and_speaks_both_protocols() {
    let ca = Ca::new();
    ca.make("pool", 2000, 4000);
    let tls = ServerTls::open(ca.files("pool")).unwrap();
    for protocols in [&["h2"][..], &["http/1.1"], &["http/1.1", "h2"]] {
        let (shown, protocol) = shake(&tls, client(&ca, None, protocols)).await.unwrap();
        assert_eq!(shown, leaf(&ca.path("pool.pem")));
        assert!(protocols.contains(&str::from_utf8(&protocol).unwrap()));
    }
    let strange = shake(&tls, client(&Ca::new(), None, &["h2"])).await;
    assert!(strange.is_err());
}

#[tokio::test]
async fn with_a_ca_for_peers_only_its_certificates_come_in() {
    let (ca, other) = (Ca::new(), Ca::new());
    ca.make("pool", 2000, 4000);
    ca.make("executor", 2000, 4000);
    other.make("executor", 2000, 4000);
    let files = TlsFiles {
        peer_ca: Some(ca.path("ca.pem")),
        ..ca.files("pool")
    };
    let tls = ServerTls::open(files).unwrap();
    shake(&tls, client(&ca, Some("executor"), &["h2"]))
        .await
        .unwrap();
    let nothing = shake(&tls, client(&ca, None, &["h2"])).await;
    assert!(nothing.is_err());
    let mut strange = client(&ca, None, &["h2"]);
    strange.client_auth_cert_resolver =
        client(&other, Some("executor"), &["h2"]).client_auth_cert_resolver;
    assert!(shake(&tls, strange).await.is_err());
}

fn refusal(files: TlsFiles) -> Error {
    ServerTls::open(files).unwrap_err()
}

#[test]
fn each_broken_file_is_told_by_its_name_and_fault() {
    let ca = Ca::new();
    for (name, from, until) in [
        ("pool", 2000, 4000),
        ("other", 2000, 4000),
        ("old", 2000, 2020),
        ("early", 3000, 4000),
    ] {
        ca.make(name, from, until);
    }
    let good = || ca.files("pool");
    fs::write(ca.path("text"), "hello").unwrap();
    fs::write(
        ca.path("cut"),
        &fs::read(ca.path("pool.pem")).unwrap()[..200],
    )
    .unwrap();
    let locked = fs::read_to_string(ca.path("pool.key")).unwrap();
    fs::write(
        ca.path("locked"),
        locked.replace("PRIVATE", "ENCRYPTED PRIVATE"),
    )
    .unwrap();
    let cert = |name: &str| TlsFiles {
        cert: ca.path(name),
        ..good()
    };
    let key = |name: &str| TlsFiles {
        key: ca.path(name),
        ..good()
    };
    let peer_ca = |name: &str| TlsFiles {
        peer_ca: Some(ca.path(name)),
        ..good()
    };
    for (files, file, why) in [
        (cert("none"), "none", "cannot be read"),
        (cert("text"), "text", "it holds no certificate"),
        (cert("cut"), "cut", "its PEM text is broken"),
        (cert("pool.key"), "pool.key", "it holds no certificate"),
        (ca.files("old"), "old.pem", "it expired on 2020-01-01"),
        (
            ca.files("early"),
            "early.pem",
            "it counts only from 3000-01-01 on",
        ),
        (key("none"), "none", "cannot be read"),
        (key("text"), "text", "it holds no private key"),
        (key("pool.pem"), "pool.pem", "it holds no private key"),
        (key("locked"), "locked", "it is encrypted"),
        (
            key("other.key"),
            "other.key",
            "is not the key of the certificate",
        ),
        (peer_ca("none"), "none", "cannot be read"),
        (peer_ca("text"), "text", "it holds no certificate"),
    ] {
        let error = refusal(files);
        let text = error.message();
        assert!(
            text.contains(&format!("{file}'")) && text.contains(why),
            "{text}"
        );
        assert!(error.hint().is_some(), "{text}");
    }
    assert_eq!(refusal(cert("none")).code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_renewed_certificate_counts_from_the_next_connection() {
    let ca = Ca::new();
    ca.make("pool", 2000, 4000);
    let tls = ServerTls::open(ca.files("pool")).unwrap();
    let first = leaf(&ca.path("pool.pem"));
    assert!(!tls.reload().unwrap());
    // As while it is being renewed: one file is new, the other is not.
    let old_key = fs::read(ca.path("pool.key")).unwrap();
    ca.make("pool", 2000, 4001);
    let new_key = fs::read(ca.path("pool.key")).unwrap();
    fs::write(ca.path("pool.key"), old_key).unwrap();
    let error = tls.reload().unwrap_err();
    assert!(
        error
            .message()
            .contains("is not the key of the certificate")
    );
    let (shown, _) = shake(&tls, client(&ca, None, &["h2"])).await.unwrap();
    assert_eq!(shown, first);
    fs::write(ca.path("pool.key"), new_key).unwrap();
    assert!(tls.reload().unwrap());
    let (shown, _) = shake(&tls, client(&ca, None, &["h2"])).await.unwrap();
    assert_eq!(shown, leaf(&ca.path("pool.pem")));
    assert_ne!(shown, first);
}

#[test]
fn a_swapped_folder_is_seen_and_a_touched_file_is_none() {
    let ca = Ca::new();
    for folder in ["one", "two"] {
        fs::create_dir(ca.path(folder)).unwrap();
        ca.make(&format!("{folder}/pool"), 2000, 4000);
    }
    let link = |to: &str| {
        std::os::unix::fs::symlink(ca.path(to), ca.path("next")).unwrap();
        fs::rename(ca.path("next"), ca.path("data")).unwrap();
    };
    link("one");
    let tls = ServerTls::open(ca.files("data/pool")).unwrap();
    link("two");
    assert!(tls.reload().unwrap());
    let copy = fs::read(ca.path("two/pool.pem")).unwrap();
    fs::write(ca.path("two/copy"), copy).unwrap();
    fs::rename(ca.path("two/copy"), ca.path("two/pool.pem")).unwrap();
    assert!(!tls.reload().unwrap());
    fs::remove_file(ca.path("data")).unwrap();
    assert_eq!(tls.reload().unwrap_err().code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_followed_certificate_is_renewed_on_its_own() {
    let ca = Ca::new();
    ca.make("pool", 2000, 4000);
    let tls = ServerTls::open(ca.files("pool")).unwrap();
    let follower = tokio::spawn(tls.clone().follow(Duration::from_millis(10)));
    ca.make("pool", 2000, 4001);
    let renewed = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            let (shown, _) = shake(&tls, client(&ca, None, &["h2"])).await.unwrap();
            if shown == leaf(&ca.path("pool.pem")) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), renewed)
        .await
        .unwrap();
    follower.abort();
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_not_waited_for() {
    let ca = Ca::new();
    ca.make("pool", 2000, 4000);
    let tls = ServerTls::open(ca.files("pool")).unwrap();
    let (_silent, theirs) = tokio::io::duplex(1 << 10);
    let span = Duration::from_millis(20);
    let error = tls.accept_within(theirs, span).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(error.to_string(), "the TLS handshake took more than 20ms");
}

/// Whether a client comes to speak with a port: the address is this machine's, the certificate is of `localhost`.
async fn reaches(tls: &ServerTls, client: &ClientTls, host: &str) -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{host}:{}", listener.local_addr().unwrap().port());
    let tls = tls.clone();
    let server = tokio::spawn(async move {
        let (stream, _): (TcpStream, _) = listener.accept().await.unwrap();
        let mut stream = tls.accept(stream).await?;
        // The first bytes of HTTP/2 come through only where both sides took each other.
        stream.read_exact(&mut [0; 24]).await
    });
    let endpoint = Endpoint::from_shared(address).unwrap();
    let endpoint = client.apply(endpoint).map_err(|error| error.to_string())?;
    let connected = endpoint.connect().await;
    let served = server.await.unwrap();
    connected.map_err(|error| format!("{error:?}"))?;
    served.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_client_checks_the_port_and_shows_itself() {
    let (ca, other) = (Ca::new(), Ca::new());
    ca.make("pool", 2000, 4000);
    ca.make("executor", 2000, 4000);
    let tls = ServerTls::open(ca.files("pool")).unwrap();
    let trusting = ca.trusting();
    reaches(&tls, &trusting, "localhost").await.unwrap();
    assert!(reaches(&tls, &other.trusting(), "localhost").await.is_err());
    assert!(reaches(&tls, &trusting, "127.0.0.1").await.is_err());
    let named = ClientTls {
        domain: Some("localhost".to_owned()),
        ..trusting.clone()
    };
    reaches(&tls, &named, "127.0.0.1").await.unwrap();
    let asking = ServerTls::open(TlsFiles {
        peer_ca: Some(ca.path("ca.pem")),
        ..ca.files("pool")
    })
    .unwrap();
    assert!(reaches(&asking, &trusting, "localhost").await.is_err());
    let showing = ClientTls {
        own: Some(ca.pair("executor")),
        ..trusting
    };
    reaches(&asking, &showing, "localhost").await.unwrap();
}

#[test]
fn a_client_is_told_which_file_is_broken() {
    let ca = Ca::new();
    ca.make("executor", 2000, 2020);
    let endpoint = || Endpoint::from_static("https://localhost:1");
    let without = ClientTls {
        ca: Some(ca.path("none")),
        ..ClientTls::default()
    };
    let error = without.apply(endpoint()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
    let expired = ClientTls {
        own: Some(ca.pair("executor")),
        ..ca.trusting()
    };
    let error = expired.apply(endpoint()).unwrap_err();
    assert!(error.message().ends_with("it expired on 2020-01-01"));
    let misnamed = ClientTls {
        domain: Some("not a name".to_owned()),
        ..ca.trusting()
    };
    let error = misnamed.apply(endpoint()).unwrap_err();
    assert!(error.message().contains("https://localhost:1"), "{error}");
}

#[test]
fn no_key_is_shown() {
    let ca = Ca::new();
    ca.make("pool", 2000, 4000);
    let tls = ServerTls::open(ca.files("pool")).unwrap();
    assert!(format!("{tls:?}").starts_with("ServerTls { files: TlsFiles {"));
    let key = fs::read_to_string(ca.path("pool.key")).unwrap();
    let body = key.lines().nth(1).unwrap();
    fs::write(ca.path("pool.pem"), "x").unwrap();
    let error = tls.reload().unwrap_err();
    for text in [format!("{tls:?}"), format!("{error:?}")] {
        assert!(!text.contains(body), "{text}");
    }
}
