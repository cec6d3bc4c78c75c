//! The engine's readers of CSV, JSON and Arrow files, with what they lack. They keep their part in planning; the files are
//! opened here.

use std::fmt;
use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::file_format::csv::CsvDecoder;
use datafusion::datasource::file_format::json::JsonDecoder;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    CsvSource, FileOpenFuture, FileOpener, FileScanConfig, FileSource, JsonSource,
};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::object_store::ObjectStore;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, PhysicalExpr};
use datafusion_datasource::decoder::{DecoderDeserializer, deserialize_stream};
use futures::{FutureExt, StreamExt};
use whimbrel_proto::{Error, ErrorCode};

use super::arrow_files::ArrowOpener;
use super::csv::CsvReader;
use super::header;
use super::json::JsonReader;
use super::lenient::{self, Origin};
use super::reading::Reading;
use super::text::{Piece, open, sniffed};
use crate::error::external;

const BATCH_ROWS: usize = 8192;

/// See the module.
#[derive(Clone)]
pub struct InputSource {
    inner: Arc<dyn FileSource>,
    reading: Arc<Reading>,
    batch_rows: usize,
}

impl InputSource {
    /// `inner` is the engine's reader of CSV, JSON or Arrow files.
    pub fn new(inner: Arc<dyn FileSource>, reading: Arc<Reading>) -> Self {
        Self {
            inner,
            reading,
            batch_rows: BATCH_ROWS,
        }
    }

    /// The engine's reader.
    pub fn inner(&self) -> &Arc<dyn FileSource> {
        &self.inner
    }

    /// How the files are written.
    pub fn reading(&self) -> &Arc<Reading> {
        &self.reading
    }

    /// How CSV files are written, where they are CSV.
    pub fn csv(&self) -> Option<&CsvSource> {
        self.inner.downcast_ref::<CsvSource>()
    }

    fn with_inner(&self, inner: Arc<dyn FileSource>) -> Self {
        Self {
            inner,
            ..self.clone()
        }
    }
}

impl FileSource for InputSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let columns = self.inner.table_schema().file_schema();
        let own = columns.fields().len() - usize::from(self.reading.told);
        let split = match self.inner.projection() {
            Some(projection) => SplitProjection::new(columns, projection),
            None => SplitProjection::unprojected(self.inner.table_schema()),
        };
        let indices: Vec<usize> = split
            .file_indices
            .iter()
            .copied()
            .filter(|&at| at < own)
            .collect();
        let wanted = Arc::new(columns.project(&indices)?);
        let told = (self.reading.told).then(|| columns.field(own).name().clone());
        let opener: Arc<dyn FileOpener> = if let Some(csv) = self.csv() {
            Arc::new(TextOpener {
                store,
                config: config.clone(),
                reading: Arc::clone(&self.reading),
                text: Text::Csv(Box::new(CsvReader::new(
                    csv,
                    &Arc::new(columns.project(&(0..own).collect::<Vec<_>>())?),
                    &indices,
                    self.reading.null_pattern(),
                    self.batch_rows,
                )?)),
                told,
            })
        } else if self.inner.downcast_ref::<JsonSource>().is_some() {
            Arc::new(TextOpener {
                store,
                config: config.clone(),
                reading: Arc::clone(&self.reading),
                text: Text::Json(JsonReader {
                    wanted,
                    batch_rows: self.batch_rows,
                }),
                told,
            })
        } else {
            Arc::new(ArrowOpener {
                store,
                config: config.clone(),
                partition,
                wanted,
            })
        };
        ProjectionOpener::try_new(split, opener, columns)
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_rows: usize) -> Arc<dyn FileSource> {
        Arc::new(Self {
            inner: self.inner.with_batch_size(batch_rows),
            batch_rows,
            ..self.clone()
        })
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn FileSource>>> {
        let pushed = self.inner.try_pushdown_projection(projection)?;
        Ok(pushed.map(|inner| Arc::new(self.with_inner(inner)) as Arc<dyn FileSource>))
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_extra(kind, f)
    }

    /// The pool cuts files itself.
    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }
}

enum Text {
    Csv(Box<CsvReader>),
    Json(JsonReader),
}

/// Opens text files.
struct TextOpener {
    store: Arc<dyn ObjectStore>,
    config: FileScanConfig,
    reading: Arc<Reading>,
    text: Text,
    /// The column that tells of records that cannot be read, where they are rows.
    told: Option<String>,
}

impl FileOpener for TextOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let (store, reading) = (Arc::clone(&self.store), Arc::clone(&self.reading));
        let location = file.object_meta.location.clone();
        let shown = crate::locate::shown(&self.config, &location);
        let range = file.range.as_ref().map(|range| {
            let at = |value: i64| u64::try_from(value).unwrap_or_default();
            (file.object_meta.size, at(range.start), at(range.end))
        });
        let origin = self.told.clone().map(|told| Origin {
            file: shown.clone(),
            range: range.map(|(_, start, end)| (start, end)),
            told,
        });
        let from_start = range.is_none_or(|(_, start, _)| start == 0);
        let bytes = range.map_or(file.object_meta.size, |(_, start, end)| {
            end.saturating_sub(start)
        });
        let plain = self.reading.is_divisible(location.as_ref());
        let text = {
            let shown = shown.clone();
            async move {
                let piece = Piece {
                    location: &location,
                    shown: &shown,
                    range,
                };
                let text = open(&store, piece, &reading).await?;
                if from_start {
                    sniffed(text, &shown).await
                } else {
                    Ok(text)
                }
            }
        };
        match &self.text {
            Text::Csv(csv) => {
                let has_header = csv.source.has_header() && from_start;
                let check = has_header && !self.reading.any_header;
                let (columns, marks) = (Arc::clone(&csv.columns), csv.marks());
                let csv = match plain {
                    true => Box::new(csv.of_size(bytes)),
                    false => csv.clone(),
                };
                Ok(async move {
                    let mut text = text.await?;
                    if check {
                        text = header::checked(text, marks, &columns, &shown).await?;
                    }
                    if let Some(origin) = origin {
                        let group = csv.batch_rows;
                        return Ok(lenient::rows(*csv, text, origin, has_header, group));
                    }
                    let decoder = csv.decoder(has_header);
                    let decoder = DecoderDeserializer::new(CsvDecoder::new(decoder));
                    let rows = deserialize_stream(text.fuse(), decoder);
                    Ok(rows.map(|rows| rows.map_err(Into::into)).boxed())
                }
                .boxed())
            }
            Text::Json(json) => {
                let json = json.clone();
                Ok(async move {
                    if let Some(origin) = origin {
                        let group = json.batch_rows;
                        return Ok(lenient::rows(json, text.await?, origin, false, group));
                    }
                    let decoder = json.decoder()?;
                    let decoder = DecoderDeserializer::new(JsonDecoder::new(decoder));
                    let rows = deserialize_stream(text.await?.fuse(), decoder);
                    let named = move |error| json_error(error, &shown);
                    Ok(rows.map(move |rows| rows.map_err(&named)).boxed())
                }
                .boxed())
            }
        }
    }
}

/// The reader's error with the file that it is about.
fn json_error(error: ArrowError, shown: &str) -> DataFusionError {
    match error {
        ArrowError::JsonError(what) => {
            let text = format!("json file '{shown}' cannot be read: {what}");
            external(Error::new(ErrorCode::Data, text).with_hint(
                "every line is one object, and a name has values of one kind in all files of a table",
            ))
        }
        other => other.into(),
    }
}
