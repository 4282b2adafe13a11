//! The rules every record is held against.

use super::{
    ProduceRules,
    refusal::{RecordErrors, Refusal},
};
use crate::{
    batch::Batch,
    compression::Codec,
    header::{NO_TIMESTAMP, TimestampType},
    records::Entries,
};

/// The largest timestamp of a batch, and the first record that has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latest {
    pub(super) timestamp: i64,
    /// Counted from 0 within the batch.
    pub(super) index: i32,
}

/// The rules, ready for one batch, and what they found.
#[derive(Debug)]
pub(super) struct Checker<'r> {
    rules: &'r ProduceRules<'r>,
    /// Timestamps that are allowed where the producer's are kept.
    earliest: i64,
    latest_allowed: i64,
    /// Whether the topic keeps the producer's timestamps.
    create_time: bool,
    /// Whether the batch claims to have been stamped by a broker.
    claims_append_time: bool,
    pub(super) latest: Latest,
    pub(super) errors: RecordErrors,
}

impl<'r> Checker<'r> {
    pub(super) fn new(batch: &Batch, rules: &'r ProduceRules<'r>) -> Self {
        let create_time = rules.timestamp_type == TimestampType::CreateTime;
        let now = rules.now;
        Self {
            rules,
            earliest: now.0.saturating_sub(rules.timestamp_before_max_ms),
            latest_allowed: now.plus(rules.timestamp_after_max_ms).0,
            create_time,
            claims_append_time: batch.header.timestamp_type() == TimestampType::LogAppendTime,
            latest: Latest { timestamp: NO_TIMESTAMP, index: 0 },
            errors: RecordErrors::new(batch.bytes.len()),
        }
    }

    /// Holds one record against the rules. A record without a key on a compacted topic is not looked at further.
    #[inline]
    pub(super) fn record(&mut self, index: i32, timestamp: i64, has_key: bool) {
        let timed = self.create_time && timestamp != NO_TIMESTAMP;
        if self.rules.compacted && !has_key {
            self.no_key(index);
        } else if timed && !(self.earliest..=self.latest_allowed).contains(&timestamp) {
            self.out_of_range(index, timestamp);
        } else if self.claims_append_time && !timed {
            self.claimed(index);
        } else if timestamp > self.latest.timestamp {
            self.latest = Latest { timestamp, index };
        }
    }

    #[cold]
    fn no_key(&mut self, index: i32) {
        let partition = self.rules.partition;
        self.errors.add(index, || format!("{partition} is compacted and takes no record without a key"));
    }

    #[cold]
    fn out_of_range(&mut self, index: i32, timestamp: i64) {
        let (from, to) = (self.earliest, self.latest_allowed);
        self.errors.timestamp(index, || format!("the timestamp {timestamp} is not within {from} to {to}"));
    }

    /// Such a batch is let through only where its time is checked like any producer's.
    #[cold]
    fn claimed(&mut self, index: i32) {
        self.errors
            .timestamp(index, || "a producer does not set the timestamp type LogAppendTime".to_owned());
    }
}

/// Walks over the records of a batch that stays as it is.
pub(super) fn check(batch: &Batch, source: Codec, rules: &ProduceRules<'_>) -> Result<Latest, Refusal> {
    let mut checker = Checker::new(batch, rules);
    let mut misplaced = None;
    let walked = Entries::new(batch, rules.max_uncompressed_bytes).and_then(|entries| {
        entries.for_each(|index, entry| {
            if entry.offset_delta != index && misplaced.is_none() {
                misplaced = Some((index, entry.offset_delta));
            }
            checker.record(index, entry.timestamp, entry.has_key);
        })
    });
    walked.map_err(|error| Refusal::of_batch(&error))?;
    checker.errors.into_result()?;
    match misplaced {
        Some((index, delta)) if source != Codec::None => Err(misplaced_record(index, delta)),
        _ => Ok(checker.latest),
    }
}

fn misplaced_record(index: i32, delta: i32) -> Refusal {
    let message = format!("record {index} of a compressed batch has the offset delta {delta}");
    Refusal::new(ottla_types::ErrorCode::UNKNOWN_SERVER_ERROR, message)
}
