//! The keys of an issuer, kept in memory. They are fetched again every quarter of an hour, and when a token names a key that
//! is not among them, but then seldom: whoever sends made-up names must not make us ask the issuer for each. A fetch that fails
//! keeps the keys that are there.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior};
use whimbrel_proto::{Error, ErrorCode};

use super::fetch::Source;
use super::refused;
use super::signature::Wanted;
use crate::clock;

pub(super) const ASK_AGAIN: Duration = Duration::from_secs(30);
pub(super) const RENEW: Duration = Duration::from_secs(15 * 60);

/// A public key, and what it may have signed.
#[derive(Clone)]
pub(super) struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

#[derive(Default)]
struct State {
    keys: Arc<Vec<Key>>,
    asked: Option<Instant>,
    answered: Option<Instant>,
}

/// The keys of one issuer.
pub(super) struct Keys {
    source: Source,
    state: Mutex<State>,
    /// Held while the issuer is asked: those who wait for the same answer do not ask too.
    asking: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl Keys {
    pub(super) async fn open(source: Source, now: Instant) -> Result<Self, Error> {
        let keys = Self {
            source,
            state: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        };
        keys.ask(now).await?;
        Ok(keys)
    }

    /// The key that signed a token, as the token says.
    pub(super) async fn find(&self, wanted: &Wanted, now: Instant) -> Result<Key, Error> {
        if let Some(key) = self.known(wanted) {
            return Ok(key);
        }
        let asking = self.asking.lock().await;
        if let Some(key) = self.known(wanted) {
            return Ok(key);
        }
        if self.may_ask(now) {
            self.ask_or_warn(now).await;
        }
        drop(asking);
        self.known(wanted)
            .ok_or_else(|| refused("none of the issuer's keys signed it"))
    }

    /// Never returns: asks every quarter of an hour, and sooner after a failure.
    pub(super) async fn follow(&self) {
        let mut ticks = tokio::time::interval(ASK_AGAIN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.renew(clock::monotonic()).await;
        }
    }

    /// Asks where the keys are old.
    pub(super) async fn renew(&self, now: Instant) {
        let _asking = self.asking.lock().await;
        let answered = self.state().answered;
        let old = answered.is_none_or(|then| now.duration_since(then) >= RENEW);
        if old && self.may_ask(now) {
            self.ask_or_warn(now).await;
        }
    }

    fn may_ask(&self, now: Instant) -> bool {
        let asked = self.state().asked;
        asked.is_none_or(|then| now.duration_since(then) >= ASK_AGAIN)
    }

    async fn ask_or_warn(&self, now: Instant) {
        if let Err(error) = self.ask(now).await {
            tracing::warn!(%error, "the issuer's keys stay as they were fetched before");
        }
    }

    async fn ask(&self, now: Instant) -> Result<(), Error> {
        self.state().asked = Some(now);
        let fetched = self.source.fetch().await?;
        let keys = parse(&fetched.bytes, &fetched.place)?;
        let mut state = self.state();
        state.keys = Arc::new(keys);
        state.answered = Some(now);
        Ok(())
    }

    /// A token that names no key is taken where there is only one that it can mean.
    fn known(&self, wanted: &Wanted) -> Option<Key> {
        let keys = Arc::clone(&self.state().keys);
        let mut fitting = keys.iter().filter(|key| {
            key.algorithms.contains(&wanted.algorithm)
                && (wanted.kid.is_none() || key.kid == wanted.kid)
        });
        let first = fitting.next()?;
        let sure = wanted.kid.is_some() || fitting.next().is_none();
        sure.then(|| first.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

/// Keys of kinds that we do not know are left out: issuers publish them beside those we do.
fn parse(bytes: &[u8], place: &str) -> Result<Vec<Key>, Error> {
    let hint = "check that this is the place of the issuer's JWKS";
    let Jwks { keys } = serde_json::from_slice(bytes).map_err(|_| {
        let told = format!("what '{place}' holds is not a set of JSON web keys");
        Error::new(ErrorCode::Invalid, told).with_hint(hint)
    })?;
    let keys: Vec<Key> = keys.into_iter().filter_map(usable).collect();
    if keys.is_empty() {
        let told = format!("'{place}' holds no key for RS, PS, ES or EdDSA signatures");
        return Err(Error::new(ErrorCode::Invalid, told).with_hint(hint));
    }
    Ok(keys)
}

fn usable(key: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    let signs = match &jwk.common.public_key_use {
        None | Some(PublicKeyUse::Signature) => true,
        Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)) => false,
    };
    let operations = jwk.common.key_operations.as_ref();
    let verifies = operations.is_none_or(|all| all.contains(&KeyOperations::Verify));
    let mut algorithms = algorithms(&jwk.algorithm);
    if let Some(only) = jwk.common.key_algorithm {
        algorithms.retain(|algorithm| only.to_string() == format!("{algorithm:?}"));
    }
    if !signs || !verifies || algorithms.is_empty() {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key {
        kid: jwk.common.key_id,
        algorithms,
        key,
    })
}

/// What a key of this kind can sign; nothing for a shared secret.
fn algorithms(kind: &AlgorithmParameters) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match kind {
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![ES256],
            EllipticCurve::P384 => vec![ES384],
            EllipticCurve::P521 | EllipticCurve::Ed25519 => Vec::new(),
        },
        AlgorithmParameters::OctetKeyPair(key) => match key.curve {
            EllipticCurve::Ed25519 => vec![EdDSA],
            EllipticCurve::P256 | EllipticCurve::P384 | EllipticCurve::P521 => Vec::new(),
        },
        AlgorithmParameters::OctetKey(_) => Vec::new(),
    }
}
