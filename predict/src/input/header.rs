//! The header of each CSV file against the table's columns. Columns are read by their position: a file with the same columns
//! in another order, or with others, would else give wrong values without a word.

use arrow::datatypes::Schema;
use bytes::{Bytes, BytesMut};
use datafusion::common::DataFusionError;
use datafusion::error::Result;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use whimbrel_proto::{Error, ErrorCode};

use crate::error::external;
use crate::locate::{Record, Records, fields};

/// A header longer than this is not looked at.
const LONGEST: usize = 1 << 20;

/// How records are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    pub(super) comment: Option<u8>,
}

/// The same text, once its header is known to be that of the table.
pub(super) async fn checked(
    mut text: BoxStream<'static, Result<Bytes>>,
    marks: Marks,
    columns: &Schema,
    shown: &str,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let mut head = BytesMut::new();
    let mut records = Records::new(marks.delimiter, marks.quote, 1);
    let mut seen = 0;
    let header = loop {
        let rest = head[seen..].iter();
        let found = rest.copied().find_map(|byte| {
            seen += 1;
            records
                .push(byte)
                .filter(|record| !is_comment(record, marks))
        });
        if found.is_some() || head.len() > LONGEST {
            break found;
        }
        match text.try_next().await? {
            Some(more) => head.extend_from_slice(&more),
            None => break records.end().filter(|record| !is_comment(record, marks)),
        }
    };
    if let Some(header) = header {
        compare(&header, marks, columns, shown)?;
    }
    Ok(stream::iter([Ok(head.freeze())]).chain(text).boxed())
}

fn is_comment(record: &Record, marks: Marks) -> bool {
    marks.comment.is_some() && record.bytes.first().copied() == marks.comment
}

fn compare(header: &Record, marks: Marks, columns: &Schema, shown: &str) -> Result<()> {
    let expected = columns.fields().len();
    if header.fields != expected {
        let has = header.fields;
        return Err(differs(
            shown,
            format!("its header has {has} columns, not {expected}"),
        ));
    }
    let names = fields(header, marks.delimiter, marks.quote);
    for (at, column) in columns.fields().iter().enumerate() {
        // Of an overlong header only the beginning is kept; a column that cannot be looked at is no match.
        let name = names.get(at).map_or("", String::as_str);
        if !name.trim().eq_ignore_ascii_case(column.name().trim()) {
            let what = format!(
                "it has the column '{name}' where '{}' is expected",
                column.name()
            );
            return Err(differs(shown, what));
        }
    }
    Ok(())
}

fn differs(shown: &str, what: String) -> DataFusionError {
    let text = format!("csv file '{shown}' does not fit its table: {what}");
    external(Error::new(ErrorCode::Data, text).with_hint(
        "make it a table of its own, or, where the columns are right by their order, say --any-header (check_header 'false')",
    ))
}
