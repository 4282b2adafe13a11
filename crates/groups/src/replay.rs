//! Reading the log back: what the groups were when the last coordinator wrote of them.

use std::{collections::HashMap, sync::Arc};

use ottla_types::ProducerId;

use crate::{CommittedOffset, Groups, Record, classic::ClassicGroup, groups::Group};

/// Offsets that open transactions have written, by producer (KIP-98): they count when the transaction commits.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenTransactions {
    by_producer: HashMap<ProducerId, HashMap<OffsetKey, CommittedOffset>>,
}

/// Group, topic, partition.
type OffsetKey = (Arc<str>, Arc<str>, i32);

impl Groups {
    /// One record of the log, in the order of the log, before taking office.
    pub fn replay(&mut self, record: Record) {
        match record {
            Record::Group { group, value } => {
                self.group_or_new(&group).classic = ClassicGroup::restore(group.clone(), &value);
            }
            // A group can be deleted and its offsets still be there: theirs are tombstones of their own.
            Record::GroupTombstone { group } => {
                self.group_or_new(&group).classic = ClassicGroup::new(group.clone());
                self.forget_if_nothing_is_left(&group);
            }
            Record::Offset { group, topic, partition, value } => {
                self.group_or_new(&group).offsets.set(&topic, partition, value);
            }
            Record::OffsetTombstone { group, topic, partition } => {
                if let Some(entry) = self.groups.get_mut(&group) {
                    entry.offsets.remove(&topic, partition);
                }
                self.forget_if_nothing_is_left(&group);
            }
        }
    }

    /// A record of the log that is part of a transaction.
    pub fn replay_transactional(&mut self, producer: ProducerId, record: Record) {
        let Record::Offset { group, topic, partition, value } = record else { return self.replay(record) };
        let open = self.open.by_producer.entry(producer).or_default();
        if open.insert((group.clone(), topic.clone(), partition), value).is_none() {
            self.group_or_new(&group).offsets.mark_unstable(&topic, partition, true);
        }
    }

    /// The marker that ends a transaction.
    pub fn replay_marker(&mut self, producer: ProducerId, committed: bool) {
        for ((group, topic, partition), value) in self.open.by_producer.remove(&producer).unwrap_or_default()
        {
            let entry = self.group_or_new(&group);
            entry.offsets.mark_unstable(&topic, partition, false);
            if committed {
                entry.offsets.set(&topic, partition, value);
            }
            self.forget_if_nothing_is_left(&group);
        }
    }

    /// A group that is deleted, or of which the log only ever had offsets, is nothing without offsets.
    fn forget_if_nothing_is_left(&mut self, group: &Arc<str>) {
        let nothing = |entry: &Group| entry.offsets.is_empty() && entry.classic.protocol_type.is_none();
        if self.groups.get(group).is_some_and(nothing) {
            self.groups.remove(group);
        }
    }
}
