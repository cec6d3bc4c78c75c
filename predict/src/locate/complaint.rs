//! What the CSV reader complains about. Its errors have no structure, so their text is read here and nowhere else, and taken
//! as a hint only: what it says is looked up in the file before anybody is told.

use super::records::{Record, fields};

/// A complaint about one record, counted from the first of the bytes that the reader was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    Fields {
        record: u64,
        expected: usize,
    },
    Value {
        record: u64,
        column: usize,
        value: String,
        data_type: String,
    },
    Encoding {
        record: u64,
    },
}

impl Complaint {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let index = |text: &str| text.trim().parse::<usize>().ok();
        if let Some(rest) = text.strip_prefix("incorrect number of fields for line ") {
            let (line, rest) = rest.split_once(", expected ")?;
            let (expected, _) = rest.split_once(" got ")?;
            return Some(Self::Fields {
                record: number(line)?.checked_sub(1)?,
                expected: index(expected)?,
            });
        }
        if let Some(rest) = text.strip_prefix("Encountered invalid UTF-8 data for line ") {
            let (line, _) = rest.split_once(" and field ")?;
            return Some(Self::Encoding {
                record: number(line)?.checked_sub(1)?,
            });
        }
        if let Some(rest) = text.strip_prefix("Error while parsing value '") {
            // The value and the row may hold anything, these words included: the outermost ones are the reader's.
            let (head, _) = rest.rsplit_once(". Row data: '").or(Some((rest, "")))?;
            let (head, line) = head.rsplit_once(" at line ")?;
            let (head, column) = head.rsplit_once(" for column ")?;
            let (value, data_type) = head.strip_suffix('\'')?.rsplit_once("' as type '")?;
            return Some(Self::Value {
                record: number(line)?,
                column: index(column)?,
                value: value.to_owned(),
                data_type: data_type.to_owned(),
            });
        }
        let (_, rest) = text.split_once("Error parsing column ")?;
        let (column, rest) = rest.split_once(" at line ")?;
        let (line, _) = rest.split_once(": ")?;
        Some(Self::Value {
            record: number(line)?,
            column: index(column)?,
            value: String::new(),
            data_type: "Timestamp".to_owned(),
        })
    }

    pub(super) fn record(&self) -> u64 {
        match self {
            Self::Fields { record, .. }
            | Self::Value { record, .. }
            | Self::Encoding { record } => *record,
        }
    }

    /// Whether this record deserves the complaint; `None` where it does not, else what is wrong with it.
    pub(super) fn fits(
        &self,
        record: &Record,
        delimiter: u8,
        quote: u8,
        columns: &[String],
    ) -> Option<String> {
        match self {
            Self::Fields { expected, .. } => (record.fields != *expected)
                .then(|| format!("expected {expected} fields, got {}", record.fields)),
            Self::Encoding { .. } => std::str::from_utf8(&record.bytes)
                .is_err()
                .then(|| "the text is not UTF-8".to_owned()),
            Self::Value {
                column,
                value,
                data_type,
                ..
            } => {
                let found = fields(record, delimiter, quote).into_iter().nth(*column)?;
                if !value.is_empty() && found != *value {
                    return None;
                }
                let name = columns
                    .get(*column)
                    .map_or_else(|| format!("{}", column + 1), |name| format!("'{name}'"));
                Some(format!(
                    "column {name} has '{found}', which is not {data_type}"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readers_texts_are_understood() {
        let fields = Complaint::Fields {
            record: 4,
            expected: 3,
        };
        for text in [
            "incorrect number of fields for line 5, expected 3 got 2",
            "incorrect number of fields for line 5, expected 3 got more than 3",
        ] {
            assert_eq!(Complaint::parse(text), Some(fields.clone()));
        }
        let text = "Error while parsing value 'it's at line 7' as type 'Int64' for column 1 at line 9. Row data: '[a,b]'";
        let value = Complaint::Value {
            record: 9,
            column: 1,
            value: "it's at line 7".into(),
            data_type: "Int64".into(),
        };
        assert_eq!(Complaint::parse(text), Some(value));
        let text = "Encountered invalid UTF-8 data for line 3 and field 2";
        assert_eq!(
            Complaint::parse(text),
            Some(Complaint::Encoding { record: 2 })
        );
        let text = "Error parsing column 2 at line 4: error parsing date";
        assert_eq!(
            Complaint::parse(text).map(|complaint| complaint.record()),
            Some(4)
        );
        assert_eq!(
            Complaint::parse("incorrect number of fields for line x, expected 3 got 2"),
            None
        );
        assert_eq!(Complaint::parse("something else"), None);
    }
}
