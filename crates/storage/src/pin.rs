//! What a cached slice keeps alive besides its own bytes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// The buffer that slices handed to an append live in. While any of them is kept in the tail cache the whole
/// buffer stays in memory, so the cache counts the buffer, once, and not the slices. Made by
/// [`crate::LogDir::pin`], one per request.
#[derive(Clone, Debug)]
pub struct Pin(Arc<Pinned>);

#[derive(Debug)]
struct Pinned {
    bytes: usize,
    counted: AtomicBool,
    total: Arc<AtomicUsize>,
}

impl Pin {
    pub(crate) fn new(bytes: usize, total: &Arc<AtomicUsize>) -> Self {
        Self(Arc::new(Pinned { bytes, counted: AtomicBool::new(false), total: Arc::clone(total) }))
    }

    /// Bytes of the buffer.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// Counts the buffer, if this is the first slice of it that is kept.
    pub(crate) fn count(&self) {
        if !self.0.counted.swap(true, Ordering::Relaxed) {
            self.0.total.fetch_add(self.0.bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if *self.counted.get_mut() {
            self.total.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}
