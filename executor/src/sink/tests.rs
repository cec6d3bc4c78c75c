//! Splits on a local output, attempt by attempt.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::options::ArrowReadOptions;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::parquet::file::reader::{FileReader, SerializedFileReader};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{CsvReadOptions, JsonReadOptions, ParquetReadOptions, SessionContext};
use futures::stream::{self, StreamExt};
use tokio::sync::Barrier;
use whimbrel_predict::error::find;
use whimbrel_predict::sink::{
    OnError, OutputMode, ParquetCompression, SinkFormat, SinkHost, SinkReport, SinkSpec, SinkTask,
    TextCompression, Times,
};
use whimbrel_proto::ErrorCode;
use whimbrel_stores::job::{Entry, Journal, Records, SplitKey};
use whimbrel_stores::output::{DeferredOutput, LocalOutput, Published};
use whimbrel_stores::{Environment, Stores};

use super::Writer;

/// More than a part of an object.
const LARGE: usize = 9 << 20;

/// A writer, and the folder that it writes to.
struct Subject {
    writer: Writer,
    folder: tempfile::TempDir,
}

fn subject() -> Subject {
    let stores = Stores::new(Environment::default());
    Subject {
        writer: Writer::new(stores, "e1".parse().unwrap()),
        folder: tempfile::tempdir().unwrap(),
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
    ]))
}

fn batch(from: i64, name: &str) -> RecordBatch {
    let ids = Int64Array::from_iter_values(from..from + 3);
    let names = StringArray::from(vec![Some(name), None, Some("x")]);
    RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(names)]).unwrap()
}

fn adapted(
    rows: impl stream::Stream<Item = Result<RecordBatch>> + Send + 'static,
) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(schema(), rows))
}

fn six_rows() -> SendableRecordBatchStream {
    adapted(stream::iter([Ok(batch(0, "a")), Ok(batch(3, "b"))]))
}

fn csv() -> SinkFormat {
    SinkFormat::Csv {
        header: true,
        delimiter: b',',
        compression: TextCompression::None,
    }
}

impl Subject {
    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn output(&self) -> LocalOutput {
        LocalOutput::new(self.out())
    }

    fn task(&self, format: SinkFormat, rows: SendableRecordBatchStream) -> SinkTask {
        let spec = SinkSpec {
            job: "job1".parse().unwrap(),
            output: self.out().display().to_string(),
            mode: OutputMode::Append,
            format,
            marks: vec![("whimbrel.model".to_owned(), "fare".to_owned())],
            run: None,
            generations: BTreeMap::new(),
            on_error: OnError::Fail,
            stall_ms: 60_000,
        };
        SinkTask {
            spec: Arc::new(spec),
            split: "s1".parse().unwrap(),
            generation: 0,
            schema: schema(),
            columns: vec![0, 1],
            errors: Vec::new(),
            files: vec!["/a.csv".to_owned()],
            range: Some((0, 9)),
            bytes_read: 77,
            context: Arc::new(TaskContext::default()),
            times: Box::new(Times::default),
            rows: Box::new(move || Ok(rows)),
        }
    }

    async fn write(
        &self,
        format: SinkFormat,
        rows: SendableRecordBatchStream,
    ) -> Result<SinkReport> {
        self.writer.write(self.task(format, rows)).await
    }

    async fn entry(&self) -> Option<Entry> {
        let (output, records) = (self.output(), Records::of("job1"));
        let journal = Journal::new(&output, &records);
        journal.get(&SplitKey::first("s1")).await.unwrap()
    }

    async fn staged(&self) -> usize {
        self.output().staged("").await.unwrap().len()
    }

    /// Nothing of an attempt is there, seen or unseen.
    async fn is_clean(&self) -> bool {
        self.staged().await == 0 && self.output().list("").await.unwrap().is_empty()
    }
}

#[tokio::test]
async fn a_split_is_written_unseen_and_entered_once_in_every_format() {
    let text = |compression| SinkFormat::Json { compression };
    for format in [
        SinkFormat::default(),
        SinkFormat::Parquet {
            compression: ParquetCompression::Snappy,
            row_group_rows: 2,
        },
        csv(),
        text(TextCompression::Gzip),
        text(TextCompression::Zstd),
        SinkFormat::Arrow,
    ] {
        let subject = subject();
        let report = subject.write(format.clone(), six_rows()).await.unwrap();
        assert!(!report.already_done);
        assert_eq!((report.rows_read, report.rows_written), (6, 6));
        let entry = subject.entry().await.unwrap();
        assert_eq!((entry.rows_written, entry.bytes_read), (6, 77));
        let receipt = entry.output.unwrap();
        assert_eq!(receipt.bytes, report.bytes_written);
        let output = subject.output();
        let seen = output.list("").await.unwrap();
        assert!(
            seen.iter()
                .all(|object| object.path.starts_with("_whimbrel/")),
            "{seen:?}"
        );

        let unread = adapted(stream::poll_fn(|_| panic!("a split that is done is read")));
        let again = subject.write(format.clone(), unread).await.unwrap();
        assert!(again.already_done);
        assert_eq!(again.bytes_written, report.bytes_written);
        assert_eq!(subject.staged().await, 1);

        let published = output.publish(&receipt).await.unwrap();
        assert!(matches!(published, Published::Visible { .. }));
        let path = subject.out().join(&receipt.intent.path);
        let whole = crate::runtime::sha256_of_file(&path).unwrap();
        assert_eq!(receipt.sha256, Some(whole));
        assert!(path.to_string_lossy().ends_with(format.ending()));
        assert_eq!(
            rows_in(&path.to_string_lossy(), &format).await,
            6,
            "{format}"
        );
    }
}

async fn rows_in(path: &str, format: &SinkFormat) -> usize {
    let context = SessionContext::new();
    let compressed = |compression: &TextCompression| match compression {
        TextCompression::None => FileCompressionType::UNCOMPRESSED,
        TextCompression::Gzip => FileCompressionType::GZIP,
        TextCompression::Zstd => FileCompressionType::ZSTD,
    };
    let ending = format!(".{}", format.ending());
    let frame = match format {
        SinkFormat::Parquet { row_group_rows, .. } => {
            let file = std::fs::File::open(path).unwrap();
            let file = SerializedFileReader::new(file).unwrap();
            let facts = file.metadata().file_metadata();
            let marks = facts.key_value_metadata().unwrap();
            assert!(marks.iter().any(|mark| mark.key == "whimbrel.model"));
            let groups = 6_u64.div_ceil(*row_group_rows);
            assert_eq!(file.num_row_groups() as u64, groups);
            context
                .read_parquet(path, ParquetReadOptions::default())
                .await
        }
        SinkFormat::Csv { compression, .. } => {
            let options = CsvReadOptions::new()
                .file_extension(&ending)
                .file_compression_type(compressed(compression));
            context.read_csv(path, options).await
        }
        SinkFormat::Json { compression } => {
            let options = JsonReadOptions::default()
                .file_extension(&ending)
                .file_compression_type(compressed(compression));
            context.read_json(path, options).await
        }
        SinkFormat::Arrow => context.read_arrow(path, ArrowReadOptions::default()).await,
    };
    let frame = frame.unwrap();
    let names: Vec<_> = frame
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(names, ["id", "name"]);
    frame.count().await.unwrap()
}

#[tokio::test]
async fn a_split_without_rows_is_entered_without_an_object() {
    let subject = subject();
    let none = adapted(stream::iter([Ok(RecordBatch::new_empty(schema()))]));
    let report = subject.write(SinkFormat::default(), none).await.unwrap();
    assert_eq!(report, SinkReport::default());
    assert_eq!(subject.entry().await.unwrap().output, None);
    assert_eq!(subject.staged().await, 0);
}

#[tokio::test]
async fn of_two_attempts_at_once_one_is_kept_and_the_other_leaves_nothing() {
    let subject = subject();
    let both = Arc::new(Barrier::new(2));
    let slow = || {
        let both = Arc::clone(&both);
        // Each has looked into the journal before either has made anything.
        let rows = stream::once(async move {
            both.wait().await;
            Ok(batch(0, &"n".repeat(LARGE)))
        });
        adapted(rows)
    };
    let (one, other) = tokio::join!(subject.write(csv(), slow()), subject.write(csv(), slow()));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_ne!(one.already_done, other.already_done, "{one:?} {other:?}");
    assert_eq!(one.bytes_written, other.bytes_written);
    let staged = subject.output().staged("").await.unwrap();
    let entry = subject.entry().await.unwrap();
    assert_eq!(staged, [entry.output.unwrap().intent]);
}

#[tokio::test]
async fn a_cancelled_attempt_leaves_nothing() {
    let subject = subject();
    let rows = stream::once(async { Ok(batch(0, &"n".repeat(LARGE))) });
    let endless = adapted(rows.chain(stream::pending()));
    let mut writing = subject.writer.write(subject.task(csv(), endless));
    let begun = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while subject.staged().await == 0 {
            ticks.tick().await;
        }
        let running = subject.writer.running();
        assert_eq!((running.len(), running[0].rows), (1, 3));
    };
    tokio::select! {
        ended = &mut writing => panic!("{ended:?}"),
        () = begun => {}
    }
    drop(writing);
    assert_eq!(subject.writer.running(), []);
    let output = subject.output();
    let staged = output_folder_is_empty(&output);
    tokio::time::timeout(Duration::from_secs(20), staged)
        .await
        .expect("thrown away");
    assert!(subject.is_clean().await);
}

#[tokio::test]
async fn a_split_that_brings_no_row_or_that_nobody_wants_ends_and_leaves_nothing() {
    let subject = subject();
    let endless = || {
        let rows = stream::once(async { Ok(batch(0, &"n".repeat(LARGE))) });
        adapted(rows.chain(stream::pending()))
    };
    let mut task = subject.task(csv(), endless());
    task.spec = Arc::new(SinkSpec {
        stall_ms: 100,
        ..SinkSpec::clone(&task.spec)
    });
    let stalled = subject.writer.write(task).await.unwrap_err();
    let told = find(&stalled).unwrap();
    assert_eq!(told.code(), ErrorCode::Exhausted, "{told}");
    assert!(told.message().contains("brought no row"), "{told}");
    assert!(subject.is_clean().await);

    let mut writing = subject.writer.write(subject.task(csv(), endless()));
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let ended = loop {
        tokio::select! {
            ended = &mut writing => break ended,
            _ = ticks.tick() => {
                subject.writer.give_up(&["another".to_owned()]);
                if subject.staged().await > 0 {
                    subject.writer.give_up(&["job1".to_owned()]);
                }
            }
        }
    };
    let error = ended.unwrap_err();
    assert_eq!(find(&error).unwrap().code(), ErrorCode::Cancelled);
    let output = subject.output();
    let staged = output_folder_is_empty(&output);
    tokio::time::timeout(Duration::from_secs(20), staged)
        .await
        .expect("thrown away");
}

#[tokio::test]
async fn a_split_that_is_scored_for_long_before_a_row_comes_is_not_given_up() {
    let subject = subject();
    let asked = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&asked);
    let rows = stream::once(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while seen.load(Ordering::Relaxed) < 5 {
            ticks.tick().await;
        }
        Ok(batch(0, "a"))
    });
    let mut task = subject.task(csv(), adapted(rows));
    task.spec = Arc::new(SinkSpec {
        stall_ms: 20,
        ..SinkSpec::clone(&task.spec)
    });
    // The model works: more time has gone each time that it is asked.
    task.times = Box::new(move || Times {
        model: Duration::from_millis(asked.fetch_add(1, Ordering::Relaxed)),
        ..Times::default()
    });
    let report = subject.writer.write(task).await.unwrap();
    assert_eq!(report.rows_written, 3);
}

async fn output_folder_is_empty(output: &LocalOutput) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !output.list("").await.unwrap().is_empty() || !output.staged("").await.unwrap().is_empty()
    {
        ticks.tick().await;
    }
}

#[tokio::test]
async fn an_attempt_that_fails_says_why_and_leaves_nothing() {
    let subject = subject();
    let rows = [
        Ok(batch(0, &"n".repeat(LARGE))),
        Err(DataFusionError::Execution("the rows end here".to_owned())),
    ];
    let error = subject.write(csv(), adapted(stream::iter(rows))).await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains("the rows end here"), "{error}");
    assert!(subject.is_clean().await);

    // The store loses what was staged, and takes no more.
    let staged = subject.out().join(".whimbrel-staged");
    let lose = stream::once(async move {
        std::fs::remove_dir_all(&staged).unwrap();
        std::fs::write(&staged, "").unwrap();
        Ok(batch(0, &"n".repeat(LARGE)))
    });
    let rows = stream::once(async { Ok(batch(0, &"n".repeat(LARGE))) }).chain(lose);
    let error = subject.write(csv(), adapted(rows)).await.unwrap_err();
    let told = find(&error).unwrap();
    let place = subject.out().display().to_string();
    assert!(
        told.message()
            .starts_with(&format!("'{place}' cannot be written: ")),
        "{told}"
    );
    assert_eq!(told.code(), ErrorCode::Unavailable);
    assert_eq!(subject.entry().await, None);
}

/// The third column is what a model says of rows that it could not take.
fn told(texts: [Option<&str>; 3]) -> RecordBatch {
    let rows = batch(0, "a");
    let fields = schema().fields().iter().cloned().collect::<Vec<_>>();
    let error = Arc::new(Field::new("error", DataType::Utf8, true));
    let schema = Schema::new([fields, vec![error]].concat());
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(StringArray::from(texts.to_vec())));
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

#[tokio::test]
async fn rows_that_cannot_be_scored_are_letters_of_the_same_entry() {
    let subject = subject();
    let dead = subject.folder.path().join("dead");
    let task = |max| {
        let told = told([None, Some(r#"{"row":{"id":1},"reason":"no"}"#), None]);
        let rows = adapted(stream::iter([Ok(told)]));
        let mut task = subject.task(csv(), rows);
        let mut spec = SinkSpec::clone(&task.spec);
        let uri = dead.display().to_string();
        spec.on_error = OnError::DeadLetter { uri, max };
        task.spec = Arc::new(spec);
        task.errors = vec![2];
        task
    };
    let error = subject.writer.write(task(Some(0))).await.unwrap_err();
    let message = find(&error).unwrap().message();
    assert!(
        message.starts_with("more than 0 rows cannot be scored"),
        "{message}"
    );
    let letters = LocalOutput::new(dead.clone());
    assert!(subject.is_clean().await && letters.staged("").await.unwrap().is_empty());

    let report = subject.writer.write(task(Some(1))).await.unwrap();
    assert_eq!(
        (report.rows_read, report.rows_written, report.rows_dead),
        (3, 2, 1)
    );
    let entry = subject.entry().await.unwrap();
    let receipt = entry.dead_letters.unwrap();
    let staged = letters.staged("").await.unwrap();
    assert_eq!(staged, std::slice::from_ref(&receipt.intent));
    letters.publish(&receipt).await.unwrap();
    let text = letters.get(&receipt.intent.path).await.unwrap().unwrap();
    assert_eq!(
        text,
        "{\"split\":\"s1\",\"file\":\"/a.csv\",\"bytes\":[0,9],\"row\":{\"id\":1},\"reason\":\"no\"}\n"
    );
}
