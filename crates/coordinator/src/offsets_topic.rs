//! The internal topic that holds groups and their offsets, as Kafka makes it.

use ottla_types::partition_for_key;

/// Name of the topic.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// How the topic is made when the first coordinator is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetsTopic {
    /// `offsets.topic.num.partitions`.
    pub partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub segment_bytes: i32,
}

impl Default for OffsetsTopic {
    fn default() -> Self {
        Self { partitions: 50, replication_factor: 3, segment_bytes: 104_857_600 }
    }
}

impl OffsetsTopic {
    /// The topic's configuration: compacted, and not compressed by the broker whatever its default is.
    #[must_use]
    pub fn configs(&self) -> Vec<(&'static str, String)> {
        vec![
            ("cleanup.policy", "compact".to_owned()),
            ("compression.type", "producer".to_owned()),
            ("segment.bytes", self.segment_bytes.to_string()),
        ]
    }

    /// The partition that holds a group, of `partitions` there are.
    #[must_use]
    pub fn partition_of(group_id: &str, partitions: i32) -> i32 {
        partition_for_key(group_id, partitions)
    }
}
