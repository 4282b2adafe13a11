//! Reads a partition of `__consumer_offsets` back into a core.

use std::{sync::Arc, time::Duration};

use ottla_groups::{Groups, GroupsConfig, Record};
use ottla_records::Batch;
use ottla_types::ErrorCode;

use crate::{OffsetsLog, shard::Shard, timer::Alarm};

/// How long to wait before a partition that could not be read is tried again: first, and twice as long each time up to
/// the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(16);

/// Reads a shard back until it works, or leadership goes. What stands in the way may pass without the cluster's metadata
/// changing, such as a lack of file descriptors, and nobody else can serve these groups meanwhile.
pub(crate) async fn bring_back(shard: Arc<Shard>, config: Arc<GroupsConfig>, alarm: Arc<Alarm>) {
    let mut wait = FIRST_RETRY;
    while !shard.is_closed() {
        let Err(error) = read_back(&shard, &config, &alarm).await else { return };
        if !shard.is_to_be_read_again() {
            return;
        }
        tracing::warn!(
            partition = shard.partition,
            error = error.name(),
            "groups could not be loaded from __consumer_offsets; trying again in {} s",
            wait.as_secs()
        );
        tokio::time::sleep(wait).await;
        wait = LAST_RETRY.min(wait * 2);
    }
}

/// Waits until what is in the log is certain to stay, and reads it on a thread that may block.
async fn read_back(
    shard: &Arc<Shard>,
    config: &Arc<GroupsConfig>,
    alarm: &Arc<Alarm>,
) -> Result<(), ErrorCode> {
    if let Some(settled) = shard.world.log.settled(shard.partition, shard.epoch())? {
        settled.await?;
    }
    let (shard, config, alarm) = (shard.clone(), config.clone(), alarm.clone());
    let read = move || {
        let groups = load(&*shard.world.log, shard.partition, config, || !shard.is_closed())?;
        tracing::info!(partition = shard.partition, groups = groups.len(), "loaded groups and offsets");
        shard.activate(groups);
        alarm.at(shard.deadline());
        Ok(())
    };
    tokio::task::spawn_blocking(read).await.unwrap_or(Err(ErrorCode::UNKNOWN_SERVER_ERROR))
}

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
