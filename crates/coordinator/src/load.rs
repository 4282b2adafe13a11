//! Reads a partition of `__consumer_offsets` back into a core.

use std::sync::Arc;

use ottla_groups::{Groups, GroupsConfig, Record};
use ottla_records::Batch;
use ottla_types::ErrorCode;

use crate::OffsetsLog;

/// All that the partition says. Blocks. `keep_on` is asked between batches: when it says no, leadership has gone.
pub(crate) fn load(
    log: &dyn OffsetsLog,
    partition: i32,
    config: Arc<GroupsConfig>,
    keep_on: impl Fn() -> bool,
) -> Result<Groups, ErrorCode> {
    let mut groups = Groups::new(config);
    let bounds = log.bounds(partition)?;
    for batch in log.batches(partition, bounds.start)? {
        let batch = batch?;
        if batch.header.base_offset >= bounds.end || !keep_on() {
            break;
        }
        replay(&mut groups, &batch).map_err(|error| {
            let offset = batch.header.base_offset;
            tracing::error!(partition, offset, %error, "__consumer_offsets cannot be read back");
            ErrorCode::KAFKA_STORAGE_ERROR
        })?;
    }
    Ok(groups)
}

fn replay(groups: &mut Groups, batch: &Batch) -> Result<(), ottla_records::BatchError> {
    let transactional = batch.header.is_transactional().then_some(batch.header.producer_id);
    let mut records = batch.records()?;
    while let Some(record) = records.try_next()? {
        if batch.header.is_control() {
            if let Some(committed) = record.key.and_then(end_of_transaction) {
                groups.replay_marker(batch.header.producer_id, committed);
            }
            continue;
        }
        match Record::decode(record.key.unwrap_or_default(), record.value) {
            Ok(Some(fact)) => match transactional {
                Some(producer) => groups.replay_transactional(producer, fact),
                None => groups.replay(fact),
            },
            // Of a kind of group that this broker does not have.
            Ok(None) => {}
            Err(error) => {
                tracing::error!(offset = record.offset, %error, "a record of __consumer_offsets is skipped")
            }
        }
    }
    Ok(())
}

/// Whether a control record's key ends a transaction, and how: version (i16), type (i16: 0 aborts, 1 commits).
fn end_of_transaction(key: &[u8]) -> Option<bool> {
    match key.get(2..4)? {
        [0, 0] => Some(false),
        [0, 1] => Some(true),
        _ => None,
    }
}
