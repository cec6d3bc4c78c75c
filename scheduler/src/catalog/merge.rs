//! One schema for all files of a table.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use whimbrel_predict::input::widens;
use whimbrel_proto::{Error, ErrorCode};

use super::kinds::Kind;
use super::list::Found;
use super::table::{Csv, Format};

pub(super) type Named<'a> = (&'a Found, &'a Schema);

/// One schema for two files. CSV columns belong together by position, so there the names must agree; columns of Parquet and
/// JSON files are found by name, and one that a file lacks is NULL in its rows.
pub(super) fn merge(
    format: Format,
    (first, one): Named<'_>,
    (file, other): Named<'_>,
) -> Result<Schema, Error> {
    let differ = |what: String| {
        let text = format!("'{}' does not fit '{}': {what}", file.shown, first.shown);
        Error::new(ErrorCode::Data, text)
            .with_hint("add files of one shape as one table, the others as another")
    };
    if let Format::Csv(Csv { header, .. }) = format {
        let names = |schema: &Schema| -> Vec<String> {
            schema.fields().iter().map(|f| f.name().clone()).collect()
        };
        let (ours, theirs) = (names(one), names(other));
        if ours.len() != theirs.len() {
            return Err(differ(format!(
                "it has {} columns, not {}",
                theirs.len(),
                ours.len()
            )));
        }
        if header
            && let Some((ours, theirs)) = ours
                .iter()
                .zip(&theirs)
                .find(|(ours, theirs)| ours != theirs)
        {
            return Err(differ(format!(
                "it has the column '{theirs}' where '{ours}' is expected"
            )));
        }
    }
    let mut fields: Vec<Field> = one
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    for field in other.fields() {
        match fields.iter_mut().find(|known| known.name() == field.name()) {
            Some(known) => {
                let wider =
                    wider(format, known.data_type(), field.data_type()).ok_or_else(|| {
                        differ(format!(
                            "its column '{}' is {}, not {}",
                            field.name(),
                            field.data_type(),
                            known.data_type()
                        ))
                    })?;
                *known = known
                    .clone()
                    .with_data_type(wider)
                    .with_nullable(known.is_nullable() || field.is_nullable());
            }
            None => fields.push(field.as_ref().clone().with_nullable(true)),
        }
    }
    Ok(Schema::new(fields))
}

/// The type that holds every value of both. A text format's types were only guessed, so text holds everything; those of the
/// others are facts, and what would lose digits is refused.
fn wider(format: Format, one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType::{Float64, Int64, Null, Utf8};
    match (one, other) {
        (one, other) if one == other => Some(one.clone()),
        (Null, known) | (known, Null) => Some(known.clone()),
        (one, other) if one.is_nested() || other.is_nested() => None,
        _ => match format {
            Format::Csv(_) | Format::Json => match (one, other) {
                (Int64, Float64) | (Float64, Int64) => Some(Float64),
                _ => Some(Utf8),
            },
            Format::Parquet | Format::Arrow => {
                lossless(one, other).or_else(|| lossless(other, one))
            }
        },
    }
}

/// The wider one of the two, where it is `large`.
fn lossless(small: &DataType, large: &DataType) -> Option<DataType> {
    widens(small, large).then(|| large.clone())
}

/// Whether nothing is known of any column but its name: the table is of a text format and has no rows.
pub(super) fn is_untyped(schema: &Schema) -> bool {
    let mut types = schema.fields().iter().map(|field| field.data_type());
    types.all(DataType::is_null)
}

/// Columns of a text format without any value are text, so that later ones are kept as they are. Where no column has one there
/// are no rows, and NULL fits everything that a query may ask of them. A table has columns, each of its own name.
pub(super) fn settle(kind: Kind, file: &str, schema: &Schema) -> Result<SchemaRef, Error> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = schema
        .fields()
        .iter()
        .find(|field| !seen.insert(field.name()))
    {
        return Err(Error::new(
            ErrorCode::Data,
            format!("'{file}' has two columns named '{}'", twice.name()),
        )
        .with_hint("rename one of them in the file"));
    }
    if schema.fields().is_empty() {
        return Err(Error::new(
            ErrorCode::Data,
            format!("'{file}' has no columns"),
        ));
    }
    if matches!(kind, Kind::Parquet | Kind::Arrow) || is_untyped(schema) {
        return Ok(schema.clone().into());
    }
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Null => field.as_ref().clone().with_data_type(DataType::Utf8),
        _ => field.as_ref().clone(),
    });
    Ok(Schema::new(fields.collect::<Vec<Field>>()).into())
}

/// The columns of the files, then those of the folders. A file may repeat a column that its folder names, and the folder's
/// counts; but CSV's columns are known by their position, and none can be left out.
pub(super) fn with_folders(
    place: &str,
    format: Format,
    columns: &Schema,
    folders: &[FieldRef],
) -> Result<SchemaRef, Error> {
    let repeated = |field: &&FieldRef| folders.iter().any(|folder| folder.name() == field.name());
    if let Format::Csv(_) = format
        && let Some(twice) = columns.fields().iter().find(repeated)
    {
        let text = format!(
            "both the files of '{place}' and their folders have a column '{}'",
            twice.name()
        );
        return Err(Error::new(ErrorCode::Invalid, text)
            .with_hint("write the files without it, or add the folders as tables of their own"));
    }
    let own = columns.fields().iter().filter(|field| !repeated(field));
    let fields: Vec<FieldRef> = own.chain(folders).cloned().collect();
    Ok(Arc::new(Schema::new(fields)))
}
