//! Tables of Delta Lake, written by the library that people write them with: their newest rows, on the machine and in both stores.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::lake::Lakes;
use whimbrel_tests::objects::Object;
use whimbrel_tests::pool::Asker;
use whimbrel_tests::service;

const SEED: u64 = 20_261_121;

fn run(arguments: &[&str]) -> Result<()> {
    let output = Command::new(service::python()?)
        .args(arguments)
        .output()
        .context("run python")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn write_tables(folder: &Path) -> Result<()> {
    let script = service::script("delta.py");
    run(&[&script.to_string_lossy(), &folder.to_string_lossy()])
}

/// The tables at `base` have the rows that the library says.
async fn same(client: &Asker, base: &str, columns: [&str; 2]) -> Result<()> {
    for (name, columns) in ["plain", "by_zone"].into_iter().zip(columns) {
        client
            .add_table_at(name, &format!("{base}/{name}/"))
            .await?;
        for filter in [
            "true",
            "id > 120",
            "zone = 'x/y' OR zone LIKE '5%'",
            "zone IS NULL",
        ] {
            let ask =
                |table: &str| format!("SELECT {columns} FROM {table} WHERE {filter} ORDER BY id");
            let right = client.rows(&ask(&format!("right_{name}")), true).await?;
            let found = client.rows(&ask(name), true).await?;
            found.must_equal(&right, &format!("{base}/{name} where {filter}"))?;
            let unnamed = client.rows(&ask(&format!("'{base}/{name}'")), true).await?;
            unnamed.must_equal(&right, &format!("FROM '{base}/{name}' where {filter}"))?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_table_has_the_rows_of_its_newest_version() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_tables(folder.path())?;
    let paths = ["plain", "by_zone"].map(|name| (name, folder.path().join(name)));
    let objects: Vec<Object<'_>> = paths
        .iter()
        .map(|(name, path)| (*name, path.as_path()))
        .collect();
    let lakes = Lakes::start(&objects, SEED).await?;
    let cluster = Cluster::start_in(2, 2, &lakes.variables).await?;
    let client = cluster.client().await?;
    for name in ["plain", "by_zone"] {
        let right = folder.path().join(format!("{name}.parquet"));
        client.add_table(&format!("right_{name}"), &right).await?;
    }
    let columns = ["id, fare, zone", "id, fare, zone, day"];
    let here = folder.path().to_string_lossy().into_owned();
    same(&client, &here, columns).await?;
    for lake in &lakes.lakes {
        same(&client, &lake.base, columns).await?;
    }
    // A version that is written while the table stands is the one that the next query reads.
    client
        .add_table_at("plain", &format!("{here}/plain"))
        .await?;
    let plain = folder.path().join("plain");
    let late = format!(
        "import pyarrow as pa; from deltalake import *; write_deltalake({plain:?}, pa.table({{'id': [9000], 'fare': [1.5], 'zone': ['late']}}), mode='append')"
    );
    run(&["-c", &late])?;
    let rows = client
        .rows("SELECT id, zone FROM plain WHERE id >= 9000", true)
        .await?;
    rows.must_equal(
        &client
            .rows("SELECT 9000 AS id, 'late' AS zone", true)
            .await?,
        "a late row",
    )?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_read_of_a_delta_table_is_refused_by_name() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_tables(folder.path())?;
    let cluster = Cluster::start(1, 1).await?;
    let client = cluster.client().await?;
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let gone = std::fs::read_dir(at("plain"))?
        .filter_map(|item| Some(item.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "parquet"))
        .collect::<Vec<_>>();
    let cases = [
        ("vectors", "deletion vectors"),
        ("renamed", "column mapping"),
        ("cloned", "shallow clone"),
        (
            "by_zone/zone=50%25",
            "whose log says which of its files count",
        ),
        ("plain/*.parquet", "whose log says which of its files count"),
    ];
    for (name, want) in cases {
        let error = client
            .add_table_at("refused", &at(name))
            .await
            .expect_err(name);
        let text = format!("{error:#}");
        ensure!(
            text.contains(want) && text.contains("Delta Lake table"),
            "{name}: {text}"
        );
    }
    for path in gone {
        std::fs::remove_file(path)?;
    }
    let error = client
        .add_table_at("refused", &at("plain"))
        .await
        .expect_err("gone");
    let text = format!("{error:#}");
    ensure!(
        text.contains("is gone") && text.contains(&at("plain")),
        "{text}"
    );
    Ok(())
}
