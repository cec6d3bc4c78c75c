//! A wire that can be cut: connections to a port of this machine, passed on as they are until somebody ends them all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// See the module; it ends with this.
pub struct Wire {
    port: u16,
    cuts: watch::Sender<u64>,
    open: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Wire {
    /// A wire to this port.
    pub async fn to(upstream: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let cuts = watch::Sender::new(0);
        let open = Arc::new(AtomicUsize::new(0));
        let (all, count) = (cuts.clone(), Arc::clone(&open));
        let accepting = async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut cut = all.subscribe();
                cut.mark_unchanged();
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    tokio::select! {
                        () = pass_on(near, upstream) => {}
                        _ = cut.changed() => {}
                    }
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        };
        Ok(Self {
            port,
            cuts,
            open,
            task: tokio::spawn(accepting).abort_handle(),
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends all connections; how many they were.
    pub fn cut(&self) -> usize {
        let open = self.open.load(Ordering::SeqCst);
        self.cuts.send_modify(|count| *count += 1);
        open
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn pass_on(mut near: TcpStream, upstream: u16) {
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", upstream)).await else {
        return;
    };
    // Who ends it, and how, is of no interest here.
    let _ = copy_bidirectional(&mut near, &mut far).await;
}

/// The port of `host:port`.
pub fn port_of(address: &str) -> Result<u16> {
    let (_, port) = address
        .rsplit_once(':')
        .context("an address without a port")?;
    Ok(port.parse()?)
}
