//! What the cross-process suites stand on: real processes on free ports, data and models, golden texts, waits with deadlines,
//! and a reference that scores with plain DataFusion and the same models.

pub mod cluster;
pub mod data;
pub mod golden;
pub mod process;
pub mod reference;
pub mod rows;
pub mod wait;
