//! Facts: committed ones are never lost and the same everywhere, and what they make of partitions is sound.

use std::sync::Arc;

use ottla_metadata::{Fact, Image, Partition};
use ottla_protocol::persisted::metadata::MetadataRecord;
use ottla_types::{NodeId, Offset, TopicId, TopicPartitionId};

use super::{
    Disks, Oracle, Violation,
    unclean::{abandons, is_reverted_uncleanly},
    wrong,
};
use crate::quorum::FactBatch;

impl Oracle {
    /// `node` takes this batch for committed.
    pub(super) fn fact(
        &mut self,
        node: NodeId,
        batch: &Arc<FactBatch>,
        disks: &Disks<'_>,
    ) -> Result<(), Violation> {
        let end = self.facts.last().map_or(0, |last| last.next);
        if batch.base > end {
            return wrong(
                "facts-equal",
                format!("node {node} has facts at {} before {end} were committed", batch.base),
            );
        }
        if batch.base < end {
            let at = self.facts.partition_point(|known| known.base < batch.base);
            let known = &self.facts[at];
            let same = known.base == batch.base && known.epoch == batch.epoch && known.facts == batch.facts;
            if !same {
                let what = format!(
                    "node {node} has {:?} of epoch {} at {}, committed is {:?} of epoch {}",
                    batch.facts, batch.epoch, batch.base, known.facts, known.epoch
                );
                return wrong("facts-equal", what);
            }
            return Ok(());
        }
        self.facts.push(Arc::clone(batch));
        // The rules hold for what a decision comes to, not in the middle of it.
        let before = self.image.clone();
        batch.facts.iter().for_each(|fact| self.image.apply(fact));
        self.topics.committed(batch);
        self.check_partitions(&before, &batch.facts)?;
        self.check_unclean(
            &before,
            &touched(&self.image, &batch.facts).into_iter().map(|(tp, _)| tp).collect::<Vec<_>>(),
        )?;
        self.excuse_damage(&batch.facts, disks);
        self.check_registrations(&batch.facts, disks)?;
        self.check_joins(&before, &batch.facts, disks)
    }

    fn check_partitions(&self, before: &Image, facts: &[Fact]) -> Result<(), Violation> {
        for (tp, after) in touched(&self.image, facts) {
            let text = || format!("{tp:?}: {after:?}");
            let mut isr = after.isr.clone();
            isr.sort_unstable();
            isr.dedup();
            if isr.len() != after.isr.len() || isr.iter().any(|member| !after.is_replica(*member)) {
                return wrong("isr-within-replicas", text());
            }
            if after.has_leader() && !after.is_in_sync(after.leader) {
                return wrong("leader-in-isr", text());
            }
            if after.elr.iter().any(|member| after.is_in_sync(*member)) {
                return wrong("eligible-or-in-sync", text());
            }
            if after.replicas.is_empty() {
                return wrong("has-replicas", text());
            }
            let Some(old) = before.partition_by_id(tp.topic, tp.partition) else { continue };
            let from = || format!("{tp:?}: from {old:?} to {after:?}");
            if after.partition_epoch <= old.partition_epoch || after.leader_epoch < old.leader_epoch {
                return wrong("epochs-rise", from());
            }
            if after.leader != old.leader && after.leader_epoch == old.leader_epoch {
                return wrong("epochs-rise", from());
            }
            if abandons(old, after, facts) {
                return wrong("somebody-is-eligible", from());
            }
            let unfit = |node: &NodeId| !self.image.broker(*node).is_some_and(|broker| broker.is_active());
            let new_leader = after.has_leader() && after.leader_epoch != old.leader_epoch;
            if new_leader && unfit(&after.leader) {
                return wrong("leader-is-fit", from());
            }
            let joined = after.isr.iter().find(|member| !old.is_in_sync(**member) && unfit(member));
            if let Some(joined) = joined.filter(|_| !is_reverted_uncleanly(old, after)) {
                return wrong("in-sync-are-fit", format!("{joined} is fenced or leaving; {}", from()));
            }
        }
        Ok(())
    }

    /// Power was cut, the controller does not know yet, and lets the last one go that has a record: that record is gone.
    fn excuse_damage(&mut self, facts: &[Fact], disks: &Disks<'_>) {
        let touched: Vec<TopicPartitionId> =
            touched(&self.image, facts).into_iter().map(|(tp, _)| tp).collect();
        for tp in touched {
            let damaged = |node: &NodeId| disks.0.get(node).is_some_and(|node| node.damaged);
            if self.holders(tp).iter().any(damaged) {
                self.excuse_if_nobody_holds(tp, disks);
            }
        }
    }

    /// A broker that has registered anew is either no longer in sync or has everything.
    fn check_registrations(&self, facts: &[Fact], disks: &Disks<'_>) -> Result<(), Violation> {
        for fact in facts {
            let Some(MetadataRecord::RegisterBroker(record)) = fact.record() else { continue };
            for topic in self.image.topics.iter() {
                for (number, partition) in topic.iter().filter(|(_, it)| it.is_in_sync(record.broker_id)) {
                    let tp = TopicPartitionId { topic: topic.id, partition: number };
                    let Some(history) = self.partitions.get(&tp) else { continue };
                    if history.awaits_unclean() {
                        continue;
                    }
                    if let Some(offset) = history.lacks(disks.log(record.broker_id, tp), 0, Offset::MAX) {
                        let what = format!(
                            "{tp:?}: broker {} registers, lacks the record at {offset} and stays in {:?}",
                            record.broker_id, partition.isr
                        );
                        return wrong("in-sync-have-all", what);
                    }
                }
            }
        }
        Ok(())
    }

    /// Who joins an in-sync set has everything.
    fn check_joins(&self, before: &Image, facts: &[Fact], disks: &Disks<'_>) -> Result<(), Violation> {
        for (tp, after) in touched(&self.image, facts) {
            let Some(old) = before.partition_by_id(tp.topic, tp.partition) else { continue };
            for member in after.isr.iter().filter(|member| !old.is_in_sync(**member)) {
                self.has_all(*member, tp, (0, Offset::MAX), disks)?;
            }
        }
        Ok(())
    }
}

/// The partitions that facts are about, as they are after them.
fn touched<'a>(image: &'a Image, facts: &[Fact]) -> Vec<(TopicPartitionId, &'a Partition)> {
    let mut touched = Vec::new();
    for fact in facts {
        let (topic, partition) = match fact.record() {
            Some(MetadataRecord::Partition(record)) => (record.topic_id, record.partition_id),
            Some(MetadataRecord::PartitionChange(record)) => (record.topic_id, record.partition_id),
            _ => continue,
        };
        let tp = TopicPartitionId { topic: TopicId(topic), partition };
        if let Some(after) = image.partition_by_id(tp.topic, partition) {
            touched.push((tp, &**after));
        }
    }
    touched.sort_by_key(|(tp, _)| *tp);
    touched.dedup_by_key(|(tp, _)| *tp);
    touched
}
