//! A configuration file: TOML, checked on its own so that a mistake is reported with its line.

use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Table;
use toml::de::DeTable;
use whimbrel_proto::{Error, ErrorCode};

use super::{first_line, shown, unknown_key};

/// Reads a file whose keys are all known and whose values all fit.
pub(super) fn read<T: DeserializeOwned>(path: &Path, keys: &[&str]) -> Result<Table, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorCode::NotFound,
            _ => ErrorCode::Invalid,
        };
        Error::new(
            code,
            format!("cannot read the configuration {}: {error}", shown(path)),
        )
        .with_hint("--config takes a TOML file; without it the defaults hold")
    })?;
    check::<T>(path, &text, keys)
}

fn check<T: DeserializeOwned>(path: &Path, text: &str, keys: &[&str]) -> Result<Table, Error> {
    let refuse = |span: Option<Range<usize>>, reason: &str| {
        let place = place(path, text, span.map(|span| span.start));
        Error::new(
            ErrorCode::Invalid,
            format!("{place}: {}", first_line(reason)),
        )
    };
    let document = DeTable::parse(text).map_err(|error| {
        refuse(error.span(), error.message())
            .with_hint("a configuration is TOML: one 'key = value' on each line")
    })?;
    for key in document.get_ref().keys() {
        if !keys.contains(&key.get_ref().as_ref()) {
            return Err(unknown_key(
                &place(path, text, Some(key.span().start)),
                key.get_ref(),
                keys,
            ));
        }
    }
    if let Err(error) = toml::from_str::<T>(text) {
        return Err(refuse(error.span(), error.message()));
    }
    toml::from_str(text).map_err(|error| refuse(error.span(), error.message()))
}

/// `file:line`.
fn place(path: &Path, text: &str, offset: Option<usize>) -> String {
    match offset.and_then(|offset| text.get(..offset)) {
        Some(before) => format!("{}:{}", shown(path), before.matches('\n').count() + 1),
        None => shown(path).to_string(),
    }
}
