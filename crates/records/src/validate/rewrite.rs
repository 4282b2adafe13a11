//! The same records under the topic's own codec (`compression.type` other than `producer`).
//!
//! As in Kafka the records are written anew: offset deltas count up, the base timestamp is the first record's,
//! attributes that mean nothing go. Producer fields and the transactional bit stay.

use bytes::Bytes;

use super::{ProduceRules, Validated, records::Checker, refusal::Refusal, validated, written_timestamp};
use crate::{
    batch::Batch,
    builder::{self, RecordFields},
    compression::{Codec, Encoder},
    error::BatchError,
    header::BatchHeader,
    records::Records,
};

/// A single record is held while it is written anew; this much of it, or four times what the topic allows.
const RECORD_LIMIT: usize = 16 << 20;

pub(super) fn rewrite(
    batch: &Batch,
    target: Codec,
    level: Option<i32>,
    rules: &ProduceRules<'_>,
) -> Result<Validated, Refusal> {
    let mut checker = Checker::new(batch, rules);
    let (base_timestamp, bytes) =
        reencode(batch, target, level, rules, &mut checker).map_err(|error| Refusal::of_batch(&error))?;
    checker.errors.into_result()?;
    let limit = rules.max_message_bytes;
    let mut bytes = bytes.filter(|bytes| bytes.len() <= limit).ok_or_else(|| {
        let message =
            format!("the batch is larger than the topic allows ({limit} bytes) once written as {target}");
        Refusal::new(ottla_types::ErrorCode::MESSAGE_TOO_LARGE, message)
    })?;
    let (kind, max_timestamp) = written_timestamp(checker.latest.timestamp, rules);
    let mut header = BatchHeader {
        attributes: BatchHeader::attributes_of(target, kind, batch.header.is_transactional(), false),
        base_timestamp,
        max_timestamp,
        ..batch.header
    };
    builder::seal(&mut header, &mut bytes);
    let batch = Batch { header, bytes: Bytes::from(bytes) };
    Ok(validated(batch, checker.latest, rules, true))
}

/// Checks every record and writes it anew behind room for a header. Gives the base timestamp and the bytes; no bytes
/// when they grew beyond the topic's limit, or when a record was at fault, though the walk went on for the codes.
fn reencode(
    batch: &Batch,
    target: Codec,
    level: Option<i32>,
    rules: &ProduceRules<'_>,
    checker: &mut Checker<'_>,
) -> Result<(i64, Option<Vec<u8>>), BatchError> {
    let limit = RECORD_LIMIT.max(rules.max_message_bytes.saturating_mul(4));
    let mut records = Records::bounded(batch, limit, rules.max_uncompressed_bytes)?;
    let mut encoder = Some(Encoder::new(target, level, vec![0; BatchHeader::LEN]));
    let mut scratch = Vec::new();
    let mut base_timestamp = None;
    let mut index = 0;
    while let Some(record) = records.try_next()? {
        checker.record(index, record.timestamp, record.key.is_some());
        let base = *base_timestamp.get_or_insert(record.timestamp);
        encoder = encoder.filter(|e| checker.errors.is_empty() && e.written() <= rules.max_message_bytes);
        if let Some(encoder) = &mut encoder {
            scratch.clear();
            RecordFields {
                timestamp_delta: record.timestamp.wrapping_sub(base),
                offset_delta: index,
                key: record.key,
                value: record.value,
            }
            .write(record.headers, &mut scratch);
            encoder.write(&scratch);
        }
        index += 1;
    }
    Ok((base_timestamp.unwrap_or(crate::NO_TIMESTAMP), encoder.map(Encoder::finish)))
}
