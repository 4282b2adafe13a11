//! One producer: its epoch and its last five batches.

use ottla_types::{Millis, Offset, ProducerEpoch, Sequence};

use super::{BatchFacts, ProducerRefusal};

/// As many batches as an idempotent producer may have in flight.
const RETAINED: usize = 5;

/// The sequence `by` after `sequence`; wraps from `i32::MAX` to 0.
#[must_use]
pub fn next_sequence(sequence: Sequence, by: i32) -> Sequence {
    let past = i64::from(sequence) + i64::from(by);
    let wrapped = if past > i64::from(i32::MAX) { past - i64::from(i32::MAX) - 1 } else { past };
    i32::try_from(wrapped).expect("two sequences add up to less than twice the range")
}

/// What is remembered of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) first_sequence: Sequence,
    pub(super) last_sequence: Sequence,
    pub(super) last_offset: Offset,
    pub(super) offset_delta: i32,
    pub(super) timestamp: Millis,
}

impl Remembered {
    pub(super) fn base_offset(&self) -> Offset {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// One producer of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerState {
    pub(super) epoch: ProducerEpoch,
    pub(super) coordinator_epoch: i32,
    pub(super) last_append: Millis,
    pub(super) transaction_start: Option<Offset>,
    /// Oldest first; the first `held` count.
    batches: [Remembered; RETAINED],
    held: u8,
}

impl ProducerState {
    pub(super) fn new(epoch: ProducerEpoch) -> Self {
        Self {
            epoch,
            coordinator_epoch: -1,
            last_append: Millis(-1),
            transaction_start: None,
            batches: Default::default(),
            held: 0,
        }
    }

    /// The newest epoch seen.
    #[must_use]
    pub fn epoch(&self) -> ProducerEpoch {
        self.epoch
    }

    /// The transaction coordinator's epoch in the last marker; -1 when there was none.
    #[must_use]
    pub fn coordinator_epoch(&self) -> i32 {
        self.coordinator_epoch
    }

    /// When it last appended, by the wall clock.
    #[must_use]
    pub fn last_append(&self) -> Millis {
        self.last_append
    }

    /// First offset of the open transaction.
    #[must_use]
    pub fn transaction_start(&self) -> Option<Offset> {
        self.transaction_start
    }

    /// Sequence of the last record of this epoch; -1 when there is none.
    #[must_use]
    pub fn last_sequence(&self) -> Sequence {
        self.batches().last().map_or(-1, |batch| batch.last_sequence)
    }

    /// Offset of the last record of this epoch, if there is one.
    #[must_use]
    pub fn last_offset(&self) -> Option<Offset> {
        self.batches().last().map(|batch| batch.last_offset)
    }

    pub(super) fn batches(&self) -> &[Remembered] {
        &self.batches[..usize::from(self.held)]
    }

    /// The same batch, if it is among the last five of this epoch.
    pub(super) fn find(&self, batch: &BatchFacts) -> Option<&Remembered> {
        if batch.epoch != self.epoch {
            return None;
        }
        self.batches().iter().find(|held| {
            held.first_sequence == batch.first_sequence && held.last_sequence == batch.last_sequence
        })
    }

    pub(super) fn check_epoch(&self, batch: &BatchFacts) -> Result<(), ProducerRefusal> {
        if batch.epoch < self.epoch {
            return Err(ProducerRefusal::OldEpoch {
                producer_id: batch.producer_id,
                epoch: batch.epoch,
                current: self.epoch,
                offset: batch.base_offset,
            });
        }
        Ok(())
    }

    pub(super) fn check_sequence(&self, batch: &BatchFacts) -> Result<(), ProducerRefusal> {
        if batch.epoch != self.epoch {
            if batch.first_sequence != 0 {
                return Err(ProducerRefusal::NewEpochNotAtZero {
                    producer_id: batch.producer_id,
                    epoch: batch.epoch,
                    current: self.epoch,
                    sequence: batch.first_sequence,
                    offset: batch.base_offset,
                });
            }
            return Ok(());
        }
        let last = self.last_sequence();
        // After a marker that bumped the epoch there is no batch: then 0 is next, as it is after -1.
        let expected = if last < 0 { 0 } else { next_sequence(last, 1) };
        if batch.first_sequence != expected {
            return Err(ProducerRefusal::Gap {
                producer_id: batch.producer_id,
                sequence: batch.first_sequence,
                last,
                offset: batch.base_offset,
            });
        }
        Ok(())
    }

    /// Remembers a batch; returns true when it opens a transaction.
    pub(super) fn push(&mut self, batch: &BatchFacts, appended: Millis) -> bool {
        self.take_epoch(batch.epoch);
        self.remember(Remembered {
            first_sequence: batch.first_sequence,
            last_sequence: batch.last_sequence,
            last_offset: batch.last_offset,
            offset_delta: i32::try_from(batch.last_offset - batch.base_offset).unwrap_or(i32::MAX),
            timestamp: batch.max_timestamp,
        });
        self.last_append = self.last_append.max(appended);
        let opens = batch.transactional && self.transaction_start.is_none();
        if opens {
            self.transaction_start = Some(batch.base_offset);
        }
        opens
    }

    pub(super) fn remember(&mut self, batch: Remembered) {
        if usize::from(self.held) == RETAINED {
            self.batches.copy_within(1.., 0);
            self.held -= 1;
        }
        self.batches[usize::from(self.held)] = batch;
        self.held += 1;
    }

    pub(super) fn end_transaction(
        &mut self,
        epoch: ProducerEpoch,
        coordinator_epoch: i32,
        appended: Millis,
    ) -> Option<Offset> {
        self.take_epoch(epoch);
        self.coordinator_epoch = coordinator_epoch;
        self.last_append = self.last_append.max(appended);
        self.transaction_start.take()
    }

    fn take_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches = Default::default();
            self.held = 0;
        }
    }
}
