//! TLS on the ports and on connections to them. Certificates are files that somebody else renews: they are read again while
//! the process runs, and a renewal that is broken or half done changes nothing.

mod client;
mod files;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod validity;

pub use client::ClientTls;
pub use files::TlsFiles;
pub use server::ServerTls;
pub use settings::{ClusterTls, client_port};
