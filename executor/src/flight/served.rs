//! What has been sent to clients: bytes so far, and streams that are open now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    open: AtomicU32,
}

impl Served {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn open_streams(&self) -> u32 {
        self.0.open.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts as an open stream until it is dropped.
    pub(super) fn open(&self) -> OpenStream {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        OpenStream(self.clone())
    }
}

/// See [`Served::open`].
#[derive(Debug)]
pub(super) struct OpenStream(Served);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_counts_while_it_is_open() {
        let served = Served::default();
        let stream = served.open();
        served.sent(7);
        assert_eq!((served.bytes(), served.open_streams()), (7, 1));
        drop(stream);
        assert_eq!((served.bytes(), served.open_streams()), (7, 0));
    }
}
