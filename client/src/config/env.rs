//! `WHIMBREL_*` variables over a configuration, and the process's variables as a value that is passed around.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};
use whimbrel_proto::{Error, ErrorCode};

use super::{Sources, parse};

/// What every variable that is meant for Whimbrel begins with.
pub const PREFIX: &str = "WHIMBREL_";

/// The variables of a process, or what a test says they are.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process; ones that are not Unicode are no concern of Whimbrel's.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the process's variables are read"
    )]
    pub fn of_process() -> Self {
        let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(unicode).collect())
    }

    /// A variable by its full name; an empty one counts as not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Variables meant for Whimbrel: the name without the prefix, in lower case, and the value.
    fn settings(&self) -> impl Iterator<Item = (String, &str)> {
        let set = self.0.iter().filter(|(_, value)| !value.is_empty());
        set.filter_map(|(name, value)| {
            Some((name.strip_prefix(PREFIX)?.to_lowercase(), value.as_str()))
        })
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

/// Puts the variables over what the file said.
pub(super) fn overlay<T>(
    merged: &mut Table,
    sources: &Sources<'_>,
    keys: &[&str],
) -> Result<(), Error>
where
    T: Serialize + DeserializeOwned + Default,
{
    let defaults = Table::try_from(T::default()).map_err(|error| {
        Error::new(
            ErrorCode::Bug,
            format!("the default configuration is no TOML: {error}"),
        )
    })?;
    for (key, text) in sources.environment.settings() {
        let name = format!("{PREFIX}{}", key.to_uppercase());
        if !keys.contains(&key.as_str()) {
            if sources.known_elsewhere.contains(&key.as_str()) {
                continue;
            }
            return Err(unknown_variable(&name, &key, keys));
        }
        let value = fitting::<T>(merged, &key, text, defaults.get(&key)).map_err(|reason| {
            Error::new(ErrorCode::Invalid, format!("{name}='{text}': {reason}"))
        })?;
        merged.insert(key, value);
    }
    Ok(())
}

fn unknown_variable(name: &str, key: &str, keys: &[&str]) -> Error {
    let hint = match super::nearest(key, keys.iter().copied()) {
        Some(near) => format!("did you mean {PREFIX}{}?", near.to_uppercase()),
        None => {
            format!("unset it, or see '--print-config' for the settings that {PREFIX}* may name")
        }
    };
    Error::new(
        ErrorCode::Invalid,
        format!("environment: {name} names no setting"),
    )
    .with_hint(hint)
}

/// A variable is text; the setting decides what it is read as: what its default is, else text, else a TOML value.
fn fitting<T: DeserializeOwned>(
    merged: &Table,
    key: &str,
    text: &str,
    default: Option<&Value>,
) -> Result<Value, String> {
    let as_text = Value::String(text.to_owned());
    let as_toml = toml::from_str::<Table>(&format!("v = {text}"))
        .ok()
        .and_then(|mut table| table.remove("v"));
    let as_list = Value::Array(
        text.split(',')
            .map(|item| Value::String(item.trim().to_owned()))
            .collect(),
    );
    let order = match default {
        Some(Value::String(_)) => [Some(as_text), None, None],
        Some(Value::Array(_)) => [as_toml, Some(as_list), None],
        Some(_) => [as_toml, Some(as_text), None],
        None => [Some(as_text), as_toml, Some(as_list)],
    };
    let mut reason = String::new();
    for value in order.into_iter().flatten() {
        let mut trial = merged.clone();
        trial.insert(key.to_owned(), value.clone());
        match parse::<T>(&trial) {
            Ok(_) => return Ok(value),
            Err(error) if reason.is_empty() => reason = error,
            Err(_) => {}
        }
    }
    Err(reason)
}
