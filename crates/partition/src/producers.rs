//! Idempotent producers of one partition: what has been appended by whom (KIP-98, KIP-185, KIP-360, KIP-890).
//!
//! A function of the log: built by handing every batch to [`ProducerTable::record`], from the start or from a snapshot
//! on. [`ProducerTable::check`] decides about a batch before it is written and changes nothing.

mod entry;
mod refusal;
mod snapshot;
mod transactions;

use std::collections::HashMap;

use ottla_records::BatchHeader;
use ottla_types::{Millis, NO_PRODUCER_ID, Offset, ProducerEpoch, ProducerId, Sequence};

pub use entry::{ProducerState, next_sequence};
pub use refusal::ProducerRefusal;
pub use snapshot::SnapshotError;
use transactions::Transactions;
pub use transactions::{AbortedTransaction, Marker, TransactionEnd};

/// Who appends, which decides how much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A Produce request: duplicates are recognised, sequences and epochs checked.
    Client,
    /// A Produce request that may be told to come again: as [`Origin::Client`], and a producer that is not known must begin
    /// with sequence 0.
    ClientFromZero,
    /// A coordinator of this broker: epochs are checked, sequences are not.
    Coordinator,
    /// Copied from the leader, or read back from our own log: what is there is a fact.
    Replication,
}

impl Origin {
    /// A Produce request, whatever else.
    #[must_use]
    pub fn is_client(self) -> bool {
        matches!(self, Self::Client | Self::ClientFromZero)
    }
}

/// What the rules need to know of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFacts {
    /// -1 when the batch is not idempotent.
    pub producer_id: ProducerId,
    /// Fences older incarnations of the producer id.
    pub epoch: ProducerEpoch,
    /// Sequence of the first record.
    pub first_sequence: Sequence,
    /// Sequence of the last record, which may have wrapped.
    pub last_sequence: Sequence,
    /// Offset of the first record: given by the leader.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Largest record timestamp.
    pub max_timestamp: Millis,
    /// Part of a transaction.
    pub transactional: bool,
    /// A control batch: not data, but the end of a transaction.
    pub control: bool,
}

impl From<&BatchHeader> for BatchFacts {
    fn from(header: &BatchHeader) -> Self {
        Self {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: Millis(header.max_timestamp),
            transactional: header.is_transactional(),
            control: header.is_control(),
        }
    }
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// New: append it.
    Append,
    /// One of the producer's last five batches, sent again: answer as if it had just been appended.
    Duplicate {
        /// Offset of its first record, given when it was appended.
        base_offset: Offset,
        /// Offset of its last record.
        last_offset: Offset,
        /// Its largest timestamp: the time of the append where the topic says so.
        timestamp: Millis,
    },
}

/// All producers known to one partition, and the transactions among what they wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerTable {
    producers: HashMap<ProducerId, ProducerState>,
    transactions: Transactions,
}

impl ProducerTable {
    /// How many producers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// No producer is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Nothing at all is known: neither producers nor transactions.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.producers.is_empty() && self.transactions == Transactions::default()
    }

    /// Some transaction was aborted that readers may still meet.
    #[must_use]
    pub fn has_aborted(&self) -> bool {
        !self.transactions.aborted.is_empty()
    }

    /// What is known of one producer (DescribeProducers, KIP-664).
    #[must_use]
    pub fn get(&self, producer: ProducerId) -> Option<&ProducerState> {
        self.producers.get(&producer)
    }

    /// All producers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerState)> {
        self.producers.iter().map(|(id, state)| (*id, state))
    }

    /// Decides about a batch that `origin` wants appended at `batch.base_offset`.
    ///
    /// # Errors
    /// [`ProducerRefusal`] carries Kafka's code: 45 for a gap, 47 for an old epoch, 48 for data outside of the running
    /// transaction, 59 for a producer that is not known and had to begin with 0.
    pub fn check(&self, batch: &BatchFacts, origin: Origin) -> Result<Verdict, ProducerRefusal> {
        if batch.producer_id == NO_PRODUCER_ID || origin == Origin::Replication {
            return Ok(Verdict::Append);
        }
        let Some(known) = self.producers.get(&batch.producer_id) else {
            if origin == Origin::ClientFromZero && batch.first_sequence > 0 {
                let (producer_id, sequence) = (batch.producer_id, batch.first_sequence);
                return Err(ProducerRefusal::Unknown { producer_id, sequence, offset: batch.base_offset });
            }
            // Expired, or its records are gone, or it is new: any first sequence is taken (KIP-360).
            return Ok(Verdict::Append);
        };
        if origin.is_client()
            && let Some(duplicate) = known.find(batch)
        {
            return Ok(Verdict::Duplicate {
                base_offset: duplicate.base_offset(),
                last_offset: duplicate.last_offset,
                timestamp: duplicate.timestamp,
            });
        }
        known.check_epoch(batch)?;
        if !batch.control {
            if origin.is_client() {
                known.check_sequence(batch)?;
            }
            if !batch.transactional && known.transaction_start().is_some() {
                return Err(ProducerRefusal::OutsideTransaction { producer_id: batch.producer_id });
            }
        }
        Ok(Verdict::Append)
    }

    /// A data batch is in the log. `appended` is when, by the wall clock: what expiry counts from.
    pub fn record(&mut self, batch: &BatchFacts, appended: Millis) {
        if batch.producer_id == NO_PRODUCER_ID || batch.control {
            return;
        }
        let known =
            self.producers.entry(batch.producer_id).or_insert_with(|| ProducerState::new(batch.epoch));
        if known.push(batch, appended) {
            self.transactions.begin(batch.producer_id, batch.base_offset);
        }
    }

    /// The end of a transaction is in the log. Returns its extent if this partition had data of it.
    pub fn record_end(
        &mut self,
        batch: &BatchFacts,
        end: TransactionEnd,
        appended: Millis,
    ) -> Option<AbortedTransaction> {
        let known =
            self.producers.entry(batch.producer_id).or_insert_with(|| ProducerState::new(batch.epoch));
        let first_offset = known.end_transaction(batch.epoch, end.coordinator_epoch, appended)?;
        Some(self.transactions.end(batch.producer_id, first_offset, batch.last_offset, end.marker))
    }

    /// Forgets producers that appended nothing for `expiration_ms` and have no transaction open
    /// (`producer.id.expiration.ms`). Returns how many.
    pub fn expire(&mut self, now: Millis, expiration_ms: i64) -> usize {
        let before = self.producers.len();
        self.producers.retain(|_, known| {
            known.transaction_start().is_some() || now.since(known.last_append()) < expiration_ms
        });
        let expired = before - self.producers.len();
        if self.producers.len() * 4 < self.producers.capacity() {
            self.producers.shrink_to_fit();
        }
        expired
    }

    /// The first offset whose transaction is undecided, or decided by a marker that is not yet below the high
    /// watermark: what bounds the last stable offset.
    #[must_use]
    pub fn first_unstable(&self) -> Option<Offset> {
        self.transactions.first_unstable()
    }

    /// Markers below `high_watermark` are replicated: their transactions no longer hold the last stable offset back.
    pub fn high_watermark_moved(&mut self, high_watermark: Offset) {
        self.transactions.high_watermark_moved(high_watermark);
    }

    /// The log now starts at `log_start`: transactions wholly before it are forgotten. Producers are kept (KIP-360).
    pub fn log_start_moved(&mut self, log_start: Offset) {
        self.transactions.log_start_moved(log_start);
    }

    /// Aborted transactions with records in `from..upper_bound`, for a read_committed Fetch, by last offset.
    pub fn aborted(&self, from: Offset, upper_bound: Offset) -> impl Iterator<Item = AbortedTransaction> {
        self.transactions.aborted(from, upper_bound)
    }
}
