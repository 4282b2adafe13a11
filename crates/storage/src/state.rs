//! What is known about one log while it is open.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use ottla_records::BatchHeader;
use ottla_types::{LeaderEpoch, Offset};

use crate::{
    epochs,
    files::Handle,
    index::{self, Index},
    tail::TailBatch,
};

/// No timestamp.
pub(crate) const NONE: i64 = -1;

/// One segment.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) base: Offset,
    /// Bytes that are batches of the log. The file may be longer for a moment, while an append is under way.
    pub(crate) size: u64,
    /// Greatest timestamp; -1 when there is none.
    pub(crate) max_timestamp: i64,
    /// Greatest timestamp of the first batch, which Kafka counts `segment.ms` from; -1 when there is none.
    pub(crate) first_timestamp: i64,
    /// Wall clock when the segment was begun, where records have no timestamps.
    pub(crate) created: i64,
    pub(crate) handle: Arc<Handle>,
}

impl Segment {
    pub(crate) fn new(base: Offset, created: i64) -> Self {
        Self { base, size: 0, max_timestamp: NONE, first_timestamp: NONE, created, handle: Handle::new(base) }
    }

    /// Takes note of the batch that follows at the segment's end. False when the segment cannot hold its offset or
    /// its position.
    pub(crate) fn note(&mut self, index: &mut Index, header: &BatchHeader, interval: u32) -> bool {
        let Some(relative) = index::relative(self.base, header.base_offset) else { return false };
        let Ok(position) = u32::try_from(self.size) else { return false };
        index.note(relative, position, self.max_timestamp, interval);
        if self.size == 0 {
            self.first_timestamp = header.max_timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
        self.size += header.size_in_bytes() as u64;
        true
    }
}

/// The owner's snapshots of its producers.
///
/// An empty snapshot means that no batch before its offset came from a producer with an id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshots {
    /// The newest.
    pub(crate) latest: Option<(Offset, Bytes)>,
    /// The newest of those whose batches are all synced: the one to go back to after a power cut.
    pub(crate) synced: Option<(Offset, Bytes)>,
    /// No batch of a producer with an id came after `latest`: it holds for the log's end, too.
    pub(crate) quiet: bool,
    /// Counts changes of the blobs.
    pub(crate) version: u32,
    /// The version that is in the store.
    pub(crate) stored_version: u32,
}

impl Snapshots {
    /// Those of an empty log.
    pub(crate) fn empty_at(offset: Offset) -> Self {
        Self {
            latest: Some((offset, Bytes::new())),
            synced: None,
            quiet: true,
            version: 1,
            stored_version: 0,
        }
    }

    pub(crate) fn set(&mut self, offset: Offset, snapshot: Bytes, log_end: Offset, recovery_point: Offset) {
        if let Some(old) = self.latest.take()
            && old.0 <= recovery_point
        {
            self.synced = Some(old);
        }
        self.latest = Some((offset, snapshot));
        self.quiet = offset == log_end;
        self.version = self.version.wrapping_add(1);
    }

    /// Forgets what knows of batches at `end` or behind.
    pub(crate) fn truncate(&mut self, end: Offset) {
        let cut = |slot: Option<(Offset, Bytes)>| match slot {
            Some((offset, bytes)) if offset <= end => Some((offset, bytes)),
            Some((_, bytes)) if bytes.is_empty() => Some((end, bytes)),
            _ => None,
        };
        let latest = cut(self.latest.take());
        self.synced = cut(self.synced.take());
        self.quiet = self.quiet && latest.is_some();
        self.latest = latest.or_else(|| self.synced.clone());
        self.version = self.version.wrapping_add(1);
    }
}

/// How much of the active index is in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) base: Offset,
    pub(crate) entries: usize,
    pub(crate) generation: u32,
}

/// Everything about one log. Readers see it under a lock; its owner changes it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    /// Never empty; the last one is active.
    pub(crate) segments: Vec<Segment>,
    /// Of the active segment.
    pub(crate) index: Index,
    /// The last batches, without a gap up to the log's end.
    pub(crate) tail: VecDeque<TailBatch>,
    pub(crate) epochs: Vec<(LeaderEpoch, Offset)>,
    /// `leader-epoch-checkpoint` is behind.
    pub(crate) epochs_changed: bool,
    /// Everything before it is on the device.
    pub(crate) recovery_point: Offset,
    /// Directory entries may not be on the device.
    pub(crate) names_unsynced: bool,
    /// Counts truncations, for readers that walk without the lock.
    pub(crate) truncations: u32,
    pub(crate) snapshots: Snapshots,
    /// `None` when the store's pieces are of no use.
    pub(crate) stored: Option<Stored>,
    /// A write or a sync failed.
    pub(crate) broken: bool,
}

impl State {
    /// An empty log that begins at `offset`.
    pub(crate) fn empty(offset: Offset, created: i64) -> Self {
        Self {
            log_start: offset,
            log_end: offset,
            segments: vec![Segment::new(offset, created)],
            index: Index::default(),
            tail: VecDeque::new(),
            epochs: Vec::new(),
            epochs_changed: false,
            recovery_point: offset,
            names_unsynced: true,
            truncations: 0,
            snapshots: Snapshots::empty_at(offset),
            stored: None,
            broken: false,
        }
    }

    pub(crate) fn active(&self) -> &Segment {
        self.segments.last().expect("a log has a segment")
    }

    /// The place of the segment that holds `offset`, if any segment does.
    pub(crate) fn segment_of(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base <= offset).saturating_sub(1)
    }

    pub(crate) fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Takes note of a batch at the log's end.
    pub(crate) fn note(&mut self, header: &BatchHeader, interval: u32) -> bool {
        let active = self.segments.last_mut().expect("a log has a segment");
        if !active.note(&mut self.index, header, interval) {
            return false;
        }
        self.log_end = header.next_offset();
        if header.has_producer_id() {
            self.snapshots.quiet = false;
        }
        let newest = self.epochs.last().map_or(-1, |&(epoch, _)| epoch);
        if header.partition_leader_epoch > newest
            && epochs::assign(&mut self.epochs, header.partition_leader_epoch, header.base_offset)
        {
            self.epochs_changed = true;
        }
        true
    }
}
