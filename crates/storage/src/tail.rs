//! The ends of all logs of a dir in memory: what consumers that keep up read.
//!
//! One budget for the dir, first in first out over all logs, of which as much is used as readers ask for ([`Demand`]).
//! Small batches are copied into chunks that logs share, so that they do not keep a network buffer alive; the payload of
//! large ones stays a slice of the buffer it came in.

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

use crate::{demand::Demand, pin::Pin, reader::LogReader};

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
    /// When it was appended, as [`Demand`] counts.
    pub(crate) place: u64,
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
    /// How much of the budget is used.
    pub(crate) demand: Demand,
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
        Self {
            budget,
            demand: Demand::new(budget),
            pinned: Arc::default(),
            chunk: Mutex::default(),
            queue: Mutex::default(),
        }
    }

    pub(crate) fn pin(&self, bytes: usize) -> Pin {
        Pin::new(bytes, &self.pinned)
    }

    /// Makes copies or slices of `batches` to be kept; `None` when they are not to be kept at all, and the log's
    /// tail must be cleared.
    pub(crate) fn prepare(&self, batches: &[Stamped], bytes: usize, pin: Option<&Pin>) -> Option<Kept> {
        let place = self.demand.appended(bytes);
        let pinned = pin.map_or(0, |pin| {
            if batches.iter().any(|batch| batch.size_in_bytes() > COPY_MAX) { pin.bytes() } else { 0 }
        });
        if bytes.max(pinned) > self.budget / 4 {
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
            kept.batches.push(TailBatch { base, next, head, rest, place, _pin: pin });
        }
        Some(kept)
    }

    /// Counts what was put on a log's tail, and makes room. Called without any log's lock held.
    pub(crate) fn settle(&self, log: &Arc<LogReader>, up_to: Offset, own_bytes: usize) {
        {
            let mut queue = self.queue.lock();
            queue.own_bytes += own_bytes;
            queue.entries.push_back(QueueEntry { log: Arc::downgrade(log), up_to, own_bytes });
        }
        while let Some(victim) = self.victim() {
            if let Some(log) = victim.log.upgrade() {
                log.evict_tail(victim.up_to);
            }
        }
    }

    /// The oldest entry, while more is kept than is wanted. The newest stays, for those who wait at the end.
    fn victim(&self) -> Option<QueueEntry> {
        let mut queue = self.queue.lock();
        let used = queue.own_bytes + self.pinned.load(Ordering::Relaxed);
        if used <= self.demand.share() || (queue.entries.len() == 1 && used <= self.budget) {
            return None;
        }
        let entry = queue.entries.pop_front()?;
        queue.own_bytes -= entry.own_bytes;
        Some(entry)
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

#[cfg(test)]
mod tests {
    use ottla_records::{Batch, BatchBuilder};
    use ottla_types::{SystemClock, TopicId, TopicPartition};

    use super::*;
    use crate::{DirOptions, LogDir, MetaProperties, Part};

    fn batch(size: usize) -> Batch {
        let mut builder = BatchBuilder::new(0);
        builder.append(1, None, Some(&vec![1; size]), &[]);
        Batch::parse(&builder.build(), 0).expect("parses")
    }

    #[test]
    fn the_budget_holds_for_copies_slices_and_pinned_buffers() {
        const BUDGET: usize = 400_000;
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let meta = MetaProperties { cluster_id: "c".into(), node_id: 1, directory_id: None };
        meta.format(temporary.path()).expect("formats");
        let options = DirOptions { tail_bytes: BUDGET, ..DirOptions::default() };
        let dir = LogDir::open(temporary.path(), options, Arc::new(SystemClock::new())).expect("opens");
        let log = |n| {
            let partition = TopicPartition::new("t", n);
            dir.create_log(&partition, TopicId::METADATA, Arc::default()).expect("creates")
        };
        let mut logs = [log(0), log(1), log(2)];
        let tail = &dir.shared().tail;
        for round in 0..200 {
            let log = &mut logs[round % 3];
            let batch = batch([10, 30_000, 12_000][round % 3]).stamp(log.log_end(), 0);
            match round % 5 {
                0 => log.append_pinned(&[batch], &dir.pin(90_000)).expect("appends"),
                1 => log.append_pinned(&[batch], &dir.pin(10_000_000)).expect("appends"),
                _ => log.append(&[batch]).expect("appends"),
            };
            assert!(tail.used() <= BUDGET, "{} in round {round}", tail.used());
            let newest = log.reader().read(log.log_end() - 1, 1, log.log_end(), true).expect("reads");
            assert!(!newest.is_empty());
        }
        assert!(tail.used() > BUDGET / 4);
        let reader = logs[0].reader();
        let newest = reader.read(logs[0].log_end() - 1, 1, logs[0].log_end(), true).expect("reads");
        assert!(matches!(newest.parts[0], Part::Memory(_)));
        let oldest = reader.read(0, 1, logs[0].log_end(), true).expect("reads");
        assert!(matches!(oldest.parts[0], Part::File { .. }));
    }
}
