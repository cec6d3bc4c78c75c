//! What an executor serves as Arrow Flight: finished results to clients, shuffle files to other executors.

pub(crate) mod door;
mod index;
mod ipc;
pub(crate) mod results;
pub(crate) mod served;
pub(crate) mod shuffle;

pub(crate) use self::index::{ResultFile, ResultIndex};
