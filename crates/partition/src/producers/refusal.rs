//! Why a batch of an idempotent producer is not appended.

use ottla_types::{ErrorCode, Offset, ProducerEpoch, ProducerId, Sequence};

/// A refusal by the producer rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerRefusal {
    /// The batch does not follow the last one.
    #[error(
        "Out of order sequence number for producer {producer_id} at offset {offset}: {sequence} (incoming seq. number), \
         {last} (current end sequence number)"
    )]
    Gap {
        /// Whose batch.
        producer_id: ProducerId,
        /// Its first sequence.
        sequence: Sequence,
        /// The last sequence in the log.
        last: Sequence,
        /// Where it would have been appended.
        offset: Offset,
    },
    /// Nothing is known of the producer, and its batch is not its first.
    #[error(
        "Unknown producer {producer_id} at offset {offset}: {sequence} (incoming seq. number), 0 expected of a producer \
         that is not known"
    )]
    Unknown {
        /// Whose batch.
        producer_id: ProducerId,
        /// Its first sequence.
        sequence: Sequence,
        /// Where it would have been appended.
        offset: Offset,
    },
    /// The first batch of a new epoch starts with another sequence than 0.
    #[error(
        "Invalid sequence number for new epoch of producer {producer_id} at offset {offset}: {epoch} (request epoch), \
         {sequence} (seq. number), {current} (current producer epoch)"
    )]
    NewEpochNotAtZero {
        /// Whose batch.
        producer_id: ProducerId,
        /// The epoch of the batch.
        epoch: ProducerEpoch,
        /// The newest epoch in the log.
        current: ProducerEpoch,
        /// Its first sequence.
        sequence: Sequence,
        /// Where it would have been appended.
        offset: Offset,
    },
    /// A newer incarnation of the producer has written.
    #[error(
        "Epoch of producer {producer_id} at offset {offset} is {epoch}, which is smaller than the last seen epoch \
         {current}"
    )]
    OldEpoch {
        /// Whose batch.
        producer_id: ProducerId,
        /// The epoch of the batch.
        epoch: ProducerEpoch,
        /// The newest epoch in the log.
        current: ProducerEpoch,
        /// Where it would have been appended.
        offset: Offset,
    },
    /// Data outside of a transaction while one is open.
    #[error("Expected transactional write from producer {producer_id}")]
    OutsideTransaction {
        /// Whose batch.
        producer_id: ProducerId,
    },
}

impl ProducerRefusal {
    /// Kafka's code on Produce.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Gap { .. } | Self::NewEpochNotAtZero { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            Self::Unknown { .. } => ErrorCode::UNKNOWN_PRODUCER_ID,
            Self::OldEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
            Self::OutsideTransaction { .. } => ErrorCode::INVALID_TXN_STATE,
        }
    }
}
