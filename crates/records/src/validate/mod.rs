//! Whether a batch may be appended, and as what: the rules of Kafka's log validation for format 2.
//!
//! The order of the checks is Kafka's, because the first that fails decides the code; every code below was answered
//! by a Kafka 4.4.0 that was sent such a batch:
//!
//! | check | code |
//! |---|---|
//! | the first batch's length field and magic ([`request_fault`]: Kafka fails the whole request) | 2, or -1 |
//! | there is a whole batch | 87 |
//! | it is of format 2 | 87 |
//! | zstd only from Produce 7 on | 76 |
//! | no second batch (what cannot be told to be one is cut off) | 87 |
//! | base offset 0 | 87 |
//! | size within `max.message.bytes` | 10 |
//! | size of a header at least, checksum | 2 |
//! | codec exists | -1 |
//! | last offset and count agree, count above 0 | 87 |
//! | no control batch | 87 |
//! | a producer id has a sequence | 87 |
//! | payload decompresses | -1 |
//! | every record parses, as many as announced, nothing behind them | 87 |
//! | offsets inside a compressed batch count up from 0 | -1 |
//! | keys on a compacted topic (per record, KIP-467) | 87 |
//! | timestamps within the topic's limits (per record) | 32 |
//! | size after recompression | 10 |
//!
//! Where Kafka answers -1 it has met an exception of its own; the code is kept, the message says what is wrong.
//! Two things are judged more strictly than Kafka does, because no consumer can read such a batch: a record's length
//! field must fit its fields in compressed batches too, and a payload may only decompress to
//! [`ProduceRules::max_uncompressed_bytes`] (10, on which a producer splits its batch). One thing is not:
//! uncompressed records may carry any offset deltas, as in Kafka. Where Kafka trips over input that harms nobody (a
//! batch to be recompressed with timestamps before 1970, or with a producer epoch but no producer id) it is taken; a
//! batch shorter than its header is always code 2, a record that does not parse always 87, though Kafka sometimes
//! meets an exception first and answers -1.

mod header;
mod records;
mod refusal;
mod rewrite;
mod split;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use ottla_types::{Millis, TopicPartition};

use crate::{
    batch::Batch,
    compression::Codec,
    header::{BatchHeader, TimestampType},
    stamp::{self, Stamped},
};

pub use refusal::Refusal;
pub use split::{is_transactional, request_fault};

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
/// The payload is read once for the checksum and once for the records; it is copied only to be recompressed.
///
/// # Errors
/// The refusal, with the code of the first check that fails in Kafka's order.
pub fn check_produce(records: &Bytes, rules: &ProduceRules<'_>) -> Result<Validated, Refusal> {
    let batch = split::only_batch(records, rules)?;
    let source = batch.compression().map_err(|error| Refusal::of_batch(&error))?;
    if rules.origin == Origin::Client {
        header::check(&batch.header)?;
    }
    match rules.compression {
        // A control batch stays as it is: nobody would look for a codec in one.
        TargetCompression::Codec(target, level) if target != source && !batch.header.is_control() => {
            rewrite::rewrite(&batch, target, level, rules)
        }
        _ => in_place(batch, source, rules),
    }
}

/// The batch as it came, but for what the broker sets in its header.
fn in_place(mut batch: Batch, source: Codec, rules: &ProduceRules<'_>) -> Result<Validated, Refusal> {
    let latest = records::check(&batch, source, rules)?;
    let (kind, max_timestamp) = written_timestamp(latest.timestamp, rules);
    let mut header = batch.header;
    if header.timestamp_type() != kind || header.max_timestamp != max_timestamp {
        stamp::set_timestamps(&mut header, kind, max_timestamp, batch.payload());
        batch.header = header;
    }
    Ok(validated(batch, latest, rules, false))
}

/// Timestamp type and maximum that the header gets, given the largest timestamp of the records.
fn written_timestamp(latest: i64, rules: &ProduceRules<'_>) -> (TimestampType, i64) {
    match rules.timestamp_type {
        TimestampType::CreateTime => (TimestampType::CreateTime, latest),
        TimestampType::LogAppendTime => (TimestampType::LogAppendTime, rules.now.0),
    }
}

fn validated(
    batch: Batch,
    latest: records::Latest,
    rules: &ProduceRules<'_>,
    recompressed: bool,
) -> Validated {
    let appended = rules.timestamp_type == TimestampType::LogAppendTime;
    Validated {
        max_timestamp: batch.header.max_timestamp,
        offset_of_max_timestamp: if appended { 0 } else { latest.index },
        log_append_time: if appended { rules.now.0 } else { crate::NO_TIMESTAMP },
        batch,
        recompressed,
    }
}
