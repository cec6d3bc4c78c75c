//! `whimbrel model versions`: every version of a registry's entry, those that cannot be used too.

use serde_json::{Value, json};
use whimbrel::Client;
use whimbrel_proto::v1::{ModelVersion, Tag};

use crate::cli::console::{Console, aligned};
use crate::cli::failure::Failure;

/// Lists the versions of the entry that `uri` names.
pub(crate) async fn list(console: Console, client: &Client, uri: &str) -> Result<(), Failure> {
    let versions = client.list_model_versions(uri).await?;
    if console.json {
        return versions
            .iter()
            .try_for_each(|version| console.print_json(&as_json(version)));
    }
    if versions.is_empty() {
        console.note("the model has no version");
        return Ok(());
    }
    let row = |version: &ModelVersion| {
        let mut marks = version
            .aliases
            .iter()
            .map(|alias| format!("@{alias}"))
            .collect::<Vec<_>>();
        marks.extend(Some(version.stage.clone()).filter(|stage| !stage.is_empty()));
        marks.extend(
            version
                .tags
                .iter()
                .map(|Tag { key, value }| format!("{key}={value}")),
        );
        let usable = if version.unusable.is_empty() {
            "yes".to_owned()
        } else {
            format!("no: {}", version.unusable)
        };
        vec![
            version.version.clone(),
            marks.join(" "),
            version.flavors.join(", "),
            version.signature.clone(),
            usable,
        ]
    };
    let rows: Vec<_> = versions.iter().map(row).collect();
    console.print(&aligned(
        &["version", "known as", "flavors", "signature", "usable"],
        &rows,
    ))
}

fn as_json(version: &ModelVersion) -> Value {
    let ModelVersion {
        name,
        version,
        aliases,
        stage,
        tags,
        status,
        description,
        created_at_ms,
        flavors,
        signature,
        unusable,
    } = version;
    let tags: Value = tags
        .iter()
        .map(|Tag { key, value }| (key.clone(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let unusable = Some(unusable).filter(|why| !why.is_empty());
    json!({
        "name": name, "version": version, "aliases": aliases, "stage": stage, "tags": tags, "status": status,
        "description": description, "created_at_ms": created_at_ms, "flavors": flavors, "signature": signature,
        "usable": unusable.is_none(), "unusable": unusable,
    })
}
