//! Why a command ends without having done its work, and the exit code that says so to scripts.

use std::process::ExitCode;

use whimbrel_proto::{Error, ErrorCode};

/// The end of a command that did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or a setting is wrong: exit code 2.
    Usage(Error),
    /// The work failed: exit code 1.
    Failed(Error),
    /// The pool cannot be reached: exit code 3.
    Unreachable(Error),
    /// Whoever read the output has gone: nothing to say, and no failure.
    NobodyReads,
}

impl Failure {
    /// A wrong command line.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage(Error::new(ErrorCode::Invalid, message).with_hint(hint))
    }

    /// The user ended the work.
    pub(crate) fn interrupted() -> Self {
        Self::Failed(Error::new(ErrorCode::Cancelled, "interrupted"))
    }

    /// What to tell the user.
    pub(crate) fn error(&self) -> Option<&Error> {
        match self {
            Self::Usage(error) | Self::Failed(error) | Self::Unreachable(error) => Some(error),
            Self::NobodyReads => None,
        }
    }

    /// What to tell the shell.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::NobodyReads => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<whimbrel::Error> for Failure {
    fn from(error: whimbrel::Error) -> Self {
        match &error {
            whimbrel::Error::Unreachable { .. } => Self::Unreachable(error.to_user()),
            _ => Self::Failed(error.to_user()),
        }
    }
}

/// clap explains itself over several lines; a user of Whimbrel gets one.
pub(crate) fn usage_of(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let explained: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"))
        .collect();
    let (tips, what): (Vec<&str>, Vec<&str>) = explained
        .into_iter()
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .partition(|line| line.starts_with("tip:"));
    let what = what.join(" ");
    let hint = match tips.first().and_then(|tip| tip.strip_prefix("tip:")) {
        Some(tip) => tip.trim().to_owned(),
        None => "--help shows what there is".to_owned(),
    };
    Failure::usage(what.strip_prefix("error:").unwrap_or(&what).trim(), hint)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::Args;

    fn refused(line: &str) -> String {
        let error = Args::try_parse_from(line.split(' ')).unwrap_err();
        usage_of(&error).error().unwrap().to_string()
    }

    #[test]
    fn a_wrong_command_line_is_one_line_that_says_what_is_right() {
        let cases = [
            (
                "whimbrel modle list",
                "unrecognized subcommand 'modle'; a similar subcommand exists: 'model'",
            ),
            (
                "whimbrel sql --polo x",
                "unexpected argument '--polo' found; a similar argument exists: '--pool'",
            ),
            (
                "whimbrel model bind tip",
                "the following required arguments were not provided: --uri <URI>; --help shows what there is",
            ),
            (
                "whimbrel sql --format xml",
                "invalid value 'xml' for '--format <FORMAT>' [possible values: table, csv, json, arrow, parquet]; --help shows what there is",
            ),
            (
                "whimbrel model bind tip --uri m --map a",
                "invalid value 'a' for '--map <INPUT=COLUMN>': write input=column; --help shows what there is",
            ),
            (
                "whimbrel sql a -f b",
                "the argument '[QUERY]' cannot be used with '--file <FILE>'; --help shows what there is",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(refused(line), expected, "{line}");
        }
    }

    #[test]
    fn every_kind_of_end_has_its_exit_code() {
        let error = || Error::new(ErrorCode::Bug, "x");
        let codes = [
            (Failure::NobodyReads, 0),
            (Failure::Failed(error()), 1),
            (Failure::Usage(error()), 2),
            (Failure::Unreachable(error()), 3),
        ];
        for (failure, code) in codes {
            assert_eq!(
                format!("{:?}", failure.exit_code()),
                format!("{:?}", ExitCode::from(code))
            );
        }
    }
}
