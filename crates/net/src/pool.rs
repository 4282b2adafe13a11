//! Buffers for large frames, reused: a page that is touched for the first time costs more than all else done to it.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Frames below this are copied out of the read buffer into memory of their own size.
pub(crate) const POOLED_MIN: usize = 16 << 10;
/// Larger ones are not kept: they are rare, and would keep much memory.
const POOLED_MAX: usize = 4 << 20;
/// Four classes for each power of two from `POOLED_MIN` to `POOLED_MAX`.
const CLASSES: usize = 4 * 8 + 1;

/// Free buffers by size class, and a bound on what they hold together.
#[derive(Debug)]
pub struct BufferPool {
    classes: Mutex<Classes>,
    keep_max: usize,
}

#[derive(Debug)]
struct Classes {
    free: [Vec<Vec<u8>>; CLASSES],
    kept: usize,
}

impl BufferPool {
    /// A pool that keeps at most `keep_max` bytes for reuse.
    #[must_use]
    pub fn new(keep_max: usize) -> Arc<Self> {
        let classes = Classes { free: std::array::from_fn(|_| Vec::new()), kept: 0 };
        Arc::new(Self { classes: Mutex::new(classes), keep_max })
    }

    /// A buffer of at least `len` bytes, with whatever is in it.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> PooledBuf {
        let (class, size) = class_of(len);
        if size > POOLED_MAX {
            return PooledBuf { buf: vec![0; len], pool: None };
        }
        let reused = {
            let mut classes = self.classes.lock();
            let found = classes.free[class].pop();
            classes.kept -= found.as_ref().map_or(0, Vec::len);
            found
        };
        // Fresh zeroed memory of this size comes untouched from the kernel.
        PooledBuf { buf: reused.unwrap_or_else(|| vec![0; size]), pool: Some(self.clone()) }
    }

    fn give_back(&self, buf: Vec<u8>) {
        let (class, size) = class_of(buf.len());
        let mut classes = self.classes.lock();
        if size == buf.len() && classes.kept + size <= self.keep_max {
            classes.kept += size;
            classes.free[class].push(buf);
        }
    }
}

/// The class whose buffers hold `len` bytes, and the size of its buffers.
fn class_of(len: usize) -> (usize, usize) {
    let len = len.max(POOLED_MIN);
    let power = usize::BITS - 1 - len.leading_zeros();
    let base = 1usize << power;
    let quarter = base / 4;
    let steps = (len - base).div_ceil(quarter);
    let class = 4 * (power as usize - POOLED_MIN.trailing_zeros() as usize) + steps;
    (class, base + steps * quarter)
}

/// A buffer that returns to its pool when the last slice of it is gone.
pub(crate) struct PooledBuf {
    buf: Vec<u8>,
    pool: Option<Arc<BufferPool>>,
}

impl PooledBuf {
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.buf
    }

    pub(crate) fn capacity(&self) -> usize {
        self.buf.len()
    }

    /// The first `len` bytes, shared from here on.
    pub(crate) fn freeze(self, len: usize) -> Bytes {
        Bytes::from_owner(self).slice(..len)
    }
}

impl AsRef<[u8]> for PooledBuf {
    fn as_ref(&self) -> &[u8] {
        &self.buf
    }
}

impl Drop for PooledBuf {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.give_back(std::mem::take(&mut self.buf));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_they_are_asked_for_and_waste_a_quarter_at_most() {
        let mut last = 0;
        for len in (1..POOLED_MAX).step_by(997).chain([POOLED_MAX]) {
            let (class, size) = class_of(len);
            assert!(class < CLASSES && class >= last, "{len} in class {class}");
            assert!(size >= len && (len < POOLED_MIN || size <= len + len / 4 + 1), "{len} gets {size}");
            assert_eq!(class_of(size), (class, size), "a class holds its own size");
            last = class;
        }
    }

    #[test]
    fn buffers_come_back_when_the_last_slice_is_gone() {
        let pool = BufferPool::new(1 << 20);
        let frame = pool.take(100_000).freeze(100_000);
        let slice = frame.slice(10..20);
        drop(frame);
        assert_eq!(pool.classes.lock().kept, 0);
        drop(slice);
        assert!(pool.classes.lock().kept >= 100_000);
        let again = pool.take(100_000);
        assert_eq!(pool.classes.lock().kept, 0);
        drop(again);
    }

    #[test]
    fn what_the_pool_keeps_is_bounded() {
        let pool = BufferPool::new(300_000);
        let bufs: Vec<_> = (0..10).map(|_| pool.take(100_000)).collect();
        drop(bufs);
        assert!(pool.classes.lock().kept <= 300_000);
        drop(pool.take(POOLED_MAX + 1));
        assert!(pool.classes.lock().kept <= 300_000);
    }
}
