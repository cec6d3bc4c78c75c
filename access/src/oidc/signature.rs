//! Whether a token is signed by its issuer: which signatures count, and which key one asks for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode};
use serde_json::Value;
use whimbrel_proto::Error;

use super::keys::Key;
use super::{OidcOptions, refused};

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
const ELLIPTIC: [Algorithm; 3] = [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

/// What a token says of its own signature.
pub(super) struct Wanted {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
}

/// The signature that a token claims to have; one that does not count is refused here, before there is a key.
pub(super) fn wanted(token: &str) -> Result<Wanted, Error> {
    let malformed = || refused("it is not a JWT");
    let header = token.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| malformed())?;
    let header: Value = serde_json::from_slice(&header).map_err(|_| malformed())?;
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    // What the issuer marks as critical must be understood, and we understand no extension.
    if header.get("crit").is_some() {
        return Err(refused("it asks for an extension that is not known here"));
    }
    let algorithm = text("alg")
        .and_then(|name| name.parse().ok())
        .filter(|algorithm| RSA.contains(algorithm) || ELLIPTIC.contains(algorithm))
        .ok_or_else(|| refused("it is not signed with an RS, PS, ES or EdDSA signature"))?;
    let kid = text("kid").map(str::to_owned);
    Ok(Wanted { algorithm, kid })
}

/// The claims of a token whose signature, issuer and audience are right. Its time is not looked at.
pub(super) fn verified(
    token: &str,
    wanted: &Wanted,
    key: &Key,
    options: &OidcOptions,
) -> Result<Value, Error> {
    let mut validation = Validation::new(wanted.algorithm);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[&options.issuer]);
    validation.set_audience(&[&options.audience]);
    // The library asks the system for the time; ours comes from the caller.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    decode::<Value>(token, &key.key, &validation)
        .map(|decoded| decoded.claims)
        .map_err(|error| refused(&reason(error.kind())))
}

fn reason(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::InvalidSignature => "its signature is wrong".to_owned(),
        ErrorKind::InvalidIssuer => "another issuer made it".to_owned(),
        ErrorKind::InvalidAudience => "it is meant for another audience".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("it has no claim '{claim}'"),
        // Others may hold a piece of the token.
        _ => "it cannot be read".to_owned(),
    }
}
