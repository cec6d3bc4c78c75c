//! A daemon's configuration, put together: its defaults, then a file, then `WHIMBREL_*` variables, then flags.
//!
//! It works for any flat serde struct with `default` and `deny_unknown_fields`. A key that the struct does not have is refused
//! with the nearest one it has, and with the line where it stands: a setting that is not read is worse than none.

mod env;
mod fields;
mod file;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};
use whimbrel_proto::{Error, ErrorCode};

pub use env::{Environment, PREFIX};

/// Where a configuration comes from, besides its defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources<'a> {
    /// The file given by `--config`.
    pub file: Option<PathBuf>,
    /// The process's variables.
    pub environment: Environment,
    /// Variables without the prefix, in lower case, that mean something to other commands and are not refused.
    pub known_elsewhere: &'a [&'a str],
    /// Flags as given, by configuration key.
    pub flags: Table,
}

/// Puts a configuration together.
pub fn load<T>(sources: &Sources<'_>) -> Result<T, Error>
where
    T: Serialize + DeserializeOwned + Default,
{
    let keys = keys::<T>();
    let mut merged = Table::new();
    if let Some(path) = &sources.file {
        merged.extend(file::read::<T>(path, keys)?);
    }
    env::overlay::<T>(&mut merged, sources, keys)?;
    for (key, value) in &sources.flags {
        merged.insert(key.clone(), value.clone());
        parse::<T>(&merged).map_err(|reason| {
            Error::new(
                ErrorCode::Invalid,
                format!("--{}: {reason}", key.replace('_', "-")),
            )
        })?;
    }
    parse(&merged)
        .map_err(|reason| Error::new(ErrorCode::Invalid, format!("configuration: {reason}")))
}

/// Every key that a configuration has, as a file spells them.
pub fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    fields::of::<T>()
}

/// The configuration as the file that would give it, without its secrets.
pub fn print<T: Serialize>(config: &T) -> Result<String, Error> {
    let broken = |reason: String| {
        Error::new(
            ErrorCode::Bug,
            format!("the configuration cannot be printed: {reason}"),
        )
    };
    let mut table = Table::try_from(config).map_err(|error| broken(error.to_string()))?;
    for (key, value) in &mut table {
        if is_secret(key) && value.as_str() != Some("") {
            *value = Value::String("***".to_owned());
        }
    }
    toml::to_string(&table).map_err(|error| broken(error.to_string()))
}

/// A key whose value must not reach a terminal or a log; one that only names a file may.
fn is_secret(key: &str) -> bool {
    ["token", "secret", "password"]
        .iter()
        .any(|word| key.ends_with(word))
}

fn parse<T: DeserializeOwned>(table: &Table) -> Result<T, String> {
    T::deserialize(Value::Table(table.clone())).map_err(|error| first_line(error.message()))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The error for a key that does not exist.
fn unknown_key(place: &str, key: &str, keys: &[&str]) -> Error {
    let error = Error::new(
        ErrorCode::Invalid,
        format!("{place}: no setting is called '{key}'"),
    );
    match nearest(&key.to_lowercase(), keys.iter().copied()) {
        Some(near) => error.with_hint(format!("did you mean '{near}'?")),
        None => error.with_hint("'--print-config' shows every setting"),
    }
}

/// The word most like another, where one is like it at all.
pub fn nearest<'a>(word: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    among
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

/// For messages: paths as users wrote them.
fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

#[cfg(test)]
mod tests;
