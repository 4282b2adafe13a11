//! Reading the log back: what the groups were when the last coordinator wrote of them.

use std::{collections::HashMap, sync::Arc};

use ottla_types::ProducerId;

use crate::{CommittedOffset, Groups, Record, classic::ClassicGroup, groups::Group};

/// Offsets that open transactions have written, by producer (KIP-98): they count when the transaction commits, unless
/// the log has a later one by then.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenTransactions {
    by_producer: HashMap<ProducerId, HashMap<OffsetKey, Pending>>,
    /// How many have been written: which of two came later.
    written: u64,
}

/// What an open transaction has written for a partition.
#[derive(Clone, Debug)]
struct Pending {
    /// Its place among all that were written.
    at: u64,
    /// `None` when one that the log has later has been committed.
    value: Option<CommittedOffset>,
}

/// Group, topic, partition.
type OffsetKey = (Arc<str>, Arc<str>, i32);

impl OpenTransactions {
    fn write(&mut self, producer: ProducerId, key: OffsetKey, value: CommittedOffset) -> Option<Pending> {
        self.written += 1;
        let pending = Pending { at: self.written, value: Some(value) };
        self.by_producer.entry(producer).or_default().insert(key, pending)
    }

    /// An offset has been committed that is the log's `at`: what transactions wrote before it comes too late.
    fn supersede(&mut self, key: &OffsetKey, at: u64) {
        let open = self.by_producer.values_mut().filter_map(|written| written.get_mut(key));
        open.filter(|pending| pending.at < at).for_each(|pending| pending.value = None);
    }

    /// What transactions wrote for this partition is gone. Returns how many had.
    fn forget(&mut self, key: &OffsetKey) -> usize {
        self.by_producer.values_mut().filter_map(|written| written.remove(key)).count()
    }
}

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
                self.open.written += 1;
                self.replay_commit((group, topic, partition), self.open.written, value);
            }
            Record::OffsetTombstone { group, topic, partition } => {
                self.replay_tombstone((group, topic, partition));
            }
        }
    }

    /// A record of the log that is part of a transaction.
    pub fn replay_transactional(&mut self, producer: ProducerId, record: Record) {
        let Record::Offset { group, topic, partition, value } = record else { return self.replay(record) };
        let key = (group, topic, partition);
        if self.open.write(producer, key.clone(), value).is_none() {
            self.group_or_new(&key.0).offsets.mark_unstable(&key.1, partition, true);
        }
    }

    /// The marker that ends a transaction.
    pub fn replay_marker(&mut self, producer: ProducerId, committed: bool) {
        for (key, pending) in self.open.by_producer.remove(&producer).unwrap_or_default() {
            self.group_or_new(&key.0).offsets.mark_unstable(&key.1, key.2, false);
            let group = key.0.clone();
            if let Some(value) = pending.value.filter(|_| committed) {
                self.replay_commit(key, pending.at, value);
            }
            self.forget_if_nothing_is_left(&group);
        }
    }

    fn replay_commit(&mut self, key: OffsetKey, at: u64, value: CommittedOffset) {
        let offsets = &mut self.group_or_new(&key.0).offsets;
        offsets.set(&key.1, key.2, value);
        if offsets.is_unstable(&key.1, key.2) {
            self.open.supersede(&key, at);
        }
    }

    /// Offsets of a topic that was deleted, say: those of open transactions are as gone as the committed one.
    fn replay_tombstone(&mut self, key: OffsetKey) {
        if let Some(entry) = self.groups.get_mut(&key.0) {
            entry.offsets.remove(&key.1, key.2);
            if entry.offsets.is_unstable(&key.1, key.2) {
                for _ in 0..self.open.forget(&key) {
                    entry.offsets.mark_unstable(&key.1, key.2, false);
                }
            }
        }
        self.forget_if_nothing_is_left(&key.0);
    }

    /// A group that is deleted, or of which the log only ever had offsets, is nothing without offsets.
    fn forget_if_nothing_is_left(&mut self, group: &Arc<str>) {
        let nothing = |entry: &Group| entry.offsets.is_empty() && entry.classic.protocol_type.is_none();
        if self.groups.get(group).is_some_and(nothing) {
            self.groups.remove(group);
        }
    }
}
