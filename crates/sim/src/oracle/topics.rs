//! Topics: what is deleted is gone, what is made anew under a name has nothing of what had it before.

use std::collections::BTreeMap;

use ottla_metadata::ResourceType;
use ottla_protocol::persisted::metadata::MetadataRecord;
use ottla_types::{Offset, TopicId, TopicPartitionId};

use super::{Disks, Oracle, Violation, wrong};
use crate::{env::Addr, log::Log, quorum::FactBatch};

/// When topics were there: from one place in the metadata log, up to another.
#[derive(Default)]
pub(super) struct Topics(BTreeMap<TopicId, (Offset, Offset)>);

impl Topics {
    pub(super) fn committed(&mut self, batch: &FactBatch) {
        for record in batch.facts.iter().filter_map(ottla_metadata::Fact::record) {
            match record {
                MetadataRecord::Topic(record) => {
                    self.0.insert(TopicId(record.topic_id), (batch.base, Offset::MAX));
                }
                MetadataRecord::RemoveTopic(record) => {
                    self.0.entry(TopicId(record.topic_id)).or_default().1 = batch.base;
                }
                _ => {}
            }
        }
    }

    fn is_there(&self, topic: TopicId, position: Offset) -> bool {
        self.0.get(&topic).is_some_and(|(from, to)| (*from..*to).contains(&position))
    }

    /// Whoever says that there is no such topic goes by metadata that does not have it.
    pub(super) fn unknown(&self, node: Addr, topic: TopicId, position: Offset) -> Result<(), Violation> {
        if self.is_there(topic, position) {
            let what = format!("node {node}, with metadata up to {position}, says that {topic} is not there");
            return wrong("unknown-is-unknown", what);
        }
        Ok(())
    }

    /// Whoever knows that a topic is gone has nothing of it.
    pub(super) fn served(&self, node: Addr, topic: TopicId, position: Offset) -> Result<(), Violation> {
        if !self.is_there(topic, position) {
            let what = format!("node {node}, with metadata up to {position}, serves {topic}, which is gone");
            return wrong("gone-is-gone", what);
        }
        Ok(())
    }
}

/// A log has only what was made for its partition.
pub(super) fn has_its_own(node: Addr, tp: TopicPartitionId, log: &Log) -> Result<(), Violation> {
    match log.foreign(tp) {
        Some(batch) => {
            let (content, at) = (batch.content, batch.facts.base_offset);
            let what =
                format!("node {node} has in {tp:?} at {at} the batch {content}, made for {:?}", batch.tp);
            wrong("records-stay-in-their-topic", what)
        }
        None => Ok(()),
    }
}

impl Oracle {
    /// Everything is calm: what of deleted topics is still there.
    pub(super) fn left_over(&self, disks: &Disks<'_>) -> Option<String> {
        for topic in self.topics.0.keys().filter(|id| self.image.topic_by_id(**id).is_none()) {
            let holds = |disk: &crate::log::Disk| disk.logs.keys().any(|tp| tp.topic == *topic);
            if let Some((id, _)) = disks.0.iter().find(|(_, node)| holds(&node.disk)) {
                return Some(format!("{topic} is deleted, and still on the disk of {id}"));
            }
        }
        let named = |name: &str| self.image.topic(name).is_some();
        let mut configs = self.image.configs.iter().map(|(resource, _)| resource);
        let orphan = configs.find(|it| it.kind == ResourceType::TOPIC && !named(&it.name));
        orphan.map(|it| format!("{} is deleted, and has a configuration", it.name))
    }
}
