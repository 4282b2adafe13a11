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
}

/// A log in memory, for simulations and tests.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    start: Offset,
    batches: Vec<Batch>,
}

impl MemoryLog {
    /// All batches, in order.
    #[must_use]
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// Loses the last `count` batches, as a crash may.
    pub fn forget_last(&mut self, count: usize) {
        self.batches.truncate(self.batches.len().saturating_sub(count));
    }
}

impl FactLog for MemoryLog {
    fn start(&self) -> Offset {
        self.start
    }

    fn end(&self) -> Offset {
        self.batches.last().map_or(self.start, |batch| batch.header.next_offset())
    }

    fn append(&mut self, batches: &[Stamped]) -> Result<(), Fault> {
        for stamped in batches {
            assert_eq!(stamped.header.base_offset, self.end(), "batches follow each other");
            self.batches.push(stamped.to_batch());
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn read(&self, from: Offset, each: &mut dyn FnMut(Batch) -> Result<(), Fault>) -> Result<(), Fault> {
        self.batches.iter().filter(|batch| batch.header.next_offset() > from).cloned().try_for_each(each)
    }

    fn truncate(&mut self, end: Offset) -> Result<(), Fault> {
        self.batches.retain(|batch| batch.header.next_offset() <= end);
        Ok(())
    }

    fn reset(&mut self, start: Offset) -> Result<(), Fault> {
        *self = Self { start, batches: Vec::new() };
        Ok(())
    }
}
