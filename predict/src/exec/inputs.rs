//! The model's arguments as columns: which of the input's columns they read, and how they are computed for just the rows that
//! are scored.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{cast::as_boolean_array, internal_datafusion_err};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::PhysicalExpr;
use whimbrel_proto::{Error, ErrorCode};

use crate::binding::Binding;
use crate::error::external;

/// The arguments over only those columns that they read, so that a row mask filters nothing else.
#[derive(Debug)]
pub(super) struct Inputs {
    columns: Vec<usize>,
    args: Vec<Arc<dyn PhysicalExpr>>,
}

impl Inputs {
    pub(super) fn try_new(args: &[Arc<dyn PhysicalExpr>], schema: &Schema) -> Result<Self> {
        let read: BTreeSet<usize> = args
            .iter()
            .flat_map(collect_columns)
            .map(|column| column.index())
            .collect();
        if let Some(index) = read.iter().find(|index| **index >= schema.fields().len()) {
            return Err(internal_datafusion_err!(
                "PredictExec reads column {index} of {}",
                schema.fields().len()
            ));
        }
        let columns: Vec<usize> = read.into_iter().collect();
        let places: HashMap<usize, usize> = columns
            .iter()
            .enumerate()
            .map(|(to, from)| (*from, to))
            .collect();
        let args = args
            .iter()
            .map(|arg| move_columns(arg, &places))
            .collect::<Result<_>>()?;
        Ok(Self { columns, args })
    }

    /// The arguments of the rows that `chosen` picks, all where it is none.
    pub(super) fn evaluate(
        &self,
        batch: &RecordBatch,
        chosen: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let narrow = batch.project(&self.columns)?;
        let rows = match chosen {
            Some(chosen) => filter_record_batch(&narrow, chosen)?,
            None => narrow,
        };
        let count = rows.num_rows();
        self.args
            .iter()
            .map(|arg| arg.evaluate(&rows)?.into_array(count))
            .collect()
    }
}

fn move_columns(
    arg: &Arc<dyn PhysicalExpr>,
    places: &HashMap<usize, usize>,
) -> Result<Arc<dyn PhysicalExpr>> {
    Arc::clone(arg)
        .transform_down(|expr| {
            let Some(column) = expr.downcast_ref::<Column>() else {
                return Ok(Transformed::no(expr));
            };
            let place = places
                .get(&column.index())
                .ok_or_else(|| internal_datafusion_err!("PredictExec lost column {column}"))?;
            Ok(Transformed::yes(
                Arc::new(Column::new(column.name(), *place)) as Arc<dyn PhysicalExpr>,
            ))
        })
        .data()
}

/// Which rows of the batch are scored; `None` where all are.
pub(super) fn chosen(
    mask: Option<&Arc<dyn PhysicalExpr>>,
    batch: &RecordBatch,
) -> Result<Option<BooleanArray>> {
    let Some(mask) = mask else { return Ok(None) };
    let values = mask.evaluate(batch)?.into_array(batch.num_rows())?;
    let values = as_boolean_array(&values)?;
    let chosen = match values.null_count() {
        0 => values.clone(),
        _ => prep_null_mask_filter(values),
    };
    Ok((chosen.true_count() < chosen.len()).then_some(chosen))
}

/// A model has NaN for "not known" in floats and nothing for the other types.
pub(super) fn refuse_nulls(binding: &Binding, args: &[ArrayRef]) -> Result<()> {
    let holds_nulls = |array: &ArrayRef| {
        !matches!(array.data_type(), DataType::Float32 | DataType::Float64)
            && array.logical_null_count() > 0
    };
    match binding.elements.iter().zip(args).find(|(_, array)| holds_nulls(array)) {
        None => Ok(()),
        Some((element, _)) => Err(external(
            Error::new(
                ErrorCode::Invalid,
                format!("PREDICT('{}'): input '{}' ({}) got a NULL", binding.alias, element.name, element.element),
            )
            .with_hint("only float inputs can take NULL (as NaN): filter such rows out, or give them a value with COALESCE"),
        )),
    }
}
