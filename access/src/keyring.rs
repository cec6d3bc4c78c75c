//! Who a caller is, by what it shows: the pool's one token, a line of the file of tokens, or a token of the issuer. A pool that
//! has none of them asks for nothing.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use whimbrel_proto::{Error, ErrorCode};

use crate::digest::{self, Hash};
use crate::oidc::{Oidc, OidcOptions};
use crate::role::{Caller, Role};
use crate::tokens::TokenFile;

const HOW_TO_SHOW: &str =
    "give it with --token or WHIMBREL_TOKEN, as `authorization: Bearer <token>`";

/// What callers may show; each that is set counts.
#[derive(Clone, Default)]
pub struct KeyringOptions {
    /// One token for everybody, who then may do everything and has no name.
    pub token: Option<String>,
    /// A file of tokens, one a line.
    pub tokens: Option<PathBuf>,
    /// The issuer of OIDC tokens.
    pub oidc: Option<OidcOptions>,
}

impl fmt::Debug for KeyringOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyringOptions")
            .field("token", &self.token.as_ref().map(|_| ".."))
            .field("tokens", &self.tokens)
            .field("oidc", &self.oidc)
            .finish()
    }
}

/// Everything that opens a pool.
pub struct Keyring {
    one: Option<Hash>,
    file: Option<TokenFile>,
    oidc: Option<Oidc>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("one", &self.one.map(|_| ".."))
            .field("file", &self.file)
            .field("oidc", &self.oidc)
            .finish()
    }
}

impl Keyring {
    /// Reads the file and fetches the issuer's keys; whatever is wrong with them is told now.
    pub async fn open(options: KeyringOptions) -> Result<Self, Error> {
        let KeyringOptions {
            token,
            tokens,
            oidc,
        } = options;
        if token.as_ref().is_some_and(|token| token.trim().is_empty()) {
            return Err(
                Error::new(ErrorCode::Invalid, "the token of the pool is empty")
                    .with_hint("set a token, or none at all"),
            );
        }
        Ok(Self {
            one: token.map(|token| digest::hash(token.as_bytes())),
            file: tokens.map(TokenFile::open).transpose()?,
            oidc: match oidc {
                Some(options) => Some(Oidc::open(options).await?),
                None => None,
            },
        })
    }

    /// Whether the pool asks for nothing.
    pub fn is_open(&self) -> bool {
        self.one.is_none() && self.file.is_none() && self.oidc.is_none()
    }

    /// Who shows this.
    pub async fn identify(&self, shown: Option<&str>, now_unix: u64) -> Result<Caller, Error> {
        if self.is_open() {
            return Ok(Caller::anybody());
        }
        let Some(shown) = shown.filter(|shown| !shown.is_empty()) else {
            return Err(
                Error::new(ErrorCode::Unauthenticated, "this pool asks for a token")
                    .with_hint(HOW_TO_SHOW),
            );
        };
        let hash = digest::hash(shown.as_bytes());
        if self.one.is_some_and(|one| digest::same(&one, &hash)) {
            return Ok(Caller {
                user: String::new(),
                role: Role::Operator,
                expires: None,
            });
        }
        if let Some(file) = &self.file
            && let Some(caller) = file.identify(shown, now_unix)?
        {
            return Ok(caller);
        }
        match &self.oidc {
            Some(oidc) if Oidc::looks_like(shown) => oidc.identify(shown, now_unix).await,
            _ => Err(Error::new(
                ErrorCode::Unauthenticated,
                "the token is not one of this pool",
            )
            .with_hint(HOW_TO_SHOW)),
        }
    }

    /// Never returns: looks after the file and the issuer's keys.
    pub async fn follow(&self) {
        let file = async {
            match &self.file {
                Some(file) => file.follow().await,
                None => std::future::pending().await,
            }
        };
        let oidc = async {
            match &self.oidc {
                Some(oidc) => oidc.follow().await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(file, oidc);
    }
}

/// The token of `Bearer <token>`.
pub fn bearer(value: &str) -> Option<&str> {
    after_scheme(value, "bearer")
}

/// User and password of `Basic <base64 of user:password>`.
pub fn basic(value: &str) -> Option<(String, String)> {
    let encoded = after_scheme(value, "basic")?;
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    // Clients differ in alphabet and padding.
    let bytes = [STANDARD, URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, lenient).decode(encoded).ok())?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Schemes are told in any case.
fn after_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = value.trim().split_once(' ')?;
    let rest = rest.trim_start();
    (found.eq_ignore_ascii_case(scheme) && !rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::new_token;

    const NOW: u64 = 1_800_000_000;

    #[tokio::test]
    async fn an_open_pool_takes_anybody() {
        let ring = Keyring::open(KeyringOptions::default()).await.unwrap();
        assert!(ring.is_open());
        for shown in [None, Some(""), Some("x")] {
            assert_eq!(ring.identify(shown, NOW).await, Ok(Caller::anybody()));
        }
    }

    #[tokio::test]
    async fn the_one_token_is_the_operators_and_nothing_else_opens() {
        let options = KeyringOptions {
            token: Some("hush.hush.hush".to_owned()),
            ..KeyringOptions::default()
        };
        let ring = Keyring::open(options).await.unwrap();
        assert!(!ring.is_open());
        let caller = ring.identify(Some("hush.hush.hush"), NOW).await.unwrap();
        assert_eq!((caller.user.as_str(), caller.role), ("", Role::Operator));
        for shown in [None, Some("")] {
            let error = ring.identify(shown, NOW).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Unauthenticated);
            assert_eq!(error.message(), "this pool asks for a token");
            assert_eq!(error.hint(), Some(HOW_TO_SHOW));
        }
        for shown in ["hush.hush.hus", "hush.hush.hush ", "Hush.hush.hush", "x"] {
            let error = ring.identify(Some(shown), NOW).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Unauthenticated);
            assert_eq!(error.message(), "the token is not one of this pool");
        }
        let empty = KeyringOptions {
            token: Some(" ".to_owned()),
            ..KeyringOptions::default()
        };
        assert!(Keyring::open(empty).await.is_err());
    }

    #[tokio::test]
    async fn the_one_token_and_the_file_count_side_by_side() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (ann, line) = new_token("ann", Role::Reader, [1; 32]).unwrap();
        let (old, old_line) = new_token("old", Role::Reader, [2; 32]).unwrap();
        std::fs::write(
            file.path(),
            format!("{line}\n{old_line} expires=2020-01-01\n"),
        )
        .unwrap();
        let options = KeyringOptions {
            token: Some("hush".to_owned()),
            tokens: Some(file.path().to_owned()),
            oidc: None,
        };
        let ring = Keyring::open(options).await.unwrap();
        let user = |caller: Caller| caller.user;
        assert_eq!(
            ring.identify(Some("hush"), NOW).await.map(user).unwrap(),
            ""
        );
        assert_eq!(
            ring.identify(Some(&ann), NOW).await.map(user).unwrap(),
            "ann"
        );
        let error = ring.identify(Some(&old), NOW).await.unwrap_err();
        assert_eq!(error.message(), "the token of old expired on 2020-01-01");
        assert!(!error.to_string().contains(&old));
        assert!(ring.identify(Some("x"), NOW).await.is_err());
    }

    #[tokio::test]
    async fn the_token_is_not_shown() {
        let options = KeyringOptions {
            token: Some("hush".to_owned()),
            ..KeyringOptions::default()
        };
        let text = format!("{options:?}");
        let ring = Keyring::open(options).await.unwrap();
        let told = ring.identify(Some("guess"), NOW).await.unwrap_err();
        for text in [text, format!("{ring:?}"), format!("{told:?}")] {
            assert!(!text.contains("hush") && !text.contains("guess"), "{text}");
        }
    }

    #[test]
    fn the_headers_of_all_clients_are_read() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for none in ["", "Bearer", "Bearer ", "abc", "Basic abc", "Bearerabc"] {
            assert_eq!(bearer(none), None, "{none}");
        }
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(basic("Basic YW5uOmh1c2g="), pair("ann", "hush"));
        assert_eq!(basic("basic YW5uOmh1c2g"), pair("ann", "hush"));
        assert_eq!(basic("Basic Ojo/Pz8+"), pair("", ":???>"));
        assert_eq!(basic("Basic Ojo_Pz8-"), pair("", ":???>"));
        for none in [
            "",
            "Basic",
            "Basic YW5u",
            "Basic !",
            "Basic /w==",
            "Bearer YW5uOmh1c2g=",
        ] {
            assert_eq!(basic(none), None, "{none}");
        }
    }
}
