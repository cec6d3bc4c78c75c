//! Days of the calendar and seconds since 1970: what certificates and the file of tokens say of time. All of it is UTC.

use std::fmt;

pub(crate) const DAY: u64 = 86_400;

/// A day, from 1970-01-01 to 9999-12-31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    year: u64,
    month: u64,
    day: u64,
}

impl Date {
    /// Nothing where the calendar has no such day.
    pub(crate) fn new(year: u64, month: u64, day: u64) -> Option<Self> {
        let known = (1970..=9999).contains(&year) && (1..=12).contains(&month);
        (known && (1..=days_in(year, month)).contains(&day)).then_some(Self { year, month, day })
    }

    /// `2027-01-31`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        let widths = [year.len(), month.len(), day.len()];
        let digits = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-');
        if parts.next().is_some() || widths != [4, 2, 2] || !digits {
            return None;
        }
        Self::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
    }

    /// The day that a second belongs to; the last known one for all that come later.
    pub(crate) fn of_unix(seconds: u64) -> Self {
        let mut left = seconds / DAY;
        let mut year = 1970;
        while year < 9999 && left >= days_of(year) {
            left -= days_of(year);
            year += 1;
        }
        let mut month = 1;
        while month < 12 && left >= days_in(year, month) {
            left -= days_in(year, month);
            month += 1;
        }
        let day = (left + 1).min(days_in(year, month));
        Self { year, month, day }
    }

    /// The first second of the day.
    pub(crate) fn unix(self) -> u64 {
        let years: u64 = (1970..self.year).map(days_of).sum();
        let months: u64 = (1..self.month).map(|month| days_in(self.year, month)).sum();
        (years + months + self.day - 1) * DAY
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_found_again_from_its_seconds() {
        for (text, unix) in [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400),
            ("2027-01-31", 1_801_353_600),
            ("2100-03-01", 4_107_542_400),
        ] {
            let date = Date::parse(text).unwrap();
            assert_eq!(date.unix(), unix, "{text}");
            assert_eq!(Date::of_unix(unix).to_string(), text);
            assert_eq!(Date::of_unix(unix + DAY - 1), date);
        }
        for day in 0..60_000 {
            assert_eq!(Date::of_unix(day * DAY).unix(), day * DAY);
        }
        assert_eq!(Date::of_unix(u64::MAX).to_string(), "9999-12-31");
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "2027",
            "2027-13-01",
            "2027-02-29",
            "2100-02-29",
            "2027-1-31",
            "27-01-31",
            "2027-01-00",
            "2027-01-31-",
            "+027-01-31",
            "1969-12-31",
        ] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }
}
