//! Partitions: one leader per epoch, what is committed stays, replicas agree, producers appear once and in order.

use std::collections::BTreeMap;

use ottla_metadata::{LeaderRecoveryState, Partition};
use ottla_types::{LeaderEpoch, NodeId, Offset, TopicPartitionId};

use super::{Disks, Oracle, Violation, unclean::Unclean, wrong};
use crate::{
    broker::OFFSETS_TOPIC,
    env::Addr,
    log::{Batch, Entry, Log},
};

/// What was ever committed to one partition.
pub(super) struct History {
    /// By offset; and in which leader's term it was committed.
    pub(super) committed: Vec<(Entry, LeaderEpoch)>,
    leaders: BTreeMap<LeaderEpoch, NodeId>,
    high_watermarks: BTreeMap<LeaderEpoch, Offset>,
    /// The sequence that follows, by producer id.
    pub(super) producers: BTreeMap<i64, i32>,
    /// From here on records were lost in a way that is allowed.
    pub(super) tainted: Offset,
    pub(super) unclean: Unclean,
}

impl Default for History {
    fn default() -> Self {
        Self {
            committed: Vec::new(),
            leaders: BTreeMap::new(),
            high_watermarks: BTreeMap::new(),
            producers: BTreeMap::new(),
            tainted: Offset::MAX,
            unclean: Unclean::default(),
        }
    }
}

/// The nodes that may be elected with what they have.
fn holders(partition: &Partition) -> Vec<NodeId> {
    let mut holders: Vec<NodeId> = partition.isr.iter().chain(&partition.elr).copied().collect();
    if holders.is_empty() {
        holders.clone_from(&partition.last_known_elr);
    }
    holders
}

fn at(offset: Offset) -> usize {
    usize::try_from(offset).expect("offsets are not negative")
}

impl History {
    pub(super) fn len(&self) -> usize {
        self.committed.len()
    }

    /// The end of what is asked about.
    fn end(&self) -> Offset {
        Offset::try_from(self.committed.len()).expect("few").min(self.tainted)
    }

    pub(super) fn led(
        &mut self,
        node: NodeId,
        tp: TopicPartitionId,
        epoch: LeaderEpoch,
        log: &Log,
    ) -> Result<(), Violation> {
        super::topics::has_its_own(node, tp, log)?;
        let first = *self.leaders.entry(epoch).or_insert(node);
        if first != node {
            return wrong(
                "one-leader-per-epoch",
                format!("{tp:?}: nodes {first} and {node} lead in epoch {epoch}"),
            );
        }
        self.begin(epoch, log);
        // A leader that hears late of its term need not have what later ones have committed.
        let due = |offset: &Offset| self.committed[at(*offset)].1 < epoch;
        let missing = (0..self.end())
            .filter(due)
            .find(|offset| log.entry(*offset) != Some(self.committed[at(*offset)].0));
        match missing {
            Some(offset) => {
                let (entry, term) = self.committed[at(offset)];
                let has = log.entry(offset);
                let what = format!(
                    "{tp:?}: node {node} leads in epoch {epoch} with {has:?} at {offset}; committed in epoch {term} is {entry:?}"
                );
                wrong("leader-has-all", what)
            }
            None => Ok(()),
        }
    }

    /// Whether a log has everything committed in this range. The offset that it lacks otherwise.
    pub(super) fn lacks(&self, log: Option<&Log>, from: Offset, to: Offset) -> Option<Offset> {
        (from..to.min(self.end()))
            .find(|offset| log.and_then(|log| log.entry(*offset)) != Some(self.committed[at(*offset)].0))
    }

    /// The first committed offset from `from` on that is in none of these logs.
    fn held_by_nobody(&self, from: Offset, logs: &[&Log]) -> Option<Offset> {
        (from..self.end()).find(|offset| {
            let entry = Some(self.committed[at(*offset)].0);
            !logs.iter().any(|log| log.entry(*offset) == entry)
        })
    }

    pub(super) fn acked(
        &mut self,
        from: Addr,
        tp: TopicPartitionId,
        (base, content, count): (Offset, u64, Offset),
    ) -> Result<(), Violation> {
        for index in 0..count {
            let offset = base + index;
            if offset >= self.tainted {
                return Ok(());
            }
            let entry = self.committed.get(at(offset)).map(|(entry, _)| (entry.content, entry.index));
            if entry != Some((content, index)) && !self.unclean.is_lost(offset, content, index) {
                let what = format!(
                    "{tp:?}: node {from} acknowledged batch {content} at {offset}; committed is {entry:?}"
                );
                return wrong("acknowledged-is-committed", what);
            }
        }
        Ok(())
    }

    pub(super) fn consumed(
        &mut self,
        tp: TopicPartitionId,
        from: Offset,
        batches: &[Batch],
    ) -> Result<(), Violation> {
        let mut next = from;
        for batch in batches {
            let base = batch.facts.base_offset;
            if base > next && base < self.tainted {
                return wrong(
                    "consumed-is-committed",
                    format!("{tp:?}: a consumer at {next} was given {base}"),
                );
            }
            for offset in base..=batch.facts.last_offset {
                let entry =
                    Entry { leader_epoch: batch.leader_epoch, content: batch.content, index: offset - base };
                let committed = self.committed.get(at(offset)).map(|(entry, _)| *entry);
                let lost = self.unclean.is_lost(offset, entry.content, entry.index);
                if offset < self.tainted && committed != Some(entry) && !lost {
                    let what =
                        format!("{tp:?}: a consumer read {entry:?} at {offset}; committed is {committed:?}");
                    return wrong("consumed-is-committed", what);
                }
            }
            next = batch.facts.last_offset + 1;
        }
        Ok(())
    }

    /// Batches that a leader's high watermark has passed for the first time.
    fn commit(&mut self, tp: TopicPartitionId, epoch: LeaderEpoch, batch: &Batch) -> Result<(), Violation> {
        let facts = &batch.facts;
        if batch.tp != tp {
            let what = format!("{tp:?}: batch {} is committed, made for {:?}", batch.content, batch.tp);
            return wrong("records-stay-in-their-topic", what);
        }
        for offset in facts.base_offset..=facts.last_offset {
            let index = offset - facts.base_offset;
            self.committed
                .push((Entry { leader_epoch: batch.leader_epoch, content: batch.content, index }, epoch));
        }
        if facts.producer_id < 0 || self.tainted < Offset::MAX {
            return Ok(());
        }
        // Of a producer that a leader does not know it takes whatever sequence comes first.
        let first = if self.unclean.happened() { facts.first_sequence } else { 0 };
        let next = self.producers.entry(facts.producer_id).or_insert(first);
        if *next != facts.first_sequence {
            let what = format!(
                "{tp:?}: producer {} has sequence {} at offset {}, {next} was next",
                facts.producer_id, facts.first_sequence, facts.base_offset
            );
            return wrong("once-and-in-order", what);
        }
        *next = facts.last_sequence + 1;
        Ok(())
    }

    fn is_monotone(
        &mut self,
        tp: TopicPartitionId,
        epoch: LeaderEpoch,
        (from, to): (Offset, Offset),
    ) -> Result<(), Violation> {
        let highest = self.high_watermarks.entry(epoch).or_insert(to);
        if to < *highest && to < self.tainted {
            let what = format!("{tp:?}: in epoch {epoch} it was {highest} and goes from {from} to {to}");
            return wrong("high-watermark-monotone", what);
        }
        *highest = to.max(*highest);
        Ok(())
    }
}

impl Oracle {
    /// A replica's high watermark moved.
    pub(super) fn advanced(
        &mut self,
        node: NodeId,
        tp: TopicPartitionId,
        (epoch, leads): (LeaderEpoch, bool),
        (from, to): (Offset, Offset),
        disks: &Disks<'_>,
    ) -> Result<(), Violation> {
        let Some(log) = disks.log(node, tp) else { return Ok(()) };
        let history = self.partitions.entry(tp).or_default();
        if leads {
            history.is_monotone(tp, epoch, (from, to))?;
        }
        if history.unclean.is_past(epoch) {
            for offset in from..if leads { to } else { from } {
                log.entry(offset).into_iter().for_each(|entry| history.unclean.lose(offset, entry));
            }
            return Ok(());
        }
        let known = Offset::try_from(history.len()).expect("few");
        for offset in from..to.min(known).min(history.tainted) {
            let (has, committed) = (log.entry(offset), history.committed[at(offset)].0);
            if has != Some(committed) {
                let what = format!(
                    "{tp:?}: node {node} has {has:?} at {offset} in epoch {epoch}, committed is {committed:?}"
                );
                return wrong("equal-below-high-watermark", what);
            }
        }
        if to <= known || history.tainted < Offset::MAX {
            return Ok(());
        }
        if !leads {
            let what = format!(
                "{tp:?}: node {node} follows and has {to} as its high watermark, committed is {known}"
            );
            return wrong("follower-behind-leader", what);
        }
        let mut at = known;
        while at < to {
            let Some(batch) = log.batch_at(at).cloned() else {
                return wrong(
                    "equal-below-high-watermark",
                    format!("{tp:?}: node {node} has nothing at {at}, below {to}"),
                );
            };
            if batch.facts.base_offset != at {
                return wrong(
                    "whole-batches",
                    format!("{tp:?}: node {node} committed a part of the batch at {at}"),
                );
            }
            at = batch.facts.last_offset + 1;
            self.partitions.entry(tp).or_default().commit(tp, epoch, &batch)?;
            let topic = self.image.topic_by_id(tp.topic);
            if topic.is_some_and(|topic| &*topic.name == OFFSETS_TOPIC) {
                self.groups.committed(&batch);
            }
        }
        self.in_sync_have_all(tp, epoch, (known, to), disks)
    }

    /// What is committed is on every disk that counts.
    fn in_sync_have_all(
        &self,
        tp: TopicPartitionId,
        epoch: LeaderEpoch,
        (from, to): (Offset, Offset),
        disks: &Disks<'_>,
    ) -> Result<(), Violation> {
        let Some(partition) = self.image.partition_by_id(tp.topic, tp.partition) else { return Ok(()) };
        if partition.leader_epoch != epoch {
            return Ok(());
        }
        partition.isr.iter().try_for_each(|member| self.has_all(*member, tp, (from, to), disks))
    }

    /// One in-sync replica has everything that is committed, unless its power was cut and nobody can know yet.
    pub(super) fn has_all(
        &self,
        member: NodeId,
        tp: TopicPartitionId,
        (from, to): (Offset, Offset),
        disks: &Disks<'_>,
    ) -> Result<(), Violation> {
        let Some(history) = self.partitions.get(&tp) else { return Ok(()) };
        let damaged = disks.0.get(&member).is_some_and(|node| node.damaged);
        if damaged || history.awaits_unclean() {
            return Ok(());
        }
        match history.lacks(disks.log(member, tp), from, to) {
            Some(offset) => {
                let what =
                    format!("{tp:?}: node {member} is in sync and lacks the committed record at {offset}");
                wrong("in-sync-have-all", what)
            }
            None => Ok(()),
        }
    }

    pub(super) fn sequence_lost(&self, tp: TopicPartitionId, from: Addr) -> Result<(), Violation> {
        let leads = self.image.partition_by_id(tp.topic, tp.partition).is_some_and(|it| it.leader == from);
        let lossless =
            self.partitions.get(&tp).is_none_or(|it| !it.unclean.happened() && !it.awaits_unclean());
        if leads && lossless && self.tainted_from(tp) == Offset::MAX {
            return wrong(
                "sequence-known",
                format!("{tp:?}: leader {from} does not know the last batch of a producer"),
            );
        }
        Ok(())
    }

    pub(super) fn holders(&self, tp: TopicPartitionId) -> Vec<NodeId> {
        self.image.partition_by_id(tp.topic, tp.partition).map_or_else(Vec::new, |it| holders(it))
    }

    /// Taints what no undamaged holder has.
    pub(super) fn excuse_if_nobody_holds(&mut self, tp: TopicPartitionId, disks: &Disks<'_>) {
        let Some(history) = self.partitions.get(&tp).filter(|it| !it.awaits_unclean()) else { return };
        let logs = self.undamaged(&self.holders(tp), tp, disks);
        if let Some(offset) = history.held_by_nobody(0, &logs) {
            self.taint(tp, offset);
        }
    }

    fn undamaged<'a>(&self, holders: &[NodeId], tp: TopicPartitionId, disks: &'a Disks<'_>) -> Vec<&'a Log> {
        let undamaged = holders.iter().filter(|holder| disks.0.get(holder).is_some_and(|it| !it.damaged));
        undamaged.filter_map(|holder| disks.log(*holder, tp)).collect()
    }

    fn taint(&mut self, tp: TopicPartitionId, offset: Offset) {
        let history = self.partitions.entry(tp).or_default();
        history.tainted = history.tainted.min(offset);
        if self.image.topic_by_id(tp.topic).is_some_and(|topic| &*topic.name == OFFSETS_TOPIC) {
            self.groups.tainted = true;
        }
    }

    /// Whether a power cut on `node` now would take the last copy of something that is committed.
    pub(crate) fn would_lose(&self, node: NodeId, disks: &Disks<'_>) -> bool {
        self.partitions.keys().any(|tp| {
            let synced = disks.log(node, *tp).map_or(0, Log::synced);
            self.last_copy(*tp, node, synced, disks).is_some()
        })
    }

    /// The first committed offset from `end` on that no holder but `node` has.
    fn last_copy(
        &self,
        tp: TopicPartitionId,
        node: NodeId,
        end: Offset,
        disks: &Disks<'_>,
    ) -> Option<Offset> {
        let history = self.partitions.get(&tp).filter(|it| !it.awaits_unclean())?;
        let holders = self.holders(tp);
        if !holders.contains(&node) {
            return None;
        }
        let others: Vec<NodeId> = holders.into_iter().filter(|holder| *holder != node).collect();
        history.held_by_nobody(end, &self.undamaged(&others, tp, disks))
    }

    /// The power of `node` was cut.
    pub(crate) fn power_was_cut(&mut self, node: NodeId, disks: &Disks<'_>) {
        let tps: Vec<TopicPartitionId> = self.partitions.keys().copied().collect();
        for tp in tps {
            let end = disks.log(node, tp).map_or(0, Log::end);
            if let Some(offset) = self.last_copy(tp, node, end, disks) {
                self.taint(tp, offset);
            }
        }
    }

    /// Everything is calm: whether all replicas are alike and full. What is wrong otherwise.
    pub(crate) fn unlike(&self, disks: &Disks<'_>) -> Option<String> {
        if let Some(left) = self.left_over(disks) {
            return Some(left);
        }
        for topic in self.image.topics.iter() {
            for (number, partition) in topic.iter() {
                let tp = TopicPartitionId { topic: topic.id, partition: number };
                let name = format!("{}-{number}", topic.name);
                if !partition.has_leader() {
                    return Some(format!("nobody leads {name}: {partition:?}"));
                }
                if partition.leader_recovery_state == LeaderRecoveryState::Recovering {
                    return Some(format!("the leader of {name} has not taken over: {partition:?}"));
                }
                if partition.isr.len() != partition.replicas.len() {
                    return Some(format!("{name} is not in sync: {partition:?}"));
                }
                let leader = disks.log(partition.leader, tp)?;
                for replica in &partition.replicas {
                    let Some(log) = disks.log(*replica, tp) else {
                        return Some(format!("{name} is not on {replica}"));
                    };
                    let differs =
                        (0..leader.end()).find(|offset| leader.entry(*offset) != log.entry(*offset));
                    if log.end() != leader.end() || differs.is_some() {
                        let what = format!("ends {} and {}, differ at {differs:?}", leader.end(), log.end());
                        return Some(format!("{name} on {} and {replica}: {what}", partition.leader));
                    }
                }
                let committed = self.partitions.get(&tp);
                if let Some(offset) = committed.and_then(|it| it.lacks(Some(leader), 0, Offset::MAX)) {
                    return Some(format!("{name} has lost the committed record at {offset}"));
                }
                let seen = committed.map_or(0, History::len);
                let tainted = self.tainted_from(tp) < Offset::MAX;
                if !tainted && Offset::try_from(seen).ok() != Some(leader.end()) {
                    return Some(format!("{name} ends at {} and {seen} records are committed", leader.end()));
                }
            }
        }
        None
    }
}
