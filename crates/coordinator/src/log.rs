//! The log under a shard: what a coordinator needs of `__consumer_offsets`, and no more.

use std::ops::Range;

use bytes::Bytes;
use futures::future::BoxFuture;
use ottla_records::Batch;
use ottla_types::{ErrorCode, LeaderEpoch, Offset};

/// Ends when an appended batch is durable (every in-sync replica has it), or when it is certain or likely that it will
/// not be in time.
pub type Durable = BoxFuture<'static, Result<(), ErrorCode>>;

/// The batches of a partition, in the order of the log.
pub type BatchIterator = Box<dyn Iterator<Item = Result<Batch, ErrorCode>> + Send>;

/// The partitions of `__consumer_offsets` on this broker. Real over the replicas, in memory for tests.
pub trait OffsetsLog: Send + Sync + 'static {
    /// Appends one batch of facts to a partition led here since `epoch`. Returns when it is written; what it returns is
    /// to be waited for until it is durable, `None` when it is already.
    ///
    /// # Errors
    /// Kafka's code for why the log did not take it; then nothing was written.
    fn append(&self, partition: i32, epoch: LeaderEpoch, batch: Bytes) -> Result<Option<Durable>, ErrorCode>;

    /// What is to be waited for before a partition led here since `epoch` is read: that all in-sync replicas have what is
    /// in its log. A new leader may hold records that its predecessor could not replicate; whether they stay is not
    /// known before, and what is told out of them could go back. `None` when there is nothing to wait for.
    ///
    /// # Errors
    /// When the partition is not led here in that epoch.
    fn settled(&self, partition: i32, epoch: LeaderEpoch) -> Result<Option<Durable>, ErrorCode>;

    /// Log start and log end of a partition.
    ///
    /// # Errors
    /// When the partition is not here.
    fn bounds(&self, partition: i32) -> Result<Range<Offset>, ErrorCode>;

    /// The batches of a partition from the one that holds `from`, as they are in the log. Blocks.
    ///
    /// # Errors
    /// When the partition is not here; an item that is an error is the last one.
    fn batches(&self, partition: i32, from: Offset) -> Result<BatchIterator, ErrorCode>;
}

/// What a client is told when the log did not take its facts, or not in time: go on trying, here or elsewhere.
pub(crate) fn told_to_client(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::REQUEST_TIMED_OUT => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::KAFKA_STORAGE_ERROR => ErrorCode::NOT_COORDINATOR,
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE | ErrorCode::INVALID_FETCH_SIZE => {
            ErrorCode::UNKNOWN_SERVER_ERROR
        }
        other => other,
    }
}
