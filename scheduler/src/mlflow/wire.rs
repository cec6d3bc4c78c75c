//! The JSON of MLflow's REST API, as far as it is read. Numbers come as texts from some servers, so both are taken.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One version of a registered model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Version {
    pub(crate) name: String,
    #[serde(deserialize_with = "text")]
    pub(crate) version: String,
    #[serde(deserialize_with = "number")]
    pub(crate) creation_timestamp: i64,
    pub(crate) current_stage: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) status_message: Option<String>,
    #[serde(deserialize_with = "list")]
    pub(crate) tags: Vec<Tag>,
    #[serde(deserialize_with = "list")]
    pub(crate) aliases: Vec<String>,
}

impl Version {
    /// For order: "10" comes after "9". What is no number comes first.
    pub(crate) fn number(&self) -> u64 {
        self.version.parse().unwrap_or(0)
    }

    /// Why the registry itself says that this version cannot be used yet, or never.
    pub(crate) fn not_ready(&self) -> Option<String> {
        let status = self.status.as_deref().filter(|status| *status != "READY")?;
        match self.status_message.as_deref() {
            None | Some("") => Some(format!("the registry says {status}")),
            Some(message) => Some(format!("the registry says {status}: {message}")),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tag {
    pub(crate) key: String,
    pub(crate) value: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneVersion {
    pub(super) model_version: Version,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Versions {
    #[serde(deserialize_with = "list")]
    pub(super) model_versions: Vec<Version>,
    pub(super) next_page_token: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneModel {
    pub(super) registered_model: Model,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Models {
    #[serde(deserialize_with = "list")]
    pub(super) registered_models: Vec<Model>,
    pub(super) next_page_token: Option<String>,
}

/// A registered model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Model {
    pub(crate) name: String,
    #[serde(deserialize_with = "list")]
    pub(crate) aliases: Vec<Alias>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Alias {
    pub(crate) alias: String,
    #[serde(deserialize_with = "text")]
    pub(crate) version: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Download {
    pub(super) artifact_uri: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneLogged {
    pub(super) model: Logged,
}

#[derive(Debug, Deserialize)]
pub(super) struct Logged {
    pub(super) info: LoggedInfo,
}

#[derive(Debug, Deserialize)]
pub(super) struct LoggedInfo {
    pub(super) artifact_uri: String,
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneRun {
    pub(super) run: Run,
}

#[derive(Debug, Deserialize)]
pub(super) struct Run {
    pub(super) info: RunInfo,
}

/// A run, as far as its files go.
#[derive(Debug, Deserialize)]
pub(crate) struct RunInfo {
    pub(crate) run_id: String,
    pub(crate) experiment_id: String,
    pub(crate) artifact_uri: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LoggedModels {
    #[serde(deserialize_with = "list")]
    pub(super) models: Vec<Logged>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Listing {
    #[serde(deserialize_with = "list")]
    pub(super) files: Vec<File>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    pub(super) path: String,
}

/// Where Azure ML keeps the bytes of an artifact: an address with a signature in it, so it is never shown.
#[derive(Deserialize)]
pub(super) struct ContentInfo {
    #[serde(rename = "contentUri")]
    pub(super) content_uri: String,
}

/// What the API says when it refuses.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refused {
    pub(super) error_code: String,
    pub(super) message: String,
}

fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    })
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => text.parse().unwrap_or(0),
        Value::Number(number) => number.as_i64().unwrap_or(0),
        _ => 0,
    })
}

/// Some servers write `null` for a list without entries.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(from)?.unwrap_or_default())
}
