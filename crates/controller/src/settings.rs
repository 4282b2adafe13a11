//! The constants of this node.

use std::sync::Arc;

use ottla_metadata::{FeatureRange, feature};
use ottla_types::NodeId;

use crate::{LATEST, RELEASES};

/// What the controller must know that is not in the log. Read once at start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node.
    pub node_id: NodeId,
    /// Registrations of another cluster are refused.
    pub cluster_id: Arc<str>,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `broker.session.timeout.ms`.
    pub broker_session_timeout_ms: i64,
    /// Features finalized when the cluster is founded, `metadata.version` among them.
    pub bootstrap: Vec<(String, i16)>,
    /// What the node was started with: defaults of topics, and what dynamic values are checked against.
    pub config: Arc<ottla_config::Settings>,
}

/// The features this version can work with, in the order Kafka lists them. `kraft.version` is raft's.
#[must_use]
pub fn supported_features() -> Vec<FeatureRange> {
    [
        (feature::GROUP_VERSION, 0, 1),
        (feature::KRAFT_VERSION, 0, 1),
        (feature::METADATA_VERSION, RELEASES[0].level, LATEST.level),
        (feature::SHARE_VERSION, 0, 2),
        (feature::STREAMS_VERSION, 0, 1),
        (feature::TRANSACTION_VERSION, 0, 2),
        (feature::ELIGIBLE_LEADER_REPLICAS_VERSION, 0, 1),
    ]
    .map(|(name, min, max)| FeatureRange { name: name.into(), min, max })
    .to_vec()
}

/// What a new cluster begins with when no release is asked for: the newest release's features.
#[must_use]
pub fn bootstrap_features() -> Vec<(String, i16)> {
    LATEST.features()
}
