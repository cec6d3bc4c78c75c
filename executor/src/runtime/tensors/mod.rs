//! Arrow columns to ONNX tensors and back, on a scoring thread: borrowed where a column's buffer already is the tensor,
//! transposed into a reused buffer where k columns make one `[N,k]` input.
//!
//! Never clone a borrowed `TensorRef` and never bind one to an `IoBinding`: `ort` 2.0.0-rc.15 deadlocks on both.

mod cast;
mod input;
mod output;
mod strings;

use std::borrow::Cow;
use std::ops::Range;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::buffer::MutableBuffer;
use arrow::datatypes::DataType;
use ort::session::{Session, SessionInputValue};
use whimbrel_predict::binding::{Binding, InputElement};
use whimbrel_predict::runtime::Feed;
use whimbrel_predict::signature::{ElementType, TensorSpec};
use whimbrel_proto::{Error, ErrorCode};

/// Buffers that one thread uses again for every feed, one per model input.
#[derive(Default)]
pub(super) struct Scratch(Vec<Lane>);

#[derive(Default)]
struct Lane {
    numbers: MutableBuffer,
    bools: Vec<bool>,
}

/// How one binding's columns become its model's inputs, and its output a column. Worked out once per open.
#[derive(Debug)]
pub(super) struct FeedPlan {
    /// `model 'tip' (0123456789ab)`, for messages.
    pub(super) who: String,
    inputs: Vec<InputPlan>,
    output: String,
    returns: DataType,
}

#[derive(Debug)]
struct InputPlan {
    name: String,
    element: ElementType,
    /// False for a `[N]` input, true for `[N,k]`.
    has_lanes: bool,
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
    ) -> Result<Self, Error> {
        let name = &spec.name;
        let has_lanes = match spec.shape.len() {
            1 => false,
            2 => true,
            rank => {
                let message =
                    format!("{who}: input '{name}' has {rank} dimensions; columns feed 1 or 2");
                return Err(Error::new(ErrorCode::Invalid, message));
            }
        };
        if let Some(rows) = spec.shape.first().filter(|rows| **rows >= 0) {
            let message =
                format!("{who}: input '{name}' takes {rows} rows at a time, no more and no fewer");
            return Err(Error::new(ErrorCode::Invalid, message)
                .with_hint("export the model with a dynamic first dimension"));
        }
        if lanes.is_empty() || (lanes.len() > 1 && !has_lanes) {
            let message = format!("{who}: {} columns feed input '{name}'", lanes.len());
            return Err(Error::new(ErrorCode::Bug, message));
        }
        Ok(Self {
            name: name.clone(),
            element: spec.element,
            has_lanes,
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
            let lanes: Vec<_> = lanes.map(|lane| lane.name.clone()).collect();
            let columns = first..first + lanes.len();
            first = columns.end;
            inputs.push(InputPlan::new(&who, spec, lanes, columns)?);
        }
        if first != binding.elements.len() {
            let message = format!("{who}: its columns are not in the order of its inputs");
            return Err(Error::new(ErrorCode::Bug, message));
        }
        let output = binding.signature.outputs.first();
        let output =
            output.ok_or_else(|| Error::new(ErrorCode::Model, format!("{who} has no output")))?;
        Ok(Self {
            who,
            inputs,
            output: output.name.clone(),
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
        if !outputs.contains(&self.output) {
            return wrong(format!("the graph has no output '{}'", self.output));
        }
        Ok(())
    }

    /// Scores a feed on this thread: one value per row.
    pub(super) fn score(
        &self,
        session: &mut Session,
        feed: &Feed,
        scratch: &mut Scratch,
    ) -> Result<ArrayRef, Error> {
        if feed.rows == 0 {
            return Ok(new_empty_array(&self.returns));
        }
        let inputs = self.inputs(feed, scratch)?;
        let outputs = session.run(inputs).map_err(|error| self.failed(&error))?;
        let output = outputs.get(&self.output).ok_or_else(|| {
            Error::new(
                ErrorCode::Model,
                format!("{} gave no output '{}'", self.who, self.output),
            )
        })?;
        let column = output::column(output, feed.rows).map_err(|problem| {
            Error::new(
                ErrorCode::Model,
                format!("{}: output '{}' {problem}", self.who, self.output),
            )
        })?;
        cast::cast(&column, &self.returns).map_err(|problem| {
            Error::new(
                ErrorCode::Model,
                format!("{}: output '{}': {problem}", self.who, self.output),
            )
            .with_hint("bind the model again with a return type that fits")
        })
    }

    fn inputs<'a>(
        &'a self,
        feed: &'a Feed,
        scratch: &'a mut Scratch,
    ) -> Result<Vec<(Cow<'a, str>, SessionInputValue<'a>)>, Error> {
        if self
            .inputs
            .last()
            .is_some_and(|input| input.columns.end != feed.columns.len())
        {
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
