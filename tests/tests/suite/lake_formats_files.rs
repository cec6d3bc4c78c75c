//! Files as people have them: packed, in other encodings, with surprises in them, and of several shapes.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow::array::{
    ArrayRef, Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::ipc::writer::FileWriter;
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::data::write_parquet;
use whimbrel_tests::pool::Asker;

use crate::lake_formats::{line, refusals};

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    Ok(RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, values)| (name, values, true)),
    )?)
}

fn write_arrow(path: &Path, batch: &RecordBatch) -> Result<()> {
    let mut writer = FileWriter::try_new(File::create(path)?, &batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    Ok(())
}

fn gzip(path: &Path) -> Result<()> {
    let packed = Command::new("gzip").arg("-n").arg(path).status()?;
    ensure!(packed.success(), "gzip {}", path.display());
    Ok(())
}

/// A frame of one block that is not packed: what zstd makes of text that cannot be.
fn zstd(text: &str) -> Result<Vec<u8>> {
    let length = u8::try_from(text.len())?;
    let block = (u32::from(length) << 3 | 1).to_le_bytes();
    let head = [0x28, 0xb5, 0x2f, 0xfd, 0x20, length];
    Ok([&head, &block[..3], text.as_bytes()].concat())
}

fn write_text(folder: &Path) -> Result<()> {
    let file = |name: &str, bytes: &[u8]| -> Result<()> {
        let path = folder.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, bytes)?)
    };
    file("packed/a.csv", b"n,t\n1,x\n")?;
    file("packed/b.csv", b"n,t\n2,y\n3,\"a,\nb\"")?;
    gzip(&folder.join("packed/b.csv"))?;
    file("packed/c.csv.zst", &zstd("n,t\n4,z\n")?)?;
    file("lines/a.json", b"{\"a\": 1}\n{\"a\": 2, \"b\": \"x\"}\n")?;
    file("lines/b.ndjson", b"{\"b\": \"y\", \"c\": true}\n")?;
    gzip(&folder.join("lines/b.ndjson"))?;
    file("nulls.csv", b"id,fare\n1,NA\n2,-\n3,4.5\n4,\n")?;
    file("latin.csv", b"t\nstra\xdfe\n")?;
    let wide = "\u{feff}t,n\nstraße,7\n".encode_utf16();
    file(
        "wide.csv",
        &wide.flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
    )?;
    file("odd.csv", b"\xef\xbb\xbfid,t\r\n1,\"a\r\nb\"\r\n\r\n2,c")?;
    file("bad.csv", b"t,n\nfine,1\nnot \xff fine,2\n")?;
    file("broken.csv.gz", b"this was never packed")?;
    file("hidden.csv", &zstd("n\n1\n")?)?;
    file("mixed/a.csv", b"n\n1\n")?;
    file("mixed/b.csv", b"n\n1\n")?;
    file("mixed/c.json", b"{\"n\": 1}\n")?;
    file("delta/_delta_log/00000000000000000000.json", b"{}\n")?;
    file("berg/metadata/v1.metadata.json", b"{}\n")?;
    file("late/a.csv", b"id,fare\n1,2\n")?;
    file("clash/a.json", b"{\"n\": 1}\n")?;
    file("heads/a.csv", b"id,fare\n1,2\n")?;
    file("heads/b.csv", b"fare,id\n1,2\n")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_read_however_it_is_packed_and_written() -> Result<()> {
    let cluster = Cluster::start(1, 2).await?;
    let folder = cluster.folder().to_owned();
    write_text(&folder)?;
    let client = cluster.client().await?;
    let packed = "SELECT sum(n), count(*), max(char_length(t)) FROM 'packed/'";
    ensure!(
        line(&client, packed).await? == "10 | 4 | 4",
        "{}",
        line(&client, packed).await?
    );
    let lines = "SELECT sum(a), string_agg(b, '' ORDER BY b), bool_or(c) FROM 'lines/'";
    ensure!(
        line(&client, lines).await? == "3 | xy | true",
        "{}",
        line(&client, lines).await?
    );
    for (name, options) in [
        ("nulls", "'null_values' 'NA,-'"),
        ("latin", "'encoding' 'latin1'"),
        ("wide", "'encoding' 'utf-16'"),
        ("odd", "'newlines_in_values' 'true'"),
        ("hidden", "'compression' 'zstd'"),
    ] {
        let sql = format!(
            "CREATE EXTERNAL TABLE {name} STORED AS CSV LOCATION '{}/{name}.csv' OPTIONS ({options})",
            folder.display()
        );
        client.collect(&sql).await?;
    }
    for (sql, want) in [
        (
            "SELECT count(fare), sum(fare), count(*) FROM nulls",
            "1 | 4.500000 | 4",
        ),
        ("SELECT t FROM latin", "straße"),
        ("SELECT t, n FROM wide", "straße | 7"),
        (
            "SELECT sum(id), min(t) = 'a' || chr(13) || chr(10) || 'b', count(*) FROM odd",
            "3 | true | 2",
        ),
        ("SELECT n FROM hidden", "1"),
    ] {
        let found = line(&client, sql).await?;
        ensure!(found == want, "{sql}: {found}");
    }
    // What a table's files are is found out once; these come after.
    for name in ["late", "clash"] {
        client.add_table(name, &folder.join(name)).await?;
    }
    fs::write(folder.join("late/b.csv"), "fare,id\n1,2\n")?;
    fs::write(folder.join("clash/b.json"), "{\"n\": \"many\"}\n")?;
    refusals(&client, &folder, "files_of_text", &[
        "SELECT * FROM 'DIR/mixed/'",
        "SELECT * FROM 'DIR/broken.csv.gz'",
        "SELECT * FROM 'DIR/hidden.csv'",
        "SELECT * FROM 'DIR/wide.csv'",
        "SELECT sum(n) FROM 'DIR/bad.csv'",
        "SELECT count(t) FROM 'DIR/bad.csv'",
        "SELECT * FROM 'DIR/heads/'",
        "SELECT * FROM late",
        "SELECT * FROM clash",
        "SELECT * FROM 'DIR/delta/'",
        "SELECT * FROM 'DIR/berg'",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'DIR/late' OPTIONS ('compression' 'lzo')",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'DIR/late' OPTIONS ('encoding' 'ebcdic')",
        "CREATE EXTERNAL TABLE t STORED AS JSON LOCATION 'DIR/lines' OPTIONS ('null_values' 'x')",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'DIR/late' OPTIONS ('has_haeder' 'true')",
    ]).await
}

/// Tables whose later files have other columns than those that were looked into.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_other_shapes_are_read_without_loss_or_named() -> Result<()> {
    let cluster = Cluster::start(1, 2).await?;
    let folder = cluster.folder().to_owned();
    let client = cluster.client().await?;
    type Write = fn(&Path, &RecordBatch) -> Result<()>;
    let formats: [(&str, Write); 2] = [("parquet", write_parquet), ("arrow", write_arrow)];
    for (format, write) in formats {
        let at = folder.join(format);
        fs::create_dir(&at)?;
        let file = |name: &str| at.join(format!("{name}.{format}"));
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        write(
            &file("a"),
            &batch(vec![("n", ints), ("t", Arc::clone(&texts))])?,
        )?;
        client.add_table(format, &at).await?;
        let narrow: ArrayRef = Arc::new(Int16Array::from(vec![30, 40]));
        write(
            &file("b"),
            &batch(vec![("more", Arc::clone(&texts)), ("n", narrow)])?,
        )?;
        write(&file("c"), &batch(vec![("t", Arc::clone(&texts))])?)?;
        let sql = format!("SELECT sum(n), count(n), count(t), count(*) FROM {format}");
        let found = line(&client, &sql).await?;
        ensure!(found == "73 | 4 | 4 | 6", "{format}: {found}");
        for (name, values) in [
            (
                "long",
                Arc::new(Int64Array::from(vec![1 << 40])) as ArrayRef,
            ),
            ("float", Arc::new(Float64Array::from(vec![1.5]))),
            ("text", texts.slice(0, 1)),
        ] {
            let odd = file("odd");
            write(&odd, &batch(vec![("n", values), ("t", texts.slice(1, 1))])?)?;
            shape_refused(&client, &folder, format, name).await?;
            fs::remove_file(odd)?;
        }
    }
    Ok(())
}

async fn shape_refused(client: &Asker, folder: &Path, format: &str, name: &str) -> Result<()> {
    // Where the column is not asked for, its type does not matter.
    let count = line(client, &format!("SELECT count(t) FROM {format}")).await?;
    ensure!(count == "5", "{count}");
    let sql = format!("SELECT sum(n) FROM {format}");
    refusals(
        client,
        folder,
        &format!("shape_{format}_{name}"),
        &[sql.as_str()],
    )
    .await
}
