//! Reassignments: replicas added and taken away while the partition is in use (KIP-455, KIP-860).

use std::sync::Arc;

use ottla_metadata::{Image, Partition, Topic};
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, TopicName,
    alter_partition_reassignments_request::ReassignablePartition,
    alter_partition_reassignments_response::{ReassignablePartitionResponse, ReassignableTopicResponse},
    list_partition_reassignments_response::{OngoingPartitionReassignment, OngoingTopicReassignment},
};
use ottla_types::{ApiError, ErrorCode, NodeId};

use crate::{Turn, leadership::Election, partitions::touched, text};

fn is_moving(partition: &Partition) -> bool {
    !partition.adding_replicas.is_empty() || !partition.removing_replicas.is_empty()
}

fn without(from: &[NodeId], what: &[NodeId]) -> Vec<NodeId> {
    from.iter().filter(|node| !what.contains(node)).copied().collect()
}

impl Turn<'_, '_> {
    pub(crate) fn alter_reassignments(
        &mut self,
        request: &AlterPartitionReassignmentsRequest,
    ) -> AlterPartitionReassignmentsResponse {
        let may_grow = request.allow_replication_factor_change;
        let mut response = AlterPartitionReassignmentsResponse::default()
            .with_error_message(None)
            .with_allow_replication_factor_change(may_grow);
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in &topic.partitions {
                let answer = ReassignablePartitionResponse::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_message(None);
                partitions.push(match self.reassign(&topic.name, wanted, may_grow) {
                    Ok(()) => answer,
                    Err(error) => answer
                        .with_error_code(error.code.0)
                        .with_error_message(error.message.as_deref().map(text)),
                });
            }
            response.responses.push(
                ReassignableTopicResponse::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions),
            );
        }
        response
    }

    fn reassign(
        &mut self,
        name: &str,
        wanted: &ReassignablePartition,
        may_grow: bool,
    ) -> Result<(), ApiError> {
        let index = wanted.partition_index;
        let unknown = |why: String| ApiError::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, why);
        let topic = self.image().topic(name).cloned();
        let topic = topic.ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
        let partition = self.partition(&topic, index);
        let partition =
            partition.ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
        match &wanted.replicas {
            None => self.cancel(&topic, index, &partition),
            Some(target) => {
                let target: Vec<NodeId> = target.iter().map(|id| id.0).collect();
                self.retarget(&topic, index, &partition, &target, may_grow)
            }
        }
    }

    /// New replicas come in front, in the order that is wanted; those that go stay behind them until it is done.
    fn retarget(
        &mut self,
        topic: &Arc<Topic>,
        index: i32,
        partition: &Partition,
        target: &[NodeId],
        may_grow: bool,
    ) -> Result<(), ApiError> {
        self.check_manual(target, None)?;
        let mut lasting = partition.replicas.clone();
        lasting.extend(without(&partition.adding_replicas, &partition.replicas));
        let factor = without(&lasting, &partition.removing_replicas).len();
        if !may_grow && target.len() != factor {
            let why = format!("The replication factor is changed from {factor} to {}", target.len());
            return Err(ApiError::new(ErrorCode::INVALID_REPLICATION_FACTOR, why));
        }
        let mut removing = without(&partition.replicas, target);
        let mut adding = without(target, &partition.replicas);
        removing.sort_unstable();
        adding.sort_unstable();
        self.change(topic, index, |change| {
            change.election = Election::Online;
            change.replicas = target.iter().chain(&removing).copied().collect();
            if !removing.is_empty() {
                change.removing = removing;
            }
            if !adding.is_empty() {
                change.adding = adding;
            }
        });
        Ok(())
    }

    /// Back to the replicas that were there before.
    fn cancel(&mut self, topic: &Arc<Topic>, index: i32, partition: &Partition) -> Result<(), ApiError> {
        if !is_moving(partition) {
            return Err(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS.into());
        }
        let refuse = |why: String| Err(ApiError::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
        let replicas = without(&partition.replicas, &partition.adding_replicas);
        let mut isr = without(&partition.isr, &partition.adding_replicas);
        let Some(first) = replicas.first() else {
            return refuse("Invalid replica assignment: addingReplicas contains all replicas.".into());
        };
        if isr.is_empty() {
            // All that is in sync is on its way out: whoever comes back may lack records.
            if !self.rules(topic).unclean_election {
                return refuse(format!(
                    "Unable to revert partition assignment for {}:{index} because it would require an unclean leader \
                     election.",
                    topic.name
                ));
            }
            isr.push(*first);
        }
        self.change(topic, index, |change| {
            change.isr = isr;
            change.replicas = replicas;
            change.removing.clear();
            change.adding.clear();
        });
        Ok(())
    }
}

/// The partitions that are being moved, of those that are asked for.
#[must_use]
pub fn list_reassignments(
    image: &Image,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let mut response = ListPartitionReassignmentsResponse::default().with_error_message(None);
    match &request.topics {
        None => {
            for topic in touched(image, &is_moving) {
                response.topics.extend(ongoing(topic, topic.iter().map(|(index, _)| index)));
            }
        }
        Some(wanted) => {
            for one in wanted {
                if let Some(topic) = image.topic(&one.name) {
                    response.topics.extend(ongoing(topic, one.partition_indexes.iter().copied()));
                }
            }
        }
    }
    response
}

fn ongoing(topic: &Topic, indexes: impl Iterator<Item = i32>) -> Option<OngoingTopicReassignment> {
    let ids = |nodes: &[NodeId]| nodes.iter().copied().map(BrokerId).collect::<Vec<_>>();
    let moving = indexes.filter_map(|index| {
        let partition = topic.partition(index).filter(|partition| is_moving(partition))?;
        Some(
            OngoingPartitionReassignment::default()
                .with_partition_index(index)
                .with_replicas(ids(&partition.replicas))
                .with_adding_replicas(ids(&partition.adding_replicas))
                .with_removing_replicas(ids(&partition.removing_replicas)),
        )
    });
    let moving: Vec<_> = moving.collect();
    let name = TopicName(text(&topic.name));
    (!moving.is_empty()).then(|| OngoingTopicReassignment::default().with_name(name).with_partitions(moving))
}
