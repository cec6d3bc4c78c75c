//! The catalog end to end on real files: what is added is found after a restart, and queries read the files of the moment.

mod shapes;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::{SessionConfig, SessionContext};
use tempfile::TempDir;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::{Environment, Stores};

use super::{AddTable, Catalog, Csv, Format, PoolSchema};
use crate::clock::SystemClock;
use crate::store::{MemoryStore, RedbStore, StateStore};

struct Subject {
    catalog: Arc<Catalog>,
    context: SessionContext,
    folder: TempDir,
}

async fn open(store: Arc<dyn StateStore>, base: &Path) -> Arc<Catalog> {
    let stores = Stores::new(Environment::default());
    Catalog::open(
        store,
        Arc::new(RuntimeEnv::default()),
        stores,
        base.to_owned(),
    )
    .await
    .unwrap()
}

async fn subject() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open(
        Arc::new(MemoryStore::new(SystemClock::shared())),
        folder.path(),
    )
    .await;
    let config = SessionConfig::new().with_default_catalog_and_schema("pool", "none");
    let context = SessionContext::new_with_config(config);
    let provider = context.catalog("pool").unwrap();
    drop(
        provider
            .register_schema("public", Arc::new(PoolSchema::new(Arc::clone(&catalog))))
            .unwrap(),
    );
    Subject {
        catalog,
        context,
        folder,
    }
}

impl Subject {
    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    async fn add(&self, name: &str, uri: &str) -> Result<String, Error> {
        self.add_as(AddTable {
            name: name.to_owned(),
            uri: uri.to_owned(),
            ..AddTable::default()
        })
        .await
    }

    /// The table's columns, as `name type`.
    async fn add_as(&self, request: AddTable) -> Result<String, Error> {
        let table = self.catalog.add(request).await?;
        let columns = table
            .schema
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), field.data_type()));
        Ok(columns.collect::<Vec<_>>().join(", "))
    }

    async fn query(&self, sql: &str) -> Result<String, Error> {
        let rows = async { self.context.sql(sql).await?.collect().await };
        rows.await
            .map(|batches| {
                let table = pretty_format_batches(&batches).unwrap().to_string();
                table
                    .lines()
                    .filter(|line| line.starts_with('|'))
                    .skip(1)
                    .collect::<Vec<_>>()
                    .join("")
            })
            .map_err(|error| {
                let ours = error.find_root().to_string();
                match error.find_root() {
                    datafusion::error::DataFusionError::External(error) => error
                        .downcast_ref::<Error>()
                        .cloned()
                        .unwrap_or_else(|| panic!("not ours: {ours}")),
                    _ => panic!("not ours: {ours}"),
                }
            })
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

#[tokio::test]
async fn csv_files_become_a_table_and_are_listed_anew_for_every_query() {
    let subject = subject().await;
    subject.write("trips/a.csv", "id,fare,zone\n1,2.5,x\n2,3,y\n");
    subject.write("trips/b.csv", "id,fare,zone\n3,4,z\n");
    subject.write("trips/_SUCCESS", "");
    subject.write("trips/.a.csv.crc", "id\nx\n");
    subject.write("trips/README.md", "# trips");
    assert_eq!(
        subject.add("trips", "trips").await.unwrap(),
        "id Int64, fare Float64, zone Utf8"
    );
    let sum = "SELECT sum(id) FROM pool.public.trips";
    assert!(subject.query(sum).await.unwrap().starts_with("| 6 "));
    subject.write("trips/c.csv", "id,fare,zone\n10,1,z\n");
    assert!(subject.query(sum).await.unwrap().contains("16"));
    assert!(
        subject
            .query("SELECT sum(id) FROM pool.public.TRIPS")
            .await
            .unwrap()
            .contains("16")
    );
    // A folder that was emptied is an empty table; one that is gone is an error.
    for name in ["a.csv", "b.csv", "c.csv"] {
        fs::remove_file(subject.folder.path().join("trips").join(name)).unwrap();
    }
    assert!(
        subject
            .query("SELECT count(*) FROM pool.public.trips")
            .await
            .unwrap()
            .contains("| 0 ")
    );
    fs::remove_dir_all(subject.folder.path().join("trips")).unwrap();
    let error = subject.query(sum).await.unwrap_err();
    let want = format!(
        "table 'trips' cannot be read: '{}' does not exist; put the files back, or `whimbrel table drop trips` and add it where they are now",
        subject.path("trips")
    );
    assert_eq!(
        (error.code(), error.to_string()),
        (ErrorCode::NotFound, want)
    );
}

#[tokio::test]
async fn files_with_hostile_names_are_read_as_they_are() {
    let subject = subject().await;
    for name in [
        "a b.csv",
        "100%.csv",
        "x%20y.csv",
        "q?#.csv",
        "[1].csv",
        "é*.csv",
        "k=v.csv",
    ] {
        subject.write(&format!("odd/{name}"), "n\n1\n");
        let table = AddTable {
            name: "one".into(),
            uri: format!("odd/{name}"),
            replace: true,
            ..AddTable::default()
        };
        assert_eq!(subject.add_as(table).await.unwrap(), "n Int64", "{name}");
        assert!(
            subject
                .query("SELECT sum(n) FROM pool.public.one")
                .await
                .unwrap()
                .contains("| 1 "),
            "{name}"
        );
    }
    subject.add("every", "odd").await.unwrap();
    assert!(
        subject
            .query("SELECT sum(n) FROM pool.public.every")
            .await
            .unwrap()
            .contains("| 7 ")
    );
}

#[tokio::test]
async fn formats_and_their_options_are_found_or_told() {
    let subject = subject().await;
    subject.write("t.tsv", "a\tb\n1\t2\n");
    subject.write("bare/part-0", "a\n1\n");
    let bare = AddTable {
        name: "bare".into(),
        uri: "bare/*".into(),
        format: "csv".into(),
        ..AddTable::default()
    };
    assert_eq!(subject.add_as(bare).await.unwrap(), "a Int64");
    subject.write("semi.csv", "1;x\n2;y\n");
    subject.write("rows.ndjson", "{\"a\": 1}\n{\"a\": 2, \"b\": \"x\"}\n");
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let file = fs::File::create(subject.folder.path().join("p.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), None).unwrap();
    writer
        .write(&RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1, 2]))]).unwrap())
        .unwrap();
    writer.close().unwrap();
    assert_eq!(subject.add("t", "t.tsv").await.unwrap(), "a Int64, b Int64");
    assert_eq!(
        subject.add("rows", "*.ndjson").await.unwrap(),
        "a Int64, b Utf8"
    );
    assert_eq!(
        subject
            .add("p", &format!("file://{}", subject.path("p.parquet")))
            .await
            .unwrap(),
        "n Int64"
    );
    let semi = |header, delimiter: &str| AddTable {
        name: "semi".into(),
        uri: "semi.csv".into(),
        header,
        delimiter: delimiter.into(),
        replace: true,
        ..AddTable::default()
    };
    assert_eq!(
        subject.add_as(semi(Some(false), ";")).await.unwrap(),
        "column_1 Int64, column_2 Utf8"
    );
    assert!(
        subject
            .query("SELECT count(column_2) FROM pool.public.semi")
            .await
            .unwrap()
            .contains("| 2 ")
    );
    assert_eq!(
        subject.catalog.get("semi").unwrap().format,
        Format::Csv(Csv {
            header: false,
            delimiter: b';',
            ..Csv::default()
        })
    );
    for (request, want) in [
        (
            semi(None, "ab"),
            "'ab' cannot part the fields of a CSV file",
        ),
        (
            semi(None, "\""),
            "'\"' cannot part the fields of a CSV file",
        ),
        (
            AddTable {
                uri: "p.parquet".into(),
                ..semi(None, ";")
            },
            "a parquet table has no delimiter",
        ),
        (
            AddTable {
                uri: "p.parquet".into(),
                ..semi(Some(false), "")
            },
            "a parquet table has no header",
        ),
        (
            AddTable {
                format: "cvs".into(),
                ..semi(None, "")
            },
            "'cvs' is not a format",
        ),
    ] {
        assert_eq!(subject.add_as(request).await.unwrap_err().message(), want);
    }
}

#[tokio::test]
async fn tables_without_rows_keep_their_columns() {
    let subject = subject().await;
    subject.write("head.csv", "id,fare\n");
    assert_eq!(
        subject.add("head", "head.csv").await.unwrap(),
        "id Null, fare Null"
    );
    assert!(
        subject
            .query("SELECT count(*) FROM pool.public.head")
            .await
            .unwrap()
            .contains("| 0 ")
    );
    assert_eq!(
        subject
            .query("SELECT id FROM pool.public.head")
            .await
            .unwrap(),
        ""
    );
    subject.write("head.csv", "id,fare\n1,2\n");
    let late = subject.query("SELECT id FROM pool.public.head").await;
    let late = late.unwrap_err();
    assert_eq!(
        late.message(),
        "table 'head' had no rows when it was added, and has some now"
    );
    // A file without rows says nothing about the types of another.
    subject.write("mixed/a.csv", "id,fare\n");
    subject.write("mixed/b.csv", "id,fare\n1,2\n");
    subject.write("mixed/c.csv", "id,fare\n1,2.5\n");
    assert_eq!(
        subject.add("mixed", "mixed").await.unwrap(),
        "id Int64, fare Float64"
    );
    assert!(
        subject
            .query("SELECT sum(fare) FROM pool.public.mixed")
            .await
            .unwrap()
            .contains("4.5")
    );
}

#[tokio::test]
async fn what_cannot_be_a_table_is_refused_in_one_line() {
    let subject = subject().await;
    subject.write("empty/_SUCCESS", "");
    subject.write("zero.csv", "");
    subject.write("twice.csv", "a,b,a\n1,2,3\n");
    subject.write("both/a.csv", "a\n1\n");
    subject.write("both/b.json", "{\"a\":1}\n");
    subject.write("odd/a.dat", "a\n");
    subject.write("bad.parquet", "this is not parquet at all");
    subject.write("shape/a.csv", "a,b\n1,2\n");
    subject.write("shape/b.csv", "a,c\n1,2\n");
    let at = |name: &str| subject.path(name);
    let cases = [
        ("none.csv", format!("'{}' does not exist", at("none.csv"))),
        (
            "empty",
            format!("the folder '{}' has no data file", at("empty")),
        ),
        (
            "zero.csv",
            format!(
                "'{}' is empty: it does not say which columns it has",
                at("zero.csv")
            ),
        ),
        (
            "twice.csv",
            format!("'{}' has two columns named 'a'", at("twice.csv")),
        ),
        (
            "both",
            format!(
                "'{}' holds files of several formats (1 csv, 1 json), such as '{}' and '{}'",
                at("both"),
                at("both/a.csv"),
                at("both/b.json")
            ),
        ),
        (
            "odd",
            format!(
                "the folder '{}' has no .parquet, .csv, .json or .arrow file",
                at("odd")
            ),
        ),
        (
            "odd/a.dat",
            format!(
                "cannot tell the format of '{}' by its ending",
                at("odd/a.dat")
            ),
        ),
        (
            "shape",
            format!(
                "'{}' does not fit '{}': it has the column 'c' where 'b' is expected",
                at("shape/b.csv"),
                at("shape/a.csv")
            ),
        ),
        (
            "ftp://lake/x.csv",
            "cannot read 'ftp://lake/x.csv': 'ftp:' is not supported".to_owned(),
        ),
    ];
    for (uri, want) in cases {
        let error = subject.add("t", uri).await.unwrap_err();
        assert_eq!(error.message(), want);
        assert!(error.hint().is_some(), "{uri}");
    }
    subject.write("uneven.csv", "a,b\n1,2\n3,4,5\n");
    let uneven = subject.add("t", "uneven.csv").await.unwrap_err();
    assert_eq!(
        uneven.message(),
        format!(
            "csv file '{}' line 3: expected 2 fields, got 3",
            at("uneven.csv")
        )
    );
    let broken = subject.add("t", "bad.parquet").await.unwrap_err();
    let start = format!("'{}' cannot be read as parquet: ", at("bad.parquet"));
    assert!(broken.message().starts_with(&start), "{broken}");
    for name in ["", "a b", "../x", "a;drop", "\u{0}"] {
        assert_eq!(
            subject.add(name, "odd").await.unwrap_err().code(),
            ErrorCode::Invalid,
            "{name:?}"
        );
    }
    assert_eq!(subject.catalog.names(), Vec::<String>::new());
}

#[tokio::test]
async fn names_are_taken_once_replaced_when_asked_and_offered_when_mistyped() {
    let subject = subject().await;
    subject.write("a.csv", "a\n1\n");
    subject.write("b.csv", "b\nx\n");
    subject.add("trips", "a.csv").await.unwrap();
    for name in ["trips", "Trips"] {
        let taken = subject.add(name, "b.csv").await.unwrap_err();
        assert_eq!(
            (taken.code(), taken.message()),
            (ErrorCode::Exists, "table 'trips' exists already")
        );
    }
    let replace = AddTable {
        name: "Trips".into(),
        uri: "b.csv".into(),
        replace: true,
        ..AddTable::default()
    };
    assert_eq!(subject.add_as(replace).await.unwrap(), "b Utf8");
    assert_eq!(subject.catalog.names(), ["Trips"]);
    let missing = subject
        .query("SELECT * FROM pool.public.tripz")
        .await
        .unwrap_err();
    assert_eq!(
        missing.to_string(),
        "table 'tripz' does not exist; did you mean 'Trips'?"
    );
    assert_eq!(
        subject.catalog.drop_table("tripz").await.unwrap_err(),
        missing
    );
    subject.catalog.drop_table("TRIPS").await.unwrap();
    let none = subject.catalog.get("trips").unwrap_err().to_string();
    assert!(
        none.starts_with("table 'trips' does not exist; the catalog is empty"),
        "{none}"
    );
}

#[tokio::test]
async fn entries_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "a,b\n1,x\n").unwrap();
    let clock = SystemClock::shared();
    let state = folder.path().join("state");
    let before = {
        let store = Arc::new(RedbStore::open(&state, Arc::clone(&clock)).await.unwrap());
        let catalog = open(store.clone(), folder.path()).await;
        for name in ["keep", "gone"] {
            let request = AddTable {
                name: name.into(),
                uri: "a.csv".into(),
                ..AddTable::default()
            };
            catalog.add(request).await.unwrap();
        }
        catalog.drop_table("gone").await.unwrap();
        store.close().await;
        catalog.get("keep").unwrap()
    };
    let store = Arc::new(RedbStore::open(&state, clock).await.unwrap());
    let catalog = open(store, Path::new("/elsewhere")).await;
    assert_eq!(catalog.names(), ["keep"]);
    assert_eq!(catalog.get("keep").unwrap(), before);
}
