//! Whether a batch may be appended, and as what.

use bytes::Bytes;
use ottla_types::{ErrorCode, Millis, TopicPartition};

use crate::{
    batch::Batch,
    compression::Codec,
    header::{BatchHeader, TimestampType},
    stamp::Stamped,
};

/// Who appends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A producer: everything is checked.
    #[default]
    Client,
    /// A coordinator of this broker, through the same path: control batches allowed, offsets and counts trusted.
    Coordinator,
}

/// What the topic's `compression.type` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetCompression {
    /// `producer`: as the batch came.
    #[default]
    Producer,
    /// Any other value: this codec (`uncompressed` is [`Codec::None`]), at a level of its own scale (KIP-390).
    Codec(Codec, Option<i32>),
}

/// What a batch is checked against.
#[derive(Clone, Copy, Debug)]
pub struct ProduceRules<'a> {
    /// For messages.
    pub partition: &'a TopicPartition,
    /// Version of the Produce request.
    pub version: i16,
    /// Who appends.
    pub origin: Origin,
    /// The topic's `max.message.bytes`: largest batch, header included.
    pub max_message_bytes: usize,
    /// Whether `cleanup.policy` has `compact`: then every record needs a key.
    pub compacted: bool,
    /// The topic's `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// The topic's `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// The topic's `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// The topic's `compression.type` and level.
    pub compression: TargetCompression,
    /// The wall clock.
    pub now: Millis,
    /// Most bytes a compressed payload may decompress to: what a bomb costs in time.
    pub max_uncompressed_bytes: u64,
}

impl<'a> ProduceRules<'a> {
    /// Kafka's defaults for a topic.
    #[must_use]
    pub fn new(partition: &'a TopicPartition, version: i16, now: Millis) -> Self {
        Self {
            partition,
            version,
            origin: Origin::Client,
            max_message_bytes: 1_048_588,
            compacted: false,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compression: TargetCompression::Producer,
            now,
            max_uncompressed_bytes: 1 << 30,
        }
    }
}

/// Why a batch is not appended: what goes into the partition's part of the Produce response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The partition's error code.
    pub code: ErrorCode,
    /// The partition's `error_message` (version 8 on).
    pub message: String,
    /// The records at fault, as (index in the batch, message) (KIP-467); empty when the batch as a whole is.
    pub record_errors: Vec<(i32, Option<String>)>,
}

/// A batch that may be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The batch. Its `header` is what is to be written but for base offset and leader epoch; [`Batch::stamp`] adds
    /// those. Shares the request's bytes unless `recompressed`.
    pub batch: Batch,
    /// Largest timestamp of the records, or the append time; -1 without any.
    pub max_timestamp: i64,
    /// Offset of the first record that has it, counted from the batch's base offset.
    pub offset_of_max_timestamp: i32,
    /// What the response's `log_append_time_ms` says: -1 for CreateTime.
    pub log_append_time: i64,
    /// Whether the payload was written anew with the topic's codec.
    pub recompressed: bool,
}

impl Validated {
    /// The batch at its place in the log.
    #[must_use]
    pub fn stamp(&self, base_offset: i64, leader_epoch: i32) -> Stamped {
        self.batch.stamp(base_offset, leader_epoch)
    }

    /// The header to be written, but for base offset and leader epoch.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.batch.header
    }
}

/// Decides whether the `records` of one partition of a Produce request may be appended.
///
/// # Errors
/// The refusal, with the code of the first check that fails in Kafka's order.
pub fn check_produce(records: &Bytes, rules: &ProduceRules<'_>) -> Result<Validated, Refusal> {
    let _ = (records, rules);
    todo!()
}
