//! Arrow columns to ONNX tensors and back, on a scoring thread: borrowed where a column's buffer already is the tensor,
//! transposed into a reused buffer where k columns make one `[N,k]` input.
//!
//! Never clone a borrowed `TensorRef` and never bind one to an `IoBinding`: `ort` 2.0.0-rc.15 deadlocks on both.

mod cast;
mod input;
mod output;
mod shape;
mod strings;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StructArray, new_empty_array};
use arrow::buffer::MutableBuffer;
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use ort::session::{OutputSelector, RunOptions, Session, SessionInputValue, SessionOutputs};
use whimbrel_predict::binding::{Binding, GivenValue, InputElement};
use whimbrel_predict::runtime::Feed;
use whimbrel_predict::signature::{ElementType, OutputSpec, TensorSpec};
use whimbrel_predict::value::Value;
use whimbrel_proto::{Error, ErrorCode};

use self::input::Problem;
pub(crate) use self::output::Rows;
use self::shape::Keys;

/// Buffers that one thread uses again for every feed, one per model input.
#[derive(Default)]
pub(super) struct Scratch(Vec<Lane>);

#[derive(Default)]
struct Lane {
    numbers: MutableBuffer,
    bools: Vec<bool>,
}

/// How one binding's columns become its model's inputs, and its outputs a column. Worked out once per open.
#[derive(Debug)]
pub(super) struct FeedPlan {
    /// `model 'tip' (0123456789ab)`, for messages.
    pub(super) who: String,
    inputs: Vec<InputPlan>,
    /// The outputs that are read, and nothing else is.
    outputs: Vec<OutputPlan>,
    value: Value,
    returns: DataType,
    /// The names of the columns that are fed with anything, since the model does not use them, by place.
    left_out: Vec<(usize, String)>,
    /// By column the values of some rows that the model is meant for, if there are any.
    examples: Vec<Vec<GivenValue>>,
}

#[derive(Debug)]
struct OutputPlan {
    /// Its place in the signature, by which the value speaks of it.
    place: usize,
    spec: OutputSpec,
    /// The keys of its maps, where it is returned as such.
    keys: Keys,
}

/// How columns lie in the tensor.
#[derive(Debug)]
enum Layout {
    /// `[N]`: one column of numbers or texts.
    Plain,
    /// `[N,k]`: k of them.
    Lanes,
    /// One column of lists, which are rows of these sizes; -1 for one that the feed decides.
    Lists(Vec<i64>),
}

#[derive(Debug)]
struct InputPlan {
    name: String,
    element: ElementType,
    layout: Layout,
    /// Which of the feed's columns are its lanes.
    columns: Range<usize>,
    /// The lanes' names, for messages.
    lanes: Vec<String>,
}

impl InputPlan {
    fn new(
        who: &str,
        spec: &TensorSpec,
        lanes: Vec<String>,
        columns: Range<usize>,
        lists: Option<Vec<i64>>,
    ) -> Result<Self, Error> {
        let name = &spec.name;
        let layout = match (lists, spec.shape.len()) {
            (Some(sizes), _) => Layout::Lists(sizes),
            (None, 1) => Layout::Plain,
            (None, 2) => Layout::Lanes,
            (None, rank) => {
                let message =
                    format!("{who}: input '{name}' has {rank} dimensions and is not fed by lists");
                return Err(Error::new(ErrorCode::Bug, message));
            }
        };
        if let Some(rows) = spec.shape.first().filter(|rows| **rows >= 0) {
            let message =
                format!("{who}: input '{name}' takes {rows} rows at a time, no more and no fewer");
            return Err(Error::new(ErrorCode::Invalid, message)
                .with_hint("export the model with a dynamic first dimension"));
        }
        if lanes.is_empty() || (lanes.len() > 1 && !matches!(layout, Layout::Lanes)) {
            let message = format!("{who}: {} columns feed input '{name}'", lanes.len());
            return Err(Error::new(ErrorCode::Bug, message));
        }
        Ok(Self {
            name: name.clone(),
            element: spec.element,
            layout,
            columns,
            lanes,
        })
    }
}

impl FeedPlan {
    pub(super) fn new(binding: &Binding) -> Result<Self, Error> {
        let who = format!("model '{}' ({})", binding.alias, binding.digest.short());
        let (mut inputs, mut first) = (Vec::with_capacity(binding.signature.inputs.len()), 0);
        for (index, spec) in binding.signature.inputs.iter().enumerate() {
            let own = |element: &&InputElement| element.input == index;
            let lanes = binding.elements[first..].iter().take_while(own);
            let lists = lanes.clone().find(|lane| !lane.shape.is_empty());
            let lists = lists.map(|lane| lane.shape.clone());
            let lanes: Vec<_> = lanes.map(|lane| lane.name.clone()).collect();
            let columns = first..first + lanes.len();
            first = columns.end;
            inputs.push(InputPlan::new(&who, spec, lanes, columns, lists)?);
        }
        if first != binding.elements.len() {
            let message = format!("{who}: its columns are not in the order of its inputs");
            return Err(Error::new(ErrorCode::Bug, message));
        }
        let outputs = binding.value.outputs().into_iter().map(|place| {
            let spec = binding.signature.outputs.get(place).ok_or_else(|| {
                Error::new(ErrorCode::Bug, format!("{who} has no output {place}"))
            })?;
            let keys = Keys::default();
            Ok(OutputPlan {
                place,
                spec: spec.clone(),
                keys,
            })
        });
        let outputs = outputs.collect::<Result<Vec<_>, Error>>()?;
        if outputs.is_empty() {
            return Err(Error::new(ErrorCode::Bug, format!("{who} reads no output")));
        }
        let left_out = binding.elements.iter().enumerate();
        let left_out = left_out.filter(|(_, element)| element.unused);
        let left_out = left_out.map(|(place, element)| (place, element.name.clone()));
        let examples = binding.elements.iter();
        Ok(Self {
            examples: examples.map(|element| element.examples.clone()).collect(),
            left_out: left_out.collect(),
            who,
            inputs,
            outputs,
            value: binding.value.clone(),
            returns: binding.returns.clone(),
        })
    }

    /// The loaded graph must have what the binding was made with, and ask for nothing more.
    pub(super) fn check(&self, inputs: &[String], outputs: &[String]) -> Result<(), Error> {
        let wrong = |what: String| {
            Err(Error::new(
                ErrorCode::Model,
                format!("{}: {what}", self.who),
            ))
        };
        if let Some(input) = self
            .inputs
            .iter()
            .find(|input| !inputs.contains(&input.name))
        {
            return wrong(format!("the graph has no input '{}'", input.name));
        }
        if let Some(extra) = inputs
            .iter()
            .find(|name| self.inputs.iter().all(|input| input.name != **name))
        {
            return wrong(format!("the graph's input '{extra}' is not in the binding"));
        }
        let lost = |output: &&OutputPlan| !outputs.contains(&output.spec.name);
        if let Some(lost) = self.outputs.iter().find(lost) {
            return wrong(format!("the graph has no output '{}'", lost.spec.name));
        }
        Ok(())
    }

    /// Columns that hold anything must be such as the model does not use.
    pub(super) fn check_left_out(&self, unused: &[bool]) -> Result<(), Error> {
        let mut left_out = self.left_out.iter();
        let used = left_out.find(|(place, _)| unused.get(*place) != Some(&true));
        used.map_or(Ok(()), |(_, name)| {
            let what = format!(
                "{}: its binding leaves out input '{name}', which the model may use",
                self.who
            );
            Err(Error::new(ErrorCode::Model, what).with_hint("bind the model again"))
        })
    }

    /// How many columns a feed has.
    pub(super) fn columns(&self) -> usize {
        self.inputs.last().map_or(0, |input| input.columns.end)
    }

    /// What each of a feed's columns is.
    pub(super) fn elements(&self) -> impl Iterator<Item = ElementType> {
        let inputs = self.inputs.iter();
        inputs.flat_map(|input| std::iter::repeat_n(input.element, input.columns.len()))
    }

    /// By column the values of some rows that the model is meant for; nothing where there are none.
    pub(super) fn examples(&self) -> Option<Result<Vec<ArrayRef>, Error>> {
        let is_known = self.examples.iter().all(|values| !values.is_empty());
        let column = |(values, element): (&Vec<GivenValue>, ElementType)| {
            let values = values.iter().map(|value| value.scalar(element));
            ScalarValue::iter_to_array(values)
                .map_err(|error| Error::new(ErrorCode::Bug, error.to_string()))
        };
        let columns = self.examples.iter().zip(self.elements());
        (is_known && !self.examples.is_empty()).then(|| columns.map(column).collect())
    }

    /// The outputs that are read.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &OutputSpec> {
        self.outputs.iter().map(|output| &output.spec)
    }

    /// A NULL where the model has no place for one is the rows' error.
    pub(super) fn refuse_nulls(&self, feed: &Feed) -> Result<(), Error> {
        for input in &self.inputs {
            let floats = matches!(input.element, ElementType::Float32 | ElementType::Float64);
            let columns = feed.columns.get(input.columns.clone()).unwrap_or_default();
            let mut lanes = columns.iter().zip(&input.lanes);
            if let Some((_, lane)) = lanes.find(|(column, _)| !floats && column.null_count() > 0) {
                let (lane, element) = (lane.clone(), input.element);
                return Err(Problem::Null { lane, element }.of(&self.who));
            }
        }
        Ok(())
    }

    /// The scores of no rows.
    pub(super) fn nothing(&self) -> ArrayRef {
        new_empty_array(&self.returns)
    }

    /// One value per row, of what was read of the outputs.
    pub(super) fn column(&self, feed: &Feed, read: &[Rows]) -> Result<ArrayRef, Error> {
        let _made = feed.times.tensors.timer();
        self.make(&self.value, read)
    }

    /// Runs a session on a feed: what it gave for each output that is read.
    pub(super) fn run(
        &self,
        session: &mut Session,
        feed: &Feed,
        scratch: &mut Scratch,
    ) -> Result<Vec<Rows>, Error> {
        let made = feed.times.tensors.timer();
        let inputs = self.inputs(feed, scratch)?;
        made.done();
        let run = feed.times.model.timer();
        let options;
        let outputs = if self.outputs.len() == session.outputs().len() {
            session.run(inputs)
        } else {
            let wanted = self.outputs().map(|output| output.name.as_str());
            let wanted = wanted.fold(OutputSelector::no_default(), OutputSelector::with);
            options = RunOptions::new()
                .map_err(|error| self.failed(&error))?
                .with_outputs(wanted);
            session.run_with_options(inputs, &options)
        };
        run.done();
        let outputs = outputs.map_err(|error| self.failed(&error))?;
        let _made = feed.times.tensors.timer();
        self.outputs
            .iter()
            .map(|plan| self.read(plan, &outputs, feed.rows))
            .collect()
    }

    fn read(
        &self,
        plan: &OutputPlan,
        outputs: &SessionOutputs<'_>,
        rows: usize,
    ) -> Result<Rows, Error> {
        let name = &plan.spec.name;
        let wrong = |problem: String| {
            let what = format!("{}: output '{name}' {problem}", self.who);
            Error::new(ErrorCode::Model, what)
        };
        let output = outputs
            .get(name)
            .ok_or_else(|| wrong("was not given".to_owned()))?;
        output::rows(output, rows).map_err(wrong)
    }

    /// The column of `value`, of what was read for the plan's outputs.
    fn make(&self, value: &Value, read: &[Rows]) -> Result<ArrayRef, Error> {
        match value {
            Value::Output { output, data_type } => {
                let found = self
                    .outputs
                    .iter()
                    .zip(read)
                    .find(|(plan, _)| plan.place == *output);
                let Some((plan, rows)) = found else {
                    let what = format!("{} did not read output {output}", self.who);
                    return Err(Error::new(ErrorCode::Bug, what));
                };
                shape::column(rows, plan, data_type).map_err(|problem| {
                    let what = format!("{}: output '{}' {problem}", self.who, plan.spec.name);
                    Error::new(ErrorCode::Model, what)
                        .with_hint("bind the model again with a return type that fits")
                })
            }
            Value::Struct(fields) => {
                let columns = fields
                    .iter()
                    .map(|(_, value)| self.make(value, read))
                    .collect::<Result<Vec<_>, Error>>()?;
                let field = |((name, _), column): (&(String, Value), &ArrayRef)| {
                    Field::new(name, column.data_type().clone(), true)
                };
                let fields = fields.iter().zip(&columns).map(field).collect();
                let column = StructArray::try_new(fields, columns, None).map_err(|error| {
                    Error::new(ErrorCode::Bug, format!("{}: {error}", self.who))
                })?;
                Ok(Arc::new(column))
            }
        }
    }

    fn inputs<'a>(
        &'a self,
        feed: &'a Feed,
        scratch: &'a mut Scratch,
    ) -> Result<Vec<(Cow<'a, str>, SessionInputValue<'a>)>, Error> {
        if self.columns() != feed.columns.len() {
            let got = feed.columns.len();
            return Err(Error::new(
                ErrorCode::Bug,
                format!("{} was fed {got} columns", self.who),
            ));
        }
        if scratch.0.len() < self.inputs.len() {
            scratch.0.resize_with(self.inputs.len(), Lane::default);
        }
        self.inputs
            .iter()
            .zip(&mut scratch.0)
            .map(|(input, lane)| {
                let value =
                    input::tensor(input, &feed.columns[input.columns.clone()], feed.rows, lane)
                        .map_err(|problem| problem.of(&self.who))?;
                Ok((Cow::Borrowed(input.name.as_str()), value))
            })
            .collect()
    }

    fn failed(&self, error: &ort::Error) -> Error {
        let reason = super::session::reason(error.message());
        Error::new(
            ErrorCode::Model,
            format!("{} failed while scoring: {reason}", self.who),
        )
    }
}
