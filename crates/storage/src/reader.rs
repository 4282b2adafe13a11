//! One partition's log, as everybody but its owner sees it: shared, and safe beside appends, rolls and truncations.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use ottla_records::Batch;
use ottla_types::{LeaderEpoch, Offset, TopicId, TopicPartition};
use parking_lot::{Mutex, RwLock};

use crate::{dir::Shared, fault::ReadError, names, read::Part, scan, state::State};

/// The shared side of a log.
pub struct LogReader {
    pub(crate) shared: Arc<Shared>,
    partition: TopicPartition,
    /// The name of its directory while that is not the partition's.
    future: RwLock<Option<String>>,
    /// Empty while it is not known.
    topic_id: OnceLock<TopicId>,
    pub(crate) state: RwLock<State>,
    /// Held while files are synced, and by truncations.
    pub(crate) syncing: Mutex<()>,
    dirty: AtomicBool,
    removed: AtomicBool,
    pub(crate) high_watermark: AtomicI64,
}

/// The record a lookup by time found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampHit {
    /// The record's offset.
    pub offset: Offset,
    /// The record's timestamp.
    pub timestamp: i64,
    /// Leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its base offset, which is its name.
    pub base_offset: Offset,
    /// Bytes of its log file.
    pub size: u64,
    /// Greatest timestamp in it; -1 when it holds none.
    pub max_timestamp: i64,
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").field("partition", &self.partition).finish_non_exhaustive()
    }
}

impl LogReader {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        partition: &TopicPartition,
        topic_id: TopicId,
        (state, future): (RwLock<State>, Option<String>),
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            partition: partition.clone(),
            future: RwLock::new(future),
            topic_id: if topic_id == TopicId::ZERO { OnceLock::new() } else { OnceLock::from(topic_id) },
            state,
            syncing: Mutex::new(()),
            dirty: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            high_watermark: AtomicI64::new(-1),
        }
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The topic's id; [`TopicId::ZERO`] while it is not known.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        self.topic_id.get().copied().unwrap_or(TopicId::ZERO)
    }

    /// The topic's id is known now. One that was known before stays.
    pub(crate) fn set_topic_id(&self, topic_id: TopicId) {
        let _ = self.topic_id.set(topic_id);
    }

    /// The first offset that may be read.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.state.read().log_start
    }

    /// The offset the next record gets.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.state.read().log_end
    }

    /// Everything before this offset is on the device.
    #[must_use]
    pub fn recovery_point(&self) -> Offset {
        self.state.read().recovery_point
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.state.read().size()
    }

    /// The segments, oldest first; the last one is active.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let info = |s: &crate::state::Segment| SegmentInfo {
            base_offset: s.base,
            size: s.size,
            max_timestamp: s.max_timestamp,
        };
        self.state.read().segments.iter().map(info).collect()
    }

    /// Leader epochs and the offsets they began at, both growing.
    #[must_use]
    pub fn epochs(&self) -> Vec<(LeaderEpoch, Offset)> {
        self.state.read().epochs.clone()
    }

    /// The batches from the one that holds `from` on, up to the log's end as it is when each is reached. At most
    /// about a megabyte, or one larger batch, is in memory at a time.
    #[must_use]
    pub fn batches_from(self: &Arc<Self>, from: Offset) -> Batches {
        Batches { reader: Arc::clone(self), next: from, ready: ottla_records::batches(bytes::Bytes::new()) }
    }

    /// The partition's directory.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match &*self.future.read() {
            Some(future) => self.shared.path.join(future),
            None => self.shared.path.join(self.partition.to_string()),
        }
    }

    /// Whether this log is to take the place of the partition's log in another log dir, and has not yet.
    #[must_use]
    pub fn is_future(&self) -> bool {
        self.future.read().is_some()
    }

    /// Its directory has the partition's name now.
    pub(crate) fn promoted(&self) {
        *self.future.write() = None;
    }

    pub(crate) fn segment_path(&self, base: Offset) -> PathBuf {
        let mut path = self.path();
        path.push(names::segment(base));
        path
    }

    /// Puts the log on the list of the next checkpoint, once.
    pub(crate) fn mark_dirty(self: &Arc<Self>) {
        if !self.dirty.load(Ordering::Relaxed) && !self.dirty.swap(true, Ordering::AcqRel) {
            self.shared.dirty.lock().push(Arc::downgrade(self));
        }
    }

    pub(crate) fn clear_dirty(&self) {
        self.dirty.store(false, Ordering::Release);
    }

    /// The log's directory is gone: nobody waits for the disk any more.
    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::Release);
        let mut state = self.state.write();
        state.recovery_point = state.log_end;
        state.tail.clear();
        for segment in &state.segments {
            segment.handle.close();
        }
    }

    /// Whether reads that fail from now on say nothing of the disk, because the log is being moved away.
    pub(crate) fn set_removed(&self, removed: bool) {
        self.removed.store(removed, Ordering::Release);
    }

    /// Whether the log was removed, or its place was taken by another: reads may fail then, which says nothing of the
    /// disk.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Drops batches of the tail that end at or before `up_to`.
    pub(crate) fn evict_tail(&self, up_to: Offset) {
        let mut state = self.state.write();
        while state.tail.front().is_some_and(|batch| batch.next <= up_to) {
            state.tail.pop_front();
        }
        if state.tail.is_empty() {
            state.tail.shrink_to_fit();
        }
    }
}

/// Batches of a log, one after the other.
#[derive(Debug)]
pub struct Batches {
    reader: Arc<LogReader>,
    next: Offset,
    ready: ottla_records::Batches,
}

/// Bytes read at a time.
const STEP: usize = 1 << 20;

impl Batches {
    fn refill(&mut self) -> Result<bool, ReadError> {
        let slice = self.reader.read(self.next, STEP, Offset::MAX, true)?;
        if slice.is_empty() {
            return Ok(false);
        }
        let mut bytes = bytes::BytesMut::with_capacity(slice.bytes);
        for part in &slice.parts {
            match part {
                Part::Memory(memory) => bytes.extend_from_slice(memory),
                Part::File { file, offset, len } => {
                    let range = scan::read_range(file, *offset, *len)
                        .map_err(crate::fault::Fault::io("read", self.reader.path()))?;
                    bytes.extend_from_slice(&range);
                }
            }
        }
        self.ready = ottla_records::batches(bytes.freeze());
        Ok(true)
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.ready.next() {
                Some(Ok(batch)) => {
                    self.next = batch.header.next_offset();
                    return Some(Ok(batch));
                }
                Some(Err(_)) => {
                    let path = self.reader.path();
                    let what = "a batch of the log does not parse: the disk is damaged";
                    self.ready = ottla_records::batches(bytes::Bytes::new());
                    return Some(Err(crate::fault::Fault::Segment { path, position: 0, what }.into()));
                }
                None => match self.refill() {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}
