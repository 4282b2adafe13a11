//! Groups: committed offsets do not go back, and nobody reads what another member of the same generation reads.

use std::{collections::BTreeMap, sync::Arc};

use ottla_groups::Record;
use ottla_types::{NodeId, TopicPartitionId, partition_for_key};

use super::{Oracle, Violation, wrong};
use crate::{
    broker::OFFSETS_TOPIC,
    log::{Batch, Payload},
};

/// Group, topic, partition.
type Key = (Arc<str>, Arc<str>, i32);

#[derive(Default)]
pub(super) struct Groups {
    /// Every offset that was ever committed, in order, and how many commits of any kind there were before it.
    offsets: BTreeMap<Key, Vec<(usize, i64)>>,
    commits: usize,
    /// How many commits there were when something was asked.
    asked: BTreeMap<u64, usize>,
    /// Who was given a partition, by group and generation.
    owners: BTreeMap<(Arc<str>, i32), BTreeMap<i32, Arc<str>>>,
    /// Facts were lost in a way that is allowed.
    pub(super) tainted: bool,
}

impl Groups {
    /// A batch of `__consumer_offsets` is committed.
    pub(super) fn committed(&mut self, batch: &Batch) {
        let Payload::Facts(facts) = &*batch.payload else { return };
        for (key, value) in facts {
            self.commits += 1;
            let (key, offset) = match Record::decode(key, value.as_deref()) {
                Ok(Some(Record::Offset { group, topic, partition, value })) => {
                    ((group, topic, partition), value.offset)
                }
                // Its topic was deleted, or it expired: who asks is told that there is none.
                Ok(Some(Record::OffsetTombstone { group, topic, partition })) => {
                    ((group, topic, partition), -1)
                }
                _ => continue,
            };
            self.offsets.entry(key).or_default().push((self.commits, offset));
        }
    }

    pub(super) fn asked(&mut self, id: u64) {
        self.asked.insert(id, self.commits);
    }

    /// A coordinator told a committed offset: the last one at the time of the question, or a later one. One that is no
    /// longer the coordinator, and does not know yet, may tell an older one: whoever commits on that is refused.
    pub(super) fn fetched(
        &mut self,
        id: u64,
        (group, topic, partition): (&Arc<str>, &Arc<str>, i32),
        offset: i64,
        leads: bool,
    ) -> Result<(), Violation> {
        let Some(asked) = self.asked.remove(&id) else { return Ok(()) };
        if self.tainted {
            return Ok(());
        }
        let history =
            self.offsets.get(&(group.clone(), topic.clone(), partition)).map_or(&[][..], Vec::as_slice);
        let oldest = if leads { history.iter().rposition(|(at, _)| *at <= asked) } else { None };
        let allowed = &history[oldest.unwrap_or(0)..];
        let never = offset == -1 && oldest.is_none();
        if !never && !allowed.iter().any(|(_, known)| *known == offset) {
            let what =
                format!("{group} of {topic}-{partition} was told {offset}; committed since are {allowed:?}");
            return wrong("offsets-do-not-go-back", what);
        }
        Ok(())
    }

    pub(super) fn assigned(
        &mut self,
        (group, generation): (&Arc<str>, i32),
        member: &Arc<str>,
        partitions: &[i32],
    ) -> Result<(), Violation> {
        let owners = self.owners.entry((group.clone(), generation)).or_default();
        for partition in partitions {
            let owner = owners.entry(*partition).or_insert_with(|| member.clone());
            if owner != member && !self.tainted {
                let what =
                    format!("{group} in generation {generation}: {partition} goes to {owner} and {member}");
                return wrong("one-owner-per-generation", what);
            }
        }
        Ok(())
    }
}

impl Oracle {
    /// Whether this broker is the coordinator of the group, by what is committed.
    pub(super) fn coordinates(&self, node: NodeId, group: &str) -> bool {
        let Some(topic) = self.image.topic(OFFSETS_TOPIC) else { return false };
        let partition = partition_for_key(group, topic.partition_count());
        let tp = TopicPartitionId { topic: topic.id, partition };
        self.image.partition_by_id(tp.topic, tp.partition).is_some_and(|it| it.leader == node)
    }
}
