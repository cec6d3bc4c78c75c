//! Tokens of an OpenID Connect issuer: signed JWTs, checked here with the issuer's public keys. The issuer is asked for its
//! keys only, never about a caller.
//!
//! Only signatures by a private key count: a token that is signed with a shared secret, or not at all, is refused before any
//! key is looked for. Errors say which check failed and never what the token holds.

mod claims;
mod fetch;
mod keys;
#[cfg(test)]
mod rsa;
mod signature;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use tokio::time::Instant;
use whimbrel_proto::{Error, ErrorCode};

use crate::clock;
use crate::role::{Caller, Role};

use fetch::Source;
use keys::Keys;

/// No issuer's token is near as long.
const MAX_TOKEN: usize = 16 << 10;

/// Whose tokens count, and what they say of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcOptions {
    /// The issuer, exactly as its tokens name it.
    pub issuer: String,
    /// What a token must be meant for.
    pub audience: String,
    /// Where the issuer's keys are: an `https` address (`http` only on this machine), or a file. Empty: the issuer's own
    /// `.well-known/openid-configuration` says so.
    pub jwks: String,
    /// The claim with a caller's roles, one or a list. Dots lead into objects, as in `realm_access.roles`.
    pub role_claim: String,
    /// The claim with a caller's name.
    pub user_claim: String,
    /// Which value of the claim gives which role. Empty: the roles' own names do.
    pub roles: BTreeMap<String, Role>,
}

impl Default for OidcOptions {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: String::new(),
            jwks: String::new(),
            role_claim: "roles".to_owned(),
            user_claim: "sub".to_owned(),
            roles: BTreeMap::new(),
        }
    }
}

/// One issuer and its keys.
#[derive(Debug)]
pub struct Oidc {
    options: OidcOptions,
    keys: Keys,
}

impl Oidc {
    /// Fetches the issuer's keys; an issuer that cannot be reached, or that was named wrongly, is told at once.
    pub async fn open(options: OidcOptions) -> Result<Self, Error> {
        for (name, value) in [
            ("issuer", &options.issuer),
            ("audience", &options.audience),
            ("role claim", &options.role_claim),
            ("user claim", &options.user_claim),
        ] {
            if value.trim().is_empty() {
                return Err(Error::new(
                    ErrorCode::Invalid,
                    format!("the {name} of OIDC tokens is empty"),
                )
                .with_hint("OIDC needs the issuer and the audience of the tokens"));
            }
        }
        let source = Source::new(&options)?;
        let keys = Keys::open(source, clock::monotonic()).await?;
        Ok(Self { options, keys })
    }

    /// Whether a text has the form of a token of an issuer: three parts with dots between them.
    pub(crate) fn looks_like(shown: &str) -> bool {
        shown.split('.').count() == 3
    }

    /// Who shows this token.
    pub async fn identify(&self, token: &str, now_unix: u64) -> Result<Caller, Error> {
        self.identify_at(token, now_unix, clock::monotonic()).await
    }

    /// `now` is what fetches of keys are measured with.
    async fn identify_at(&self, token: &str, now_unix: u64, now: Instant) -> Result<Caller, Error> {
        if token.len() > MAX_TOKEN {
            return Err(refused("it is too long"));
        }
        let wanted = signature::wanted(token)?;
        let key = self.keys.find(&wanted, now).await?;
        let claims = signature::verified(token, &wanted, &key, &self.options)?;
        claims::caller(&claims, &self.options, now_unix)
    }

    /// Never returns: fetches the keys again every so often.
    pub async fn follow(&self) {
        self.keys.follow().await;
    }
}

/// One token is not taken; `why` says nothing of what it holds.
fn refused(why: &str) -> Error {
    Error::new(
        ErrorCode::Unauthenticated,
        format!("the token is refused: {why}"),
    )
    .with_hint("get a new token for this pool from its identity provider")
}
