//! Unclean elections: where they are allowed, the log of who is elected becomes the truth, and nothing else is forgiven.
//!
//! The election is committed first; its leader hears of it later, and until then the old one may go on: what that
//! commits counts until the new leader begins, and is lost then unless the new one has it. From there on whoever still
//! goes by an epoch before the election's speaks of a history that is past.

use std::collections::BTreeSet;

use ottla_metadata::{Fact, Image, Partition};
use ottla_protocol::persisted::metadata::MetadataRecord;
use ottla_types::{LeaderEpoch, NodeId, Offset, TopicPartitionId};

use super::{Oracle, Violation, partition::History, wrong};
use crate::{
    broker::{OFFSETS_TOPIC, UNCLEAN_ELECTION},
    log::{Entry, Log},
};

/// What unclean elections have done to a partition.
#[derive(Default)]
pub(super) struct Unclean {
    /// The epoch of an election whose leader has not begun yet.
    awaited: Option<LeaderEpoch>,
    /// The epoch of the last one whose leader has.
    epoch: Option<LeaderEpoch>,
    /// Everything before this offset was never lost.
    forked: Option<Offset>,
    /// What was committed and is lost: offset, batch, index in it.
    lost: BTreeSet<(Offset, u64, Offset)>,
}

impl Unclean {
    /// Whether `epoch` is before the last unclean election.
    pub(super) fn is_past(&self, epoch: LeaderEpoch) -> bool {
        self.epoch.is_some_and(|last| epoch < last)
    }

    /// Whether there was one: producers may be unknown since.
    pub(super) fn happened(&self) -> bool {
        self.epoch.is_some()
    }

    pub(super) fn lose(&mut self, offset: Offset, entry: Entry) {
        self.lost.insert((offset, entry.content, entry.index));
    }

    pub(super) fn is_lost(&self, offset: Offset, content: u64, index: Offset) -> bool {
        self.lost.contains(&(offset, content, index))
    }
}

impl History {
    /// An unclean election was committed, and its leader has not begun: nobody needs to have anything.
    pub(super) fn awaits_unclean(&self) -> bool {
        self.unclean.awaited.is_some()
    }

    /// Everything before this offset is there for good.
    pub(super) fn stays(&self) -> Offset {
        self.tainted.min(self.unclean.forked.unwrap_or(Offset::MAX))
    }

    /// A leader begins: if it was elected uncleanly, its log is the truth now.
    pub(super) fn begin(&mut self, epoch: LeaderEpoch, log: &Log) {
        let Some(elected) = self.unclean.awaited.filter(|elected| *elected <= epoch) else { return };
        self.unclean.awaited = None;
        self.unclean.epoch = Some(elected);
        let kept =
            (0..).zip(&self.committed).take_while(|(at, (entry, _))| log.entry(*at) == Some(*entry)).count();
        let fork = Offset::try_from(kept).expect("few");
        for (offset, (entry, _)) in (fork..).zip(self.committed.split_off(kept)) {
            self.unclean.lose(offset, entry);
        }
        self.unclean.forked = Some(self.unclean.forked.unwrap_or(Offset::MAX).min(fork));
        self.come_back(fork, elected, log);
        self.producers.clear();
        let end = Offset::try_from(self.committed.len()).expect("few");
        for batch in log.read(0, end, usize::MAX) {
            if batch.facts.producer_id >= 0 {
                self.producers.insert(batch.facts.producer_id, batch.facts.last_sequence + 1);
            }
        }
    }
}

impl History {
    /// What an earlier unclean election lost, and who is elected now still has, is committed again: its high watermark
    /// may be behind it from the start.
    fn come_back(&mut self, from: Offset, elected: LeaderEpoch, log: &Log) {
        for offset in from.. {
            let Some(entry) = log.entry(offset) else { break };
            if !self.unclean.lost.remove(&(offset, entry.content, entry.index)) {
                break;
            }
            self.committed.push((entry, elected));
        }
    }
}

impl Oracle {
    /// Leaders that were elected from outside of the in-sync set.
    pub(super) fn check_unclean(
        &mut self,
        before: &Image,
        tps: &[TopicPartitionId],
    ) -> Result<(), Violation> {
        for tp in tps {
            let (Some(old), Some(after)) = (
                before.partition_by_id(tp.topic, tp.partition),
                self.image.partition_by_id(tp.topic, tp.partition),
            ) else {
                continue;
            };
            let new_leader = after.has_leader() && after.leader_epoch != old.leader_epoch;
            let new_member = after.isr.iter().any(|member| !old.is_in_sync(*member));
            if !(new_leader || new_member) || is_clean(old, after) {
                continue;
            }
            let topic = self.image.topic_by_id(tp.topic).expect("its partition is there");
            let allowed =
                before.configs.topic_value(&topic.name, UNCLEAN_ELECTION).is_some_and(|it| &**it == "true")
                    || self.unclean_asked.contains(&topic.name);
            // When nobody is eligible any more, who led last is as good as anybody (KIP-966).
            if !allowed && old.last_known_elr != [after.leader] {
                return wrong("unclean-only-where-allowed", format!("{tp:?}: from {old:?} to {after:?}"));
            }
            self.groups.tainted |= &*topic.name == OFFSETS_TOPIC;
            self.partitions.entry(*tp).or_default().unclean.awaited = Some(after.leader_epoch);
        }
        Ok(())
    }
}

/// Whether a decision leaves a partition without anybody who must have its records, and not because the last of them came
/// back from an unclean end, or left the cluster.
pub(super) fn abandons(old: &Partition, after: &Partition, facts: &[Fact]) -> bool {
    let eligible = |it: &Partition| it.isr.iter().chain(&it.elr).copied().collect::<BTreeSet<_>>();
    let came_or_went = |node: &NodeId| {
        facts.iter().any(|fact| match fact.record() {
            Some(MetadataRecord::RegisterBroker(record)) => record.broker_id == *node,
            Some(MetadataRecord::UnregisterBroker(record)) => record.broker_id == *node,
            _ => false,
        })
    };
    eligible(after).is_empty() && !eligible(old).iter().all(came_or_went)
}

/// A reassignment is taken back when only who was being added is in sync: the first of the replicas before stands for all
/// of them, fit or not, as Kafka has it.
pub(super) fn is_reverted_uncleanly(old: &Partition, after: &Partition) -> bool {
    let is_moving = |it: &Partition| !it.adding_replicas.is_empty() || !it.removing_replicas.is_empty();
    is_moving(old) && !is_moving(after) && !after.isr.iter().any(|member| old.is_in_sync(*member))
}

/// Who leads was in sync or eligible, or others that were are so still: then it has just joined them.
fn is_clean(old: &Partition, after: &Partition) -> bool {
    old.elr.contains(&after.leader) || after.isr.iter().any(|member| old.is_in_sync(*member))
}
