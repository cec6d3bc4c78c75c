//! What is asked of a score job, understood and checked as far as words go; its digest tells two submissions under one key apart.

use serde::{Deserialize, Serialize};
use whimbrel_predict::sink::{
    OnError, OutputMode, ParquetCompression, SinkFormat, TextCompression,
};
use whimbrel_proto::ids::{Alias, Digest};
use whimbrel_proto::{Error, ErrorCode, v1};

use super::priority::Priority;
use crate::models::digest_of;

/// The prediction's column, where nobody names it.
const PREDICTION: &str = "prediction";

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) source: Source,
    /// The URI of the output's folder, as its submitter wrote it.
    pub(crate) output: String,
    pub(crate) mode: OutputMode,
    pub(crate) format: SinkFormat,
    pub(crate) on_error: OnError,
    #[serde(default)]
    pub(crate) priority: Priority,
}

/// Which rows are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// Those of an input, with a model's prediction.
    Model {
        alias: Alias,
        input: String,
        keep: Keep,
        prediction: String,
    },
    /// Those of a SELECT.
    Query { sql: String },
}

/// Which of the input's columns the output has too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Keep {
    All,
    Columns(Vec<String>),
}

impl Spec {
    /// What tells this from what else may be asked.
    pub(crate) fn digest(&self) -> Result<Digest, Error> {
        let json = serde_json::to_vec(self).map_err(|error| {
            Error::new(ErrorCode::Bug, format!("a job cannot be written: {error}"))
        })?;
        digest_of(&json)
    }
}

impl Source {
    /// The SELECT that gives the rows.
    pub(crate) fn sql(&self) -> String {
        match self {
            Self::Query { sql } => sql.clone(),
            Self::Model {
                alias,
                input,
                keep,
                prediction,
            } => {
                let kept = match keep {
                    Keep::All => vec!["*".to_owned()],
                    Keep::Columns(names) => names.iter().map(|name| quoted(name)).collect(),
                };
                let predict = format!("PREDICT('{alias}', *) AS {}", quoted(prediction));
                let columns: Vec<String> = kept.into_iter().chain([predict]).collect();
                format!("SELECT {} FROM {}", columns.join(", "), quoted(input))
            }
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn invalid(what: impl Into<String>, hint: &str) -> Error {
    Error::new(ErrorCode::Invalid, what).with_hint(hint)
}

impl TryFrom<v1::JobSpec> for Spec {
    type Error = Error;

    fn try_from(asked: v1::JobSpec) -> Result<Self, Error> {
        let source = source(&asked)?;
        if asked.output.trim().is_empty() {
            return Err(invalid(
                "the job has no output",
                "name the folder that its rows are written to",
            ));
        }
        Ok(Self {
            source,
            mode: mode(&asked.mode)?,
            format: format(&asked)?,
            on_error: on_error(&asked)?,
            priority: asked.priority.parse()?,
            output: asked.output,
        })
    }
}

fn source(asked: &v1::JobSpec) -> Result<Source, Error> {
    let v1::JobSpec {
        model,
        input,
        keep,
        keep_all,
        prediction,
        sql,
        ..
    } = asked;
    if !sql.trim().is_empty() {
        let both = !model.is_empty() || !input.is_empty() || !keep.is_empty() || *keep_all;
        if both || !prediction.is_empty() {
            return Err(invalid(
                "the job has a query, and a model or an input beside it",
                "the query says all that there is to say of its rows",
            ));
        }
        return Ok(Source::Query { sql: sql.clone() });
    }
    if model.is_empty() || input.is_empty() {
        return Err(invalid(
            "the job has no model or no input",
            "name a bound model, and a table or the place of files; or give a query",
        ));
    }
    let keep = match (keep_all, keep.is_empty()) {
        (true, true) => Keep::All,
        (false, false) => Keep::Columns(keep.clone()),
        (true, false) => {
            return Err(invalid(
                "the job keeps some columns, and all of them",
                "say one of the two",
            ));
        }
        (false, true) => {
            return Err(invalid(
                "the job keeps no column, and nobody could tell whose its predictions are",
                "say which columns to keep (--keep id), or all (--keep-all)",
            ));
        }
    };
    let prediction = match prediction.as_str() {
        "" => PREDICTION.to_owned(),
        name => name.to_owned(),
    };
    if matches!(&keep, Keep::Columns(names) if names.contains(&prediction)) {
        return Err(invalid(
            format!("the output has two columns '{prediction}'"),
            "name the prediction otherwise: --as NAME",
        ));
    }
    Ok(Source::Model {
        alias: model.parse()?,
        input: input.clone(),
        keep,
        prediction,
    })
}

fn mode(name: &str) -> Result<OutputMode, Error> {
    match name {
        "" | "error" => Ok(OutputMode::Error),
        "append" => Ok(OutputMode::Append),
        "overwrite" => Ok(OutputMode::Overwrite),
        _ => Err(invalid(
            format!("'{name}' is no mode"),
            "there are error, append and overwrite",
        )),
    }
}

fn mode_name(mode: OutputMode) -> &'static str {
    match mode {
        OutputMode::Error => "error",
        OutputMode::Append => "append",
        OutputMode::Overwrite => "overwrite",
    }
}

fn format(asked: &v1::JobSpec) -> Result<SinkFormat, Error> {
    let v1::JobSpec {
        format,
        compression,
        row_group_rows,
        header,
        delimiter,
        ..
    } = asked;
    let text = || match compression.as_str() {
        "" => Ok(TextCompression::None),
        name => name.parse(),
    };
    let found = match format.as_str() {
        "" | "parquet" => SinkFormat::Parquet {
            compression: match compression.as_str() {
                "" => ParquetCompression::Zstd,
                name => name.parse()?,
            },
            row_group_rows: match row_group_rows {
                0 => SinkFormat::ROW_GROUP_ROWS,
                rows => *rows,
            },
        },
        "csv" => SinkFormat::Csv {
            header: header.unwrap_or(true),
            delimiter: match delimiter.as_bytes() {
                [] => b',',
                [one] => *one,
                _ => {
                    return Err(invalid(
                        format!("'{delimiter}' cannot separate CSV values"),
                        "give one character of ASCII",
                    ));
                }
            },
            compression: text()?,
        },
        "json" => SinkFormat::Json {
            compression: text()?,
        },
        "arrow" if compression.is_empty() => SinkFormat::Arrow,
        "arrow" => {
            return Err(invalid(
                "arrow files are not compressed",
                "leave the compression out, or write parquet",
            ));
        }
        other => {
            return Err(invalid(
                format!("'{other}' is no format"),
                "there are parquet, csv, json and arrow",
            ));
        }
    };
    let (is_csv, is_parquet) = (
        matches!(found, SinkFormat::Csv { .. }),
        matches!(found, SinkFormat::Parquet { .. }),
    );
    if (header.is_some() || !delimiter.is_empty()) && !is_csv {
        return Err(invalid(
            "only CSV has a header and a delimiter",
            "leave them out, or write csv",
        ));
    }
    if *row_group_rows > 0 && !is_parquet {
        return Err(invalid(
            "only Parquet has row groups",
            "leave them out, or write parquet",
        ));
    }
    Ok(found)
}

fn on_error(asked: &v1::JobSpec) -> Result<OnError, Error> {
    let v1::JobSpec {
        on_error,
        dead_letters,
        max_errors,
        ..
    } = asked;
    let policy = match on_error.as_str() {
        "" | "fail" => OnError::Fail,
        "null" => OnError::Null,
        "deadletter" if dead_letters.is_empty() => {
            return Err(invalid(
                "bad rows shall be put aside, and nobody says where",
                "name a folder: --on-error deadletter=URI",
            ));
        }
        "deadletter" => OnError::DeadLetter {
            uri: dead_letters.clone(),
            max: *max_errors,
        },
        other => {
            return Err(invalid(
                format!("'{other}' is no way with bad rows"),
                "there are fail, null and deadletter=URI",
            ));
        }
    };
    let aside = matches!(policy, OnError::DeadLetter { .. });
    if !aside && (!dead_letters.is_empty() || max_errors.is_some()) {
        return Err(invalid(
            "bad rows are put aside only with deadletter",
            "say --on-error deadletter=URI",
        ));
    }
    Ok(policy)
}

impl From<&Spec> for v1::JobSpec {
    fn from(spec: &Spec) -> Self {
        let mut asked = Self {
            output: spec.output.clone(),
            mode: mode_name(spec.mode).to_owned(),
            priority: spec.priority.name().to_owned(),
            ..Self::default()
        };
        match &spec.source {
            Source::Query { sql } => asked.sql.clone_from(sql),
            Source::Model {
                alias,
                input,
                keep,
                prediction,
            } => {
                asked.model = alias.to_string();
                asked.input.clone_from(input);
                asked.prediction.clone_from(prediction);
                match keep {
                    Keep::All => asked.keep_all = true,
                    Keep::Columns(names) => asked.keep.clone_from(names),
                }
            }
        }
        match &spec.format {
            SinkFormat::Parquet {
                compression,
                row_group_rows,
            } => {
                asked.format = "parquet".to_owned();
                asked.compression = compression.to_string();
                asked.row_group_rows = *row_group_rows;
            }
            SinkFormat::Csv {
                header,
                delimiter,
                compression,
            } => {
                asked.format = "csv".to_owned();
                asked.compression = compression.to_string();
                asked.header = Some(*header);
                asked.delimiter = char::from(*delimiter).to_string();
            }
            SinkFormat::Json { compression } => {
                asked.format = "json".to_owned();
                asked.compression = compression.to_string();
            }
            SinkFormat::Arrow => asked.format = "arrow".to_owned(),
        }
        match &spec.on_error {
            OnError::Fail => asked.on_error = "fail".to_owned(),
            OnError::Null => asked.on_error = "null".to_owned(),
            OnError::DeadLetter { uri, max } => {
                asked.on_error = "deadletter".to_owned();
                asked.dead_letters.clone_from(uri);
                asked.max_errors = *max;
            }
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> v1::JobSpec {
        v1::JobSpec {
            model: "fare".to_owned(),
            input: "s3://lake/trips/".to_owned(),
            keep: vec!["id".to_owned(), "a\"b".to_owned()],
            output: "s3://lake/scored".to_owned(),
            ..v1::JobSpec::default()
        }
    }

    #[test]
    fn an_input_and_a_model_become_a_select() {
        let spec = Spec::try_from(asked()).unwrap();
        assert_eq!(
            spec.source.sql(),
            r#"SELECT "id", "a""b", PREDICT('fare', *) AS "prediction" FROM "s3://lake/trips/""#
        );
        let all = v1::JobSpec {
            keep: Vec::new(),
            keep_all: true,
            prediction: "p".to_owned(),
            ..asked()
        };
        let spec = Spec::try_from(all).unwrap();
        assert_eq!(
            spec.source.sql(),
            r#"SELECT *, PREDICT('fare', *) AS "p" FROM "s3://lake/trips/""#
        );
    }

    #[test]
    fn what_is_told_of_a_spec_is_understood_as_the_same() {
        for change in [
            v1::JobSpec::default(),
            v1::JobSpec {
                format: "csv".to_owned(),
                delimiter: ";".to_owned(),
                compression: "gzip".to_owned(),
                mode: "append".to_owned(),
                ..v1::JobSpec::default()
            },
            v1::JobSpec {
                on_error: "deadletter".to_owned(),
                dead_letters: "s3://lake/bad".to_owned(),
                max_errors: Some(3),
                mode: "overwrite".to_owned(),
                ..v1::JobSpec::default()
            },
        ] {
            let v1::JobSpec {
                model,
                input,
                keep,
                output,
                ..
            } = asked();
            let spec = Spec::try_from(v1::JobSpec {
                model,
                input,
                keep,
                output,
                ..change
            })
            .unwrap();
            let again = Spec::try_from(v1::JobSpec::from(&spec)).unwrap();
            assert_eq!(again, spec);
            assert_eq!(again.digest().unwrap(), spec.digest().unwrap());
            assert_ne!(
                Spec::try_from(v1::JobSpec {
                    keep_all: true,
                    keep: Vec::new(),
                    ..asked()
                })
                .unwrap()
                .digest(),
                spec.digest()
            );
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_could() {
        let cases: [(&str, v1::JobSpec); 8] = [
            (
                "no column",
                v1::JobSpec {
                    keep: Vec::new(),
                    ..asked()
                },
            ),
            (
                "no output",
                v1::JobSpec {
                    output: " ".to_owned(),
                    ..asked()
                },
            ),
            (
                "no model or no input",
                v1::JobSpec {
                    model: String::new(),
                    ..asked()
                },
            ),
            (
                "a query, and a model",
                v1::JobSpec {
                    sql: "SELECT 1".to_owned(),
                    ..asked()
                },
            ),
            (
                "'xml' is no format",
                v1::JobSpec {
                    format: "xml".to_owned(),
                    ..asked()
                },
            ),
            (
                "'merge' is no mode",
                v1::JobSpec {
                    mode: "merge".to_owned(),
                    ..asked()
                },
            ),
            (
                "'lzo' is no compression",
                v1::JobSpec {
                    compression: "lzo".to_owned(),
                    ..asked()
                },
            ),
            (
                "only CSV",
                v1::JobSpec {
                    delimiter: ";".to_owned(),
                    ..asked()
                },
            ),
        ];
        for (what, asked) in cases {
            let error = Spec::try_from(asked).unwrap_err();
            assert!(error.message().contains(what), "{what}: {error}");
            assert!(error.hint().is_some(), "{what}");
        }
    }
}
