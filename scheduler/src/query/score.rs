//! `COPY (SELECT ...) TO 'uri'` and `INSERT INTO table SELECT ...`: score jobs by another name. What they ask is written as the job's
//! spec, and the job is planned, run and committed as any other.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::parser::{CopyToSource, CopyToStatement, Statement};
use datafusion::sql::sqlparser::ast::{
    Ident, Insert, ObjectName, ObjectNamePart, SetExpr, Statement as Ast, TableObject, Value,
};
use whimbrel_proto::{Error, ErrorCode, v1};

use super::wording;
use crate::catalog::{Catalog, Format, Table};
use crate::jobs::Signed;
use crate::nearest;

/// A job that a statement asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScoreStatement {
    pub(crate) spec: v1::JobSpec,
    pub(crate) signed: Signed,
    /// The answer comes when the job has ended, else when it is submitted.
    pub(crate) wait: bool,
}

/// What `OPTIONS` of COPY takes.
const OPTIONS: &str = "there are compression, header, delimiter, row_group_rows, mode, key, user, priority, on_error, dead_letters, max_errors and wait";

/// The columns of what such a statement answers once its job has ended.
pub(crate) fn schema() -> SchemaRef {
    let count = |name: &str| Field::new(name, DataType::UInt64, false);
    Arc::new(Schema::new(vec![
        Field::new("job_id", DataType::Utf8, false),
        count("count"),
        count("rows_dead"),
        count("objects"),
    ]))
}

/// The answer: a row that says what the job came to.
pub(super) fn answer(job: &v1::JobStatus) -> Result<RecordBatch, Error> {
    let progress = job.progress.clone().unwrap_or_default();
    let count = |value: u64| Arc::new(UInt64Array::from(vec![value])) as ArrayRef;
    let columns = vec![
        Arc::new(StringArray::from(vec![job.job_id.clone()])) as ArrayRef,
        count(progress.rows_written),
        count(progress.rows_dead),
        count(progress.objects),
    ];
    RecordBatch::try_new(schema(), columns)
        .map_err(|error| Error::new(ErrorCode::Bug, format!("a job has no answer: {error}")))
}

/// The job that the statement asks for; `None` where it is another statement.
pub(super) fn understood(
    statement: &Statement,
    catalog: &Catalog,
) -> Result<Option<ScoreStatement>, Error> {
    match statement {
        Statement::CopyTo(copy) => copied(copy).map(Some),
        Statement::Statement(ast) => match ast.as_ref() {
            Ast::Insert(insert) => inserted(insert, catalog).map(Some),
            _ => Ok(None),
        },
        Statement::CreateExternalTable(_) | Statement::Explain(_) | Statement::Reset(_) => Ok(None),
    }
}

fn invalid(what: impl Into<String>, hint: &str) -> Error {
    Error::new(ErrorCode::Invalid, what).with_hint(hint)
}

fn copied(copy: &CopyToStatement) -> Result<ScoreStatement, Error> {
    let CopyToStatement {
        source,
        target,
        partitioned_by,
        stored_as,
        options,
    } = copy;
    if !partitioned_by.is_empty() {
        return Err(invalid(
            "COPY with PARTITIONED BY is not supported",
            "leave it out, or run one COPY for each part",
        ));
    }
    let sql = match source {
        CopyToSource::Query(query) => wording::text(query),
        CopyToSource::Relation(name) => format!("SELECT * FROM {name}"),
    };
    let mut statement = ScoreStatement {
        spec: v1::JobSpec {
            sql,
            output: target.clone(),
            format: stored_as.as_deref().map(format_name).unwrap_or_default(),
            ..v1::JobSpec::default()
        },
        signed: Signed::default(),
        wait: true,
    };
    for (key, value) in options {
        set(&mut statement, key, value)?;
    }
    Ok(statement)
}

/// `NDJSON` is another name of what we call json.
fn format_name(stored_as: &str) -> String {
    match stored_as.to_ascii_lowercase().as_str() {
        "ndjson" | "jsonl" => "json".to_owned(),
        name => name.to_owned(),
    }
}

fn set(statement: &mut ScoreStatement, key: &str, value: &Value) -> Result<(), Error> {
    let text = match value {
        Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
        other => other.to_string(),
    };
    let wrong = |hint: &str| invalid(format!("{key} is '{text}'"), hint);
    let number = || {
        text.parse::<u64>()
            .map_err(|_| wrong("write a whole number"))
    };
    let spec = &mut statement.spec;
    let key = key.to_ascii_lowercase();
    match key.strip_prefix("format.").unwrap_or(&key) {
        // The engine writes levels in brackets.
        "compression" => {
            let (name, _) = text.split_once('(').unwrap_or((&text, ""));
            spec.compression = match name.to_ascii_lowercase().as_str() {
                "uncompressed" => "none".to_owned(),
                name => name.to_owned(),
            };
        }
        "header" | "has_header" => {
            let header = text.to_ascii_lowercase().parse();
            spec.header = Some(header.map_err(|_| wrong("write true or false"))?);
        }
        "delimiter" => spec.delimiter = text,
        "row_group_rows" | "max_row_group_size" => spec.row_group_rows = number()?,
        "mode" => spec.mode = text,
        // As the command has it.
        "on_error" => match text.split_once('=') {
            Some(("deadletter", uri)) => {
                spec.on_error = "deadletter".to_owned();
                spec.dead_letters = uri.to_owned();
            }
            Some(_) | None => spec.on_error = text,
        },
        "dead_letters" => spec.dead_letters = text,
        "max_errors" => spec.max_errors = Some(number()?),
        "key" => statement.signed.key = text,
        "user" => statement.signed.user = text,
        "priority" => spec.priority = text,
        "wait" => {
            let wait = text.to_ascii_lowercase().parse();
            statement.wait = wait.map_err(|_| wrong("write true or false"))?;
        }
        other => {
            return Err(invalid(
                format!("option '{other}' is not supported"),
                OPTIONS,
            ));
        }
    }
    Ok(())
}

fn inserted(insert: &Insert, catalog: &Catalog) -> Result<ScoreStatement, Error> {
    let Insert {
        table,
        columns,
        source,
        overwrite,
        partitioned,
        on,
        returning,
        ..
    } = insert;
    if partitioned.is_some() || on.is_some() || returning.is_some() {
        return Err(invalid(
            "INSERT with PARTITION, ON or RETURNING is not supported",
            "write INSERT INTO table SELECT ...",
        ));
    }
    let Some(source) = source else {
        return Err(invalid(
            "INSERT has no SELECT",
            "write INSERT INTO table SELECT ...",
        ));
    };
    if matches!(source.body.as_ref(), SetExpr::Values(_)) {
        return Err(invalid(
            "INSERT of VALUES is not supported",
            "rows come from a SELECT of a table: INSERT INTO table SELECT ...",
        ));
    }
    let table = catalog.get(&name_of(table)?)?;
    let format = growing(&table)?;
    let spec = v1::JobSpec {
        sql: fitted(&table, columns, &wording::text(source))?,
        output: table.uri.clone(),
        mode: if *overwrite { "overwrite" } else { "append" }.to_owned(),
        ..format
    };
    Ok(ScoreStatement {
        spec,
        signed: Signed::default(),
        wait: true,
    })
}

fn name_of(table: &TableObject) -> Result<String, Error> {
    let name = match table {
        TableObject::TableName(ObjectName(parts)) => {
            parts.last().and_then(ObjectNamePart::as_ident)
        }
        _ => None,
    };
    name.map(spelled).ok_or_else(|| {
        invalid(
            "INSERT names no table",
            "write INSERT INTO table SELECT ...",
        )
    })
}

/// A name as the engine reads it.
fn spelled(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_ascii_lowercase(),
    }
}

/// How rows are added to a table; only to one that is a folder.
fn growing(table: &Table) -> Result<v1::JobSpec, Error> {
    let Table {
        name, uri, format, ..
    } = table;
    let last = uri.trim_end_matches('/').rsplit('/').next();
    let is_folder =
        uri.ends_with('/') || last.is_some_and(|last| !last.contains(['.', '*', '?', '[']));
    if !is_folder || !table.folder_columns().is_empty() {
        let text = format!("table '{name}' cannot grow: '{uri}' is no plain folder of files");
        return Err(invalid(
            text,
            "write to a folder with COPY (SELECT ...) TO '...'",
        ));
    }
    let mut spec = v1::JobSpec {
        format: format.name().to_owned(),
        ..v1::JobSpec::default()
    };
    match format {
        Format::Csv(csv) => {
            spec.header = Some(csv.header);
            spec.delimiter = char::from(csv.delimiter).to_string();
        }
        Format::Parquet | Format::Json | Format::Arrow => {}
    }
    Ok(spec)
}

/// The query's columns as those of the table: by their place, or by the list after the table's name.
fn fitted(table: &Table, listed: &[ObjectName], query: &str) -> Result<String, Error> {
    let own = table.schema.fields();
    let names: Vec<String> = match listed.is_empty() {
        true => own.iter().map(|field| field.name().clone()).collect(),
        false => listed
            .iter()
            .filter_map(|name| name.0.last()?.as_ident().map(spelled))
            .collect(),
    };
    for name in &names {
        if table.schema.index_of(name).is_err() {
            let known = own.iter().map(|field| field.name().as_str());
            let text = format!("table '{}' has no column '{name}'", table.name);
            return Err(invalid(
                text,
                &nearest::hint(name, known, "it has no columns"),
            ));
        }
    }
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let given = |place: usize| format!("\"c{place}\"");
    let column = |field: &Arc<Field>| {
        let value = match names.iter().position(|name| name == field.name()) {
            Some(place) => given(place),
            None => "NULL".to_owned(),
        };
        let wanted = field.data_type().to_string().replace('\'', "''");
        format!(
            "arrow_cast({value}, '{wanted}') AS {}",
            quoted(field.name())
        )
    };
    let columns: Vec<String> = own.iter().map(column).collect();
    let places: Vec<String> = (0..names.len()).map(given).collect();
    Ok(format!(
        "SELECT {} FROM ({query}) AS \"rows\"({})",
        columns.join(", "),
        places.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::one_statement;

    fn copy(sql: &str) -> Result<ScoreStatement, Error> {
        match one_statement(sql).unwrap() {
            Statement::CopyTo(copy) => copied(&copy),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn copy_asks_for_the_same_job_as_the_command() {
        let asked = copy(
            "COPY (SELECT a, PREDICT('fare', *) AS p FROM t) TO 's3://lake/out' STORED AS CSV OPTIONS ('format.has_header' 'false', 'compression' 'zstd(3)', 'mode' 'append', 'key' 'k', 'max_errors' 5, 'on_error' 'deadletter=/dead')",
        )
        .unwrap();
        assert_eq!(asked.signed.key, "k");
        let v1::JobSpec {
            sql,
            output,
            format,
            compression,
            header,
            mode,
            max_errors,
            on_error,
            dead_letters,
            ..
        } = asked.spec;
        assert_eq!(sql, "SELECT a, PREDICT('fare', *) AS p FROM t");
        assert_eq!(
            (
                output.as_str(),
                format.as_str(),
                compression.as_str(),
                mode.as_str()
            ),
            ("s3://lake/out", "csv", "zstd", "append")
        );
        assert_eq!((header, max_errors), (Some(false), Some(5)));
        assert_eq!(
            (on_error.as_str(), dead_letters.as_str()),
            ("deadletter", "/dead")
        );
        let relation = copy("COPY trips TO '/out' STORED AS PARQUET").unwrap();
        assert_eq!(relation.spec.sql, "SELECT * FROM trips");
    }

    #[test]
    fn what_copy_cannot_do_it_refuses_by_name() {
        for (sql, what) in [
            (
                "COPY t TO '/out' STORED AS PARQUET PARTITIONED BY (a)",
                "PARTITIONED BY",
            ),
            (
                "COPY t TO '/out' STORED AS PARQUET OPTIONS ('bloom' 'x')",
                "option 'bloom'",
            ),
            (
                "COPY t TO '/out' STORED AS PARQUET OPTIONS ('max_errors' 'x')",
                "max_errors is 'x'",
            ),
        ] {
            let error = copy(sql).unwrap_err();
            assert!(error.message().contains(what), "{sql}: {error}");
            assert!(error.hint().is_some(), "{sql}");
        }
    }
}
