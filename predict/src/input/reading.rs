//! What is said about a table's text files beside their format. It travels with the plan; the engine's encoding knows none of it.

use whimbrel_proto::{Error, ErrorCode};

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    pub const NAMES: &'static str = "none, gzip, zstd, bzip2 or xz";

    /// What a user calls it.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "none" | "uncompressed" => Some(Self::None),
            "gzip" | "gz" => Some(Self::Gzip),
            "zstd" | "zst" => Some(Self::Zstd),
            "bzip2" | "bz2" => Some(Self::Bzip2),
            "xz" => Some(Self::Xz),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        }
    }

    /// The name of a file without the ending that says how it is packed.
    pub fn split(name: &str) -> (&str, Self) {
        let packed = |(stem, ending): (_, &str)| match ending.to_ascii_lowercase().as_str() {
            "gz" | "gzip" => Some((stem, Self::Gzip)),
            "zst" | "zstd" => Some((stem, Self::Zstd)),
            "bz2" => Some((stem, Self::Bzip2)),
            "xz" => Some((stem, Self::Xz)),
            _ => None,
        };
        let split = name.rsplit_once('.').and_then(packed);
        split.unwrap_or((name, Self::None))
    }

    /// What bytes at the start of a file give away.
    pub(super) fn of_bytes(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', ..] => Some(Self::Xz),
            _ => None,
        }
    }
}

/// How a file's letters are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Utf8,
    Latin1,
    /// What Windows calls ANSI: latin1 with letters where that has control characters.
    Windows1252,
    /// In the order that the file's first two bytes say, else the little end first.
    Utf16,
}

impl Encoding {
    pub const NAMES: &'static str = "utf-8, latin1, windows-1252 or utf-16";

    /// What a user calls it.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().replace('_', "-").as_str() {
            "utf-8" | "utf8" => Some(Self::Utf8),
            "latin1" | "latin-1" | "iso-8859-1" => Some(Self::Latin1),
            "windows-1252" | "cp1252" => Some(Self::Windows1252),
            "utf-16" | "utf16" => Some(Self::Utf16),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Latin1 => "latin1",
            Self::Windows1252 => "windows-1252",
            Self::Utf16 => "utf-16",
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// How every file is packed; `None`: as the ending of its name says.
    pub compression: Option<Compression>,
    pub encoding: Encoding,
    /// CSV: texts that stand for NULL, beside the empty one.
    pub nulls: Vec<String>,
    /// CSV: whether a header may have other names than the table's columns.
    pub any_header: bool,
    /// The last of the files' columns is none of theirs: a record that cannot be read is a row, and this column tells why.
    pub told: bool,
}

impl Reading {
    /// How the file of this name is packed.
    pub fn compression_of(&self, name: &str) -> Compression {
        self.compression
            .unwrap_or_else(|| Compression::split(name).1)
    }

    /// Whether the file of this name can be read from the middle.
    pub fn is_divisible(&self, name: &str) -> bool {
        self.compression_of(name) == Compression::None && self.encoding == Encoding::Utf8
    }

    /// What is read as NULL, as a regular expression.
    pub fn null_pattern(&self) -> Option<String> {
        let texts: Vec<String> = self.nulls.iter().map(|text| regex::escape(text)).collect();
        (!texts.is_empty()).then(|| format!("^(|{})$", texts.join("|")))
    }
}

/// [`Reading`] in a plan, and in the catalog.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadingNode {
    #[prost(string, tag = "1")]
    compression: String,
    #[prost(string, tag = "2")]
    encoding: String,
    #[prost(string, repeated, tag = "3")]
    nulls: Vec<String>,
    #[prost(bool, tag = "4")]
    any_header: bool,
    #[prost(bool, tag = "5")]
    told: bool,
}

impl From<&Reading> for ReadingNode {
    fn from(reading: &Reading) -> Self {
        let Reading {
            compression,
            encoding,
            nulls,
            any_header,
            told,
        } = reading;
        Self {
            compression: compression.map_or("", Compression::name).to_owned(),
            encoding: encoding.name().to_owned(),
            nulls: nulls.clone(),
            any_header: *any_header,
            told: *told,
        }
    }
}

impl TryFrom<ReadingNode> for Reading {
    type Error = Error;

    fn try_from(node: ReadingNode) -> Result<Self, Error> {
        let unknown = |what: &str, name: &str| {
            let text = format!("'{name}' is no {what} that this version knows");
            Error::new(ErrorCode::Invalid, text)
        };
        let compression = match node.compression.as_str() {
            "" => None,
            name => Some(Compression::from_name(name).ok_or_else(|| unknown("compression", name))?),
        };
        let encoding = match node.encoding.as_str() {
            "" => Encoding::default(),
            name => Encoding::from_name(name).ok_or_else(|| unknown("encoding", name))?,
        };
        Ok(Self {
            compression,
            encoding,
            nulls: node.nulls,
            any_header: node.any_header,
            told: node.told,
        })
    }
}
