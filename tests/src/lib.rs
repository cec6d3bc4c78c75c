//! What the cross-process suites stand on: real processes on free ports, data and models, golden texts, waits with deadlines,
//! and a reference that scores with plain DataFusion and the same models.

pub mod azureml;
pub mod certificates;
pub mod checkout;
pub mod cluster;
pub mod command;
pub mod data;
pub mod dice;
pub mod disk;
pub mod flight;
pub mod furnished;
pub mod golden;
pub mod http;
pub mod jobs;
pub mod lake;
pub mod objects;
pub mod places;
pub mod pool;
pub mod port;
pub mod process;
pub mod proxy;
pub mod reference;
pub mod registry;
pub mod rows;
pub mod scripts;
pub mod service;
pub mod wait;
pub mod wire;
pub mod zoo;

/// An embedded pool whose state lies in `folder`.
pub async fn embedded(folder: &std::path::Path) -> anyhow::Result<whimbrel::embedded::Pool> {
    let options = whimbrel::embedded::Options {
        home: whimbrel::embedded::Home::Folder(folder.to_owned()),
        ..Default::default()
    };
    Ok(whimbrel::embedded::Pool::start(options).await?)
}
