//! What a verified token says of its caller: until when, who, and what they may do.

use serde_json::Value;
use whimbrel_proto::{Error, ErrorCode};

use super::{OidcOptions, refused};
use crate::date::Date;
use crate::role::{Caller, Role};

/// Clocks of issuers differ from ours by this much at most.
pub(super) const LEEWAY: u64 = 60;
/// A name goes into records and logs.
const MAX_USER: usize = 256;

/// The caller whose token this is, or why it does not count.
pub(super) fn caller(
    claims: &Value,
    options: &OidcOptions,
    now_unix: u64,
) -> Result<Caller, Error> {
    let expires = seconds(claims.get("exp")).ok_or_else(|| refused("it has no claim 'exp'"))?;
    if now_unix >= expires.saturating_add(LEEWAY) {
        let day = Date::of_unix(expires);
        return Err(refused(&format!("it expired on {day}")));
    }
    if let Some(begins) = claims.get("nbf") {
        let begins = seconds(Some(begins)).ok_or_else(|| refused("its claim 'nbf' is no time"))?;
        if begins > now_unix.saturating_add(LEEWAY) {
            return Err(refused("its time has not come yet"));
        }
    }
    let user = claims
        .get(&options.user_claim)
        .and_then(Value::as_str)
        .filter(|user| is_name(user))
        .ok_or_else(|| refused(&format!("its claim '{}' is not a name", options.user_claim)))?;
    Ok(Caller {
        user: user.to_owned(),
        role: role(claims, options)?,
        expires: Some(expires),
    })
}

fn is_name(user: &str) -> bool {
    (1..=MAX_USER).contains(&user.len()) && !user.chars().any(char::is_control)
}

/// Whole seconds since 1970; an issuer may give parts of a second too.
fn seconds(claim: Option<&Value>) -> Option<u64> {
    let claim = claim?;
    claim.as_u64().or_else(|| {
        let seconds = claim.as_f64()?;
        // Beyond this the parts of a float are wider than a second, and no token counts that long.
        let sane = (0.0..9e15).contains(&seconds);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be in range"
        )]
        sane.then_some(seconds as u64)
    })
}

/// The highest role that the claim gives.
fn role(claims: &Value, options: &OidcOptions) -> Result<Role, Error> {
    let values = match find(claims, &options.role_claim) {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let granted = values.into_iter().filter_map(|value| {
        if options.roles.is_empty() {
            value.parse().ok()
        } else {
            options.roles.get(value).copied()
        }
    });
    granted.max().ok_or_else(|| {
        Error::new(
            ErrorCode::Denied,
            format!(
                "the token gives no role of this pool in its claim '{}'",
                options.role_claim
            ),
        )
        .with_hint("ask whoever runs the pool for the role reader, scorer or operator")
    })
}

/// A claim by its name, which may have dots in it, else by the way that its dots lead.
fn find<'a>(claims: &'a Value, path: &str) -> Option<&'a Value> {
    claims.get(path).or_else(|| {
        path.split('.')
            .try_fold(claims, |inner, name| inner.get(name))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn options(role_claim: &str, roles: &[(&str, Role)]) -> OidcOptions {
        OidcOptions {
            role_claim: role_claim.to_owned(),
            roles: roles
                .iter()
                .map(|(value, role)| ((*value).to_owned(), *role))
                .collect(),
            ..OidcOptions::default()
        }
    }

    #[test]
    fn the_highest_role_of_the_claim_counts() {
        let lake = [("lake-admins", Role::Operator), ("staff", Role::Reader)];
        for (claim, claims, role_map, role) in [
            (
                "roles",
                json!({"roles": "scorer"}),
                &[][..],
                Some(Role::Scorer),
            ),
            (
                "roles",
                json!({"roles": ["reader", "x", "scorer"]}),
                &[],
                Some(Role::Scorer),
            ),
            (
                "realm_access.roles",
                json!({"realm_access": {"roles": ["reader"]}}),
                &[],
                Some(Role::Reader),
            ),
            (
                "https://lake.example/roles",
                json!({"https://lake.example/roles": "reader"}),
                &[],
                Some(Role::Reader),
            ),
            (
                "groups",
                json!({"groups": ["staff", "lake-admins"]}),
                &lake,
                Some(Role::Operator),
            ),
            (
                "groups",
                json!({"groups": ["staff", "operator"]}),
                &lake,
                Some(Role::Reader),
            ),
            ("groups", json!({"groups": ["operator"]}), &lake, None),
            ("roles", json!({"roles": ["Operator", 1, null]}), &[], None),
            ("roles", json!({"roles": {"operator": true}}), &[], None),
            ("roles", json!({"scope": "operator"}), &[], None),
            ("a.b", json!({"a": "operator"}), &[], None),
        ] {
            let found = self::role(&claims, &options(claim, role_map));
            assert_eq!(found.as_ref().ok(), role.as_ref(), "{claims}");
            if let Err(error) = found {
                assert_eq!(error.code(), ErrorCode::Denied);
            }
        }
    }

    #[test]
    fn the_time_of_a_token_has_a_minute_of_leeway() {
        let with = |exp: Value, nbf: Value| json!({"sub": "ann", "roles": "reader", "exp": exp, "nbf": nbf});
        let early = NOW - 100;
        for (exp, nbf, counts) in [
            (json!(NOW + 10), json!(early), true),
            (json!(NOW - 59), json!(early), true),
            (json!(NOW - 60), json!(early), false),
            (json!(NOW + 10), json!(NOW + 60), true),
            (json!(NOW + 10), json!(NOW + 61), false),
            (json!(1_800_000_010.5), json!(1_799_999_999.5), true),
            (json!("1900000000"), json!(early), false),
            (json!(-1), json!(early), false),
            (json!(null), json!(early), false),
            (json!(NOW + 10), json!("now"), false),
            (json!(u64::MAX), json!(early), true),
        ] {
            let claims = with(exp, nbf);
            let found = caller(&claims, &options("roles", &[]), NOW);
            assert_eq!(found.is_ok(), counts, "{claims} {found:?}");
            if let Err(error) = found {
                assert_eq!(error.code(), ErrorCode::Unauthenticated);
            }
        }
    }

    #[test]
    fn a_caller_has_a_name() {
        for user in [
            json!(""),
            json!(7),
            json!(null),
            json!("a\nb"),
            json!("x".repeat(257)),
        ] {
            let claims = json!({"sub": user, "roles": "reader", "exp": NOW + 10});
            let error = caller(&claims, &options("roles", &[]), NOW).unwrap_err();
            assert_eq!(
                error.message(),
                "the token is refused: its claim 'sub' is not a name"
            );
        }
        let claims = json!({"sub": "ann", "roles": "reader", "exp": NOW + 10});
        let found = caller(&claims, &options("roles", &[]), NOW).unwrap();
        assert_eq!(
            (found.user.as_str(), found.expires),
            ("ann", Some(NOW + 10))
        );
    }
}
