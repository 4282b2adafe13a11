//! The ends of all logs of a dir in memory: what consumers that keep up read.
//!
//! One budget for the dir, first in first out over all logs. Small batches are copied into chunks that logs share, so
//! that they do not keep a network buffer alive; the payload of large ones stays a slice of the buffer it came in.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use ottla_records::Stamped;
use ottla_types::Offset;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::{pin::Pin, reader::LogReader};

/// Batches up to this size are copied.
const COPY_MAX: usize = 8 << 10;
/// Bytes of a chunk that copies go to.
const CHUNK: usize = 64 << 10;
/// What a kept batch costs beside its bytes.
const OVERHEAD: usize = 128;

/// A batch of the tail.
#[derive(Clone, Debug)]
pub(crate) struct TailBatch {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    /// The header, or the whole batch when `rest` is empty.
    pub(crate) head: Bytes,
    pub(crate) rest: Bytes,
    _pin: Option<Pin>,
}

impl TailBatch {
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.rest.len()
    }
}

/// Batches of one append, made ready outside the log's lock.
pub(crate) struct Kept {
    pub(crate) batches: SmallVec<[TailBatch; 2]>,
    own_bytes: usize,
}

/// The budget and who uses it.
#[derive(Debug)]
pub(crate) struct TailCache {
    budget: usize,
    pinned: Arc<AtomicUsize>,
    chunk: Mutex<BytesMut>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<QueueEntry>,
    own_bytes: usize,
}

#[derive(Debug)]
struct QueueEntry {
    log: Weak<LogReader>,
    /// Every batch of the log that ends at or before this goes with the entry.
    up_to: Offset,
    own_bytes: usize,
}

impl TailCache {
    pub(crate) fn new(budget: usize) -> Self {
        Self { budget, pinned: Arc::default(), chunk: Mutex::default(), queue: Mutex::default() }
    }

    pub(crate) fn pin(&self, bytes: usize) -> Pin {
        Pin::new(bytes, &self.pinned)
    }

    /// Makes copies or slices of `batches` to be kept; `None` when they are not to be kept at all, and the log's
    /// tail must be cleared.
    pub(crate) fn prepare(&self, batches: &[Stamped], bytes: usize, pin: Option<&Pin>) -> Option<Kept> {
        if bytes > self.budget / 4 {
            return None;
        }
        let mut kept = Kept { batches: SmallVec::with_capacity(batches.len()), own_bytes: 0 };
        let mut chunk = self.chunk.lock();
        for batch in batches {
            let copied = batch.size_in_bytes() <= COPY_MAX;
            let len = if copied { batch.size_in_bytes() } else { batch.head.len() };
            if chunk.capacity() - chunk.len() < len {
                *chunk = BytesMut::with_capacity(CHUNK);
            }
            chunk.extend_from_slice(&batch.head);
            if copied {
                chunk.extend_from_slice(&batch.rest);
            }
            let head = chunk.split().freeze();
            kept.own_bytes += len + OVERHEAD;
            let (rest, pin) = match pin {
                _ if copied => (Bytes::new(), None),
                Some(pin) => {
                    pin.count();
                    (batch.rest.clone(), Some(pin.clone()))
                }
                None => {
                    kept.own_bytes += batch.rest.len();
                    (batch.rest.clone(), None)
                }
            };
            let (base, next) = (batch.header.base_offset, batch.header.next_offset());
            kept.batches.push(TailBatch { base, next, head, rest, _pin: pin });
        }
        Some(kept)
    }

    /// Counts what was put on a log's tail, and makes room. Called without any log's lock held.
    pub(crate) fn settle(&self, log: &Arc<LogReader>, up_to: Offset, own_bytes: usize) {
        let mut victims: SmallVec<[(Weak<LogReader>, Offset); 4]> = SmallVec::new();
        {
            let mut queue = self.queue.lock();
            queue.own_bytes += own_bytes;
            queue.entries.push_back(QueueEntry { log: Arc::downgrade(log), up_to, own_bytes });
            // What is pinned falls only after the victims are dropped, below: take one entry at least, more later.
            while queue.own_bytes + self.pinned.load(Ordering::Relaxed) > self.budget && victims.len() < 4 {
                let Some(entry) = queue.entries.pop_front() else { break };
                queue.own_bytes -= entry.own_bytes;
                victims.push((entry.log, entry.up_to));
            }
        }
        for (log, up_to) in victims {
            if let Some(log) = log.upgrade() {
                log.evict_tail(up_to);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.queue.lock().own_bytes + self.pinned.load(Ordering::Relaxed)
    }
}

impl Kept {
    pub(crate) fn own_bytes(&self) -> usize {
        self.own_bytes
    }
}
