//! Buffers that stay with the thread between batches.

use std::cell::RefCell;

/// What a chunk holds at least: the block of LZ4 as producers write it, half a block of zstd.
pub(crate) const CHUNK: usize = 64 << 10;
/// Larger buffers than this are given back to the allocator.
const KEEP: usize = 1 << 20;
/// Buffers kept per thread: one for reading and one for writing, and one more.
const KEPT: usize = 3;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A window over a stream: bytes that were produced and not yet consumed.
///
/// The vector behind it is always initialised to its length, so that decoders write into slices.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// An empty buffer, used before on this thread when there is one.
    pub(crate) fn take() -> Self {
        let bytes = BUFFERS.try_with(|pool| pool.borrow_mut().pop()).ok().flatten().unwrap_or_default();
        Self { bytes, start: 0, end: 0 }
    }

    /// What is produced and not consumed.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Consumes `n` of [`Buffer::bytes`].
    #[inline(always)]
    pub(crate) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.end - self.start);
        self.start = (self.start + n).min(self.end);
    }

    /// Consumes `skip` bytes and then `len` bytes, and returns the latter; the caller has seen that they are there.
    #[inline(always)]
    pub(crate) fn take_bytes(&mut self, skip: usize, len: usize) -> &[u8] {
        let at = self.start + skip;
        self.start = at + len;
        &self.bytes[at..at + len]
    }

    /// Consumes everything.
    pub(crate) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Moves what is left to the front, so that the room behind it is large.
    pub(crate) fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    /// Room for `n` bytes behind what is there; [`Buffer::produced`] says how many were used.
    pub(crate) fn room(&mut self, n: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < n {
            let len = (self.end + n).max(2 * CHUNK).next_multiple_of(CHUNK);
            // At least by half again, so that a growing record is not copied for every chunk.
            self.bytes.resize(len.max(self.end + self.end / 2), 0);
        }
        &mut self.bytes[self.end..]
    }

    /// The first `n` bytes of [`Buffer::room`] are filled.
    pub(crate) fn produced(&mut self, n: usize) {
        self.end = (self.end + n).min(self.bytes.len());
    }

    /// Appends a copy of `input`.
    pub(crate) fn push(&mut self, input: &[u8]) {
        self.room(input.len())[..input.len()].copy_from_slice(input);
        self.produced(input.len());
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.is_empty() || bytes.len() > KEEP {
            return;
        }
        // A thread that is ending has no pool any more; then the buffer just goes.
        let _ = BUFFERS.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT {
                pool.push(bytes);
            }
        });
    }
}
