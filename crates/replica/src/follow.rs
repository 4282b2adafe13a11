//! What a follower does with what its leader says: append whole batches as they are, cut back, start over.

use std::sync::Arc;

use bytes::Bytes;
use ottla_partition::{BatchFacts, Effects, Event, Role};
use ottla_records::{BatchError, Stamped, batches_lenient};
use ottla_storage::Fault;
use ottla_types::{LeaderEpoch, NodeId, Offset};
use smallvec::SmallVec;

use crate::{
    FrameRef, Replica, ReplicaManager, append::transaction_end, fetcher::core::Position, replica::Owned,
};

/// Whom a replica follows, and since which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaderRef {
    /// The leader.
    pub(crate) node: NodeId,
    /// Its epoch.
    pub(crate) epoch: LeaderEpoch,
}

/// Records of a leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FromLeader<'a> {
    /// Who sent them.
    pub(crate) leader: LeaderRef,
    /// The offset that was asked for: where our log ended.
    pub(crate) offset: Offset,
    /// Batches, the last one perhaps cut off. A slice of the frame.
    pub(crate) records: &'a Bytes,
    /// The leader's high watermark.
    pub(crate) high_watermark: Offset,
    /// The leader's log start.
    pub(crate) log_start: Offset,
    /// The frame.
    pub(crate) frame: &'a FrameRef,
}

/// Why a replica did not follow.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// It follows somebody else by now, or its log ends elsewhere: the answer is out of date.
    #[error("the answer is out of date")]
    OutOfDate,
    /// What the leader sent cannot be appended.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The log dir failed.
    #[error("the log dir is offline")]
    Offline,
    /// Not now; the log is as it was, or has a part of what came.
    #[error("{0}")]
    Fault(#[from] Fault),
}

/// What is wrong with records that a leader sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// They are no batches, or damaged.
    #[error("a batch at byte {at} of the answer is damaged: {error}")]
    Batch {
        /// Where it starts.
        at: usize,
        /// What is wrong.
        error: BatchError,
    },
    /// Offsets do not grow.
    #[error("a batch with the offsets {base} to {last} comes where {expected} is the least that can come")]
    Offsets {
        /// Its first.
        base: Offset,
        /// Its last.
        last: Offset,
        /// What was expected.
        expected: Offset,
    },
}

type Batches = SmallVec<[(Stamped, BatchFacts, Option<ottla_partition::TransactionEnd>); 4]>;

/// Takes apart what a leader of `epoch` sent. Batches of a later epoch, and what follows them, are left: they are of a
/// leader that we have not heard of yet.
fn parse(records: &Bytes, epoch: LeaderEpoch) -> Result<Batches, Refusal> {
    let mut parsed = Batches::new();
    let mut expected = None;
    let mut at = 0;
    for batch in batches_lenient(records.clone()) {
        let batch = batch.map_err(|error| Refusal::Batch { at, error })?;
        batch.verify_crc().map_err(|error| Refusal::Batch { at, error })?;
        batch.compression().map_err(|error| Refusal::Batch { at, error })?;
        at += batch.bytes.len();
        let header = &batch.header;
        let (base, last) = (header.base_offset, header.last_offset());
        let least = expected.unwrap_or(0);
        if base < least || header.last_offset_delta < 0 || last == Offset::MAX {
            return Err(Refusal::Offsets { base, last, expected: least });
        }
        if header.partition_leader_epoch > epoch {
            break;
        }
        expected = Some(last + 1);
        let end = if header.is_control() { transaction_end(&batch) } else { None };
        parsed.push((batch.stamped(), BatchFacts::from(header), end));
    }
    Ok(parsed)
}

impl Replica {
    /// How far it is.
    pub(crate) fn position(&self) -> Position {
        self.with(|owned| position(owned))
    }

    /// Its log dir failed.
    pub(crate) fn is_offline(&self) -> bool {
        self.place().dir.is_offline()
    }
}

fn position(owned: &Owned) -> Position {
    let partition = &owned.partition;
    Position {
        log_start: partition.log_start(),
        log_end: partition.log_end(),
        last_epoch: partition.epochs().latest().map_or(-1, |(epoch, _)| epoch),
    }
}

fn follows(owned: &Owned, leader: LeaderRef) -> bool {
    owned.log.is_some()
        && owned.partition.role() == Role::Follower { leader: leader.node, leader_epoch: leader.epoch }
}

impl ReplicaManager {
    /// Appends what the leader sent: whole batches as they are, in one write. Takes over its high watermark and log
    /// start. Gives how far the log is then.
    pub(crate) fn append_as_follower(
        &self,
        replica: &Arc<Replica>,
        sent: &FromLeader<'_>,
    ) -> Result<Position, FollowError> {
        let parsed = parse(sent.records, sent.leader.epoch)?;
        if replica.place().dir.is_offline() {
            return Err(FollowError::Offline);
        }
        let (now, wall) = (self.clock.ticks(), self.clock.wall());
        let (result, woken, bytes) = replica.with(|owned| {
            if !follows(owned, sent.leader) || owned.partition.log_end() != sent.offset {
                return Err(FollowError::OutOfDate);
            }
            let mut effects = Effects::default();
            let written = write(replica, owned, &parsed, sent, &mut effects);
            // A part may be in the log although the rest could not be written.
            let end = owned.log.as_ref().map_or(0, ottla_storage::Log::log_end);
            let (mut bytes, before) = (0, owned.partition.log_end());
            for (stamped, facts, transaction_end) in &parsed {
                if facts.base_offset >= before && facts.last_offset < end {
                    bytes += stamped.size_in_bytes();
                    let epoch = stamped.header.partition_leader_epoch;
                    owned.partition.replicated(wall, facts, epoch, *transaction_end, &mut effects);
                }
            }
            owned.unseen_bytes += bytes;
            owned.unsent_bytes += bytes;
            if written.is_ok() {
                let (high_watermark, log_start) = (sent.high_watermark, sent.log_start);
                owned.partition.on(now, Event::LeaderSaid { high_watermark, log_start }, &mut effects);
                // Moving the start is all that this can ask for.
                replica.perform(owned, &mut effects);
            }
            let woken = replica.publish(owned, &effects);
            if bytes > 0 {
                let settings = replica.settings.load();
                self.flush_if_due(replica, owned, &settings, owned.partition.log_end() - before, now);
            }
            Ok((written.map(|()| position(owned)), woken, bytes))
        })?;
        replica.wake(woken);
        self.upkeep.appended(bytes, &self.options);
        result
    }

    /// Cuts back or starts over, as the leader's answer (`Diverged`, `OutOfRange`) asks for.
    pub(crate) fn correct(
        &self,
        replica: &Arc<Replica>,
        leader: LeaderRef,
        event: Event,
    ) -> Result<Position, FollowError> {
        if replica.place().dir.is_offline() {
            return Err(FollowError::Offline);
        }
        let now = self.clock.ticks();
        let (position, woken) = replica.with(|owned| {
            if !follows(owned, leader) {
                return Err(FollowError::OutOfDate);
            }
            let mut effects = Effects::default();
            owned.partition.on(now, event, &mut effects);
            replica.perform(owned, &mut effects);
            Ok((position(owned), replica.publish(owned, &effects)))
        })?;
        replica.wake(woken);
        if replica.place().dir.is_offline() { Err(FollowError::Offline) } else { Ok(position) }
    }
}

fn write(
    replica: &Replica,
    owned: &mut Owned,
    parsed: &Batches,
    sent: &FromLeader<'_>,
    effects: &mut Effects,
) -> Result<(), FollowError> {
    let Some((first, ..)) = parsed.first() else { return Ok(()) };
    let (base, last, end) = (first.header.base_offset, first.header.last_offset(), owned.partition.log_end());
    if base < end {
        // The leader's log start may lie inside of a batch (DeleteRecords): an empty log takes it whole.
        let is_empty = owned.partition.log_start() == end;
        if !is_empty || last < end {
            return Err(Refusal::Offsets { base, last, expected: end }.into());
        }
        effects.start_over_at = Some(base);
        replica.perform(owned, effects);
        effects.start_over_at = None;
        if owned.partition.log_end() != base {
            // It could not be, for want of file descriptors most likely: it is asked for again.
            return Err(FollowError::OutOfDate);
        }
    }
    let log = owned.log.as_mut().ok_or(FollowError::OutOfDate)?;
    let stamped: SmallVec<[Stamped; 4]> = parsed.iter().map(|(stamped, ..)| stamped.clone()).collect();
    log.append_pinned(&stamped, &sent.frame.pin(&replica.place().dir)).map(drop).map_err(|fault| {
        replica.place().dir.fail(&fault);
        if replica.place().dir.is_offline() { FollowError::Offline } else { FollowError::Fault(fault) }
    })
}

#[cfg(test)]
mod tests {
    use ottla_records::{Batch, BatchBuilder};

    use super::*;

    fn batch(base: Offset, epoch: LeaderEpoch, records: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(0);
        for _ in 0..records {
            builder.append(1, None, Some(b"value"), &[]);
        }
        let built: Bytes = builder.build();
        Batch::parse(&built, 0).expect("built").stamp(base, epoch).to_bytes().to_vec()
    }

    fn bases(records: Vec<u8>, epoch: LeaderEpoch) -> Result<Vec<Offset>, Refusal> {
        parse(&records.into(), epoch)
            .map(|parsed| parsed.iter().map(|(_, facts, _)| facts.base_offset).collect())
    }

    #[test]
    fn batches_are_taken_as_they_are() {
        assert_eq!(bases(Vec::new(), 0), Ok(vec![]));
        assert_eq!(bases([batch(5, 1, 2), batch(9, 2, 1)].concat(), 2), Ok(vec![5, 9]), "gaps are kept");
        let torn = [batch(5, 1, 2), batch(7, 1, 1)[..70].to_vec()].concat();
        assert_eq!(bases(torn, 1), Ok(vec![5]), "a last batch that is cut off comes again");
        assert_eq!(bases([batch(5, 1, 2), batch(7, 3, 1)].concat(), 2), Ok(vec![5]), "of a later leader");
    }

    #[test]
    fn what_no_leader_sends_is_refused() {
        let mut damaged = batch(5, 1, 2);
        *damaged.last_mut().expect("not empty") ^= 1;
        assert!(matches!(bases(damaged, 1), Err(Refusal::Batch { at: 0, error: BatchError::Crc { .. } })));
        let back = [batch(5, 1, 2), batch(6, 1, 1)].concat();
        assert_eq!(bases(back, 1), Err(Refusal::Offsets { base: 6, last: 6, expected: 7 }));
        assert!(matches!(bases(batch(-1, 1, 1), 1), Err(Refusal::Offsets { .. })));
        assert!(matches!(bases(batch(i64::MAX - 1, 1, 3), 1), Err(Refusal::Offsets { .. })));
        let mut old = batch(5, 1, 1);
        old[16] = 1;
        assert!(matches!(bases(old, 1), Err(Refusal::Batch { error: BatchError::Magic(1), .. })));
        let mut shrunk = batch(5, 1, 1);
        shrunk[11] = 7;
        assert!(matches!(bases(shrunk, 1), Err(Refusal::Batch { error: BatchError::Length(_), .. })));
    }
}
