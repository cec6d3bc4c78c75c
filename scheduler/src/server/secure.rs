//! A listener that speaks TLS. Handshakes run beside each other: one that takes long, or never ends, keeps nobody else waiting.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use whimbrel_access::ServerTls;

use super::serve::at_once;

/// Handshakes at a time; further connections wait in the system's queue.
const HANDSHAKES: usize = 256;
/// Connections whose handshake is done and whom nobody has taken yet.
const READY: usize = 16;

type Ready = (TlsStream<TcpStream>, SocketAddr);

/// See the module.
pub(super) struct Secure {
    address: io::Result<SocketAddr>,
    ready: mpsc::Receiver<Ready>,
    /// Ends with the listener.
    _accepting: JoinSet<()>,
}

impl Secure {
    pub(super) fn start(listener: TcpListener, tls: ServerTls) -> Self {
        let (sender, ready) = mpsc::channel(READY);
        let address = listener.local_addr();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept_all(listener, tls, sender));
        Self {
            address,
            ready,
            _accepting: accepting,
        }
    }
}

async fn accept_all(mut listener: TcpListener, tls: ServerTls, ready: mpsc::Sender<Ready>) {
    let permits = Arc::new(Semaphore::new(HANDSHAKES));
    let mut handshakes = JoinSet::new();
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        // Axum's own accept waits out what a listener recovers from.
        let (connection, peer) = Listener::accept(&mut listener).await;
        at_once(&connection);
        let (tls, ready) = (tls.clone(), ready.clone());
        while handshakes.try_join_next().is_some() {}
        handshakes.spawn(async move {
            match tls.accept(connection).await {
                Ok(stream) => drop(ready.send((stream, peer)).await),
                Err(error) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
            }
            drop(permit);
        });
    }
}

impl Listener for Secure {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Ready {
        match self.ready.recv().await {
            Some(ready) => ready,
            // What accepts ends with this listener only.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.address {
            Ok(address) => Ok(*address),
            Err(error) => Err(error.kind().into()),
        }
    }
}

/// A caller's address, as plain connections have it too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, Secure>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Secure>) -> Self {
        Self(*stream.remote_addr())
    }
}
