//! Tokens of an issuer from end to end: which signatures count, what is refused and in which words, and when keys are fetched.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use whimbrel_proto::{Error, ErrorCode};

use super::keys::{ASK_AGAIN, RENEW};
use super::rsa;
use super::testing::{ISSUER, NOW, Server, Signer, claims, claims_with, file_of, jwks, options};
use super::{Oidc, OidcOptions};
use crate::clock;
use crate::role::{Caller, Role};
use crate::{Keyring, KeyringOptions};

const KINDS: [Algorithm; 3] = [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

fn rsa_jwk() -> Value {
    json!({"kty": "RSA", "kid": "rsa", "n": rsa::MODULUS, "e": "AQAB"})
}

fn rsa_token(algorithm: &str, signature: &str) -> String {
    let header = format!(r#"{{"alg":"{algorithm}","kid":"rsa"}}"#);
    let [header, claims] = [&header, rsa::CLAIMS].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{claims}.{signature}")
}

/// An issuer whose keys are in a file.
async fn issuer(keys: &[Value]) -> Oidc {
    let folder = tempfile::tempdir().unwrap();
    let path = file_of(&folder, keys);
    Oidc::open(options(path.to_str().unwrap())).await.unwrap()
}

async fn refusal(oidc: &Oidc, token: &str) -> Error {
    let error = oidc.identify(token, NOW).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unauthenticated, "{error}");
    let text = format!("{error:?} {oidc:?}");
    for part in token.split('.').filter(|part| part.len() > 8) {
        assert!(!text.contains(part), "{text}");
    }
    assert!(!text.contains("zelda"), "{text}");
    error
}

#[tokio::test]
async fn every_private_key_signature_counts() {
    let zelda = Caller {
        user: "zelda".to_owned(),
        role: Role::Scorer,
        expires: Some(NOW + 600),
    };
    for kind in KINDS {
        let signer = Signer::new(kind, "a");
        let oidc = issuer(&[signer.jwk()]).await;
        let token = signer.token(&claims());
        assert_eq!(
            oidc.identify(&token, NOW).await,
            Ok(zelda.clone()),
            "{kind:?}"
        );
    }
    let oidc = issuer(&[rsa_jwk()]).await;
    for (algorithm, signature) in [("RS256", rsa::RS256), ("PS256", rsa::PS256)] {
        let token = rsa_token(algorithm, signature);
        let caller = oidc.identify(&token, NOW).await.unwrap();
        assert_eq!(caller.expires, Some(4_102_444_800), "{algorithm}");
    }
    let swapped = rsa_token("RS256", rsa::PS256);
    let error = refusal(&oidc, &swapped).await;
    assert!(
        error.message().ends_with("its signature is wrong"),
        "{error}"
    );
}

#[tokio::test]
async fn a_shared_secret_and_no_signature_never_count() {
    let signer = Signer::new(Algorithm::ES256, "a");
    let public = signer.jwk();
    let secret = json!({"kty": "oct", "kid": "h", "k": URL_SAFE_NO_PAD.encode("hush")});
    let oidc = issuer(&[public.clone(), rsa_jwk(), secret]).await;
    let point = URL_SAFE_NO_PAD
        .decode(public["x"].as_str().unwrap())
        .unwrap();
    for (kid, key) in [
        ("h", &b"hush"[..]),
        ("a", &point),
        ("rsa", rsa::MODULUS.as_bytes()),
    ] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let mut header = Header::new(algorithm);
            header.kid = Some(kid.to_owned());
            let token = encode(&header, &claims(), &EncodingKey::from_secret(key)).unwrap();
            let error = refusal(&oidc, &token).await;
            assert!(error.message().contains("not signed with an RS"), "{error}");
        }
    }
    let signed = signer.token(&claims());
    let (_, rest) = signed.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    for alg in ["none", "None", "NONE", "", "ES512"] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "kid": "a"}).to_string());
        for signature in ["", signature] {
            refusal(&oidc, &format!("{header}.{payload}.{signature}")).await;
        }
    }
}

#[tokio::test]
async fn no_character_of_a_token_can_be_changed() {
    let signer = Signer::new(Algorithm::EdDSA, "a");
    let oidc = issuer(&[signer.jwk()]).await;
    let token = signer.token(&claims());
    for place in 0..token.len() {
        for other in ["A", "B", "."] {
            if token[place..].starts_with(other) {
                continue;
            }
            let changed = format!("{}{other}{}", &token[..place], &token[place + 1..]);
            refusal(&oidc, &changed).await;
        }
        refusal(&oidc, &token[..place]).await;
    }
    refusal(&oidc, &format!("{token}A")).await;
    let error = refusal(&oidc, &"a".repeat(20_000)).await;
    assert!(error.message().ends_with("it is too long"), "{error}");
}

#[tokio::test]
async fn each_claim_is_checked() {
    let signer = Signer::new(Algorithm::ES256, "a");
    let oidc = issuer(&[signer.jwk()]).await;
    for (name, value, why) in [
        (
            "iss",
            json!("https://evil.example"),
            "another issuer made it",
        ),
        (
            "iss",
            json!("https://login.example/"),
            "another issuer made it",
        ),
        ("iss", json!(null), "it has no claim 'iss'"),
        ("aud", json!("other"), "it is meant for another audience"),
        (
            "aud",
            json!(["other", "third"]),
            "it is meant for another audience",
        ),
        ("aud", json!(null), "it has no claim 'aud'"),
        ("exp", json!(NOW - 60), "it expired on 2027-01-15"),
        ("exp", json!(null), "it has no claim 'exp'"),
        ("nbf", json!(NOW + 61), "its time has not come yet"),
        ("sub", json!(""), "its claim 'sub' is not a name"),
    ] {
        let token = signer.token(&claims_with(name, value));
        let error = refusal(&oidc, &token).await;
        assert!(error.message().ends_with(why), "{error}");
    }
    let several = claims_with("aud", json!(["other", "whimbrel"]));
    oidc.identify(&signer.token(&several), NOW).await.unwrap();
    let idle = signer.token(&claims_with("roles", json!(["guest"])));
    let error = oidc.identify(&idle, NOW).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Denied);
    assert!(!error.to_string().contains("guest"), "{error}");
}

#[tokio::test]
async fn the_key_is_the_one_that_the_token_names() {
    let [a, b] = ["a", "b"].map(|kid| Signer::new(Algorithm::ES256, kid));
    let oidc = issuer(&[
        a.jwk(),
        b.jwk(),
        json!({"kty": "new", "kid": "c"}),
        rsa_jwk(),
    ])
    .await;
    oidc.identify(&b.token(&claims()), NOW).await.unwrap();
    let mut header = Header::new(Algorithm::ES256);
    let nameless = a.token_with(&header, &claims());
    let error = refusal(&oidc, &nameless).await;
    assert!(
        error
            .message()
            .ends_with("none of the issuer's keys signed it"),
        "{error}"
    );
    let alone = issuer(&[a.jwk(), rsa_jwk()]).await;
    alone.identify(&nameless, NOW).await.unwrap();
    for kid in ["b", "rsa", "z"] {
        header.kid = Some(kid.to_owned());
        refusal(&oidc, &a.token_with(&header, &claims())).await;
    }
}

#[tokio::test]
async fn a_key_for_something_else_does_not_count() {
    let signer = Signer::new(Algorithm::ES256, "a");
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("alg", json!("ES384")),
        ("crv", json!("P-384")),
        ("kty", json!("RSA")),
    ] {
        let mut jwk = signer.jwk();
        jwk[name] = value;
        let oidc = issuer(&[jwk, rsa_jwk()]).await;
        refusal(&oidc, &signer.token(&claims())).await;
    }
    let mut jwk = signer.jwk();
    jwk["alg"] = json!("ES256");
    jwk["key_ops"] = json!(["verify"]);
    let oidc = issuer(&[jwk]).await;
    oidc.identify(&signer.token(&claims()), NOW).await.unwrap();
}

#[tokio::test]
async fn an_unknown_extension_is_refused() {
    let oidc = issuer(&[rsa_jwk()]).await;
    let header = json!({"alg": "RS256", "kid": "rsa", "crit": ["exp"]}).to_string();
    let [header, claims] = [&header, rsa::CLAIMS].map(|part| URL_SAFE_NO_PAD.encode(part));
    let error = refusal(&oidc, &format!("{header}.{claims}.{}", rsa::RS256)).await;
    assert!(error.message().contains("extension"), "{error}");
}

#[tokio::test]
async fn a_new_key_is_fetched_but_not_for_every_made_up_name() {
    let server = Server::start().await;
    let [old, new, made_up] = ["old", "new", "x"].map(|kid| Signer::new(Algorithm::EdDSA, kid));
    server.set("/keys", "200 OK", &jwks(&[old.jwk()]));
    let oidc = Oidc::open(options(&format!("{}/keys", server.address)))
        .await
        .unwrap();
    let begun = clock::monotonic();
    let shows = async |signer: &Signer, now| {
        let token = signer.token(&claims());
        oidc.identify_at(&token, NOW, now).await.is_ok()
    };
    assert!(shows(&old, begun).await);
    assert!(!shows(&made_up, begun).await);
    assert_eq!(
        server.asked("/keys"),
        1,
        "asked again within the half minute"
    );
    server.set("/keys", "200 OK", &jwks(&[new.jwk()]));
    let later = begun + ASK_AGAIN;
    assert!(shows(&new, later).await);
    assert!(!shows(&old, later).await);
    assert!(!shows(&made_up, later).await);
    assert_eq!(server.asked("/keys"), 2);
    for (status, body) in [
        ("500 Oh No", ""),
        ("200 OK", "{}"),
        ("200 OK", r#"{"keys":[]}"#),
    ] {
        let asked = server.asked("/keys");
        server.set("/keys", status, body);
        let now = later + ASK_AGAIN * u32::try_from(asked).unwrap();
        assert!(!shows(&made_up, now).await);
        assert_eq!(server.asked("/keys"), asked + 1);
        assert!(
            shows(&new, now).await,
            "a fetch that failed took the keys away"
        );
    }
}

#[tokio::test]
async fn many_callers_with_a_new_key_ask_once() {
    let server = Server::start().await;
    let [old, new] = ["old", "new"].map(|kid| Signer::new(Algorithm::EdDSA, kid));
    server.set("/keys", "200 OK", &jwks(&[old.jwk()]));
    let oidc = Oidc::open(options(&format!("{}/keys", server.address)))
        .await
        .unwrap();
    server.set("/keys", "200 OK", &jwks(&[old.jwk(), new.jwk()]));
    let now = clock::monotonic() + ASK_AGAIN;
    let token = new.token(&claims());
    let one = || oidc.identify_at(&token, NOW, now);
    let (a, b, c, d) = tokio::join!(one(), one(), one(), one());
    assert!([a, b, c, d].iter().all(Result::is_ok));
    assert_eq!(server.asked("/keys"), 2);
}

#[tokio::test]
async fn keys_are_renewed_when_they_are_old() {
    let server = Server::start().await;
    let [old, new] = ["old", "new"].map(|kid| Signer::new(Algorithm::EdDSA, kid));
    server.set("/keys", "200 OK", &jwks(&[old.jwk()]));
    let oidc = Oidc::open(options(&format!("{}/keys", server.address)))
        .await
        .unwrap();
    let begun = clock::monotonic();
    server.set("/keys", "500 Oh No", "");
    oidc.keys.renew(begun + ASK_AGAIN).await;
    assert_eq!(server.asked("/keys"), 1);
    oidc.keys.renew(begun + RENEW).await;
    assert_eq!(server.asked("/keys"), 2);
    oidc.identify(&old.token(&claims()), NOW).await.unwrap();
    server.set("/keys", "200 OK", &jwks(&[new.jwk()]));
    oidc.keys.renew(begun + RENEW + ASK_AGAIN / 2).await;
    assert_eq!(
        server.asked("/keys"),
        2,
        "asked again within the half minute"
    );
    oidc.keys.renew(begun + RENEW + ASK_AGAIN).await;
    assert_eq!(server.asked("/keys"), 3);
    refusal(&oidc, &old.token(&claims())).await;
}

#[tokio::test]
async fn the_issuers_description_leads_to_its_keys() {
    let server = Server::start().await;
    let signer = Signer::new(Algorithm::ES384, "a");
    let issuer = format!("{}/realm/", server.address);
    let place = "/realm/.well-known/openid-configuration";
    let description = json!({"issuer": issuer, "jwks_uri": format!("{}/moved", server.address)});
    server.set(place, "200 OK", &description.to_string());
    server.set_with("/moved", "302 Found", "location: /keys\r\n".to_owned(), "");
    server.set("/keys", "200 OK", &jwks(&[signer.jwk()]));
    let options = OidcOptions {
        issuer: issuer.clone(),
        ..options("")
    };
    let oidc = Oidc::open(options.clone()).await.unwrap();
    let token = signer.token(&claims_with("iss", json!(issuer)));
    oidc.identify(&token, NOW).await.unwrap();
    let liar = json!({"issuer": ISSUER, "jwks_uri": format!("{}/keys", server.address)});
    server.set(place, "200 OK", &liar.to_string());
    let error = Oidc::open(options).await.unwrap_err();
    assert!(
        error
            .message()
            .contains(&format!("of the issuer '{ISSUER}'")),
        "{error}"
    );
}

#[tokio::test]
async fn what_a_server_may_not_do_is_told() {
    let (server, other) = (Server::start().await, Server::start().await);
    let signer = Signer::new(Algorithm::ES256, "a");
    other.set("/keys", "200 OK", &jwks(&[signer.jwk()]));
    let elsewhere = format!("location: {}/keys\r\n", other.address);
    server.set_with("/away", "307 Temporary Redirect", elsewhere, "");
    server.set_with("/round", "302 Found", "location: /round\r\n".to_owned(), "");
    server.set("/large", "200 OK", &" ".repeat((1 << 20) + 1));
    server.set("/text", "200 OK", "hello");
    server.set(
        "/none",
        "200 OK",
        &jwks(&[json!({"kty": "oct", "k": "aHVzaA"})]),
    );
    for (path, why) in [
        ("/away", "redirects to another host"),
        ("/round", "too often"),
        ("/large", "larger than 1 MiB"),
        ("/missing", "answers 404"),
        ("/text", "not a set of JSON web keys"),
        ("/none", "holds no key"),
    ] {
        let address = format!("{}{path}", server.address);
        let error = Oidc::open(options(&address)).await.unwrap_err();
        let text = error.message();
        assert!(text.contains(&address) && text.contains(why), "{text}");
    }
    assert_eq!(other.asked("/keys"), 0);
    assert!(server.asked("/round") <= 6);
    let error = Oidc::open(options("http://login.example/keys"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::Invalid);
    let error = Oidc::open(OidcOptions::default()).await.unwrap_err();
    assert_eq!(error.message(), "the issuer of OIDC tokens is empty");
}

#[tokio::test]
async fn a_ring_takes_the_issuers_tokens_beside_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::new(Algorithm::ES256, "a");
    let path = file_of(&folder, &[signer.jwk()]);
    let ring = Keyring::open(KeyringOptions {
        token: Some("hush".to_owned()),
        tokens: None,
        oidc: Some(options(path.to_str().unwrap())),
    })
    .await
    .unwrap();
    let token = signer.token(&claims());
    let caller = ring.identify(Some(&token), NOW).await.unwrap();
    assert_eq!((caller.user.as_str(), caller.role), ("zelda", Role::Scorer));
    let caller = ring.identify(Some("hush"), NOW).await.unwrap();
    assert_eq!(caller.role, Role::Operator);
    let error = ring.identify(Some("guess"), NOW).await.unwrap_err();
    assert_eq!(error.message(), "the token is not one of this pool");
    let error = ring.identify(Some(&token), NOW + 660).await.unwrap_err();
    assert!(error.message().contains("it expired on"), "{error}");
}
