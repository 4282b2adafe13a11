//! The image: the cluster as a value everyone may read.

use std::{collections::BTreeMap, sync::Arc};

use ottla_protocol::persisted::metadata::MetadataRecord;
use ottla_types::{LeaderEpoch, Millis, NodeId, Offset, TopicId};

use crate::{
    BrokerRegistration, ConfigValues, Configs, ControllerRegistration, Features, Partition, Security, Topic,
    Topics,
};

/// How far along the metadata log an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Offset of the last record applied; -1 for none.
    pub offset: Offset,
    /// Leader epoch of that record; -1 for none.
    pub epoch: LeaderEpoch,
    /// Append time of that record, -1 for none.
    pub timestamp: Millis,
}

impl Default for Position {
    fn default() -> Self {
        Self { offset: -1, epoch: -1, timestamp: Millis(-1) }
    }
}

/// The cluster's metadata. A clone shares everything with the original.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// How far the log was applied.
    pub position: Position,
    /// Finalized features.
    pub features: Arc<Features>,
    /// Registered brokers by id, fenced ones too.
    pub brokers: Arc<BTreeMap<NodeId, Arc<BrokerRegistration>>>,
    /// Registered controllers by id.
    pub controllers: Arc<BTreeMap<NodeId, Arc<ControllerRegistration>>>,
    /// Topics and their partitions.
    pub topics: Topics,
    /// Dynamic configuration.
    pub configs: Arc<Configs>,
    /// The first producer id no block has been given out for.
    pub next_producer_id: i64,
    /// The block last given out: (broker, its epoch).
    pub last_producer_id_block: Option<(NodeId, i64)>,
    /// ACLs, SCRAM credentials, quotas, delegation tokens.
    pub security: Arc<Security>,
    /// The metadata transaction that is open (KIP-868), if one is: its name, and the records held back until it ends.
    pub open_transaction: Option<(Arc<str>, Arc<Vec<MetadataRecord>>)>,
}

impl Image {
    /// An empty cluster.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.by_name(name)
    }

    /// The topic of this id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.by_id(id)
    }

    /// A partition by topic name and number.
    #[must_use]
    pub fn partition(&self, topic: &str, index: i32) -> Option<&Arc<Partition>> {
        self.topic(topic)?.partition(index)
    }

    /// A partition by topic id and number.
    #[must_use]
    pub fn partition_by_id(&self, topic: TopicId, index: i32) -> Option<&Arc<Partition>> {
        self.topic_by_id(topic)?.partition(index)
    }

    /// A broker, fenced or not.
    #[must_use]
    pub fn broker(&self, id: NodeId) -> Option<&Arc<BrokerRegistration>> {
        self.brokers.get(&id)
    }

    /// Brokers that clients may see: not fenced.
    pub fn alive_brokers(&self) -> impl Iterator<Item = &Arc<BrokerRegistration>> {
        self.brokers.values().filter(|broker| !broker.fenced)
    }

    /// What is set on a topic, as it was set.
    #[must_use]
    pub fn topic_config(&self, name: &str) -> &Arc<ConfigValues> {
        self.configs.topic(name)
    }

    /// The finalized level of a feature; 0 when it is off.
    #[must_use]
    pub fn feature_level(&self, name: &str) -> i16 {
        self.features.level(name)
    }
}
