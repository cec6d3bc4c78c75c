//! Files with flipped bits: no query over them ends in a panic, each error names the file, and the pool is well afterwards. Pages of
//! Parquet files that carry their sums never give wrong rows.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::pool::Asker;
use whimbrel_tests::service;

const SEED: u64 = 20_261_121;
const FLIPS: u64 = 200;

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

fn write_files(folder: &Path) -> Result<()> {
    let output = Command::new(service::python()?)
        .arg(service::script("checked.py"))
        .arg(folder)
        .output()
        .context("write the files")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

async fn rows(client: &Asker, table: &str) -> Result<RecordBatch> {
    let sql = format!("SELECT id, fare, zone, note FROM {table} ORDER BY id, fare, zone, note");
    let (schema, batches) = client.collect(&sql).await?;
    Ok(concat_batches(&schema, &batches)?)
}

/// How queries over the damaged file ended.
#[derive(Debug, Default)]
struct Ends {
    right: usize,
    refused: usize,
    /// Other rows, and no error, by the place of the flip.
    wrong: Vec<usize>,
}

/// Flips one bit at a time among the first `bytes`.
async fn flip(
    client: &Asker,
    path: &Path,
    bytes: usize,
    flips: u64,
    dice: &mut Dice,
) -> Result<Ends> {
    let whole = std::fs::read(path)?;
    let table = path
        .extension()
        .and_then(|ending| ending.to_str())
        .context("an ending")?;
    client.add_table(table, path).await?;
    let right = rows(client, table).await?;
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .context("a name")?;
    let mut ends = Ends::default();
    for _ in 0..flips {
        let place = dice.below(bytes);
        let mut damaged = whole.clone();
        damaged[place] ^= 1 << dice.below(8);
        std::fs::write(path, &damaged)?;
        match rows(client, table).await {
            Ok(found) if found == right => ends.right += 1,
            Ok(_) => ends.wrong.push(place),
            Err(error) => {
                let text = format!("{error:#}");
                ensure!(text.contains(name), "{name} at byte {place}: {text}");
                ensure!(
                    !text.contains("defect of Whimbrel"),
                    "{name} at byte {place}: {text}"
                );
                ends.refused += 1;
            }
        }
    }
    std::fs::write(path, &whole)?;
    ensure!(
        rows(client, table).await? == right,
        "the pool is not what it was"
    );
    Ok(ends)
}

/// Where the footer of a Parquet file begins: nothing in the format guards it.
fn footer(path: &Path) -> Result<usize> {
    let bytes = std::fs::read(path)?;
    let tail: [u8; 4] = bytes[bytes.len() - 8..bytes.len() - 4].try_into()?;
    Ok(bytes.len() - 8 - u32::from_le_bytes(tail) as usize)
}

#[expect(clippy::print_stdout, reason = "the seed, to look at a failure again")]
fn say(path: &Path, ends: &Ends) {
    println!("{}: seed {SEED}: {ends:?}", path.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_end_no_process_and_errors_name_the_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_files(folder.path())?;
    let mut cluster = Cluster::start(2, 1).await?;
    let client = cluster.client().await?;
    let mut dice = Dice(SEED);
    let mut refused = 0;
    for codec in ["snappy", "zstd", "none"] {
        let path = folder.path().join(format!("{codec}.parquet"));
        let flips = FLIPS.div_ceil(3);
        let ends = flip(&client, &path, footer(&path)?, flips, &mut dice).await?;
        say(&path, &ends);
        ensure!(
            ends.wrong.is_empty(),
            "wrong rows, in silence: {ends:?} of {}",
            path.display()
        );
        refused += ends.refused;
    }
    ensure!(refused as u64 > FLIPS / 2, "{refused} flips were noticed");
    // Neither format has sums: what can be asked of them is that they end no process.
    for name in ["plain.json", "plain.arrow"] {
        let path = folder.path().join(name);
        let size = std::fs::metadata(&path)?.len();
        let ends = flip(&client, &path, usize::try_from(size)?, 20, &mut dice).await?;
        say(&path, &ends);
    }
    for executor in &mut cluster.executors {
        ensure!(executor.exited().is_none(), "an executor ended");
    }
    Ok(())
}

/// Damage is tried on both executors, once each, and named by its place.
#[tokio::test(flavor = "multi_thread")]
async fn damage_is_tried_once_elsewhere_and_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_files(folder.path())?;
    let cluster = Cluster::start(2, 1).await?;
    let client = cluster.client().await?;
    let truncated = folder.path().join("snappy.parquet");
    client.add_table("cut", &truncated).await?;
    let damaged = folder.path().join("zstd.parquet");
    client.add_table("damaged", &damaged).await?;
    let json = folder.path().join("plain.json");
    client.add_table("lines", &json).await?;
    change(&truncated, |bytes| bytes.truncate(bytes.len() - 100))?;
    change(&damaged, |bytes| bytes[40..60].fill(0x55))?;
    change(&json, |bytes| bytes[60] = b'}')?;
    let cases = [
        (
            "cut",
            format!(
                "parquet file '{}' has a footer that cannot be read: ",
                truncated.display()
            ),
        ),
        (
            "damaged",
            format!(
                "parquet file '{}' row group 1 of 4, column 'id', bytes 4 to ",
                damaged.display()
            ),
        ),
        ("lines", format!("json file '{}' line 2: ", json.display())),
    ];
    for (table, start) in cases {
        let sql = format!("SELECT count(id), sum(fare), max(note) FROM {table}");
        let error = client.rows(&sql, false).await.expect_err("damaged");
        let text = format!("{error:#}");
        ensure!(text.contains(&start), "{text}");
    }
    let failures: Vec<usize> = cluster
        .executors
        .iter()
        .map(|executor| executor.log().matches("a task failed").count())
        .collect();
    ensure!(failures == [3, 3], "tasks failed {failures:?} times");
    Ok(())
}

fn change(path: &PathBuf, damage: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let mut bytes = std::fs::read(path)?;
    damage(&mut bytes);
    Ok(std::fs::write(path, bytes)?)
}
