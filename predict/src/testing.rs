//! A model host without models, for tests here and in the crates above: its model's value is the sum of a row's inputs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use async_trait::async_trait;
use futures::future::BoxFuture;
use whimbrel_proto::{Error, ErrorCode};

use crate::binding::{Binding, InputElement, RuntimeKind};
use crate::exec::BATCH_ROWS;
use crate::options::BindOptions;
use crate::runtime::{Feed, Model, ModelHost};
use crate::signature::{ElementType, OutputSpec, RowNames, Signature, TensorSpec};
use crate::value::Value;

/// A binding of one `[N,1]` input of `element` per name, with a float32 output.
pub fn binding(alias: &str, inputs: &[&str], element: ElementType) -> Result<Binding, Error> {
    let tensor = |name: &str, element| TensorSpec {
        name: name.to_owned(),
        element,
        shape: vec![-1, 1],
    };
    let elements = inputs
        .iter()
        .enumerate()
        .map(|(input, name)| InputElement::scalar(name, true, element, input));
    Ok(Binding {
        alias: alias.parse()?,
        uri: format!("file:///models/{alias}.onnx"),
        digest: "ab".repeat(32).parse()?,
        generation: whimbrel_proto::ids::Generation(1),
        runtime: RuntimeKind::Ort,
        signature: Signature {
            inputs: inputs.iter().map(|name| tensor(name, element)).collect(),
            outputs: vec![OutputSpec {
                name: "variable".to_owned(),
                element: ElementType::Float32,
                shape: vec![-1, 1],
                names: RowNames::None,
            }],
        },
        returns: DataType::Float32,
        value: Value::Output {
            output: 0,
            data_type: DataType::Float32,
        },
        elements: elements.collect(),
        columns: Vec::new(),
        options: BindOptions::default(),
        size_bytes: 1,
        bound_at_ms: 0,
        recorded: Vec::new(),
        notes: Vec::new(),
    })
}

/// Opens a [`SumModel`] for whatever is bound, and counts.
#[derive(Debug, Default)]
pub struct SumHost {
    /// How often a model was opened.
    pub opened: AtomicUsize,
    /// How many rows were scored.
    pub rows: Arc<AtomicUsize>,
}

#[async_trait]
impl ModelHost for SumHost {
    async fn open(&self, binding: &Binding) -> Result<Arc<dyn Model>, Error> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(SumModel {
            returns: binding.returns.clone(),
            rows: Arc::clone(&self.rows),
        }))
    }
}

/// Adds up the inputs of a row, texts by their length.
#[derive(Debug)]
pub struct SumModel {
    returns: DataType,
    rows: Arc<AtomicUsize>,
}

impl Model for SumModel {
    fn score(&self, feed: Feed) -> BoxFuture<'static, Result<ArrayRef, Error>> {
        self.rows.fetch_add(feed.rows, Ordering::Relaxed);
        let returns = self.returns.clone();
        Box::pin(async move { sum(&feed, &returns) })
    }

    fn batch_rows(&self) -> usize {
        BATCH_ROWS
    }

    fn feeds_ahead(&self) -> usize {
        2
    }
}

/// The sum of each row's inputs as `returns`.
pub fn sum(feed: &Feed, returns: &DataType) -> Result<ArrayRef, Error> {
    let model = |error: arrow::error::ArrowError| Error::new(ErrorCode::Model, error.to_string());
    let mut sums = vec![0.0; feed.rows];
    for column in &feed.columns {
        let numbers = match column.data_type() {
            DataType::Utf8 => arrow::compute::kernels::length::length(column).map_err(model)?,
            _ => Arc::clone(column),
        };
        let numbers = cast(&numbers, &DataType::Float64).map_err(model)?;
        let numbers = numbers.as_primitive::<Float64Type>();
        for (row, sum) in sums.iter_mut().enumerate() {
            *sum += if numbers.is_null(row) {
                f64::NAN
            } else {
                numbers.value(row)
            };
        }
    }
    let sums: ArrayRef = Arc::new(Float64Array::from(sums));
    cast(&sums, returns).map_err(model)
}
