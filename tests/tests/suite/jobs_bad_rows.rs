//! Rows that cannot be scored, as a score job was told to deal with them: all the others arrive, and the counts add up.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::jobs::{Job, Status};

const ROWS: u64 = 20_000;
/// The model fails at it.
const TOO_LARGE: u64 = 7_777;
/// It has no value.
const EMPTY: u64 = 12_000;
/// It has a text where a number should be.
const GARBLED: u64 = 15_000;
/// It lacks a field.
const SHORT: u64 = 18_000;
const BAD: u64 = 4;

fn write_rows(path: &Path) -> Result<()> {
    let mut text = String::from("id,passenger_count\n");
    for id in 0..ROWS {
        if id == SHORT {
            text.push_str(&format!("{id}\n"));
            continue;
        }
        let count = match id {
            GARBLED => "many".to_owned(),
            TOO_LARGE => "9".to_owned(),
            EMPTY => String::new(),
            _ => (id % 3).to_string(),
        };
        text.push_str(&format!("{id},{count}\n"));
    }
    Ok(std::fs::write(path, text)?)
}

/// Runs a job that scores the rows into the folder `output`.
async fn scored(cluster: &Cluster, output: &str, options: &[&str]) -> Result<Status> {
    let (input, output) = (
        cluster.folder().join("rows.csv"),
        cluster.folder().join(output),
    );
    let (input, output) = (input.to_string_lossy(), output.to_string_lossy());
    let mut all = vec!["--model", "fails", "--input", &input, "--keep", "id"];
    all.extend(["--output", &output]);
    all.extend(options);
    Job::submit(cluster, &all)?.ended().await
}

/// The lines of all files of a folder that anybody sees.
fn lines(folder: &Path) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().context("a name")?.to_string_lossy();
        if path.is_file() && !name.starts_with(['.', '_']) {
            let text = std::fs::read_to_string(&path)?;
            for line in text.lines() {
                found.push(serde_json::from_str(line)?);
            }
        }
    }
    found.sort_by_key(|line: &Value| line["row"]["id"].as_u64());
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_scored_are_put_aside_or_null_or_end_the_job() -> Result<()> {
    let cluster = Cluster::start(2, 1).await?;
    write_rows(&cluster.folder().join("rows.csv"))?;
    let client = cluster.client().await?;
    client.bind_model("fails", "fails_above_two").await?;
    let dead = cluster.folder().join("dead");
    let aside = format!("deadletter={}", dead.display());

    let done = scored(&cluster, "out", &["--on-error", &aside]).await?;
    ensure!(done.state() == "succeeded", "{}", done.json);
    let count = |name: &str| done.number(&format!("/progress/{name}"));
    ensure!(
        (count("rows_written"), count("rows_dead")) == (ROWS - BAD, BAD),
        "{}",
        done.json
    );
    let letters = lines(&dead)?;
    let ids: Vec<_> = letters
        .iter()
        .map(|line| line["row"]["id"].as_u64())
        .collect();
    let expected = [None, Some(TOO_LARGE), Some(EMPTY), Some(GARBLED)];
    ensure!(ids == expected, "{letters:?}");
    for letter in &letters {
        let file = letter["file"].as_str().context("a file")?;
        ensure!(file.ends_with("/rows.csv"), "{letter}");
        ensure!(
            letter["reason"].as_str().is_some_and(|why| !why.is_empty()),
            "{letter}"
        );
    }
    let [short, large, empty, garbled] = letters.as_slice() else {
        unreachable!("four letters");
    };
    let text = short["row"].as_str().context("a text")?;
    ensure!(text.parse() == Ok(SHORT), "{short}");
    ensure!(large["row"]["passenger_count"] == 9, "{large}");
    for letter in [empty, garbled] {
        ensure!(letter["column"] == "passenger_count", "{letter}");
    }
    ensure!(garbled["row"]["passenger_count"] == "many", "{garbled}");
    let nulled = cluster.folder().join("some");
    let sql = format!(
        "COPY (SELECT id, PREDICT('fails', *) AS p FROM '{}' WHERE passenger_count = 1) TO '{}' OPTIONS ('on_error' 'null')",
        cluster.folder().join("rows.csv").display(),
        nulled.display()
    );
    let answer = client.rows(&sql, false).await?.to_text();
    let ones =
        (0..ROWS).filter(|id| id % 3 == 1 && ![TOO_LARGE, EMPTY, GARBLED, SHORT].contains(id));
    ensure!(
        answer.contains(&format!(" | {} | 0 | ", ones.count())),
        "{answer}"
    );
    let rows = async |output: &str, what: &str| -> Result<String> {
        let folder = cluster.folder().join(output);
        let sql = format!("SELECT {what} AS n FROM '{}/'", folder.display());
        Ok(client.rows(&sql, false).await?.to_text())
    };
    let written = rows("out", "count(DISTINCT id)").await?;
    ensure!(written == format!("n\n{}\n", ROWS - BAD), "{written}");

    let few = cluster.folder().join("few");
    let few_aside = format!("deadletter={}", few.display());
    let options = ["--on-error", few_aside.as_str(), "--max-errors", "1"];
    let failed = scored(&cluster, "failed", &options).await?;
    ensure!(failed.state() == "failed", "{}", failed.json);
    ensure!(
        failed.json["error"]
            .to_string()
            .contains("cannot be scored"),
        "{}",
        failed.json
    );
    ensure!(lines(&few)?.is_empty() && !cluster.folder().join("failed").exists());

    let nulled = scored(&cluster, "nulled", &["--on-error", "null"]).await?;
    ensure!(nulled.state() == "succeeded", "{}", nulled.json);
    let nulls = rows("nulled", "count(*) - count(prediction)").await?;
    ensure!(nulls == format!("n\n{BAD}\n"), "{nulls}");
    let kept = rows("nulled", "count(*) - count(id)").await?;
    ensure!(kept == "n\n1\n", "only the short one has no id: {kept}");

    let strict = scored(&cluster, "strict", &[]).await?;
    ensure!(strict.state() == "failed", "{}", strict.json);
    ensure!(!cluster.folder().join("strict").exists());
    Ok(())
}
