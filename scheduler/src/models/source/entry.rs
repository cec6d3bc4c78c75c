//! The names of registry entries: `models:/name/3`, `models:/name@champion`, `models:/name`, `models:/m-...`, `runs:/id/path`,
//! `aml://name:3`, each with `?link=NAME` where there are several registries.

use whimbrel_proto::{Error, ErrorCode};

use super::strip_scheme;
use crate::links::Wanted;

/// An entry, and through which link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) registry: Wanted,
    pub(super) what: What,
    pub(super) link: Option<String>,
}

/// What of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Registered {
        name: String,
        pick: Pick,
    },
    /// A model that was logged, registered or not: `m-...`.
    Logged(String),
    /// The files of a run.
    Run {
        id: String,
        path: String,
    },
}

/// Which version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// The highest.
    Latest,
    Number(String),
    Alias(String),
    /// The highest in a stage.
    Stage(String),
}

impl Entry {
    /// The entry that `uri` names; `None` where it is of another kind.
    pub(super) fn parse(uri: &str) -> Result<Option<Self>, Error> {
        let azure = ["aml://", "azureml:"]
            .into_iter()
            .find_map(|scheme| strip_scheme(uri, scheme));
        let (registry, rest, runs) = match (
            strip_scheme(uri, "models:"),
            strip_scheme(uri, "runs:"),
            azure,
        ) {
            (Some(rest), ..) => (Wanted::Mlflow, rest, false),
            (_, Some(rest), _) => (Wanted::Mlflow, rest, true),
            (.., Some(rest)) => (Wanted::AzureMl, rest, false),
            (None, None, None) => return Ok(None),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let link = query.map(|query| link_of(uri, query)).transpose()?;
        let path = path.trim_matches('/');
        let what = match (registry, runs) {
            (_, true) => run(uri, path)?,
            (Wanted::Mlflow, false) => mlflow(uri, path)?,
            (Wanted::AzureMl, false) => azureml(uri, path)?,
        };
        Ok(Some(Self {
            registry,
            what,
            link,
        }))
    }
}

fn link_of(uri: &str, query: &str) -> Result<String, Error> {
    match query.split_once('=') {
        Some(("link", name)) if !name.is_empty() && !name.contains('&') => Ok(name.to_owned()),
        _ => Err(odd(uri, "what follows the ? is not link=NAME")
            .with_hint("write ?link=NAME, or leave it out")),
    }
}

fn mlflow(uri: &str, path: &str) -> Result<What, Error> {
    let write =
        "write models:/NAME/VERSION, models:/NAME@ALIAS, or models:/NAME for the highest version";
    let (name, pick) = match (path.rsplit_once('@'), path.rsplit_once('/')) {
        (Some((name, alias)), _) if !name.is_empty() && !alias.is_empty() => {
            (name, Pick::Alias(alias.to_owned()))
        }
        (Some(_), _) => return Err(odd(uri, "it names no model or no alias").with_hint(write)),
        (None, Some((name, version))) => (name, pick(version)),
        (None, None) if is_logged(path) => return Ok(What::Logged(path.to_owned())),
        (None, None) => (path, Pick::Latest),
    };
    named(uri, name, pick, write)
}

fn azureml(uri: &str, path: &str) -> Result<What, Error> {
    let write = "write aml://NAME:VERSION, or aml://NAME for the highest version";
    if path.contains('/') {
        return Err(odd(uri, "a model's name has no /").with_hint(write));
    }
    let (name, pick) = match (path.rsplit_once('@'), path.rsplit_once(':')) {
        (Some((name, alias)), _) if alias.eq_ignore_ascii_case("latest") => (name, Pick::Latest),
        (Some((name, alias)), _) => (name, Pick::Alias(alias.to_owned())),
        (None, Some((name, version))) => (name, pick(version)),
        (None, None) => (path, Pick::Latest),
    };
    named(uri, name, pick, write)
}

fn named(uri: &str, name: &str, pick: Pick, write: &str) -> Result<What, Error> {
    let fits = !name.is_empty()
        && !name.contains(['/', ':', '@', '\0'])
        && !name.chars().any(char::is_control);
    let picked = match &pick {
        Pick::Latest => true,
        Pick::Number(text) | Pick::Alias(text) | Pick::Stage(text) => !text.is_empty(),
    };
    if fits && picked {
        return Ok(What::Registered {
            name: name.to_owned(),
            pick,
        });
    }
    Err(odd(
        uri,
        if fits {
            "it names no version"
        } else {
            "it names no model"
        },
    )
    .with_hint(write))
}

fn pick(version: &str) -> Pick {
    if version.eq_ignore_ascii_case("latest") {
        Pick::Latest
    } else if !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()) {
        Pick::Number(version.to_owned())
    } else {
        Pick::Stage(version.to_owned())
    }
}

fn is_logged(path: &str) -> bool {
    path.strip_prefix("m-")
        .is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn run(uri: &str, path: &str) -> Result<What, Error> {
    match path.split_once('/') {
        Some((id, path)) if !id.is_empty() && !path.is_empty() => Ok(What::Run {
            id: id.to_owned(),
            path: path.to_owned(),
        }),
        _ => Err(odd(uri, "it names no run or no path").with_hint("write runs:/RUN_ID/PATH")),
    }
}

fn odd(uri: &str, why: &str) -> Error {
    Error::new(
        ErrorCode::Invalid,
        format!("'{uri}' is not an entry of a registry: {why}"),
    )
}
