//! What a score job writes, and where: pinned when the job is submitted, and carried whole by each of its tasks.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use serde::{Deserialize, Serialize};
use whimbrel_proto::ids::{ScoreJobId, SplitId};
use whimbrel_proto::{Error, ErrorCode};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkSpec {
    pub job: ScoreJobId,
    /// The URI of the output's folder.
    pub output: String,
    pub mode: OutputMode,
    pub format: SinkFormat,
    /// What the objects say of themselves where their format has room for it: `whimbrel.job`, `whimbrel.model` and so on.
    pub marks: Vec<(String, String)>,
    /// Where the rows of a split are not those of certain bytes, the run that the splits belong to: another run's rows may fall
    /// into other splits.
    pub run: Option<u32>,
    /// In which generation the splits are done whose object the store has lost; all others in generation 0.
    pub generations: BTreeMap<SplitId, u32>,
    pub on_error: OnError,
    /// A split that brings no row for so long is given to another executor.
    #[serde(default)]
    pub stall_ms: u64,
}

impl SinkSpec {
    /// The URIs of all folders that are written to.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        let dead = match &self.on_error {
            OnError::Fail | OnError::Null => None,
            OnError::DeadLetter { uri, .. } => Some(uri.as_str()),
        };
        [self.output.as_str()].into_iter().chain(dead)
    }

    /// How often this split's object was lost.
    pub fn generation(&self, split: &SplitId) -> u32 {
        self.generations.get(split).copied().unwrap_or_default()
    }
}

/// What becomes of what the output's folder holds already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputMode {
    /// There must be nothing.
    Error,
    /// It stays.
    Append,
    /// It goes once the new rows are there.
    Overwrite,
}

/// How rows are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SinkFormat {
    Parquet {
        compression: ParquetCompression,
        row_group_rows: u64,
    },
    Csv {
        header: bool,
        delimiter: u8,
        compression: TextCompression,
    },
    /// One object per line.
    Json { compression: TextCompression },
    /// Arrow IPC files.
    Arrow,
}

impl SinkFormat {
    /// Readers prune by row groups, and writers hold one in memory.
    pub const ROW_GROUP_ROWS: u64 = 1_048_576;

    /// Refuses columns that such files cannot hold.
    pub fn check(&self, schema: &Schema) -> Result<(), Error> {
        if !matches!(self, Self::Csv { .. }) {
            return Ok(());
        }
        let nested = |field: &&Arc<Field>| field.data_type().is_nested();
        match schema.fields().iter().find(nested) {
            None => Ok(()),
            Some(field) => {
                let (name, data_type) = (field.name(), field.data_type());
                let text = format!("column '{name}' cannot be written as csv: it is {data_type}");
                Err(Error::new(ErrorCode::Invalid, text)
                    .with_hint("choose one field of it in the query, or write parquet or json"))
            }
        }
    }

    /// What the names of such files end in.
    pub fn ending(&self) -> &'static str {
        use TextCompression::{Gzip, None, Zstd};
        match self {
            Self::Parquet { .. } => "parquet",
            Self::Csv { compression, .. } => match compression {
                None => "csv",
                Gzip => "csv.gz",
                Zstd => "csv.zst",
            },
            Self::Json { compression } => match compression {
                None => "json",
                Gzip => "json.gz",
                Zstd => "json.zst",
            },
            Self::Arrow => "arrow",
        }
    }
}

impl Default for SinkFormat {
    fn default() -> Self {
        Self::Parquet {
            compression: ParquetCompression::Zstd,
            row_group_rows: Self::ROW_GROUP_ROWS,
        }
    }
}

impl fmt::Display for SinkFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parquet {
                compression,
                row_group_rows,
            } => write!(f, "parquet({compression}, {row_group_rows} rows)"),
            Self::Csv { compression, .. } => write!(f, "csv({compression})"),
            Self::Json { compression } => write!(f, "json({compression})"),
            Self::Arrow => f.write_str("arrow"),
        }
    }
}

macro_rules! compression {
    ($(#[$doc:meta])* $name:ident of $files:literal: $($variant:ident = $text:literal),+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($variant),+
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $text),+
                })
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => {
                        let what = format!("'{text}' is no compression of {} files", $files);
                        let known = [$($text),+].join(", ");
                        Err(Error::new(ErrorCode::Invalid, what).with_hint(format!("there are {known}")))
                    }
                }
            }
        }
    };
}

compression!(
    /// How pages are compressed.
    ParquetCompression of "parquet":
    Zstd = "zstd", Snappy = "snappy", Lz4 = "lz4", Gzip = "gzip", None = "none"
);
compression!(
    /// How whole files are compressed.
    TextCompression of "csv and json":
    None = "none", Gzip = "gzip", Zstd = "zstd"
);

/// What becomes of a row that cannot be scored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OnError {
    /// It ends the job.
    Fail,
    /// Its values are NULL.
    Null,
    /// It is written below `uri` instead, with the reason; more than `max` of them end the job.
    DeadLetter { uri: String, max: Option<u64> },
}
