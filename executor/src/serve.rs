//! Serves one port from a listener that was handed over, and ends it for good: first no new calls, then every stream is told,
//! and at last the connections themselves are cut, so that a client that reads nothing cannot keep an executor alive.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::{debug, error, warn};
use whimbrel_access::ServerTls;
use whimbrel_proto::{Error, ErrorCode};

use crate::clock::pause;

/// A peer that does not answer a ping for twice this long is gone.
const PING: Duration = Duration::from_secs(20);

/// Handshakes at a time.
const HANDSHAKES: usize = 256;

/// Out of file handles: try again a little later, not at once and for ever.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A response stream of gRPC.
pub(crate) type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

/// The two steps of the end: `stop` ends calls and streams in order, `cut` ends connections whatever they do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    pub(crate) stop: CancellationToken,
    pub(crate) cut: CancellationToken,
}

/// A listener, and the TLS that it speaks.
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<ServerTls>,
}

/// Serves until `stop` has fired and the last connection has ended.
pub(crate) async fn serve(port: Port, routes: Routes, ending: Ending) {
    let Port { listener, tls } = port;
    let Ending { stop, cut } = ending;
    let incoming = stream::unfold(listener, move |listener| {
        let cut = cut.clone();
        async move { Some((accept(&listener, cut).await, listener)) }
    });
    let server = Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PING))
        .add_routes(routes);
    let stop = stop.cancelled_owned();
    let served = match tls {
        None => server.serve_with_incoming_shutdown(incoming, stop).await,
        Some(tls) => {
            let secure = shaken(incoming, tls);
            server.serve_with_incoming_shutdown(secure, stop).await
        }
    };
    if let Err(error) = served {
        error!(%error, "a port is no longer served");
    }
}

/// Connections whose handshake is done. Handshakes run beside each other: one that never ends keeps nobody else waiting, and
/// one that fails is that caller's affair.
fn shaken(
    incoming: impl Stream<Item = io::Result<Connection>> + Send + 'static,
    tls: ServerTls,
) -> impl Stream<Item = io::Result<TlsStream<Connection>>> + Send + 'static {
    let shaking = incoming.map(move |connection| {
        let tls = tls.clone();
        async move {
            match tls.accept(connection?).await {
                Ok(stream) => Ok(Some(stream)),
                Err(error) => {
                    debug!(%error, "a TLS handshake failed");
                    Ok(None)
                }
            }
        }
    });
    let done = shaking.buffer_unordered(HANDSHAKES);
    done.filter_map(|outcome: io::Result<_>| async move { outcome.transpose() })
}

async fn accept(listener: &TcpListener, cut: CancellationToken) -> io::Result<Connection> {
    match listener.accept().await {
        Ok((stream, _)) => {
            stream.set_nodelay(true)?;
            Ok(Connection {
                stream,
                cut: Box::pin(cut.cancelled_owned()),
            })
        }
        Err(error) => {
            warn!(%error, "cannot accept a connection");
            pause(ACCEPT_PAUSE).await;
            Err(error)
        }
    }
}

/// Passes a stream on until `stop` fires; then it ends in an error, never as if it were whole.
pub(crate) fn until<T: Send + 'static>(
    stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
    stop: CancellationToken,
) -> Outgoing<T> {
    let stopped = stop.clone();
    let ended = stream::once(async move {
        match stopped.is_cancelled() {
            true => Some(Err(Error::new(
                ErrorCode::Unavailable,
                "the executor is stopping",
            )
            .into())),
            false => None,
        }
    });
    Box::pin(
        stream
            .take_until(stop.cancelled_owned())
            .chain(ended.filter_map(|end| async move { end })),
    )
}

/// A connection that can be cut from our side.
struct Connection {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_that_is_stopped_ends_in_an_error_and_a_whole_one_does_not() {
        let whole: Vec<_> = until(stream::iter([Ok(1), Ok(2)]), CancellationToken::new())
            .collect()
            .await;
        assert!(matches!(whole.as_slice(), [Ok(1), Ok(2)]));

        let stop = CancellationToken::new();
        let mut endless = until(stream::iter([Ok(1)]).chain(stream::pending()), stop.clone());
        assert!(matches!(endless.next().await, Some(Ok(1))));
        stop.cancel();
        assert!(matches!(endless.next().await, Some(Err(_))));
        assert!(endless.next().await.is_none());
    }
}
