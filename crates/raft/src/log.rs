//! The Kafka-format log that committed entries are written to.

use ottla_records::{Batch, Stamped};
use ottla_types::Offset;

use crate::Fault;

/// A log of record batches with offsets. Appending need not be durable: what is lost is written again from raft's log,
/// which reaches back at least to the last [`sync`](Self::sync).
pub trait FactLog: Send + 'static {
    /// The first offset there is.
    fn start(&self) -> Offset;
    /// The offset the next record gets.
    fn end(&self) -> Offset;
    /// Appends batches whose offsets follow each other and the end.
    fn append(&mut self, batches: &[Stamped]) -> Result<(), Fault>;
    /// Makes all that was appended durable.
    fn sync(&mut self) -> Result<(), Fault>;
    /// Hands every batch from `from` on to `each`, in order, until it fails.
    fn read(&self, from: Offset, each: &mut dyn FnMut(Batch) -> Result<(), Fault>) -> Result<(), Fault>;
    /// Forgets every batch from `end` on, which is the base offset of one of them.
    fn truncate(&mut self, end: Offset) -> Result<(), Fault>;
    /// Forgets everything; the next record gets `start`. What a snapshot from the leader brings.
    fn reset(&mut self, start: Offset) -> Result<(), Fault>;
    /// Forgets what is before `start`, as far as that is convenient: the log begins there.
    fn advance_start(&mut self, start: Offset) -> Result<(), Fault>;
    /// How much the log takes, in bytes.
    fn size(&self) -> u64;
}
