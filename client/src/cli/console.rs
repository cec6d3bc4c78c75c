//! What a command says: results on standard output, everything else on standard error.

use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};
use whimbrel_proto::{Error, ErrorCode};

use crate::cli::failure::Failure;

/// Where and how a command speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    /// Results and errors are JSON.
    pub(crate) json: bool,
    /// Only results and errors are said.
    pub(crate) quiet: bool,
    /// A person reads the results as they come.
    pub(crate) stdout_is_terminal: bool,
    /// A person reads the notes as they come.
    pub(crate) stderr_is_terminal: bool,
}

impl Console {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self {
            json,
            quiet,
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
        }
    }

    /// A line of the result.
    pub(crate) fn print(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")
            .and_then(|()| out.flush())
            .map_err(|error| cannot_write("standard output", &error))
    }

    /// A JSON value of the result, on one line.
    pub(crate) fn print_json(self, value: &Value) -> Result<(), Failure> {
        self.print(&value.to_string())
    }

    /// A remark that is no part of the result.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }

    /// The error that ends the command, or one statement of it.
    pub(crate) fn report(self, failure: &Failure) {
        let Some(error) = failure.error() else { return };
        if self.json {
            let detail = json!({"code": error.code().name(), "message": error.message(), "hint": error.hint()});
            say(&json!({"error": detail}).to_string());
        } else {
            say(&format!("error: {error}"));
        }
    }
}

/// Nobody can be told that standard error is closed.
fn say(text: &str) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// A reader that has seen enough is no error.
pub(crate) fn cannot_write(what: &str, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::NobodyReads;
    }
    let (code, hint) = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            (ErrorCode::NotFound, "make its folder first")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorCode::Denied, "choose a place that you may write to")
        }
        io::ErrorKind::IsADirectory => (ErrorCode::Invalid, "name a file in it"),
        _ => (ErrorCode::Exhausted, "check the free space there"),
    };
    Failure::Failed(Error::new(code, format!("cannot write {what}: {error}")).with_hint(hint))
}

/// Texts in columns, each as wide as its widest.
pub(crate) fn aligned(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let titles: Vec<String> = header.iter().map(|title| title.to_uppercase()).collect();
    let mut lines = vec![line(&mut titles.iter().map(String::as_str))];
    lines.extend(
        rows.iter()
            .map(|row| line(&mut row.iter().map(String::as_str))),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["fare".to_owned(), "onnx".to_owned()],
            vec!["a_long_one".to_owned(), String::new()],
        ];
        assert_eq!(
            aligned(&["alias", "runtime"], &rows),
            "ALIAS       RUNTIME\nfare        onnx\na_long_one"
        );
    }
}
