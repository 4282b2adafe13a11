//! Topics and their partitions.

mod create;
mod delete;
mod grow;
mod names;

use ottla_config::Layers;
use ottla_metadata::{BrokerRegistration, Image, Partition, Topic};
use ottla_protocol::persisted::metadata::PartitionRecord;
use ottla_types::{ApiError, ErrorCode, NodeId, TopicId};

pub use names::check_topic_name;

use crate::{Spot, State, Turn, bootstrap::MIN_ISR, leadership::Change};

/// Partitions that one request may create.
pub const LARGEST_REQUEST: usize = 10_000;

/// Which partitions a change of brokers touches.
#[derive(Clone, Copy)]
pub(crate) struct Affected<'a> {
    /// A broker that leaves the in-sync sets it is in.
    pub(crate) without: Option<NodeId>,
    /// Brokers that are not eligible.
    pub(crate) unclean: &'a [NodeId],
    /// A broker that is back: partitions without a leader may get it.
    pub(crate) back: Option<NodeId>,
}

impl Affected<'_> {
    fn touches(&self, partition: &Partition) -> bool {
        let leaves = self.without.is_some_and(|node| {
            partition.isr.contains(&node)
                || partition.leader == node
                || (!self.unclean.is_empty() && partition.elr.contains(&node))
        });
        leaves
            || (self.back.is_some_and(|node| partition.replicas.contains(&node)) && !partition.has_leader())
    }
}

impl State {
    /// The broker's configuration as this node knows it.
    pub(crate) fn layers(&self) -> Layers {
        let configs = &self.image.configs;
        Layers::new(
            self.settings.config.clone(),
            configs.broker_default().as_ref().clone(),
            configs.broker(self.settings.node_id).as_ref().clone(),
        )
    }
}

/// What the rules of leadership need of a topic's configuration.
#[derive(Clone, Copy)]
pub(crate) struct TopicRules {
    pub(crate) min_isr: usize,
    pub(crate) unclean_election: bool,
}

impl TopicRules {
    pub(crate) fn of(state: &State, layers: &Layers, topic: &str) -> Self {
        let own = |key: &str| state.image.configs.topic_value(topic, key);
        let min_isr = own(MIN_ISR).and_then(|value| value.trim().parse().ok());
        let unclean = "unclean.leader.election.enable";
        Self {
            min_isr: min_isr.unwrap_or_else(|| usize::try_from(layers.int(MIN_ISR)).unwrap_or(1)),
            unclean_election: own(unclean)
                .map_or_else(|| layers.flag(unclean), |value| value.trim().eq_ignore_ascii_case("true")),
        }
    }
}

impl Turn<'_, '_> {
    /// Changes every partition that is affected, all in this decision.
    pub(crate) fn change_partitions(
        &mut self,
        affected: Affected<'_>,
        may_lead: impl Fn(&Image, NodeId) -> bool,
    ) {
        let state = self.state;
        let layers = state.layers();
        let elr_enabled = state.elr_enabled();
        let may_lead = |node| may_lead(&state.image, node);
        let mut topics: Vec<_> = state.image.topics.iter().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in topics {
            if !topic.partitions.iter().any(|partition| affected.touches(partition)) {
                continue;
            }
            let rules = TopicRules::of(state, &layers, &topic.name);
            for (index, partition) in topic.iter().filter(|(_, partition)| affected.touches(partition)) {
                let keep = |node: &&NodeId| Some(**node) != affected.without;
                let mut target_isr: Vec<NodeId> = partition.isr.iter().filter(keep).copied().collect();
                if target_isr.is_empty() && !elr_enabled {
                    target_isr.clone_from(&partition.isr);
                }
                let change = Change {
                    partition,
                    target_isr,
                    unclean: affected.unclean,
                    may_lead: &may_lead,
                    min_isr: rules.min_isr,
                    elr_enabled,
                    unclean_election: rules.unclean_election,
                    recovery: None,
                };
                if let Some(record) = change.record(topic.id, index) {
                    self.facts.push(state.fact(record));
                }
            }
        }
    }

    /// Brokers that may be given replicas.
    fn spots(&self) -> Vec<Spot> {
        let takes = |broker: &&std::sync::Arc<BrokerRegistration>| {
            let cordoned = broker.cordoned_log_dirs.as_deref().unwrap_or_default();
            broker.log_dirs.is_empty() || broker.log_dirs.iter().any(|dir| !cordoned.contains(dir))
        };
        let spot = |broker: &std::sync::Arc<BrokerRegistration>| Spot {
            id: broker.id,
            rack: broker.rack.clone(),
            fenced: !broker.is_active(),
        };
        self.image().brokers.values().filter(takes).map(spot).collect()
    }

    /// Checks replicas that an operator chose for one partition. `factor` is what the others have.
    fn check_manual(&self, replicas: &[NodeId], factor: Option<usize>) -> Result<(), ApiError> {
        let refuse = |message: String| Err(ApiError::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
        if replicas.is_empty() {
            return refuse("The manual partition assignment includes an empty replica list.".into());
        }
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        for (at, id) in sorted.iter().enumerate() {
            if self.image().broker(*id).is_none() {
                return refuse(format!(
                    "The manual partition assignment includes broker {id}, but no such broker is registered."
                ));
            }
            if at > 0 && sorted[at - 1] == *id {
                return refuse(format!(
                    "The manual partition assignment includes the broker {id} more than once."
                ));
            }
        }
        if let Some(factor) = factor
            && factor != replicas.len()
        {
            return refuse(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not consistent \
                 with previous partitions, which have {factor} replica(s).",
                replicas.len()
            ));
        }
        Ok(())
    }

    /// The record of a new partition: in sync are the replicas that are up; the first of them leads.
    fn new_partition(&self, topic: TopicId, index: i32, replicas: Vec<NodeId>) -> Option<PartitionRecord> {
        let active = |node: &&NodeId| self.image().broker(**node).is_some_and(|broker| broker.is_active());
        let isr: Vec<NodeId> = replicas.iter().filter(active).copied().collect();
        let leader = *isr.first()?;
        let directory = |node: &NodeId| self.directory(*node);
        Some(PartitionRecord {
            partition_id: index,
            topic_id: topic.0,
            directories: replicas.iter().map(directory).collect(),
            leader,
            leader_epoch: 0,
            partition_epoch: 0,
            isr,
            replicas,
            ..Default::default()
        })
    }

    /// The log dir a new replica goes to (KIP-858): known when the broker has one, its own choice otherwise.
    fn directory(&self, node: NodeId) -> uuid::Uuid {
        match self.image().broker(node).map(|broker| &broker.log_dirs[..]) {
            Some([only]) => *only,
            // Kafka's "migrating": a broker that never named a directory.
            Some([]) | None => uuid::Uuid::from_u128(2),
            // Kafka's "unassigned": the broker chooses and says so.
            Some(_) => uuid::Uuid::nil(),
        }
    }
}

/// Replicas of a topic's first partition: all have as many.
fn replication_factor(topic: &Topic) -> usize {
    topic.partitions.first().map_or(1, |partition| partition.replicas.len())
}
