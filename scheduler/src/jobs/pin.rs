//! What a job is pinned to when it is submitted: its plan with the listing of its files, its splits, the models' digests. From then
//! on neither a re-bound alias nor a new file changes it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::Schema;
use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use serde::{Deserialize, Serialize};
use whimbrel_predict::exec::PredictExec;
use whimbrel_predict::sink::{ScoreSinkExec, SinkSpec, catching, is_split_wise, splits};
use whimbrel_proto::ids::{Digest, ScoreJobId, SplitId};
use whimbrel_proto::{Error, ErrorCode};

use super::Jobs;
use super::journal::Known;
use super::output::Output;
use super::record::{Model, Pinned, Record};
use super::spec::Spec;
use crate::error::plan_error;
use crate::models::digest_of;
use crate::query::{Plan, Planned};
use crate::session::Session;

/// Said where a resume cannot keep what was done.
const STARTS_OVER: &str = "the query does more than to score rows one by one: the job commits as a whole all the same, but one that is interrupted starts over";

/// A job's plan and its facts, to be written down.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) plan: Bytes,
    pub(super) splits: Bytes,
    pub(super) pinned: Pinned,
    pub(super) notes: Vec<String>,
}

/// A line of the list of splits.
#[derive(Debug, Serialize, Deserialize)]
struct Split {
    id: SplitId,
    bytes: u64,
    files: Vec<File>,
}

/// The bytes of a file that a split reads.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    path: String,
    size: u64,
    modified_ms: i64,
    etag: Option<String>,
    start: u64,
    end: u64,
}

/// A job's plan, read back.
pub(super) struct Work {
    pub(super) plan: Plan,
    pub(super) sink: Arc<SinkSpec>,
    /// Bytes of input, by split.
    pub(super) sizes: HashMap<String, u64>,
    pub(super) known: Known,
}

impl Jobs {
    /// Plans what is asked. Nothing is written yet.
    pub(super) async fn plan(
        &self,
        session: &Arc<Session>,
        spec: &Spec,
        id: &ScoreJobId,
        output: &Output,
    ) -> Result<Made, Error> {
        let capacity = self.parts.executors.capacity();
        let partitions = self.parts.runner.partitions(capacity);
        let sql = spec.source.sql();
        let planning = &self.parts.planning;
        let planned = planning.plan(Arc::clone(session), &sql, partitions).await?;
        let Plan {
            ctx,
            physical,
            inputs,
        } = rows(planned)?;
        unique(&physical.schema())?;
        spec.format.check(&physical.schema())?;
        for input in &inputs {
            self.parts
                .catalog
                .keep_apart(input, &output.place().show())?;
        }
        let split_wise = is_split_wise(&physical);
        let models = models(&physical);
        let sink = Arc::new(SinkSpec {
            job: id.clone(),
            output: output.place().show(),
            mode: spec.mode,
            format: spec.format.clone(),
            marks: marks(id, &models),
            run: (!split_wise).then_some(0),
            generations: BTreeMap::new(),
            on_error: spec.on_error.clone(),
            stall_ms: self.stall_ms(),
        });
        let list = list(&physical, &sink).map_err(|error| plan_error(&error))?;
        let plan: Arc<dyn ExecutionPlan> =
            Arc::new(ScoreSinkExec::new(physical, Arc::clone(&sink)));
        let plan = catching(&plan).map_err(|error| plan_error(&error))?;
        let plan = planning.write_down(plan, ctx).await?;
        let splits: Bytes = to_json(&list)?.into();
        let starts_over = (!split_wise).then(|| STARTS_OVER.to_owned());
        let caution = output.place().caution().map(str::to_owned);
        Ok(Made {
            pinned: Pinned {
                plan: digest_of(&plan)?,
                splits: digest_of(&splits)?,
                splits_total: list.len() as u64,
                bytes_total: list.iter().map(|split| split.bytes).sum(),
                run: sink.run,
                models,
                inputs,
                settings: session.settings(),
            },
            plan,
            splits,
            notes: starts_over.into_iter().chain(caution).collect(),
        })
    }

    fn stall_ms(&self) -> u64 {
        u64::try_from(self.parts.limits.stall.as_millis()).unwrap_or(u64::MAX)
    }

    /// Reads a job's plan back, exactly the one that was pinned.
    pub(super) async fn load(&self, record: &Record, output: &Output) -> Result<Work, Error> {
        let records = whimbrel_stores::job::Records::of(&record.id);
        let Pinned {
            plan,
            splits,
            settings,
            ..
        } = &record.pinned;
        let kept = read_pinned(output, &records.plan(), plan).await?;
        let list = from_json(&read_pinned(output, &records.splits(), splits).await?)?;
        let uri = output.place().show();
        let planning = &self.parts.planning;
        let plan = planning.take_up(kept, settings.clone(), uri).await?;
        let sink = plan.physical.downcast_ref::<ScoreSinkExec>();
        let sink = sink.ok_or_else(|| {
            Error::new(
                ErrorCode::Bug,
                format!("the plan of job {} writes nothing", record.id),
            )
        })?;
        Ok(Work {
            sink: Arc::new(SinkSpec {
                stall_ms: self.stall_ms(),
                ..sink.spec().as_ref().clone()
            }),
            sizes: list
                .into_iter()
                .map(|split| (split.id.to_string(), split.bytes))
                .collect(),
            known: Known::default(),
            plan,
        })
    }
}

/// What was written at `path` when the job was submitted, and nothing else.
async fn read_pinned(output: &Output, path: &str, digest: &Digest) -> Result<Bytes, Error> {
    let found = output.io().get(path).await;
    let found = found.map_err(|error| output.explain(&error))?;
    let what = match found {
        Some(bytes) if digest_of(&bytes)? == *digest => return Ok(bytes),
        Some(_) => "is not what was written there",
        None => "is gone",
    };
    let text = format!(
        "the job cannot go on: '{path}' in '{}' {what}",
        output.place().show()
    );
    Err(Error::new(ErrorCode::InputChanged, text)
        .with_hint("leave what is below _whimbrel alone; submit the job again"))
}

/// The plan of rows that executors compute.
fn rows(planned: Planned) -> Result<Plan, Error> {
    let refused =
        |what: &str, hint: &str| Err(Error::new(ErrorCode::Invalid, what).with_hint(hint));
    match planned {
        Planned::Spread(plan) => Ok(plan),
        Planned::Here(_) | Planned::Rows(..) => refused(
            "the query reads no table, and a score job writes rows of one",
            "run it with `whimbrel sql`",
        ),
        Planned::Effect(_) | Planned::Check(_) | Planned::Job(_) | Planned::Score(_) => refused(
            "a score job writes the rows of a SELECT, and this is another statement",
            "give the SELECT alone",
        ),
    }
}

/// Files name their columns; readers find one of each name.
fn unique(schema: &Schema) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for field in schema.fields() {
        if !seen.insert(field.name().as_str()) {
            let text = format!("the output has two columns '{}'", field.name());
            return Err(Error::new(ErrorCode::Invalid, text).with_hint(
                "name the prediction otherwise (--as), or give columns other names with AS",
            ));
        }
    }
    Ok(())
}

/// Every model that the plan scores with.
fn models(plan: &Arc<dyn ExecutionPlan>) -> Vec<Model> {
    let mut models = Vec::new();
    collect(plan, &mut models);
    models
}

fn collect(plan: &Arc<dyn ExecutionPlan>, models: &mut Vec<Model>) {
    if let Some(exec) = plan.downcast_ref::<PredictExec>() {
        let binding = exec.binding();
        let model = Model {
            alias: binding.alias.to_string(),
            digest: binding.digest.clone(),
            generation: binding.generation,
            version: binding.version.clone().unwrap_or_default(),
        };
        if !models.contains(&model) {
            models.push(model);
        }
    }
    for child in plan.children() {
        collect(child, models);
    }
}

/// What the output's files say of themselves.
fn marks(id: &ScoreJobId, models: &[Model]) -> Vec<(String, String)> {
    let all = |of: fn(&Model) -> String| {
        let texts: Vec<String> = models.iter().map(of).collect();
        texts.join(",")
    };
    let mut marks = vec![("whimbrel.job".to_owned(), id.to_string())];
    if !models.is_empty() {
        marks.extend([
            (
                "whimbrel.model".to_owned(),
                all(|model| model.alias.clone()),
            ),
            (
                "whimbrel.version".to_owned(),
                all(|model| model.version.clone()),
            ),
            (
                "whimbrel.digest".to_owned(),
                all(|model| model.digest.to_string()),
            ),
        ]);
    }
    marks
}

/// The splits with the files that they read.
fn list(
    plan: &Arc<dyn ExecutionPlan>,
    sink: &SinkSpec,
) -> Result<Vec<Split>, datafusion::common::DataFusionError> {
    let ids = splits(plan, sink)?;
    let groups = match sink.run {
        None => scan(plan).map(|config| config.file_groups.as_slice()),
        Some(_) => None,
    };
    let split = |(place, id): (usize, SplitId)| {
        let group = groups.and_then(|groups| groups.get(place));
        let files: Vec<File> = group
            .map(FileGroup::files)
            .unwrap_or_default()
            .iter()
            .map(file)
            .collect();
        Split {
            id,
            bytes: files.iter().map(|file| file.end - file.start).sum(),
            files,
        }
    };
    Ok(ids.into_iter().enumerate().map(split).collect())
}

fn scan(plan: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
        return scan.data_source().downcast_ref::<FileScanConfig>();
    }
    plan.children().into_iter().find_map(scan)
}

fn file(file: &PartitionedFile) -> File {
    let meta = &file.object_meta;
    let range = file.range.as_ref();
    let bound = |at: i64| u64::try_from(at).unwrap_or_default();
    let start = range.map_or(0, |range| bound(range.start));
    let end = range.map_or(meta.size, |range| bound(range.end));
    File {
        path: meta.location.to_string(),
        size: meta.size,
        modified_ms: meta.last_modified.timestamp_millis(),
        etag: meta.e_tag.clone(),
        start,
        end: end.max(start),
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| {
        Error::new(
            ErrorCode::Bug,
            format!("a list of splits cannot be written: {error}"),
        )
    })
}

fn from_json(bytes: &[u8]) -> Result<Vec<Split>, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::new(
            ErrorCode::Bug,
            format!("a list of splits cannot be read: {error}"),
        )
        .with_hint("it was written by another version of Whimbrel; submit the job again")
    })
}
