//! The values of an output's rows to one column of the type that the binding returns: single values, lists, structs, or maps
//! by class. Whole columns at a time, never row by row.

use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayRef, Int64Array, ListArray, MapArray, StringArray, StructArray, UInt32Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use whimbrel_predict::signature::RowNames;
use whimbrel_predict::types::entry_types;
use whimbrel_predict::value::lanes;

use super::OutputPlan;
use super::cast::cast;
use super::output::Rows;

/// The most keys that are kept for the next feed.
const KEPT_KEYS: usize = 1 << 18;

/// The keys of an output's maps, the same for every row: made once for many rows, and shared by all columns.
#[derive(Debug, Default)]
pub(super) struct Keys(OnceLock<ArrayRef>);

impl Keys {
    /// The keys of `rows` rows.
    fn of(&self, names: &RowNames, key: &DataType, width: usize, rows: usize) -> Option<ArrayRef> {
        let kept_rows = KEPT_KEYS / width.max(1);
        if rows > kept_rows {
            return repeated(names, key, rows);
        }
        let kept = match self.0.get().filter(|kept| kept.data_type() == key) {
            Some(kept) => Arc::clone(kept),
            None => {
                let made = repeated(names, key, kept_rows)?;
                Arc::clone(self.0.get_or_init(|| Arc::clone(&made)))
            }
        };
        match kept.data_type() == key {
            true => Some(kept.slice(0, rows * width)),
            false => repeated(names, key, rows),
        }
    }
}

fn repeated(names: &RowNames, key: &DataType, rows: usize) -> Option<ArrayRef> {
    match (names, key) {
        (RowNames::IntClasses(classes), DataType::Int64) => {
            let keys = (0..rows).flat_map(|_| classes.iter().copied());
            Some(Arc::new(Int64Array::from_iter_values(keys)))
        }
        (names, DataType::Utf8) => {
            let texts = names.texts()?;
            // By place, since the builder wants to know how many there will be.
            let keys = (0..rows * texts.len()).map(|place| texts[place % texts.len()].as_str());
            Some(Arc::new(StringArray::from_iter_values(keys)))
        }
        _ => None,
    }
}

/// The column; the error continues "output 'x' ...".
pub(super) fn column(rows: &Rows, plan: &OutputPlan, to: &DataType) -> Result<ArrayRef, String> {
    match to {
        DataType::List(item) => list(rows, item),
        DataType::Struct(fields) => structure(rows, plan, fields),
        DataType::Map(entries, _) => map(rows, plan, entries),
        scalar if rows.width() == 1 => cast(&rows.values, scalar),
        scalar => Err(format!(
            "has {} values per row, and {scalar} is one",
            rows.width()
        )),
    }
}

fn list(rows: &Rows, item: &FieldRef) -> Result<ArrayRef, String> {
    let (mut leaf, mut depth, mut fields) = (item, 1, vec![Arc::clone(item)]);
    while let DataType::List(inner) = leaf.data_type() {
        (leaf, depth) = (inner, depth + 1);
        fields.push(Arc::clone(inner));
    }
    let sizes = match rows.sizes.as_slice() {
        [] => &[1],
        sizes => sizes,
    };
    if sizes.len() != depth {
        let what = "dimensions in a row, and its type has";
        return Err(format!("has {} {what} {depth}", sizes.len()));
    }
    let mut column = cast(&rows.values, leaf.data_type())?;
    for (size, field) in sizes.iter().zip(fields).rev() {
        let count = column.len().checked_div(*size).unwrap_or(rows.count);
        let offsets = uniform(count, *size)?;
        column = Arc::new(
            ListArray::try_new(field, offsets, column, None).map_err(|error| error.to_string())?,
        );
    }
    Ok(column)
}

/// Where `count` lists of `size` values each begin and end.
fn uniform(count: usize, size: usize) -> Result<OffsetBuffer<i32>, String> {
    let end = |place: usize| {
        let end = place
            .checked_mul(size)
            .and_then(|end| i32::try_from(end).ok());
        end.ok_or_else(|| {
            format!("has {size} values per row, which is too many for {count} rows at once")
        })
    };
    end(count)?;
    let ends = (0..=count).map(end).collect::<Result<Vec<_>, _>>()?;
    Ok(OffsetBuffer::new(ScalarBuffer::from(ends)))
}

fn structure(rows: &Rows, plan: &OutputPlan, fields: &Fields) -> Result<ArrayRef, String> {
    let order = lanes(&plan.spec, fields).map_err(|error| error.message().to_owned())?;
    let width = rows.width();
    let is_all = plan.spec.names.texts().is_some() || width == fields.len();
    if !is_all || order.iter().any(|lane| *lane >= width) {
        let what = "values per row, and its struct has";
        return Err(format!("has {width} {what} {} fields", fields.len()));
    }
    let columns = order
        .into_iter()
        .zip(fields)
        .map(|(lane, field)| cast(&lane_of(rows, lane)?, field.data_type()))
        .collect::<Result<Vec<_>, _>>()?;
    let column = StructArray::try_new(fields.clone(), columns, None);
    Ok(Arc::new(column.map_err(|error| error.to_string())?))
}

/// The n-th value of every row.
fn lane_of(rows: &Rows, lane: usize) -> Result<ArrayRef, String> {
    let width = rows.width();
    if width == 1 {
        return Ok(Arc::clone(&rows.values));
    }
    let places = (0..rows.count).map(|row| u32::try_from(row * width + lane));
    let places = places
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    take(&rows.values, &UInt32Array::from(places), None).map_err(|error| error.to_string())
}

fn map(rows: &Rows, plan: &OutputPlan, entries: &FieldRef) -> Result<ArrayRef, String> {
    let width = rows.width();
    let names = &plan.spec.names;
    let classes = names.texts().map_or(0, |names| names.len());
    if classes != width {
        return Err(format!("has {width} values per row, and {classes} classes"));
    }
    let (Some([key, value]), DataType::Struct(fields)) =
        (entry_types(entries), entries.data_type())
    else {
        return Err(format!("cannot be a map of {}", entries.data_type()));
    };
    let keys = plan
        .keys
        .of(names, key, width, rows.count)
        .ok_or_else(|| format!("has no keys of type {key}"))?;
    let columns = vec![keys, cast(&rows.values, value)?];
    let pairs =
        StructArray::try_new(fields.clone(), columns, None).map_err(|error| error.to_string())?;
    let offsets = uniform(rows.count, width)?;
    let entries: Arc<Field> = Arc::clone(entries);
    let column = MapArray::try_new(entries, offsets, pairs, None, false)
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(column))
}
