//! The model's arguments as columns: which of the input's columns they read, and how they are computed for just the rows that
//! are scored.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{filter_record_batch, is_not_null, prep_null_mask_filter};
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
use crate::exec::lists::Lists;

/// The arguments over only those columns that they read, so that a row mask filters nothing else.
#[derive(Debug)]
pub(super) struct Inputs {
    columns: Vec<usize>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    binding: Arc<Binding>,
    /// Per argument, where it is a list for each row: how they become lists of one length.
    lists: Vec<Option<Lists>>,
}

/// Where rows are, for messages: the place of the first of them in its partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct From {
    pub row: usize,
    pub partition: usize,
}

impl Inputs {
    pub(super) fn try_new(
        binding: &Arc<Binding>,
        args: &[Arc<dyn PhysicalExpr>],
        schema: &Schema,
    ) -> Result<Self> {
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
        let lists = binding.elements.iter().map(Lists::of).collect();
        Ok(Self {
            columns,
            args,
            binding: Arc::clone(binding),
            lists,
        })
    }

    /// The arguments of the rows that `chosen` picks, all where it is none.
    pub(super) fn evaluate(
        &self,
        batch: &RecordBatch,
        chosen: Option<&BooleanArray>,
        from: From,
    ) -> Result<Vec<ArrayRef>> {
        let narrow = batch.project(&self.columns)?;
        let rows = match chosen {
            Some(chosen) => filter_record_batch(&narrow, chosen)?,
            None => narrow,
        };
        let count = rows.num_rows();
        let mut args = Vec::with_capacity(self.args.len());
        for (place, arg) in self.args.iter().enumerate() {
            let values = arg.evaluate(&rows);
            let values = values.and_then(|values| values.into_array(count));
            let values = values.map_err(|error| {
                error.context(format!("input '{}'", self.binding.elements[place].name))
            })?;
            args.push(match &self.lists[place] {
                None => filled(&self.binding, place, values)?,
                Some(lists) => lists.even(&values).map_err(|wrong| {
                    let element = &self.binding.elements[place];
                    external(wrong.of(&self.binding.alias, element, |row| From {
                        row: from.row + original(row, chosen),
                        ..from
                    }))
                })?,
            });
        }
        refuse_nulls(&self.binding, &args)?;
        Ok(args)
    }
}

/// The place in the batch of the n-th row that is scored.
pub(super) fn original(row: usize, chosen: Option<&BooleanArray>) -> usize {
    match chosen {
        None => row,
        Some(chosen) => chosen.values().set_indices().nth(row).unwrap_or(row),
    }
}

/// The values, with the input's default for NULL where it has one.
fn filled(binding: &Binding, place: usize, values: ArrayRef) -> Result<ArrayRef> {
    let element = &binding.elements[place];
    match &element.default {
        Some(default) if values.logical_null_count() > 0 => {
            let default = default.scalar(element.element).to_scalar()?;
            Ok(zip(&is_not_null(&values)?, &values, &default)?)
        }
        Some(_) | None => Ok(values),
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
fn refuse_nulls(binding: &Binding, args: &[ArrayRef]) -> Result<()> {
    let holds_nulls = |array: &ArrayRef| {
        !matches!(
            array.data_type(),
            DataType::Float32 | DataType::Float64 | DataType::FixedSizeList(..)
        ) && array.logical_null_count() > 0
    };
    match binding.elements.iter().zip(args).find(|(_, array)| holds_nulls(array)) {
        None => Ok(()),
        Some((element, _)) => Err(external(
            Error::new(
                ErrorCode::Invalid,
                format!("PREDICT('{}'): input '{}' ({}) got a NULL", binding.alias, element.name, element.element),
            )
            .with_hint("only float inputs can take NULL (as NaN): filter such rows out, give them a value with COALESCE, or bind with a default"),
        )),
    }
}
