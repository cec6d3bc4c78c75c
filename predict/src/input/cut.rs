//! Where the records of a text end: at a line's end that no quotes are around.

use super::header::Marks;

/// Finds the ends of records in bytes as they come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutter {
    /// None where every line is a record.
    marks: Option<Marks>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    RecordStart,
    /// To the line's end.
    Comment,
    /// Here a quote begins a quoted field.
    FieldStart,
    Field,
    Quoted,
    /// After a quote in a quoted field.
    Closing,
}

impl Cutter {
    /// For CSV.
    pub(super) fn csv(marks: Marks) -> Self {
        Self {
            marks: Some(marks),
            state: State::RecordStart,
        }
    }

    /// For one record a line.
    pub(super) fn lines() -> Self {
        Self {
            marks: None,
            state: State::RecordStart,
        }
    }

    /// Whether a quote was opened and not closed.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Quoted
    }

    /// Adds the places after the records that end in `bytes`; `from` is the place of the first byte.
    pub(super) fn cut(&mut self, bytes: &[u8], from: usize, ends: &mut Vec<usize>) {
        let Some(Marks {
            delimiter,
            quote,
            comment,
        }) = self.marks
        else {
            let lines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            ends.extend(lines.map(|(at, _)| from + at + 1));
            return;
        };
        for (at, &byte) in bytes.iter().enumerate() {
            self.state = match (self.state, byte) {
                (State::Quoted, byte) if byte == quote => State::Closing,
                (State::Quoted, _) => State::Quoted,
                (State::Comment, byte) if byte != b'\n' => State::Comment,
                (_, b'\n' | b'\r') => {
                    ends.push(from + at + 1);
                    State::RecordStart
                }
                (State::RecordStart, byte) if Some(byte) == comment => State::Comment,
                (_, byte) if byte == delimiter => State::FieldStart,
                (State::RecordStart | State::FieldStart | State::Closing, byte)
                    if byte == quote =>
                {
                    State::Quoted
                }
                (
                    State::RecordStart
                    | State::Comment
                    | State::FieldStart
                    | State::Field
                    | State::Closing,
                    _,
                ) => State::Field,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(mut cutter: Cutter, text: &str, step: usize) -> Vec<String> {
        let (mut ends, mut from) = (vec![0], 0);
        for part in text.as_bytes().chunks(step) {
            cutter.cut(part, from, &mut ends);
            from += part.len();
        }
        ends.push(text.len());
        ends.windows(2)
            .map(|pair| text[pair[0]..pair[1]].to_owned())
            .collect()
    }

    #[test]
    fn a_record_ends_outside_of_quotes_however_the_bytes_come() {
        let csv = Cutter::csv(Marks {
            delimiter: b',',
            quote: b'"',
            comment: Some(b'#'),
        });
        let text = "a,b\n1,\"x\ny \"\"z\"\"\"\r\n#,\"\r2\n2,it\"s\n3";
        for step in 1..text.len() {
            assert_eq!(
                records(csv, text, step),
                [
                    "a,b\n",
                    "1,\"x\ny \"\"z\"\"\"\r",
                    "\n",
                    "#,\"\r2\n",
                    "2,it\"s\n",
                    "3"
                ]
            );
        }
        let json = "{\"a\": \"\\n\"}\n{}\n";
        assert_eq!(
            records(Cutter::lines(), json, 4),
            ["{\"a\": \"\\n\"}\n", "{}\n", ""]
        );
    }
}
