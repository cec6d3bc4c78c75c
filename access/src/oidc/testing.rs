//! An issuer for tests: keys that sign, and a real HTTP server that shows their public halves.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::OidcOptions;

pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const ISSUER: &str = "https://login.example";

/// A key that signs.
pub(super) struct Signer {
    algorithm: Algorithm,
    kid: String,
    pair: KeyPair,
}

impl Signer {
    pub(super) fn new(algorithm: Algorithm, kid: &str) -> Self {
        let kind: &'static SignatureAlgorithm = match algorithm {
            Algorithm::ES256 => &PKCS_ECDSA_P256_SHA256,
            Algorithm::ES384 => &PKCS_ECDSA_P384_SHA384,
            Algorithm::EdDSA => &PKCS_ED25519,
            other => panic!("no key for {other:?} can be made"),
        };
        Self {
            algorithm,
            kid: kid.to_owned(),
            pair: KeyPair::generate_for(kind).unwrap(),
        }
    }

    /// The public half.
    pub(super) fn jwk(&self) -> Value {
        let raw = self.pair.public_key_raw();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let curve = match self.algorithm {
            Algorithm::EdDSA => {
                return json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": part(raw)});
            }
            Algorithm::ES256 => "P-256",
            _ => "P-384",
        };
        // An uncompressed point: one byte that says so, then both halves.
        let (x, y) = raw[1..].split_at((raw.len() - 1) / 2);
        json!({"kty": "EC", "crv": curve, "kid": self.kid, "use": "sig", "x": part(x), "y": part(y)})
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.clone());
        self.token_with(&header, claims)
    }

    pub(super) fn token_with(&self, header: &Header, claims: &Value) -> String {
        let der = self.pair.serialize_der();
        let key = match self.algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_der(&der),
            _ => EncodingKey::from_ec_der(&der),
        };
        encode(header, claims, &key).unwrap()
    }
}

pub(super) fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "whimbrel", "sub": "zelda", "roles": ["scorer"], "exp": NOW + 600})
}

/// The claims with one of them as it is given.
pub(super) fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

pub(super) fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

pub(super) fn options(jwks: &str) -> OidcOptions {
    OidcOptions {
        issuer: ISSUER.to_owned(),
        audience: "whimbrel".to_owned(),
        jwks: jwks.to_owned(),
        ..OidcOptions::default()
    }
}

/// A file with a set of keys.
pub(super) fn file_of(folder: &tempfile::TempDir, keys: &[Value]) -> PathBuf {
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, jwks(keys)).unwrap();
    path
}

/// What a path answers: the status line's end, further headers, the body.
type Answer = (&'static str, String, String);

/// A server of this machine.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: String,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    answers: HashMap<String, Answer>,
    asked: Vec<String>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            shared: Arc::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        server
    }

    pub(super) fn set(&self, path: &str, status: &'static str, body: &str) {
        self.set_with(path, status, String::new(), body);
    }

    pub(super) fn set_with(&self, path: &str, status: &'static str, headers: String, body: &str) {
        let answer = (status, headers, body.to_owned());
        let mut shared = self.shared.lock().unwrap();
        shared.answers.insert(path.to_owned(), answer);
    }

    /// How often the path was asked for.
    pub(super) fn asked(&self, path: &str) -> usize {
        let shared = self.shared.lock().unwrap();
        shared.asked.iter().filter(|asked| *asked == path).count()
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read_exact(&mut byte).await.is_err() {
                return;
            }
            request.push(byte[0]);
        }
        let request = String::from_utf8(request).unwrap();
        let path = request.split(' ').nth(1).unwrap().to_owned();
        let (status, headers, body) = {
            let mut shared = self.shared.lock().unwrap();
            shared.asked.push(path.clone());
            let missing = || ("404 Not Found", String::new(), String::new());
            shared.answers.get(&path).cloned().unwrap_or_else(missing)
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
        );
        // A client that has read enough goes away.
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}
