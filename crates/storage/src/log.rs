//! One partition's log, as its single owner sees it.
use std::sync::Arc;
use bytes::Bytes;
use ottla_records::Stamped;
use ottla_types::{LeaderEpoch, Offset, TopicId, TopicPartition};
use crate::{config::LogConfig, fault::Fault, pin::Pin, reader::LogReader};

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Base offset of the first batch.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Where the first batch begins in its segment file.
    pub position: u64,
    /// Bytes written.
    pub bytes: usize,
    /// True when a new segment was begun.
    pub rolled: bool,
}

/// Being written.
#[derive(Debug)]
pub struct Log { reader: Arc<LogReader> }
impl Log {
    /// The partition.
    pub fn partition(&self) -> &TopicPartition { todo!() }
    /// The topic's id.
    pub fn topic_id(&self) -> TopicId { todo!() }
    /// The shared side.
    pub fn reader(&self) -> Arc<LogReader> { todo!() }
    /// First offset.
    pub fn log_start(&self) -> Offset { todo!() }
    /// Next offset.
    pub fn log_end(&self) -> Offset { todo!() }
    /// One vectored write.
    pub fn append(&mut self, _batches: &[Stamped]) -> Result<Appended, Fault> { todo!() }
    /// The same, with the buffer that the batches are slices of.
    pub fn append_pinned(&mut self, _batches: &[Stamped], _pin: &Pin) -> Result<Appended, Fault> { todo!() }
    /// Removes everything from `offset` on.
    pub fn truncate_to(&mut self, _offset: Offset) -> Result<(), Fault> { todo!() }
    /// Empties the log; the next record gets `offset`.
    pub fn truncate_fully_and_start_at(&mut self, _offset: Offset) -> Result<(), Fault> { todo!() }
    /// Synced before it returns.
    pub fn advance_log_start(&mut self, _offset: Offset) -> Result<(), Fault> { todo!() }
    /// New settings.
    pub fn update_config(&mut self, _config: Arc<LogConfig>) { todo!() }
    /// fdatasync of all that is not synced; gives the recovery point.
    pub fn flush(&mut self) -> Result<Offset, Fault> { todo!() }
    /// Epochs and their start offsets.
    pub fn epochs(&self) -> Vec<(LeaderEpoch, Offset)> { todo!() }
    /// A new leader epoch begins at `start`.
    pub fn assign_epoch(&mut self, _epoch: LeaderEpoch, _start: Offset) { todo!() }
    /// The owner's producers as of `offset`; written at the next checkpoint.
    pub fn set_producer_snapshot(&mut self, _offset: Offset, _snapshot: Bytes) { todo!() }
    /// High watermark for `replication-offset-checkpoint`.
    pub fn set_high_watermark(&self, _offset: Offset) { todo!() }
    /// High watermark as the last run left it, if known.
    pub fn checkpointed_high_watermark(&self) -> Option<Offset> { todo!() }
    /// Flushes and closes.
    pub fn close(self) -> Result<(), Fault> { todo!() }
}
