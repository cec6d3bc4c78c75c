//! The records of a CSV file as the reader cuts them, with the line each begins on: fields may be quoted, a quote in a
//! quoted field is doubled, a quoted field may hold line breaks, and empty lines are no records.

/// The most bytes of a record that are kept to look into.
const KEPT: usize = 1 << 20;

/// One record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// How many records came before it.
    pub(crate) index: u64,
    /// The line it begins on, the first being 1.
    pub(crate) line: u64,
    pub(crate) fields: usize,
    /// Its bytes without the line's end.
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    FieldStart,
    Field,
    Quoted,
    /// After a quote in a quoted field: its end, or the first half of a doubled one.
    Closing,
}

/// Cuts bytes into records as they come.
#[derive(Debug)]
pub(crate) struct Records {
    delimiter: u8,
    quote: u8,
    state: State,
    line: u64,
    count: u64,
    current: Record,
}

impl Records {
    /// Records of bytes whose first is on `line`.
    pub(crate) fn new(delimiter: u8, quote: u8, line: u64) -> Self {
        Self {
            delimiter,
            quote,
            state: State::Start,
            line,
            count: 0,
            current: Record::default(),
        }
    }

    /// Takes one byte; gives the record that it ends.
    pub(crate) fn push(&mut self, byte: u8) -> Option<Record> {
        let on_line = self.line;
        self.line += u64::from(byte == b'\n');
        let ends = matches!(byte, b'\n' | b'\r') && self.state != State::Quoted;
        if ends {
            return self.end();
        }
        if self.state == State::Start {
            self.current = Record {
                index: self.count,
                line: on_line,
                fields: 1,
                bytes: Vec::new(),
            };
            self.state = State::FieldStart;
        }
        self.state = match self.state {
            State::Quoted if byte == self.quote => State::Closing,
            State::Quoted => State::Quoted,
            State::Closing if byte == self.quote => State::Quoted,
            _ if byte == self.delimiter => {
                self.current.fields += 1;
                State::FieldStart
            }
            State::FieldStart if byte == self.quote => State::Quoted,
            State::Start | State::FieldStart | State::Field | State::Closing => State::Field,
        };
        if self.current.bytes.len() < KEPT {
            self.current.bytes.push(byte);
        }
        None
    }

    /// Ends the record under way, if there is one; called at the end of the file.
    pub(crate) fn end(&mut self) -> Option<Record> {
        if self.state == State::Start {
            return None;
        }
        self.state = State::Start;
        self.count += 1;
        Some(std::mem::take(&mut self.current))
    }
}

/// The texts of a record's fields, without their quotes.
pub(crate) fn fields(record: &Record, delimiter: u8, quote: u8) -> Vec<String> {
    let (mut fields, mut field) = (Vec::with_capacity(record.fields), Vec::new());
    let mut walk = Records::new(delimiter, quote, 1);
    for &byte in &record.bytes {
        let before = walk.state;
        walk.push(byte);
        match (before, walk.state) {
            (State::Quoted, State::Closing) | (State::Start | State::FieldStart, State::Quoted) => {
            }
            (before, State::FieldStart) if before != State::Quoted => {
                fields.push(text(&field));
                field.clear();
            }
            _ => field.push(byte),
        }
    }
    fields.push(text(&field));
    fields
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(u64, u64, usize)> {
        let mut records = Records::new(b',', b'"', 1);
        let mut found: Vec<Record> = text.bytes().filter_map(|byte| records.push(byte)).collect();
        found.extend(records.end());
        found
            .iter()
            .map(|record| (record.index, record.line, record.fields))
            .collect()
    }

    #[test]
    fn records_have_the_line_they_begin_on() {
        assert_eq!(cut("a,b\n1,2\n3,4"), [(0, 1, 2), (1, 2, 2), (2, 3, 2)]);
        assert_eq!(cut("a\r\n\r\nb\r\n"), [(0, 1, 1), (1, 3, 1)]);
        assert_eq!(cut("\"x\ny\",1\nz,2\n"), [(0, 1, 2), (1, 3, 2)]);
        assert_eq!(cut("\"a,\"\"b\"\"\",c\nd\"e,f\n"), [(0, 1, 2), (1, 2, 2)]);
        assert_eq!(cut(",\n"), [(0, 1, 2)]);
        assert_eq!(cut(""), []);
    }

    #[test]
    fn a_field_is_read_without_its_quotes() {
        let record = Record {
            bytes: br#"a,"b ""q"", c",,d"#.to_vec(),
            ..Record::default()
        };
        let read = |column| fields(&record, b',', b'"').get(column).cloned();
        assert_eq!(read(0).unwrap(), "a");
        assert_eq!(read(1).unwrap(), "b \"q\", c");
        assert_eq!(read(2).unwrap(), "");
        assert_eq!(read(3).unwrap(), "d");
        assert_eq!(read(4), None);
    }
}
