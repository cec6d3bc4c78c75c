//! What the cross-process suites stand on: real processes on free ports, data and models, golden texts, waits with deadlines,
//! and a reference that scores with plain DataFusion and the same models.

pub mod cluster;
pub mod command;
pub mod data;
pub mod golden;
pub mod pool;
pub mod process;
pub mod reference;
pub mod rows;
pub mod wait;

/// An embedded pool whose state lies in `folder`.
pub async fn embedded(folder: &std::path::Path) -> anyhow::Result<whimbrel::embedded::Pool> {
    let options = whimbrel::embedded::Options {
        home: whimbrel::embedded::Home::Folder(folder.to_owned()),
        ..Default::default()
    };
    Ok(whimbrel::embedded::Pool::start(options).await?)
}
