//! What is written reads back; what is not finished is not there.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float32Array, Float32Builder, Int64Array, Int64Builder, ListArray,
    MapBuilder, StringArray, StructArray,
};
use arrow::datatypes::{Float32Type, Int32Type};
use arrow::record_batch::RecordBatch;
use whimbrel::clock::unique_name;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(unique_name());
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Two batches whose dictionaries differ.
fn batches() -> Vec<RecordBatch> {
    let batch = |ids: Vec<i64>, fares: Vec<Option<f32>>, zones: Vec<&str>| {
        let zones: DictionaryArray<Int32Type> = zones.into_iter().collect();
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from(ids))),
            ("fare", Arc::new(Float32Array::from(fares))),
            ("zone", Arc::new(zones)),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
            .unwrap()
    };
    vec![
        batch(vec![1, 2], vec![Some(1.5), None], vec!["a, b", "c"]),
        batch(vec![3], vec![Some(-0.25)], vec!["d"]),
    ]
}

async fn write(path: &Path, batches: &[RecordBatch]) -> Result<(), Failure> {
    let wish = Wish {
        format: None,
        file: Some(path),
        json: false,
        stdout_is_terminal: true,
    };
    let sink = RowSink::start(&Target::decide(wish)?, batches[0].schema())?;
    for batch in batches {
        assert!(sink.write(batch.clone()).await);
    }
    sink.finish().await
}

async fn written(name: &str) -> (Folder, PathBuf) {
    let folder = Folder::new();
    let path = folder.0.join(name);
    write(&path, &batches()).await.unwrap();
    assert_eq!(folder.names(), [name]);
    (folder, path)
}

fn plain_rows(batches: impl Iterator<Item = RecordBatch>) -> Vec<(i64, Option<f32>, String)> {
    let mut rows = Vec::new();
    for batch in batches {
        let ids: &Int64Array = batch.column(0).as_any().downcast_ref().unwrap();
        let fares: &Float32Array = batch.column(1).as_any().downcast_ref().unwrap();
        let zones =
            arrow::compute::cast(batch.column(2), &arrow::datatypes::DataType::Utf8).unwrap();
        let zones: &StringArray = zones.as_any().downcast_ref().unwrap();
        for row in 0..batch.num_rows() {
            rows.push((
                ids.value(row),
                fares.iter().nth(row).unwrap(),
                zones.value(row).to_owned(),
            ));
        }
    }
    rows
}

fn expected() -> Vec<(i64, Option<f32>, String)> {
    vec![
        (1, Some(1.5), "a, b".into()),
        (2, None, "c".into()),
        (3, Some(-0.25), "d".into()),
    ]
}

#[tokio::test]
async fn parquet_and_arrow_read_back() {
    let (_folder, path) = written("rows.parquet").await;
    let file = std::fs::File::open(path).unwrap();
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 100).unwrap();
    assert_eq!(plain_rows(reader.map(Result::unwrap)), expected());
    let (_folder, path) = written("rows.arrow").await;
    let reader =
        arrow::ipc::reader::FileReader::try_new(std::fs::File::open(path).unwrap(), None).unwrap();
    assert_eq!(plain_rows(reader.map(Result::unwrap)), expected());
}

#[tokio::test]
async fn texts_are_as_their_formats_say() {
    let cases = [
        (
            "rows.csv",
            "id,fare,zone\n1,1.5,\"a, b\"\n2,,c\n3,-0.25,d\n",
        ),
        (
            "rows.json",
            "{\"id\":1,\"fare\":1.5,\"zone\":\"a, b\"}\n{\"id\":2,\"fare\":null,\"zone\":\"c\"}\n{\"id\":3,\"fare\":-0.25,\"zone\":\"d\"}\n",
        ),
        (
            "rows.txt",
            "id |  fare | zone\n---+-------+-----\n 1 |   1.5 | a, b\n 2 |  NULL | c\n 3 | -0.25 | d\n",
        ),
    ];
    for (name, text) in cases {
        let (_folder, path) = written(name).await;
        assert_eq!(std::fs::read_to_string(path).unwrap(), text, "{name}");
    }
}

/// A label with its probabilities, and probabilities by class.
fn nested() -> RecordBatch {
    let mut by_class = MapBuilder::new(None, Int64Builder::new(), Float32Builder::new());
    by_class.keys().append_slice(&[0, 1]);
    by_class.values().append_slice(&[0.25, 0.75]);
    by_class.append(true).unwrap();
    by_class.append(false).unwrap();
    let lists = vec![Some(vec![Some(0.25), None]), Some(vec![])];
    let lists = ListArray::from_iter_primitive::<Float32Type, _, _>(lists);
    let labels: ArrayRef = Arc::new(StringArray::from(vec!["say \"yes\"", "no"]));
    let lists: ArrayRef = Arc::new(lists);
    let rows = StructArray::try_from(vec![("label", labels), ("p", lists)]).unwrap();
    let columns: [(&str, ArrayRef); 2] = [
        ("row", Arc::new(rows)),
        ("classes", Arc::new(by_class.finish())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

#[tokio::test]
async fn nested_values_are_json_in_texts() {
    let cases = [
        (
            "rows.csv",
            concat!(
                "row,classes\n",
                r#""{""label"":""say \""yes\"""",""p"":[0.25,null]}","{""0"":0.25,""1"":0.75}""#,
                "\n",
                r#""{""label"":""no"",""p"":[]}","#,
                "\n"
            ),
        ),
        (
            "rows.json",
            concat!(
                r#"{"row":{"label":"say \"yes\"","p":[0.25,null]},"classes":{"0":0.25,"1":0.75}}"#,
                "\n",
                r#"{"row":{"label":"no","p":[]},"classes":null}"#,
                "\n"
            ),
        ),
    ];
    for (name, text) in cases {
        let folder = Folder::new();
        let path = folder.0.join(name);
        write(&path, &[nested()]).await.unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), text, "{name}");
    }
}

#[tokio::test]
async fn a_result_without_rows_has_its_columns() {
    let folder = Folder::new();
    let path = folder.0.join("none.csv");
    let empty = RecordBatch::new_empty(batches()[0].schema());
    write(&path, &[empty]).await.unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), "id,fare,zone\n");
}

#[tokio::test]
async fn what_is_not_finished_leaves_the_old_file_and_nothing_else() {
    let folder = Folder::new();
    let path = folder.0.join("rows.csv");
    std::fs::write(&path, "old").unwrap();
    let target = Target {
        format: Format::Csv,
        place: Place::File(path.clone()),
    };
    let RowSink { sender, thread } = RowSink::start(&target, batches()[0].schema()).unwrap();
    sender
        .send(sink::Message::Batch(batches()[0].clone()))
        .await
        .unwrap();
    drop(sender);
    thread.join().unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(folder.names(), ["rows.csv"]);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let folder = Folder::new();
    let named_like_a_file = folder.0.join("folder.csv");
    std::fs::create_dir(&named_like_a_file).unwrap();
    let full = folder.0.join("full.csv");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let cases = [
        (
            Path::new("/nowhere/rows.csv"),
            "No such file or directory (os error 2); make its folder first",
        ),
        (&named_like_a_file, "is a directory; name a file in it"),
        (
            &full,
            "No space left on device (os error 28); check the free space there",
        ),
    ];
    for (path, reason) in cases {
        let failure = write(path, &batches()).await.unwrap_err();
        let message = failure.error().unwrap().to_string();
        assert_eq!(
            message,
            format!("cannot write {}: {reason}", path.display())
        );
    }
    assert_eq!(folder.names().len(), 2, "nothing unfinished is left");
}

#[tokio::test]
async fn a_link_stays_one_and_a_device_is_not_replaced() {
    let folder = Folder::new();
    let (real, link, device) = (
        folder.0.join("real.csv"),
        folder.0.join("link.csv"),
        folder.0.join("null.csv"),
    );
    std::fs::write(&real, "old").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    std::os::unix::fs::symlink("/dev/null", &device).unwrap();
    write(&link, &batches()).await.unwrap();
    write(&device, &batches()).await.unwrap();
    assert!(
        std::fs::read_to_string(&real)
            .unwrap()
            .starts_with("id,fare")
    );
    for path in [&link, &device] {
        assert!(std::fs::symlink_metadata(path).unwrap().is_symlink());
    }
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn the_format_follows_the_file_then_the_terminal() {
    let wish = Wish {
        format: None,
        file: None,
        json: false,
        stdout_is_terminal: true,
    };
    let format = |wish: Wish<'_>| Target::decide(wish).map(|target| target.format).ok();
    assert_eq!(format(wish), Some(Format::Table));
    assert_eq!(
        format(Wish {
            stdout_is_terminal: false,
            ..wish
        }),
        Some(Format::Csv)
    );
    assert_eq!(format(Wish { json: true, ..wish }), Some(Format::Json));
    assert_eq!(
        format(Wish {
            file: Some(Path::new("x.Parquet")),
            ..wish
        }),
        Some(Format::Parquet)
    );
    assert_eq!(
        format(Wish {
            file: Some(Path::new("x.dat")),
            ..wish
        }),
        None
    );
    assert_eq!(
        format(Wish {
            file: Some(Path::new("x.dat")),
            format: Some(Format::Csv),
            ..wish
        }),
        Some(Format::Csv)
    );
    assert_eq!(
        format(Wish {
            format: Some(Format::Parquet),
            ..wish
        }),
        None
    );
}
