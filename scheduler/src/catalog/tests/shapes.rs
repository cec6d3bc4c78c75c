//! Tables of many files: their folders, their shapes, and how they are cut.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::parquet::arrow::ArrowWriter;

use super::subject;

#[tokio::test]
async fn folders_become_columns_and_rule_files_out() {
    let subject = subject().await;
    for (year, zone) in [(2023, "a"), (2023, "b"), (2024, "a")] {
        let name = format!("trips/year={year}/zone={zone}/part.csv");
        subject.write(&name, &format!("id,note\n{year},x\n"));
    }
    let columns = "id Int64, note Utf8, year Int64, zone Utf8";
    assert_eq!(subject.add("trips", "trips").await.unwrap(), columns);
    let sum = "SELECT sum(id), min(zone) FROM pool.public.trips WHERE year = 2023 AND zone <> 'b'";
    assert!(subject.query(sum).await.unwrap().contains("| 2023 "));
    // A folder that is ruled out is not opened.
    subject.write("trips/year=2025/zone=a/part.csv", "no,such\nshape,1,2,3\n");
    assert!(subject.query(sum).await.unwrap().contains("| 2023 "));
    subject.write("same/zone=a/part.csv", "id,zone\n1,x\n");
    let same = subject.add("same", "same").await.unwrap_err();
    assert!(
        same.message()
            .ends_with("and their folders have a column 'zone'"),
        "{same}"
    );
    subject.write("trips/year=soon/zone=a/part.csv", "id,note\n1,x\n");
    let late = subject.query(sum).await.unwrap_err();
    assert!(
        late.message()
            .contains("gives 'year' a value that is no Int64"),
        "{late}"
    );
}

#[tokio::test]
async fn files_of_several_shapes_are_one_table_where_nothing_is_lost() {
    let subject = subject().await;
    let write = |name: &str, fields: Vec<Field>, columns: Vec<ArrayRef>| {
        let schema = Arc::new(Schema::new(fields));
        let path = subject.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut writer =
            ArrowWriter::try_new(fs::File::create(path).unwrap(), Arc::clone(&schema), None)
                .unwrap();
        writer
            .write(&RecordBatch::try_new(schema, columns).unwrap())
            .unwrap();
        writer.close().unwrap();
    };
    let int = Field::new("n", DataType::Int32, false);
    write(
        "drift/a.parquet",
        vec![int.clone()],
        vec![Arc::new(Int32Array::from(vec![1]))],
    );
    let long = Field::new("n", DataType::Int64, false);
    let text = Field::new("t", DataType::Utf8, true);
    write(
        "drift/b.parquet",
        vec![text.clone(), long],
        vec![
            Arc::new(StringArray::from(vec!["x"])),
            Arc::new(Int64Array::from(vec![1 << 40])),
        ],
    );
    assert_eq!(
        subject.add("drift", "drift").await.unwrap(),
        "n Int64, t Utf8View"
    );
    let rows = subject
        .query("SELECT n, t FROM pool.public.drift ORDER BY n")
        .await
        .unwrap();
    assert_eq!(rows.replace(' ', ""), "|1|||1099511627776|x|");
    let other = Field::new("n", DataType::Utf8, true);
    write(
        "clash/a.parquet",
        vec![int],
        vec![Arc::new(Int32Array::from(vec![1]))],
    );
    write(
        "clash/b.parquet",
        vec![other],
        vec![Arc::new(StringArray::from(vec!["x"]))],
    );
    let clash = subject.add("clash", "clash").await.unwrap_err();
    assert!(
        clash
            .message()
            .ends_with("its column 'n' is Utf8View, not Int32"),
        "{clash}"
    );
}

#[tokio::test]
async fn big_files_are_cut_and_every_row_is_read_once() {
    let subject = subject().await;
    let mut text = String::from("id,note\n");
    for id in 0..300_000 {
        text.push_str(&format!("{id},row number {id}\r\n"));
    }
    subject.write("big.csv", text.trim_end());
    subject.add("big", "big.csv").await.unwrap();
    let sum = "SELECT count(*), sum(id), count(DISTINCT note) FROM pool.public.big";
    let rows = subject.query(sum).await.unwrap().replace(' ', "");
    assert_eq!(rows, "|300000|44999850000|300000|");
    let plan = subject
        .query("EXPLAIN SELECT id FROM pool.public.big")
        .await
        .unwrap();
    assert!(
        plan.contains("file_groups={") && !plan.contains("file_groups={1 group"),
        "{plan}"
    );
}

#[tokio::test]
async fn files_that_are_not_what_they_seem_are_refused() {
    let subject = subject().await;
    for (name, text) in [
        ("packed.parquet.gz", "x"),
        ("packed.csv.zip", "x"),
        ("delta/_delta_log/00000000000000000000.json", "{}"),
        ("delta/y=1/a.csv", "a\n1\n"),
        ("berg/metadata/v1.metadata.json", "{}"),
        ("berg/data/a.csv", "a\n1\n"),
        ("plain/a.csv", "a\n1\n"),
    ] {
        subject.write(name, text);
    }
    let delta = format!(
        "'{}' is a Delta Lake table, whose log says which of its files count",
        subject.path("delta")
    );
    let broken = format!(
        "the log of the Delta Lake table '{}' cannot be read: ",
        subject.path("delta")
    );
    let iceberg = format!(
        "'{}' is an Iceberg table, which cannot be read yet",
        subject.path("berg")
    );
    for (uri, want) in [
        (
            "packed.parquet.gz",
            format!("'{}' is compressed", subject.path("packed.parquet.gz")),
        ),
        (
            "packed.csv.zip",
            format!("'{}' is an archive", subject.path("packed.csv.zip")),
        ),
        ("delta", broken.clone()),
        ("delta/y=1", delta.clone()),
        ("delta/*/*.csv", delta.clone()),
        ("*/*/*.csv", iceberg.clone()),
        ("berg", iceberg.clone()),
        ("berg/data/", iceberg),
    ] {
        let error = subject.add("t", uri).await.unwrap_err();
        let message = error.message();
        let own = message == want
            || (uri == "*/*/*.csv" && message == delta)
            || (uri == "delta" && message.starts_with(&want));
        assert!(own, "{uri}: {error}");
    }
    // A file that is named in full, and a folder beside such tables, are what they are.
    for (name, uri) in [("one", "delta/y=1/a.csv"), ("beside", "plain")] {
        assert_eq!(
            subject.add(name, uri).await.unwrap().split(',').next(),
            Some("a Int64")
        );
    }
}
