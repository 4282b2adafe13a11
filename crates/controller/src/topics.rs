//! Topics and their partitions.

mod create;
mod delete;
mod grow;
mod names;

use std::sync::Arc;

use ottla_metadata::{BrokerRegistration, Topic};
use ottla_protocol::persisted::metadata::PartitionRecord;
use ottla_types::{ApiError, ErrorCode, NodeId, TopicId};

pub use names::check_topic_name;

use crate::{Place, Spot, Turn, directories::takes_replicas, leadership::DIRECTORIES, place};

/// Partitions that one request may create.
pub const LARGEST_REQUEST: usize = 10_000;

impl Turn<'_, '_> {
    /// Replicas for new partitions, chosen.
    fn place(&mut self, what: Place) -> Result<Vec<Vec<NodeId>>, ApiError> {
        // One that is stopping is not given any; once it is fenced it may come back for them.
        let stays = |broker: &&Arc<BrokerRegistration>| broker.fenced || !broker.in_controlled_shutdown;
        let brokers = self.state.image.brokers.values();
        let spots = brokers.filter(stays).filter(|broker| takes_replicas(broker)).map(|broker| Spot {
            id: broker.id,
            rack: broker.rack.clone(),
            fenced: broker.fenced,
        });
        let spots: Vec<Spot> = spots.collect();
        let refuse = |why: &str| {
            let why = format!("Unable to replicate the partition {} time(s): {why}", what.replication_factor);
            ApiError::new(ErrorCode::INVALID_REPLICATION_FACTOR, why)
        };
        let placed = place(&spots, what, self.ctx.rng).map_err(|why| refuse(&why))?;
        let up = |replicas: &Vec<NodeId>| replicas.iter().any(|node| self.state.is_active(*node));
        if !placed.iter().all(up) {
            return Err(refuse("All brokers are currently fenced or in controlled shutdown."));
        }
        Ok(placed)
    }

    /// Checks replicas that an operator chose for one partition. `factor` is what the others have.
    pub(crate) fn check_manual(&self, replicas: &[NodeId], factor: Option<usize>) -> Result<(), ApiError> {
        let refuse = |message: String| Err(ApiError::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
        if replicas.is_empty() {
            return refuse("The manual partition assignment includes an empty replica list.".into());
        }
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        for (at, id) in sorted.iter().enumerate() {
            let Some(broker) = self.image().broker(*id) else {
                return refuse(format!(
                    "The manual partition assignment includes broker {id}, but no such broker is registered."
                ));
            };
            if !takes_replicas(broker) {
                return refuse(format!(
                    "The manual partition assignment includes broker {id}, but all its log directories are cordoned."
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
    fn new_partition(
        &self,
        topic: TopicId,
        index: i32,
        replicas: Vec<NodeId>,
    ) -> Result<PartitionRecord, ApiError> {
        let isr: Vec<NodeId> = replicas.iter().filter(|node| self.state.is_active(**node)).copied().collect();
        let Some(leader) = isr.first().copied() else {
            let message = format!(
                "All brokers specified in the manual partition assignment for partition {index} are fenced or in \
                 controlled shutdown."
            );
            return Err(ApiError::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
        };
        let directories = if self.state.level() < DIRECTORIES {
            Vec::new()
        } else {
            replicas.iter().map(|node| self.state.new_dir(*node)).collect()
        };
        Ok(PartitionRecord {
            partition_id: index,
            topic_id: topic.0,
            directories,
            leader,
            leader_epoch: 0,
            partition_epoch: 0,
            isr,
            replicas,
            ..Default::default()
        })
    }
}

/// Replicas of a topic's first partition: all have as many.
fn replication_factor(topic: &Topic) -> usize {
    topic.partitions.first().map_or(1, |partition| partition.replicas.len())
}
