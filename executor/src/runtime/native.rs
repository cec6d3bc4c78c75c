//! A model in our own kernels: columns are read where they lie, and one copy of the model serves all threads.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type,
};
use whimbrel_graph::{Column, Fact, Kind, Labels, Model, Out, Scratch};
use whimbrel_predict::known::Known;
use whimbrel_predict::runtime::Feed;
use whimbrel_predict::signature::OutputSpec;
use whimbrel_proto::{Error, ErrorCode};

use super::tensors::{FeedPlan, Rows};

/// See the module.
pub(super) struct Native {
    pub(super) model: Model,
}

impl Native {
    /// Reads the model's file, of whatever format; the error says which part of it is not covered.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        let model = Model::from_file(&bytes).map_err(|error| error.to_string())?;
        Ok(Self { model })
    }

    /// For rows of which so much is known, by column.
    pub(super) fn narrowed(&self, known: &[Known]) -> Self {
        let facts: Vec<Fact> = known.iter().map(Into::into).collect();
        let model = self.model.narrowed_by(&facts);
        Self { model }
    }

    /// Whether the plan fits the model.
    pub(super) fn check(&self, plan: &FeedPlan) -> Result<(), Error> {
        let (columns, outputs) = (self.model.columns(), self.model.outputs());
        if plan.columns() != columns {
            let what = format!(
                "{}: the graph takes {columns} columns, the binding gives {}",
                plan.who,
                plan.columns()
            );
            return Err(Error::new(ErrorCode::Model, what));
        }
        match plan
            .outputs()
            .find(|output| outputs.iter().all(|own| own.name != output.name))
        {
            None => Ok(()),
            Some(lost) => {
                let what = format!("{}: the graph has no output '{}'", plan.who, lost.name);
                Err(Error::new(ErrorCode::Model, what))
            }
        }
    }

    /// The values of the outputs that the plan reads.
    pub(super) fn run(
        &self,
        scratch: &mut Scratch,
        plan: &FeedPlan,
        feed: &Feed,
    ) -> Result<Vec<Rows>, Failure> {
        let made = feed.times.tensors.timer();
        plan.refuse_nulls(feed)?;
        let filled = feed.columns.iter().map(with_nan);
        let filled: Vec<Option<ArrayRef>> = filled.collect();
        let columns = feed.columns.iter().zip(&filled);
        let columns = columns.map(|(column, filled)| read(filled.as_ref().unwrap_or(column)));
        let columns: Vec<Column<'_>> = columns
            .collect::<Result<_, _>>()
            .map_err(|what| bug(plan, &what))?;
        made.done();
        let _run = feed.times.model.timer();
        let mut made = plan
            .outputs()
            .map(|spec| self.room(spec, feed.rows, plan))
            .collect::<Result<Vec<_>, _>>()?;
        let mut outs: Vec<(usize, Out<'_>)> = made.iter_mut().map(Made::out).collect();
        self.model
            .score_all(&mut outs, &columns, feed.rows, scratch)
            .map_err(|error| match error {
                whimbrel_graph::Error::Rows(why) => {
                    let what = format!("{} failed while scoring: {why}", plan.who);
                    Failure::Rows(Error::new(ErrorCode::Model, what))
                }
                other => bug(plan, &other.to_string()).into(),
            })?;
        let rows = made.into_iter().zip(plan.outputs());
        let rows = rows.map(|(made, spec)| made.rows(spec, feed.rows));
        rows.collect::<Result<_, _>>()
            .map_err(|what| bug(plan, &what).into())
    }

    fn room(&self, spec: &OutputSpec, rows: usize, plan: &FeedPlan) -> Result<Made<'_>, Failure> {
        let mut own = self.model.outputs().iter().enumerate();
        let (place, own) = own
            .find(|(_, own)| own.name == spec.name)
            .ok_or_else(|| bug(plan, &format!("no output '{}'", spec.name)))?;
        let values = match &own.kind {
            Kind::Numbers { width, .. } => Values::Numbers(vec![0.0; rows * width], *width),
            Kind::Label(labels) => Values::Labels(vec![0; rows], labels),
        };
        Ok(Made { place, values })
    }
}

/// What an output gives, while it is made.
struct Made<'a> {
    place: usize,
    values: Values<'a>,
}

enum Values<'a> {
    /// And how many of them a row has.
    Numbers(Vec<f32>, usize),
    Labels(Vec<u32>, &'a Labels),
}

impl Made<'_> {
    fn out(&mut self) -> (usize, Out<'_>) {
        let out = match &mut self.values {
            Values::Numbers(numbers, _) => Out::Numbers(numbers),
            Values::Labels(places, _) => Out::Labels(places),
        };
        (self.place, out)
    }

    fn rows(self, spec: &OutputSpec, count: usize) -> Result<Rows, String> {
        let (values, width): (ArrayRef, usize) = match self.values {
            Values::Numbers(numbers, width) => {
                let values: ArrayRef = Arc::new(Float32Array::from(numbers));
                let values = cast(&values, &spec.element.arrow());
                (values.map_err(|error| error.to_string())?, width)
            }
            Values::Labels(places, labels) => (named(labels, &places), 1),
        };
        let sizes = match spec.shape.len() {
            0 | 1 => Vec::new(),
            _ => vec![width],
        };
        Ok(Rows {
            values,
            count,
            sizes,
        })
    }
}

/// Why there are no values.
pub(super) enum Failure {
    /// The rows are such as the model fails for, or as only ONNX Runtime can score.
    Rows(Error),
    Else(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Else(error)
    }
}

fn bug(plan: &FeedPlan, what: &str) -> Error {
    Error::new(ErrorCode::Bug, format!("{}: {what}", plan.who))
}

/// The column with NaN for what is missing, where something is.
fn with_nan(column: &ArrayRef) -> Option<ArrayRef> {
    if column.null_count() == 0 {
        return None;
    }
    if let Some(numbers) = column.as_primitive_opt::<Float32Type>() {
        let filled = numbers.iter().map(|value| value.unwrap_or(f32::NAN));
        return Some(Arc::new(Float32Array::from_iter_values(filled)));
    }
    let numbers = column.as_primitive_opt::<Float64Type>()?;
    let filled = numbers.iter().map(|value| value.unwrap_or(f64::NAN));
    Some(Arc::new(Float64Array::from_iter_values(filled)))
}

/// The column as our kernels read it.
fn read(column: &ArrayRef) -> Result<Column<'_>, String> {
    Ok(match column.data_type() {
        DataType::Float32 => Column::from(&**column.as_primitive::<Float32Type>().values()),
        DataType::Float64 => Column::from(&**column.as_primitive::<Float64Type>().values()),
        DataType::Int64 => Column::from(&**column.as_primitive::<Int64Type>().values()),
        DataType::Int32 => Column::from(&**column.as_primitive::<Int32Type>().values()),
        DataType::Int16 => Column::from(&**column.as_primitive::<Int16Type>().values()),
        DataType::Int8 => Column::from(&**column.as_primitive::<Int8Type>().values()),
        DataType::UInt16 => Column::from(&**column.as_primitive::<UInt16Type>().values()),
        DataType::UInt8 => Column::from(&**column.as_primitive::<UInt8Type>().values()),
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            Column::text(texts.value_offsets(), texts.value_data())
        }
        other => return Err(format!("it was fed a column of {other}")),
    })
}

/// The labels of these places.
fn named(labels: &Labels, places: &[u32]) -> ArrayRef {
    let places = places.iter().map(|place| *place as usize);
    match labels {
        Labels::Ints(ints) => Arc::new(Int64Array::from_iter_values(
            places.map(|place| ints[place]),
        )),
        Labels::Texts(texts) => Arc::new(StringArray::from_iter_values(
            places.map(|place| texts[place].as_str()),
        )),
    }
}
