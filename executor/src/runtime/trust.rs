//! Whether our own kernels give what ONNX Runtime gives, on rows made to tell them apart: values on the thresholds of trees,
//! right beside them, zeros, and what is missing; and on the rows that were logged with the model.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::ScalarValue;
use whimbrel_graph::Candidates;
use whimbrel_predict::runtime::{Feed, FeedTimes};
use whimbrel_predict::signature::ElementType;
use whimbrel_proto::{Error, ErrorCode};

use super::native::{Failure, Native};
use super::sessions::Sessions;
use super::tensors::{FeedPlan, Rows};
use super::threads::Worker;

/// How many rows are made.
const ROWS: usize = 256;
/// How far two numbers may be apart, of the larger one, and where both are next to nothing.
const RELATIVE: f64 = 1e-5;
const ABSOLUTE: f64 = 1e-6;

/// Numbers of every type, for columns that are not used.
const ANY: [f64; 7] = [0.0, 1.0, 2.0, 3.0, 7.0, 50.0, 100.0];

/// The first value that is another.
#[derive(Debug, PartialEq)]
pub(super) struct Difference {
    output: String,
    row: usize,
    native: String,
    ort: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            output,
            row,
            native,
            ort,
        } = self;
        write!(
            f,
            "output '{output}', row {row}: {native} natively, {ort} by ONNX Runtime"
        )
    }
}

/// What came out.
pub(super) enum Verdict {
    Same,
    /// ONNX Runtime scores the model, whatever feeds the columns that our kernels do not use.
    Differs(Difference),
    /// ONNX Runtime uses columns that our kernels believe are not used, and that plans therefore may leave out.
    Misread(Difference),
}

/// Compares the two. Our kernels are fed with the columns that they do not use left out, ONNX Runtime with all.
pub(super) fn compare(
    native: &Native,
    sessions: &Sessions,
    plan: &FeedPlan,
    worker: &mut Worker,
) -> Result<Verdict, Error> {
    let unused = native.model.unused_columns();
    let made = native.model.probes().into_iter().zip(&unused);
    let made = made.map(|(values, unused)| match values {
        Candidates::Numbers(_) if *unused => Candidates::Numbers(ANY.to_vec()),
        values => values,
    });
    let columns = made.zip(plan.elements()).enumerate();
    let columns = columns.map(|(place, (values, element))| column(place, &values, element));
    let made = feed(columns.collect::<Result<_, _>>()?);
    let verdict = on(&made, native, sessions, plan, worker)?;
    let Some(logged) = plan.examples().filter(|_| matches!(verdict, Verdict::Same)) else {
        return Ok(verdict);
    };
    on(&feed(logged?), native, sessions, plan, worker).or_else(|why| {
        tracing::info!(model = plan.who, %why, "not compared on the rows that were logged with it");
        Ok(Verdict::Same)
    })
}

/// The same on one feed.
fn on(
    full: &Feed,
    native: &Native,
    sessions: &Sessions,
    plan: &FeedPlan,
    worker: &mut Worker,
) -> Result<Verdict, Error> {
    let unused = native.model.unused_columns();
    let columns = full.columns.iter().zip(plan.elements()).zip(&unused);
    let columns = columns.map(|((column, element), unused)| match unused {
        true => constant(element, full.rows),
        false => Ok(Arc::clone(column)),
    });
    let left_out = feed(columns.collect::<Result<_, _>>()?);
    let ours = match native.run(&mut worker.native, plan, &left_out) {
        Ok(ours) => ours,
        // ONNX Runtime is asked for such rows anyway.
        Err(Failure::Rows(_)) => return Ok(Verdict::Same),
        Err(Failure::Else(error)) => return Err(error),
    };
    let theirs = match sessions.run(worker, plan, full) {
        // It may refuse what feeds a column that is not used, as a category that it does not know.
        Err(_) if unused.contains(&true) => sessions.run(worker, plan, &left_out)?,
        theirs => theirs?,
    };
    let Some(difference) = differ(plan, &ours, &theirs) else {
        return Ok(Verdict::Same);
    };
    if !unused.contains(&true) {
        return Ok(Verdict::Differs(difference));
    }
    let blind = sessions.run(worker, plan, &left_out)?;
    Ok(match differ(plan, &blind, &theirs) {
        None => Verdict::Differs(difference),
        Some(_) => Verdict::Misread(difference),
    })
}

fn differ(plan: &FeedPlan, ours: &[Rows], theirs: &[Rows]) -> Option<Difference> {
    let outputs = plan.outputs().zip(ours.iter().zip(theirs));
    let mut outputs =
        outputs.filter_map(|(output, (ours, theirs))| first(&output.name, ours, theirs));
    outputs.next()
}

fn feed(columns: Vec<ArrayRef>) -> Feed {
    Feed {
        rows: columns.first().map_or(0, |column| column.len()),
        columns,
        job_id: Arc::from(""),
        times: FeedTimes::default(),
    }
}

/// What plans put in the place of a column that is not used.
fn constant(element: ElementType, rows: usize) -> Result<ArrayRef, Error> {
    let value = ScalarValue::new_default(&element.arrow());
    let values = value.and_then(|value| value.to_array_of_size(rows));
    values.map_err(|error| Error::new(ErrorCode::Bug, error.to_string()))
}

/// A column of the values in turn, each at rows of its own: columns have different numbers of values, or start elsewhere.
fn column(place: usize, values: &Candidates, element: ElementType) -> Result<ArrayRef, Error> {
    let turn = |row: usize, count: usize| (row + row / count.max(1) + place * 7) % count.max(1);
    let values: ArrayRef = match values {
        Candidates::Numbers(numbers) => {
            let rows = 0..ROWS;
            let pick = |row| numbers.get(turn(row, numbers.len())).copied();
            Arc::new(Float64Array::from_iter_values(
                rows.map(|row| pick(row).unwrap_or(0.0)),
            ))
        }
        Candidates::Texts(texts) => {
            let pick = |row| texts.get(turn(row, texts.len())).map_or("", String::as_str);
            Arc::new(StringArray::from_iter_values((0..ROWS).map(pick)))
        }
    };
    cast(&values, &element.arrow()).map_err(|error| Error::new(ErrorCode::Bug, error.to_string()))
}

fn first(output: &str, ours: &Rows, theirs: &Rows) -> Option<Difference> {
    let row = |place: usize| place / ours.width().max(1);
    let difference = |place: usize, native: String, ort: String| Difference {
        output: output.to_owned(),
        row: row(place),
        native,
        ort,
    };
    let (a, b) = (&ours.values, &theirs.values);
    if a.len() != b.len() || a.data_type() != b.data_type() {
        let shown =
            |values: &ArrayRef| format!("{} values of {}", values.len(), values.data_type());
        return Some(difference(0, shown(a), shown(b)));
    }
    if a.data_type().is_floating() {
        let wide = |values: &ArrayRef| cast(values, &DataType::Float64).ok();
        let (a, b) = (wide(a)?, wide(b)?);
        let (a, b) = (
            a.as_primitive::<Float64Type>(),
            b.as_primitive::<Float64Type>(),
        );
        let pairs = a.values().iter().zip(b.values()).enumerate();
        let mut apart = pairs.filter(|(_, (a, b))| !alike(**a, **b));
        return apart
            .next()
            .map(|(place, (a, b))| difference(place, a.to_string(), b.to_string()));
    }
    // Labels.
    let place = (0..a.len()).find(|place| a.slice(*place, 1) != b.slice(*place, 1))?;
    let shown = |values: &ArrayRef| format!("{:?}", values.slice(place, 1));
    Some(difference(place, shown(a), shown(b)))
}

fn alike(a: f64, b: f64) -> bool {
    let nothing = a.is_nan() && b.is_nan();
    nothing || a == b || (a - b).abs() <= ABSOLUTE + RELATIVE * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use arrow::array::Float32Array;
    use whimbrel_predict::binding::GivenValue;

    use super::super::environment::environment;
    use super::super::tensors::Scratch;
    use super::super::testing::{Graph, TempFolder, digest_of, int, library, node};
    use super::*;

    fn rows(values: Vec<f32>, width: usize) -> Rows {
        Rows {
            count: values.len() / width,
            values: Arc::new(Float32Array::from(values)),
            sizes: vec![width],
        }
    }

    #[test]
    fn rounding_is_no_difference_and_anything_more_names_its_row() {
        let ours = rows(vec![1.0, 2.0, f32::NAN, f32::INFINITY], 2);
        let close = rows(vec![1.000_001, 2.0, f32::NAN, f32::INFINITY], 2);
        assert_eq!(first("p", &ours, &close), None);
        let far = rows(vec![1.0, 2.0, 0.5, f32::INFINITY], 2);
        let difference = first("p", &ours, &far).expect("a difference");
        assert_eq!(
            difference.to_string(),
            "output 'p', row 1: NaN natively, 0.5 by ONNX Runtime"
        );
        assert!(first("p", &ours, &rows(vec![1.0], 1)).is_some());
    }

    /// The input, and one more where it is 777.5, which no made row is.
    fn odd() -> Graph {
        let mut more = node("Cast", &["is"], &["more"]);
        more.attribute.push(int("to", 1));
        let equal = node("Equal", &["x", "w"], &["is"]);
        Graph {
            nodes: vec![equal, more, node("Add", &["x", "more"], &["y"])],
            ..Graph::linear(&[777.5])
        }
    }

    #[test]
    fn the_rows_that_were_logged_with_a_model_tell_kernels_apart() {
        let folder = TempFolder::new();
        let file = |name: &str, graph: &Graph| {
            let path = folder.path().join(name);
            std::fs::write(&path, graph.bytes()).expect("write a model");
            path
        };
        let plain = file("plain.onnx", &Graph::linear(&[1.0]));
        let odd = file("odd.onnx", &odd());
        let native = Native::load(&plain).expect("a native model");
        let environment = environment(Some(&library())).expect("ONNX Runtime");
        let mut worker = Worker {
            index: 0,
            scratch: Scratch::default(),
            native: whimbrel_graph::Scratch::default(),
        };
        let sessions = Sessions::load(environment, &odd, 1, &worker, "odd").expect("a session");
        let mut verdict = |examples: &[&str]| {
            let mut binding = Graph::linear(&[1.0]).binding(digest_of(b""), DataType::Float32);
            let element = binding.elements[0].clone();
            let values = examples
                .iter()
                .map(|text| GivenValue::parse(text, &element));
            binding.elements[0].examples = values.collect::<Result<_, _>>().expect("numbers");
            let plan = FeedPlan::new(&binding).expect("a plan");
            compare(&native, &sessions, &plan, &mut worker).expect("a verdict")
        };
        assert!(matches!(verdict(&[]), Verdict::Same));
        assert!(matches!(verdict(&["1", "NaN", "776"]), Verdict::Same));
        let Verdict::Differs(difference) = verdict(&["1", "777.5"]) else {
            panic!("nothing was found");
        };
        assert_eq!(
            difference.to_string(),
            "output 'y', row 1: 777.5 natively, 778.5 by ONNX Runtime"
        );
    }
}
