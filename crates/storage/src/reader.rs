//! One partition's log, as everybody else sees it.
use bytes::Bytes;
use ottla_records::{Batch, BatchHeader};
use ottla_types::{LeaderEpoch, Offset, TopicId, TopicPartition};
use crate::{fault::Fault, fault::ReadError, read::Slice};

/// Being written.
#[derive(Debug)]
pub struct LogReader {}

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

impl LogReader {
    /// The partition.
    pub fn partition(&self) -> &TopicPartition { todo!() }
    /// The topic's id.
    pub fn topic_id(&self) -> TopicId { todo!() }
    /// First offset.
    pub fn log_start(&self) -> Offset { todo!() }
    /// Next offset.
    pub fn log_end(&self) -> Offset { todo!() }
    /// Offset up to which everything is synced.
    pub fn recovery_point(&self) -> Offset { todo!() }
    /// Bytes of all segments.
    pub fn size(&self) -> u64 { todo!() }
    /// The segments.
    pub fn segments(&self) -> Vec<SegmentInfo> { todo!() }
    /// Whole batches from the one that holds `from`, below `upper_bound`.
    pub fn read(&self, _from: Offset, _max_bytes: usize, _upper_bound: Offset, _at_least_one_batch: bool) -> Result<Slice, ReadError> { todo!() }
    /// First record at or after `timestamp`, exact.
    pub fn find_by_timestamp(&self, _timestamp: i64) -> Result<Option<TimestampHit>, Fault> { todo!() }
    /// The first record with the greatest timestamp.
    pub fn max_timestamp(&self) -> Result<Option<TimestampHit>, Fault> { todo!() }
    /// Batches from `from` on, for loaders: bounded memory.
    pub fn batches_from(&self, _from: Offset) -> Batches { todo!() }
    /// Epochs and their start offsets.
    pub fn epochs(&self) -> Vec<(LeaderEpoch, Offset)> { todo!() }
    /// Makes everything before `offset` durable (one fdatasync per file that needs it); gives the recovery point reached.
    pub fn sync_up_to(&self, _offset: Offset) -> Result<Offset, Fault> { todo!() }
}

/// Being written.
#[derive(Debug)]
pub struct Batches { _b: Option<(Bytes, BatchHeader)> }
impl Iterator for Batches { type Item = Result<Batch, ReadError>; fn next(&mut self) -> Option<Self::Item> { todo!() } }
