//! What the two forms of XGBoost's files have in common: the file is walked once from its beginning to its end, arrays
//! go straight into vectors, and nothing else of it is kept.

use crate::error::Error;

/// A place in a file, just before a value; every call takes one value and ends behind it.
pub(super) trait Reader {
    /// Calls `each` with the name of every member, just before its value, which it must take.
    fn object(
        &mut self,
        each: impl FnMut(&mut Self, &str) -> Result<(), Error>,
    ) -> Result<(), Error>;

    /// Calls `each` just before every element, which it must take.
    fn array(&mut self, each: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error>;

    fn text(&mut self) -> Result<String, Error>;

    /// Adds an array's numbers.
    fn floats(&mut self, into: &mut Vec<f32>) -> Result<(), Error>;

    /// Adds an array's whole numbers and truths.
    fn ints(&mut self, into: &mut Vec<i32>) -> Result<(), Error>;

    fn skip(&mut self) -> Result<(), Error>;

    /// Nothing may be left.
    fn end(&mut self) -> Result<(), Error>;
}

pub(super) fn damaged(what: &str, at: usize) -> Error {
    Error::damaged(format!("{what} at byte {at}"))
}
