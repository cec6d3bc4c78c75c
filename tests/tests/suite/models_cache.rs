//! Models in the executors' memory: one load per executor and model however many queries ask at once, the least recently used
//! one dropped first when memory is short, and rows that are right all the while.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use whimbrel_proto::v1::LoadedModel;
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::command;
use whimbrel_tests::data::{self, Datasets};
use whimbrel_tests::pool::Asker;
use whimbrel_tests::reference::Reference;
use whimbrel_tests::wait;

const QUERIES: usize = 10;
const ROUNDS: usize = 8;

/// Ten queries at once over three models; each answer is compared with the model's own.
async fn ten_queries(client: &Asker, reference: &Reference) -> Result<()> {
    let queries: Vec<_> = (0..QUERIES)
        .map(|number| {
            let client = client.clone();
            let (alias, _) = Reference::MODELS[number % Reference::MODELS.len()];
            let sql =
                format!("SELECT count(p), sum(p), min(p), max(p) FROM (SELECT PREDICT('{alias}', *) AS p FROM trips) x");
            (alias, tokio::spawn(async move { client.rows(&sql, false).await }))
        })
        .collect();
    for (alias, query) in queries {
        let plain = format!(
            "SELECT count({alias}_p), sum({alias}_p), min({alias}_p), max({alias}_p) FROM scored"
        );
        let expected = reference.ask(&plain, false).await?;
        query.await??.must_equal(&expected, alias)?;
    }
    Ok(())
}

/// Tables and models; alias to digest.
async fn furnish(client: &Asker, datasets: &Datasets) -> Result<BTreeMap<String, String>> {
    client.add_table("trips", &datasets.trips).await?;
    let mut digests = BTreeMap::new();
    for (alias, model) in Reference::MODELS {
        digests.insert(
            alias.to_owned(),
            client.bind_model(alias, model).await?.digest,
        );
    }
    Ok(digests)
}

/// What each executor holds, once all rows of `queries` queries are reported.
async fn loaded(cluster: &Cluster, queries: usize) -> Result<Vec<Vec<LoadedModel>>> {
    wait::until("the executors reported all rows", || async {
        let status = cluster.status().await.ok()?;
        let models: Vec<_> = status
            .executors
            .into_iter()
            .map(|executor| executor.models)
            .collect();
        let rows: u64 = models.iter().flatten().map(|model| model.rows_scored).sum();
        (rows == (queries * data::TRIPS) as u64).then_some(models)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_queries_load_three_models_once_on_each_of_two_executors() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let datasets = Datasets::write(folder.path())?;
    let reference = Reference::new().await?;
    let cluster = Cluster::with(Options {
        executors: 2,
        slots: 2,
        executor: &[("WHIMBREL_HEARTBEAT", "1s")],
        ..Options::default()
    })
    .await?;
    let client = cluster.client().await?;
    let digests = furnish(&client, &datasets).await?;
    // Which executor gets a task is the engine's choice: one may have had none of a model's in the first round.
    let mut models = Vec::new();
    for round in 1..=ROUNDS {
        ten_queries(&client, &reference).await?;
        models = loaded(&cluster, round * QUERIES).await?;
        if models.iter().all(|models| models.len() == digests.len()) {
            break;
        }
    }
    ensure!(models.len() == 2, "{models:?}");
    for models in models {
        let loads: BTreeMap<_, _> = models
            .iter()
            .map(|model| (model.digest.clone(), model.loads))
            .collect();
        let expected: BTreeMap<_, _> = digests.values().map(|digest| (digest.clone(), 1)).collect();
        ensure!(loads == expected, "{models:?}");
    }
    list_shows_memory(&cluster, 2 * digests.len()).await
}

/// `model list --loaded`: one line per executor and model, with its memory.
async fn list_shows_memory(cluster: &Cluster, expected: usize) -> Result<()> {
    let (folder, address) = (cluster.folder().to_owned(), cluster.address().to_owned());
    let args = ["--json", "model", "list", "--loaded"];
    let outcome =
        tokio::task::spawn_blocking(move || command::run(&folder, Some(&address), &args)).await??;
    let lines: Vec<serde_json::Value> = outcome
        .stdout
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(lines.len() == expected, "{}", outcome.stdout);
    for line in lines {
        let number = |key: &str| {
            line[key]
                .as_u64()
                .with_context(|| format!("no {key} in {line}"))
        };
        let (bytes, held) = (number("bytes")?, number("held_bytes")?);
        ensure!(bytes > 0 && held >= bytes, "{line}");
        ensure!(
            number("loads")? == 1 && number("rows_scored")? > 0,
            "{line}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_holds_no_two_models_gives_the_same_rows() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let datasets = Datasets::write(folder.path())?;
    let reference = Reference::new().await?;
    let cluster = Cluster::with(Options {
        executors: 2,
        slots: 2,
        executor: &[
            ("WHIMBREL_HEARTBEAT", "1s"),
            ("WHIMBREL_MODEL_CACHE_BYTES", "1"),
        ],
        ..Options::default()
    })
    .await?;
    let client = cluster.client().await?;
    furnish(&client, &datasets).await?;
    for _ in 0..2 {
        ten_queries(&client, &reference).await?;
    }
    // At rest, at most the last one is still there.
    wait::until("each executor dropped all models but one", || async {
        let status = cluster.status().await.ok()?;
        status
            .executors
            .iter()
            .all(|executor| executor.models.len() <= 1)
            .then_some(())
    })
    .await
}

/// One executor with room for two of three models.
async fn room_for_two() -> Result<Cluster> {
    let size = |model: &str| -> Result<u64> { Ok(std::fs::metadata(data::model(model)?)?.len()) };
    let budget = (size("fare")? + size("mlp")? + size("columns")? / 2).to_string();
    Cluster::with(Options {
        executors: 1,
        slots: 1,
        executor: &[
            ("WHIMBREL_HEARTBEAT", "1s"),
            ("WHIMBREL_SCORING_THREADS", "1"),
            ("WHIMBREL_MODEL_CACHE_BYTES", &budget),
        ],
        ..Options::default()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_recently_used_model_makes_room() -> Result<()> {
    let cluster = room_for_two().await?;
    let datasets = Datasets::write(cluster.folder())?;
    let client = cluster.client().await?;
    client.add_table("trips", &datasets.trips).await?;
    let mut aliases = BTreeMap::new();
    for model in ["fare", "mlp", "columns"] {
        let digest = client.bind_to_ort(model, model).await?.digest;
        aliases.insert(digest, model);
    }
    let mut first = BTreeMap::new();
    // What is asked, and which models are there afterwards, with the number of times that each was loaded.
    let steps: [(&str, &[(&str, u64)]); 6] = [
        ("fare", &[("fare", 1)]),
        ("mlp", &[("fare", 1), ("mlp", 1)]),
        ("fare", &[("fare", 1), ("mlp", 1)]),
        ("columns", &[("columns", 1), ("fare", 1)]),
        ("mlp", &[("columns", 1), ("mlp", 2)]),
        ("fare", &[("fare", 2), ("mlp", 2)]),
    ];
    for (number, (alias, expected)) in steps.into_iter().enumerate() {
        let sql = format!("SELECT trip_id, PREDICT('{alias}', *) AS p FROM trips");
        let rows = client.rows(&sql, false).await?;
        match first.get(alias) {
            Some(before) => rows.must_equal(before, alias)?,
            None => drop(first.insert(alias, rows)),
        }
        wait::until(&format!("step {number} leaves {expected:?}"), || async {
            let status = cluster.status().await.ok()?;
            let mut held: Vec<_> = status
                .executors
                .first()?
                .models
                .iter()
                .map(|model| (aliases[&model.digest], model.loads))
                .collect();
            held.sort_unstable();
            (held == expected).then_some(())
        })
        .await
        .with_context(|| format!("after asking {alias}"))?;
    }
    Ok(())
}
