//! ListOffsets: offsets by time and by place.

use std::sync::Arc;

use ottla_partition::LeaderEpochs;
use ottla_storage::{Fault, LogReader, TimestampHit};
use ottla_types::{ErrorCode, LeaderEpoch, Offset};

use crate::{ReadAs, Replica, ReplicaManager};

/// Up to where records count for a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// The high watermark.
    Uncommitted,
    /// The last stable offset.
    Committed,
    /// The log end: what replicas and tools see.
    Replica,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The offset that consumers will read next at the end (-1).
    Latest,
    /// The first offset there is (-2), here (-4) or anywhere: there is no other tier.
    Earliest,
    /// The first record with the greatest timestamp (-3, KIP-734).
    MaxTimestamp,
    /// The last offset in remote storage (-5) or the first not yet there (-6): there is no remote storage.
    Tiered,
    /// The first record not older than this, in ms.
    At(i64),
}

/// What was found; -1 in all fields for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: Offset,
    /// The record's timestamp; -1 when the query was for a place.
    pub timestamp: i64,
    /// The epoch of the record, or of the log's end.
    pub leader_epoch: LeaderEpoch,
}

impl FoundOffset {
    /// Nothing.
    pub const NONE: Self = Self { offset: -1, timestamp: -1, leader_epoch: -1 };
}

impl ReplicaManager {
    /// Answers one partition of a ListOffsets request.
    ///
    /// # Errors
    /// Kafka's code: 6, 56, 74, 75, 78 (a new leader that does not know its high watermark yet).
    pub fn list_offset(
        &self,
        replica: &Arc<Replica>,
        query: OffsetQuery,
        isolation: Isolation,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<FoundOffset, ErrorCode> {
        let view = replica.view();
        // Unlike Fetch, ListOffsets has no value but -1 that stands for "none".
        if current_leader_epoch < -1 {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        Replica::check_epoch(&view, current_leader_epoch)?;
        if !view.is_leader {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if replica.place().dir.is_offline() {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        let end = match isolation {
            Isolation::Uncommitted => ReadAs::Uncommitted.bound(&view),
            Isolation::Committed => ReadAs::Committed.bound(&view),
            Isolation::Replica => view.log_end,
        };
        let unsettled = view.high_watermark < view.epoch_start && isolation != Isolation::Replica;
        let found = match query {
            OffsetQuery::Latest if unsettled => return Err(ErrorCode::OFFSET_NOT_AVAILABLE),
            OffsetQuery::Latest => {
                Some(FoundOffset { offset: end, timestamp: -1, leader_epoch: view.leader_epoch })
            }
            OffsetQuery::Earliest => {
                let leader_epoch =
                    LeaderEpochs::new(replica.place().reader.epochs()).epoch_of(view.log_start);
                let leader_epoch = leader_epoch.unwrap_or(view.leader_epoch);
                Some(FoundOffset { offset: view.log_start, timestamp: -1, leader_epoch })
            }
            OffsetQuery::Tiered => None,
            OffsetQuery::MaxTimestamp | OffsetQuery::At(_) => {
                let found = match query {
                    OffsetQuery::At(timestamp) => hit(replica, |log| log.find_by_timestamp(timestamp))?,
                    _ => hit(replica, |log| log.max_timestamp())?,
                };
                // What may still be lost is not told.
                match found.filter(|found| found.offset < end) {
                    None if unsettled => return Err(ErrorCode::OFFSET_NOT_AVAILABLE),
                    found => found,
                }
            }
        };
        Ok(found.unwrap_or(FoundOffset::NONE))
    }
}

fn hit(
    replica: &Replica,
    find: impl Fn(&LogReader) -> Result<Option<TimestampHit>, Fault>,
) -> Result<Option<FoundOffset>, ErrorCode> {
    let found = replica.ask_log(|log| Ok(find(log)?))?;
    Ok(found.map(|found| FoundOffset {
        offset: found.offset,
        timestamp: found.timestamp,
        leader_epoch: found.leader_epoch,
    }))
}
