//! What the cross-process suites stand on: real processes on free ports, golden texts, and waits with deadlines.

pub mod golden;
pub mod process;
pub mod wait;
