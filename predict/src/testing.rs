//! A model host without models, for tests here and in the crates above: its model's first output is the sum of a row's inputs,
//! its second twice that, and so on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type};
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
        resolved: format!("file:///models/{alias}.onnx"),
        version: None,
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
            value: binding.value.clone(),
            rows: Arc::clone(&self.rows),
        }))
    }
}

/// Adds up the inputs of a row, texts by their length.
#[derive(Debug)]
pub struct SumModel {
    value: Value,
    rows: Arc<AtomicUsize>,
}

impl Model for SumModel {
    fn score(&self, feed: Feed) -> BoxFuture<'static, Result<ArrayRef, Error>> {
        self.rows.fetch_add(feed.rows, Ordering::Relaxed);
        let value = self.value.clone();
        Box::pin(async move { column(&feed, &value) })
    }

    fn batch_rows(&self) -> usize {
        BATCH_ROWS
    }

    fn feeds_ahead(&self) -> usize {
        2
    }
}

fn column(feed: &Feed, value: &Value) -> Result<ArrayRef, Error> {
    let model = |error: arrow::error::ArrowError| Error::new(ErrorCode::Model, error.to_string());
    match value {
        Value::Output { output, data_type } => {
            let sums = sum(feed, &DataType::Float64)?;
            let sums = sums.as_primitive::<Float64Type>();
            let scaled = sums.unary::<_, Float64Type>(|sum| sum * (*output as f64 + 1.0));
            let scaled: ArrayRef = Arc::new(scaled);
            match data_type {
                DataType::List(item) => {
                    let values = cast(&scaled, item.data_type()).map_err(model)?;
                    let ends = OffsetBuffer::from_repeated_length(1, feed.rows);
                    let lists = ListArray::try_new(Arc::clone(item), ends, values, None);
                    Ok(Arc::new(lists.map_err(model)?))
                }
                other => cast(&scaled, other).map_err(model),
            }
        }
        Value::Struct(fields) => {
            let columns = fields.iter().map(|(name, value)| {
                let column = column(feed, value)?;
                let field = Field::new(name, column.data_type().clone(), true);
                Ok((Arc::new(field), column))
            });
            let columns = columns.collect::<Result<Vec<_>, Error>>()?;
            Ok(Arc::new(StructArray::from(columns)))
        }
    }
}

/// The sum of each row's inputs as `returns`.
pub fn sum(feed: &Feed, returns: &DataType) -> Result<ArrayRef, Error> {
    let model = |error: arrow::error::ArrowError| Error::new(ErrorCode::Model, error.to_string());
    let mut sums = vec![0.0; feed.rows];
    for column in &feed.columns {
        let column = match column.as_fixed_size_list_opt() {
            Some(lists) => lists.values(),
            None => column,
        };
        let per_row = column.len().checked_div(feed.rows).unwrap_or(1).max(1);
        let numbers = match column.data_type() {
            DataType::Utf8 => arrow::compute::kernels::length::length(column).map_err(model)?,
            _ => Arc::clone(column),
        };
        let numbers = cast(&numbers, &DataType::Float64).map_err(model)?;
        let numbers = numbers.as_primitive::<Float64Type>();
        for place in 0..numbers.len() {
            sums[place / per_row] += if numbers.is_null(place) {
                f64::NAN
            } else {
                numbers.value(place)
            };
        }
    }
    let sums: ArrayRef = Arc::new(Float64Array::from(sums));
    cast(&sums, returns).map_err(model)
}
