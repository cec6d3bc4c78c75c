//! The answer to compare with: plain DataFusion in this process over a table that already holds every model's predictions,
//! each row scored by ONNX Runtime from the same arrays, with none of PREDICT's planning.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use sha2::{Digest as _, Sha256};
use whimbrel_executor::runtime::{HostOptions, ModelFetcher, ScoringHost};
use whimbrel_predict::binding::{Binding, RuntimeKind};
use whimbrel_predict::onnx;
use whimbrel_predict::options::BindOptions;
use whimbrel_predict::runtime::{Feed, FeedTimes, ModelHost};
use whimbrel_predict::value::Value;
use whimbrel_proto::Error;
use whimbrel_proto::ids::{Digest, Generation};

use crate::data;
use crate::rows::Rows;

/// Plain DataFusion with the tables `scored` and `zones`.
pub struct Reference {
    context: SessionContext,
}

/// Models are read from where they lie.
#[derive(Debug)]
struct FromFile(std::path::PathBuf);

#[async_trait]
impl ModelFetcher for FromFile {
    async fn fetch(&self, _digest: &Digest, to: &Path) -> Result<(), Error> {
        std::fs::copy(&self.0, to)
            .map(drop)
            .map_err(|error| Error::new(whimbrel_proto::ErrorCode::NotFound, error.to_string()))
    }
}

/// The name that a model has by its content.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn binding(alias: &str, bytes: &[u8]) -> Result<Binding> {
    let facts = onnx::inspect(bytes)?;
    let value = Value::resolve(&facts.signature, None, None)?;
    let digest = digest(bytes);
    Ok(Binding {
        alias: alias.parse()?,
        uri: String::new(),
        resolved: String::new(),
        version: None,
        digest: digest.parse()?,
        generation: Generation(1),
        runtime: RuntimeKind::Ort,
        signature: facts.signature,
        returns: value.data_type(),
        value,
        elements: facts.elements,
        columns: Vec::new(),
        options: BindOptions::default(),
        size_bytes: bytes.len() as u64,
        bound_at_ms: 0,
        recorded: facts.recorded,
        notes: facts.notes,
    })
}

/// One value per row of `batch`, its columns taken by the names of the model's elements.
async fn score(alias: &str, model: &str, batch: &RecordBatch, cache: &Path) -> Result<ArrayRef> {
    let path = data::model(model)?;
    let binding = binding(alias, &std::fs::read(&path)?)?;
    let options = HostOptions::new(cache);
    let host = ScoringHost::new(options, Arc::new(FromFile(path)))?;
    let columns = binding
        .elements
        .iter()
        .map(|element| {
            let column = batch
                .column_by_name(&element.name)
                .with_context(|| format!("no column {}", element.name))?;
            Ok(cast(column, &element.element.arrow())?)
        })
        .collect::<Result<_>>()?;
    let feed = Feed {
        columns,
        rows: batch.num_rows(),
        job_id: "reference".into(),
        times: FeedTimes::default(),
    };
    let model = host.open(&binding).await?;
    let values = model.score(feed).await?;
    drop(model);
    Ok(values)
}

impl Reference {
    /// Alias and model.
    pub const MODELS: [(&'static str, &'static str); 3] =
        [("fare", "fare"), ("tree", "lightgbm"), ("mixed", "columns")];

    pub async fn new() -> Result<Self> {
        let cache = tempfile::tempdir()?;
        let trips = data::trips(0, data::TRIPS)?;
        let mut columns: Vec<(String, ArrayRef)> = trips
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .zip(trips.columns().iter().cloned())
            .collect();
        for (alias, model) in Self::MODELS {
            columns.push((
                format!("{alias}_p"),
                score(alias, model, &trips, cache.path()).await?,
            ));
        }
        let context = SessionContext::new();
        for (name, batch) in [
            ("scored", RecordBatch::try_from_iter(columns)?),
            ("zones", data::zones()?),
        ] {
            let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
            context.register_table(name, Arc::new(table))?;
        }
        Ok(Self { context })
    }

    pub async fn ask(&self, sql: &str, ordered: bool) -> Result<Rows> {
        let frame = self.context.sql(sql).await.context("plan the plain form")?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let batches = frame.collect().await.context("run the plain form")?;
        Rows::new(&schema, &batches, ordered)
    }
}
