//! `whimbrel sql`: statements from the command line, a file, a pipe, or a person.

mod execute;
mod lines;
mod progress;
mod repl;
pub(crate) mod statements;

use std::io::{IsTerminal, Read};
use std::path::Path;

use whimbrel::Client;

use crate::cli::args::SqlArgs;
use crate::cli::context::{Context, End};
use crate::cli::failure::Failure;
use crate::cli::output::{Target, Wish};

pub(crate) use execute::{Run, Summary, execute};
use statements::{Statement, split};

/// Runs the command.
pub(crate) async fn run(context: &Context, args: SqlArgs) -> Result<(), Failure> {
    let console = context.console;
    let target = Target::decide(Wish {
        format: args.format,
        file: args.output.as_deref(),
        json: console.json,
        stdout_is_terminal: console.stdout_is_terminal,
    })?;
    let Some(text) = text_of(&args)? else {
        if args.output.is_some() {
            return Err(Failure::usage(
                "-o needs a statement",
                "give QUERY or -f FILE",
            ));
        }
        let repl = async |client: Client| repl::run(context, &client, &target).await;
        return Box::pin(context.with_pool(End::Termination, repl)).await;
    };
    let statements = split(&text).statements;
    if statements.is_empty() {
        return Err(Failure::usage(
            "there is no statement to run",
            "give QUERY, or a file of statements with -f",
        ));
    }
    context
        .with_pool(End::AnySignal, async |client| {
            run_all(context, &client, &statements, &target).await
        })
        .await
}

/// The statements to run; nothing where a person is to be asked for them.
fn text_of(args: &SqlArgs) -> Result<Option<String>, Failure> {
    let unreadable = |what: &str, error: &std::io::Error| {
        Failure::usage(
            format!("cannot read {what}: {error}"),
            "-f takes a text file of SQL statements, '-' is standard input",
        )
    };
    match (&args.query, &args.file) {
        (Some(query), _) => Ok(Some(query.clone())),
        (None, Some(path)) if path != Path::new("-") => std::fs::read_to_string(path)
            .map(Some)
            .map_err(|error| unreadable(&path.display().to_string(), &error)),
        (None, None) if std::io::stdin().is_terminal() => Ok(None),
        (None, _) => {
            let mut text = String::new();
            let read = std::io::stdin().lock().read_to_string(&mut text);
            read.map(|_| Some(text))
                .map_err(|error| unreadable("standard input", &error))
        }
    }
}

/// Runs statements in order; the first that fails ends it, with its line where there are several.
async fn run_all(
    context: &Context,
    client: &Client,
    statements: &[Statement<'_>],
    target: &Target,
) -> Result<(), Failure> {
    let nowhere = Target::nowhere();
    for (number, statement) in statements.iter().enumerate() {
        let last = number + 1 == statements.len();
        let target = if last || !target.is_file() {
            target
        } else {
            &nowhere
        };
        let run = Run {
            console: context.console,
            client,
            sql: statement.text,
            target,
        };
        let summary = execute(run)
            .await
            .map_err(|failure| at_line(failure, statement.line, statements.len()))?;
        if last || target.is_seen() {
            context.console.note(&summary.to_string());
        }
    }
    Ok(())
}

fn at_line(failure: Failure, line: usize, statements: usize) -> Failure {
    let Failure::Failed(error) = &failure else {
        return failure;
    };
    if statements == 1 {
        return failure;
    }
    let placed = whimbrel_proto::Error::new(
        error.code(),
        format!("statement at line {line}: {}", error.message()),
    );
    Failure::Failed(match error.hint() {
        Some(hint) => placed.with_hint(hint),
        None => placed,
    })
}
