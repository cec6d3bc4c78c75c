//! Statements from a person: a line editor with a history, and a few commands that begin with a backslash.

use std::path::PathBuf;

use super::lines::Lines;
use super::statements::split;
use super::{Run, execute};
use crate::cli::context::{Context, End};
use crate::cli::failure::Failure;
use crate::cli::output::Target;
use crate::cli::{model, table};
use whimbrel::Client;

const HELP: &str = "statements end in ';'
\\d         list the tables
\\d NAME    show a table's columns
\\models    list the models
\\timing    say how long each statement takes, or stop saying it
\\q         leave (so does Ctrl-D); Ctrl-C ends a running statement";

/// A line that begins with a backslash.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meta<'a> {
    Quit,
    Help,
    Tables,
    Table(&'a str),
    Models,
    Timing,
    Unknown(&'a str),
}

impl<'a> Meta<'a> {
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let command = line.trim().strip_prefix('\\')?.trim_end_matches([';', ' ']);
        Some(match command.split_once(char::is_whitespace) {
            Some(("d", name)) => Self::Table(name.trim()),
            Some(_) => Self::Unknown(command),
            None => match command {
                "q" | "quit" => Self::Quit,
                "?" | "h" | "help" => Self::Help,
                "d" => Self::Tables,
                "models" => Self::Models,
                "timing" => Self::Timing,
                _ => Self::Unknown(command),
            },
        })
    }
}

/// Asks for statements until the person leaves.
pub(crate) async fn run(
    context: &Context,
    client: &Client,
    target: &Target,
) -> Result<(), Failure> {
    let mut lines = Lines::start(history_file(context))?;
    let mut session = Session {
        context,
        client,
        target,
        timing: true,
    };
    if !context.console.quiet {
        context.console.print(&format!(
            "whimbrel on {}; \\? shows the commands",
            client.address()
        ))?;
    }
    while let Some(text) = lines.next().await? {
        if session.answer(&text).await? {
            break;
        }
    }
    Ok(())
}

struct Session<'a> {
    context: &'a Context,
    client: &'a Client,
    target: &'a Target,
    timing: bool,
}

impl Session<'_> {
    /// Does what a text says; true where the person leaves. What fails is said, and the session goes on.
    async fn answer(&mut self, text: &str) -> Result<bool, Failure> {
        let done = match Meta::parse(text) {
            Some(Meta::Quit) => return Ok(true),
            Some(meta) => self.answer_meta(meta).await,
            None => End::Interrupt.or(self.answer_sql(text)).await.flatten(),
        };
        match done {
            Ok(()) => {}
            Err(lost @ Failure::Unreachable(_)) => return Err(lost),
            Err(failure) => self.context.console.report(&failure),
        }
        Ok(false)
    }

    async fn answer_sql(&self, text: &str) -> Result<(), Failure> {
        for statement in split(text).statements {
            let run = Run {
                console: self.context.console,
                client: self.client,
                sql: statement.text,
                target: self.target,
            };
            let summary = execute(run).await?;
            if self.timing {
                self.context.console.note(&summary.to_string());
            }
        }
        Ok(())
    }

    async fn answer_meta(&mut self, meta: Meta<'_>) -> Result<(), Failure> {
        let console = self.context.console;
        match meta {
            Meta::Quit => Ok(()),
            Meta::Help => console.print(HELP),
            Meta::Tables => table::list(console, self.client).await,
            Meta::Table(name) => table::show(console, self.client, name).await,
            Meta::Models => model::list(console, self.client).await,
            Meta::Timing => {
                self.timing = !self.timing;
                console.print(if self.timing {
                    "timing is on"
                } else {
                    "timing is off"
                })
            }
            Meta::Unknown(command) => Err(Failure::usage(
                format!("\\{command} is no command"),
                "\\? shows the commands",
            )),
        }
    }
}

/// In the user's state folder; none where the user has no home.
fn history_file(context: &Context) -> Option<PathBuf> {
    let environment = &context.environment;
    let state = match environment.get("XDG_STATE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(environment.get("HOME")?).join(".local/state"),
    };
    let folder = state.join("whimbrel");
    if let Err(error) = std::fs::create_dir_all(&folder) {
        tracing::debug!(folder = %folder.display(), %error, "no place for a history");
        return None;
    }
    Some(folder.join("history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_statements() {
        let cases = [
            ("\\q", Some(Meta::Quit)),
            (" \\d ; ", Some(Meta::Tables)),
            ("\\d trips;", Some(Meta::Table("trips"))),
            ("\\models", Some(Meta::Models)),
            ("\\x y", Some(Meta::Unknown("x y"))),
            ("select '\\q';", None),
        ];
        for (line, expected) in cases {
            assert_eq!(Meta::parse(line), expected, "{line}");
        }
    }
}
