//! Whether a CSV file may be cut where it was cut. The reader of a byte range begins after the first line break in it, and ends
//! after the first one behind it; inside a quoted value such a line break ends no record. Every reader that began right can
//! tell whether it ends right, and the first one begins at the start of the file: where all find their end sound, all were
//! right, and else the query fails instead of giving wrong rows.

use memchr::{memchr, memchr2};

/// How values are quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quoting {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    pub(super) escape: Option<u8>,
}

/// Follows the quotes of a file from the start of a record.
#[derive(Debug)]
struct Quotes {
    quoting: Quoting,
    inside: bool,
    /// The byte before was a quote that ended a value, unless another quote follows.
    closed: bool,
    escaped: bool,
    before: u8,
}

impl Quotes {
    fn new(quoting: Quoting) -> Self {
        Self {
            quoting,
            inside: false,
            closed: false,
            escaped: false,
            before: b'\n',
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let Quoting { quote, escape, .. } = self.quoting;
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if self.escaped {
                self.escaped = false;
                (self.before, rest) = (first, &rest[1..]);
                continue;
            }
            if self.closed && first != quote {
                self.closed = false;
            }
            let Some(at) = memchr2(quote, escape.unwrap_or(quote), rest) else {
                self.before = rest[rest.len() - 1];
                return;
            };
            let before = if at == 0 { self.before } else { rest[at - 1] };
            let closed = self.closed && at == 0;
            self.closed = false;
            if rest[at] != quote {
                self.escaped = self.inside;
            } else if self.inside {
                (self.inside, self.closed) = (false, true);
            } else {
                // Two quotes in a quoted value stand for one; elsewhere a quote opens a value only at its start.
                let starts = before == self.quoting.delimiter || matches!(before, b'\n' | b'\r');
                self.inside = closed || starts;
            }
            (self.before, rest) = (rest[at], &rest[at + 1..]);
        }
    }
}

/// What is known of a range's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// More bytes are needed.
    Open,
    Sound,
    /// The line break at this byte stands in a quoted value.
    Broken(u64),
}

/// Looks at the bytes that the reader of one range of a file gets.
#[derive(Debug)]
pub(super) struct Border {
    quotes: Quotes,
    /// The first byte is the one before the range, but for the file's first range.
    aligned: bool,
    at: u64,
    end: u64,
    verdict: Verdict,
}

impl Border {
    /// For the range from `start` to `end` of a file of `size` bytes.
    pub(super) fn new(quoting: Quoting, start: u64, end: u64, size: u64) -> Self {
        Self {
            quotes: Quotes::new(quoting),
            aligned: start == 0,
            at: start.saturating_sub(1),
            end,
            verdict: if end >= size {
                Verdict::Sound
            } else {
                Verdict::Open
            },
        }
    }

    /// The file's next bytes.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Verdict {
        if self.verdict == Verdict::Open {
            self.verdict = self.judge(bytes);
            self.at += bytes.len() as u64;
        }
        self.verdict
    }

    fn judge(&mut self, mut bytes: &[u8]) -> Verdict {
        let mut at = self.at;
        if !self.aligned {
            let Some(found) = memchr(b'\n', bytes) else {
                return Verdict::Open;
            };
            bytes = &bytes[found + 1..];
            at += found as u64 + 1;
            self.aligned = true;
            // No record begins in the range: its border is that of the range before.
            if at >= self.end {
                return Verdict::Sound;
            }
        }
        // The line break that ends the range's last record is at the range's last byte or behind it.
        let from = usize::try_from((self.end - 1).saturating_sub(at)).unwrap_or(usize::MAX);
        let tail = bytes.get(from..).unwrap_or_default();
        match memchr(b'\n', tail) {
            Some(found) => {
                self.quotes.feed(&bytes[..from + found]);
                match self.quotes.inside {
                    true => Verdict::Broken(at + (from + found) as u64),
                    false => Verdict::Sound,
                }
            }
            None => {
                self.quotes.feed(bytes);
                Verdict::Open
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Quoting = Quoting {
        delimiter: b',',
        quote: b'"',
        escape: None,
    };

    struct Rng(u64);

    impl Rng {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    /// A CSV file, and where its records begin.
    fn file(rng: &mut Rng, quoting: Quoting) -> (Vec<u8>, Vec<u64>) {
        let (mut text, mut starts) = (Vec::new(), Vec::new());
        let crlf = rng.below(2) == 0;
        for _ in 0..=rng.below(30) {
            starts.push(text.len() as u64);
            for column in 0..3 {
                if column > 0 {
                    text.push(quoting.delimiter);
                }
                value(rng, quoting, &mut text);
            }
            text.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
        }
        if rng.below(2) == 0 {
            text.pop();
        }
        (text, starts)
    }

    fn value(rng: &mut Rng, quoting: Quoting, text: &mut Vec<u8>) {
        if rng.below(2) == 0 {
            // A quote in the middle of a bare value is a letter like any other.
            let bare: [&[u8]; 4] = [b"", b"7", b"five\" pipe", b"a long value without quotes"];
            return text.extend_from_slice(bare[usize::try_from(rng.below(4)).unwrap()]);
        }
        text.push(quoting.quote);
        for _ in 0..rng.below(12) {
            match rng.below(7) {
                0 => text.push(b'\n'),
                1 => text.extend_from_slice(b"\r\n"),
                2 => match quoting.escape {
                    Some(escape) => text.extend_from_slice(&[escape, quoting.quote]),
                    None => text.extend_from_slice(&[quoting.quote, quoting.quote]),
                },
                3 => text.push(quoting.delimiter),
                4 => text.extend_from_slice(b"1,2,3"),
                _ => text.push(b'x'),
            }
        }
        text.push(quoting.quote);
    }

    /// Where the engine's reader of a range ends, and the next one's begins.
    fn border(text: &[u8], end: u64) -> u64 {
        let from = usize::try_from(end - 1).unwrap();
        memchr(b'\n', &text[from..]).map_or(text.len() as u64, |found| (from + found) as u64 + 1)
    }

    #[test]
    fn ranges_are_sound_just_where_all_their_borders_are_records() {
        let mut rng = Rng(11);
        let (mut sound, mut broken) = (0, 0);
        for round in 0..20_000 {
            let escape = (round % 3 == 0).then_some(b'\\');
            let quoting = Quoting { escape, ..PLAIN };
            let (text, starts) = file(&mut rng, quoting);
            let size = text.len() as u64;
            let mut cuts: Vec<u64> = (0..=rng.below(4)).map(|_| rng.below(size) + 1).collect();
            cuts.extend([0, size]);
            cuts.sort_unstable();
            cuts.dedup();
            let right = cuts[1..cuts.len() - 1].iter().all(|cut| {
                let border = border(&text, *cut);
                border == size || starts.contains(&border)
            });
            let verdicts: Vec<Verdict> = cuts
                .windows(2)
                .map(|range| {
                    let mut border = Border::new(quoting, range[0], range[1], size);
                    let mut verdict = border.verdict;
                    let mut at = usize::try_from(range[0].saturating_sub(1)).unwrap();
                    while at < text.len() {
                        let step = usize::try_from(rng.below(9) + 1)
                            .unwrap()
                            .min(text.len() - at);
                        verdict = border.look(&text[at..at + step]);
                        at += step;
                    }
                    verdict
                })
                .collect();
            let found = !verdicts
                .iter()
                .any(|verdict| matches!(verdict, Verdict::Broken(_)));
            assert_eq!(
                found,
                right,
                "{:?} {cuts:?} {verdicts:?}",
                String::from_utf8_lossy(&text)
            );
            if right { sound += 1 } else { broken += 1 }
        }
        assert!(sound > 2_000 && broken > 2_000, "{sound} {broken}");
    }
}
