//! What of the broker's configuration this crate depends on.

use std::{sync::Arc, time::Duration};

use ottla_groups::GroupsConfig;
use ottla_types::NodeId;

use crate::OffsetsTopic;

/// Settings of the group coordinator.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// This broker.
    pub node_id: NodeId,
    /// Limits and times of the rules.
    pub groups: Arc<GroupsConfig>,
    /// How `__consumer_offsets` is made.
    pub offsets_topic: OffsetsTopic,
    /// `offsets.commit.timeout.ms`: how long facts may take to become durable before the client is told to try again.
    pub commit_timeout: Duration,
}

impl CoordinatorConfig {
    /// Kafka's defaults, for this broker.
    #[must_use]
    pub fn new(node_id: NodeId) -> Self {
        Self {
            node_id,
            groups: Arc::new(GroupsConfig::default()),
            offsets_topic: OffsetsTopic::default(),
            commit_timeout: Duration::from_secs(5),
        }
    }
}
