//! Secrets and where they are. A link keeps the place only; the secret is read when it is needed and lives no longer than the
//! call it is for. It cannot be printed.

use std::fmt;
use std::io::Read;
use std::path::Path;

use whimbrel_proto::{Error, ErrorCode, v1};

use crate::environment::Environment;
use crate::process::Process;

/// No secret is longer; a larger file is a wrong one.
const MAX_BYTES: u64 = 64 << 10;

/// A password, client secret or token.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// Keeps a text from being shown.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// An environment variable of the process that needs the secret.
    Env(String),
    /// A file on that process's machine, read each time, so that it can be renewed.
    File(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file '{path}'"),
        }
    }
}

impl SecretRef {
    /// The secret as it is there now, in the environment or on the disk of `process`.
    pub fn read(&self, environment: &Environment, process: &Process) -> Result<Secret, Error> {
        let denied = |what: String, hint: &str| Error::new(ErrorCode::Denied, what).with_hint(hint);
        let whose = match process {
            Process::Scheduler => String::new(),
            Process::Executor(_) => format!(" of {process}"),
        };
        match self {
            Self::Env(name) => match environment.get(name) {
                Some(text) => Ok(Secret(text.trim().to_owned())),
                None => Err(denied(
                    format!("the secret is not there: {self}{whose} is not set"),
                    &format!("set it where {process} starts, and start it again"),
                )),
            },
            Self::File(path) => {
                let text = read_text(Path::new(path)).map_err(|why| {
                    denied(
                        format!("the secret is not there: {self} cannot be read: {why}"),
                        &format!(
                            "check the path and its rights; it is read on the machine of {process}"
                        ),
                    )
                })?;
                match text.trim() {
                    "" => Err(denied(
                        format!("the secret is not there: {self} is empty"),
                        "put the secret into it, and nothing else",
                    )),
                    secret => Ok(Secret(secret.to_owned())),
                }
            }
        }
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    Ok(text)
}

impl From<&SecretRef> for v1::SecretRef {
    fn from(place: &SecretRef) -> Self {
        use v1::secret_ref::Place;
        let place = match place {
            SecretRef::Env(name) => Place::Env(name.clone()),
            SecretRef::File(path) => Place::File(path.clone()),
        };
        Self { place: Some(place) }
    }
}

impl SecretRef {
    /// What the wire says; nothing where it names no place.
    pub fn from_wire(wire: Option<v1::SecretRef>) -> Result<Option<Self>, Error> {
        use v1::secret_ref::Place;
        match wire.and_then(|wire| wire.place) {
            None => Ok(None),
            Some(Place::Env(name)) if is_variable(&name) => Ok(Some(Self::Env(name))),
            Some(Place::Env(name)) => Err(Error::new(
                ErrorCode::Invalid,
                format!(
                    "'{}' is not the name of an environment variable",
                    shortened(&name)
                ),
            )
            .with_hint(
                "give the variable's name, not the secret: it is read where the secret is needed",
            )),
            Some(Place::File(path)) if path.starts_with('/') => Ok(Some(Self::File(path))),
            Some(Place::File(path)) => Err(Error::new(
                ErrorCode::Invalid,
                format!("'{}' is not an absolute path", shortened(&path)),
            )
            .with_hint("give the absolute path of a file")),
        }
    }
}

/// Letters, digits and underscores: what a shell can set. A secret given by mistake seldom looks so.
fn is_variable(name: &str) -> bool {
    let mut chars = name.chars();
    name.len() <= 128
        && chars
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What was given may be the secret itself, so it is not repeated whole.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 4;
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(SHOWN).collect();
    if chars.next().is_some() {
        format!("{head}...")
    } else {
        head
    }
}
