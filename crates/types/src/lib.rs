//! The words: ids, offsets, epochs, units, error codes, the clock.
//!
//! Vocabulary only. Nothing here has behaviour beyond printing, parsing and comparing itself.

mod clock;
mod error;
mod ids;

pub use clock::{Clock, Millis, SystemClock};
pub use error::{ApiError, ErrorCode};
pub use ids::{TopicId, TopicPartition, TopicPartitionId, java_string_hash, partition_for_key};

/// A broker's or controller's `node.id`.
pub type NodeId = i32;
/// Position of a record in its partition.
pub type Offset = i64;
/// Counts the leaders a partition has had; also raft's term for the metadata partition.
pub type LeaderEpoch = i32;
/// Identifies one idempotent or transactional producer.
pub type ProducerId = i64;
/// Fences older incarnations of one producer id.
pub type ProducerEpoch = i16;
/// Position of a record batch within a producer's session, for one partition. Wraps at `i32::MAX`.
pub type Sequence = i32;

/// No producer id: the batch is not idempotent.
pub const NO_PRODUCER_ID: ProducerId = -1;
/// No leader: the partition is offline.
pub const NO_LEADER: NodeId = -1;
