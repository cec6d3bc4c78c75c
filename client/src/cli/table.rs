//! `whimbrel table`: add, list, show, drop.

use std::path::Path;

use serde_json::{Value, json};
use whimbrel::Client;
use whimbrel_proto::v1::{AddTableRequest, Column, Table};

use crate::cli::args::{AddTableArgs, TableCommand};
use crate::cli::console::{Console, aligned};
use crate::cli::context::{Context, End};
use crate::cli::failure::Failure;

/// Runs the command.
pub(crate) async fn run(context: &Context, command: TableCommand) -> Result<(), Failure> {
    let console = context.console;
    context
        .with_pool(End::AnySignal, async |client| match &command {
            TableCommand::Add(args) => add(console, &client, args).await,
            TableCommand::List => list(console, &client).await,
            TableCommand::Show { name } => show(console, &client, name).await,
            TableCommand::Drop { name } => {
                client.drop_table(name).await?;
                console.note(&format!(
                    "{name} is no longer a table; its files are where they were"
                ));
                Ok(())
            }
        })
        .await
}

async fn add(console: Console, client: &Client, args: &AddTableArgs) -> Result<(), Failure> {
    let table = client
        .add_table(AddTableRequest {
            name: args.name.clone(),
            uri: absolute_uri(&args.uri)?,
            format: args.format.clone().unwrap_or_default(),
            header: args.no_header.then_some(false),
            delimiter: args.delimiter.clone().unwrap_or_default(),
            quote: args.quote.clone().unwrap_or_default(),
            escape: args.escape.clone().unwrap_or_default(),
            comment: args.comment.clone().unwrap_or_default(),
            multiline: args.multiline.then_some(true),
            nulls: args.nulls.clone(),
            any_header: args.any_header.then_some(true),
            compression: args.compression.clone().unwrap_or_default(),
            encoding: args.encoding.clone().unwrap_or_default(),
            infer_rows: args.infer_rows.unwrap_or_default(),
            replace: args.replace,
        })
        .await?;
    if console.json {
        return console.print_json(&as_json(&table));
    }
    console.note(&format!(
        "{} has {} columns ({})",
        table.name,
        table.columns.len(),
        table.format
    ));
    Ok(())
}

/// Lists the tables.
pub(crate) async fn list(console: Console, client: &Client) -> Result<(), Failure> {
    let tables = client.list_tables().await?;
    if console.json {
        return tables
            .iter()
            .try_for_each(|table| console.print_json(&as_json(table)));
    }
    let row = |table: &Table| {
        vec![
            table.name.clone(),
            table.format.clone(),
            table.columns.len().to_string(),
            table.uri.clone(),
        ]
    };
    let rows: Vec<_> = tables.iter().map(row).collect();
    console.print(&aligned(&["table", "format", "columns", "uri"], &rows))
}

/// Shows a table's columns.
pub(crate) async fn show(console: Console, client: &Client, name: &str) -> Result<(), Failure> {
    let table = client.get_table(name).await?;
    if console.json {
        return console.print_json(&as_json(&table));
    }
    console.note(&format!("{} ({}): {}", table.name, table.format, table.uri));
    let null = |column: &Column| if column.nullable { "yes" } else { "no" };
    let origin = |column: &Column| if column.folder { "folder" } else { "file" };
    let row = |column: &Column| {
        vec![
            column.name.clone(),
            column.data_type.clone(),
            null(column).to_owned(),
            origin(column).to_owned(),
        ]
    };
    let rows: Vec<_> = table.columns.iter().map(row).collect();
    console.print(&aligned(&["column", "type", "nullable", "from"], &rows))
}

fn as_json(table: &Table) -> Value {
    let Table {
        name,
        uri,
        format,
        header,
        delimiter,
        columns,
    } = table;
    let column = |column: &Column| json!({"name": column.name, "type": column.data_type, "nullable": column.nullable, "folder": column.folder});
    let columns: Vec<Value> = columns.iter().map(column).collect();
    json!({"name": name, "uri": uri, "format": format, "header": header, "delimiter": delimiter, "columns": columns})
}

/// A path means the same to the scheduler as to the user, whose working folder may be another.
pub(crate) fn absolute_uri(uri: &str) -> Result<String, Failure> {
    if uri.contains("://") {
        return Ok(uri.to_owned());
    }
    if uri.trim().is_empty() {
        return Err(Failure::usage("--uri is empty", "give a path or a URI"));
    }
    let folder = uri.ends_with('/');
    let absolute = std::path::absolute(Path::new(uri));
    let absolute = absolute.map_err(|error| {
        Failure::usage(
            format!("'{uri}' is no path: {error}"),
            "give a path or a URI",
        )
    })?;
    let text = absolute.to_string_lossy().into_owned();
    Ok(if folder && !text.ends_with('/') {
        text + "/"
    } else {
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_absolute_and_a_uri_stays() {
        assert_eq!(
            absolute_uri("s3://lake/trips/*.csv").unwrap(),
            "s3://lake/trips/*.csv"
        );
        assert_eq!(absolute_uri("/data/trips/").unwrap(), "/data/trips/");
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            absolute_uri("a/*.csv").unwrap(),
            here.join("a/*.csv").to_str().unwrap()
        );
        assert!(absolute_uri(" ").is_err());
    }
}
