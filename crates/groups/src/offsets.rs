//! The offsets of one group: committing and fetching them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ottla_types::{ErrorCode, TopicId};

use crate::{
    CommitTopic, CommittedOffset, FetchTopic, FetchedPartition, FetchedTopic, OffsetCommit, Record,
    turn::Turn,
};

/// Committed offsets by topic and partition, and which of them an open transaction is about to replace.
#[derive(Clone, Debug, Default)]
pub(crate) struct OffsetTable {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>,
    /// Open transactions per partition (KIP-447).
    unstable: HashMap<(Arc<str>, i32), usize>,
}

impl OffsetTable {
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.unstable.is_empty()
    }

    pub(crate) fn set(&mut self, topic: &Arc<str>, partition: i32, value: CommittedOffset) {
        self.topics.entry(topic.clone()).or_default().insert(partition, value);
    }

    pub(crate) fn remove(&mut self, topic: &str, partition: i32) {
        if let Some(partitions) = self.topics.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// An open transaction has (or no longer has) an offset for this partition.
    pub(crate) fn mark_unstable(&mut self, topic: &Arc<str>, partition: i32, open: bool) {
        let key = (topic.clone(), partition);
        let count = self.unstable.entry(key.clone()).or_default();
        *count = if open { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.unstable.remove(&key);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &CommittedOffset)> {
        self.topics
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |(p, value)| (topic, *p, value)))
    }

    pub(crate) fn is_unstable(&self, topic: &Arc<str>, partition: i32) -> bool {
        !self.unstable.is_empty() && self.unstable.contains_key(&(topic.clone(), partition))
    }

    pub(crate) fn has_unstable(&self) -> bool {
        !self.unstable.is_empty()
    }

    /// The partitions of `topic` that have an offset.
    pub(crate) fn partitions_of(&self, topic: &str) -> Vec<i32> {
        self.topics.get(topic).map(|partitions| partitions.keys().copied().collect()).unwrap_or_default()
    }

    /// What was asked for, in the order it was asked for. What was never committed is offset -1 and no error.
    pub(crate) fn fetch(&self, topics: &[FetchTopic], require_stable: bool) -> Vec<FetchedTopic> {
        let of_topic = |topic: &FetchTopic| FetchedTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: topic
                .partitions
                .iter()
                .map(|partition| self.fetch_one(&topic.name, topic.topic_id, *partition, require_stable))
                .collect(),
        };
        topics.iter().map(of_topic).collect()
    }

    /// Everything the group has.
    pub(crate) fn fetch_all(&self, require_stable: bool) -> Vec<FetchedTopic> {
        let of_topic = |(name, partitions): (&Arc<str>, &BTreeMap<i32, CommittedOffset>)| FetchedTopic {
            name: name.clone(),
            topic_id: TopicId::ZERO,
            partitions: partitions
                .keys()
                .map(|partition| self.fetch_one(name, TopicId::ZERO, *partition, require_stable))
                .collect(),
        };
        self.topics.iter().map(of_topic).collect()
    }

    fn fetch_one(
        &self,
        topic: &Arc<str>,
        id: TopicId,
        partition: i32,
        require_stable: bool,
    ) -> FetchedPartition {
        if require_stable && self.is_unstable(topic, partition) {
            return FetchedPartition::nothing(partition, ErrorCode::UNSTABLE_OFFSET_COMMIT);
        }
        let committed = self.topics.get(topic).and_then(|partitions| partitions.get(&partition));
        match committed.filter(|committed| is_of_topic(committed.topic_id, id)) {
            Some(committed) => FetchedPartition {
                partition,
                offset: committed.offset,
                leader_epoch: committed.leader_epoch,
                metadata: committed.metadata.clone(),
                error: ErrorCode::NONE,
            },
            None => FetchedPartition::nothing(partition, ErrorCode::NONE),
        }
    }
}

/// An offset committed for a topic of the same name but another id is none (KIP-516).
fn is_of_topic(committed: TopicId, asked: TopicId) -> bool {
    committed.is_zero() || asked.is_zero() || committed == asked
}

/// The facts of a commit, and what every partition of it is told.
pub(crate) fn commit(turn: &mut Turn<'_, '_>, commit: &OffsetCommit) -> Vec<Vec<ErrorCode>> {
    let now = turn.wall_ms();
    let expire_timestamp_ms = commit.retention_time_ms.map(|retention| now.saturating_add(retention));
    let mut told = Vec::with_capacity(commit.topics.len());
    for topic in &commit.topics {
        told.push(commit_topic(turn, &commit.group_id, topic, expire_timestamp_ms));
    }
    told
}

fn commit_topic(
    turn: &mut Turn<'_, '_>,
    group: &Arc<str>,
    topic: &CommitTopic,
    expire_timestamp_ms: Option<i64>,
) -> Vec<ErrorCode> {
    let mut told = Vec::with_capacity(topic.partitions.len());
    for partition in &topic.partitions {
        if partition.metadata.encode_utf16().count() > turn.config.offset_metadata_max_bytes {
            told.push(ErrorCode::OFFSET_METADATA_TOO_LARGE);
            continue;
        }
        let value = CommittedOffset {
            offset: partition.offset,
            leader_epoch: partition.leader_epoch,
            metadata: partition.metadata.clone(),
            commit_timestamp_ms: turn.wall_ms(),
            expire_timestamp_ms,
            topic_id: topic.topic_id,
        };
        let (group, topic) = (group.clone(), topic.name.clone());
        turn.records.push(Record::Offset { group, topic, partition: partition.partition, value });
        told.push(ErrorCode::NONE);
    }
    told
}
