//! AlterPartition (KIP-497, KIP-704, KIP-841, KIP-903): leaders report who is in sync.

use std::sync::Arc;

use ottla_metadata::{LeaderRecoveryState, Partition};
use ottla_protocol::messages::{
    AlterPartitionRequest, AlterPartitionResponse, BrokerId, alter_partition_request,
    alter_partition_response,
};
use ottla_types::{ErrorCode, NodeId, TopicId};

use crate::Turn;

impl Turn<'_, '_> {
    pub(crate) fn alter_partition(&mut self, request: &AlterPartitionRequest) -> AlterPartitionResponse {
        let mut response = AlterPartitionResponse::default();
        if let Err(code) = self.check_broker_epoch(request.broker_id.0, request.broker_epoch) {
            response.error_code = code.0;
            return response;
        }
        for topic in &request.topics {
            let partitions = topic
                .partitions
                .iter()
                .map(|wanted| {
                    self.alter_one(request.broker_id.0, TopicId(topic.topic_id), wanted).unwrap_or_else(
                        |code| {
                            alter_partition_response::PartitionData::default()
                                .with_partition_index(wanted.partition_index)
                                .with_error_code(code.0)
                        },
                    )
                })
                .collect();
            response.topics.push(
                alter_partition_response::TopicData::default()
                    .with_topic_id(topic.topic_id)
                    .with_partitions(partitions),
            );
        }
        response
    }

    fn alter_one(
        &mut self,
        from: NodeId,
        id: TopicId,
        wanted: &alter_partition_request::PartitionData,
    ) -> Result<alter_partition_response::PartitionData, ErrorCode> {
        let topic = self.image().topic_by_id(id).cloned().ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
        let index = wanted.partition_index;
        let partition = self.partition(&topic, index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let isr = wanted_isr(wanted);
        self.check_report(from, &partition, wanted, &isr)?;
        let after = self.change(&topic, index, |change| {
            change.isr = isr;
            change.recovery = LeaderRecoveryState::from_value(wanted.leader_recovery_state);
        });
        let after = after.unwrap_or_else(|| Arc::clone(&partition));
        if after.leader_epoch != partition.leader_epoch && after.leader != from {
            // The change completed a reassignment that takes the leadership away from who asked.
            return Err(ErrorCode::NEW_LEADER_ELECTED);
        }
        Ok(alter_partition_response::PartitionData::default()
            .with_partition_index(wanted.partition_index)
            .with_leader_id(BrokerId(after.leader))
            .with_leader_epoch(after.leader_epoch)
            .with_isr(after.isr.iter().copied().map(BrokerId).collect())
            .with_leader_recovery_state(after.leader_recovery_state.value())
            .with_partition_epoch(after.partition_epoch))
    }

    fn check_report(
        &self,
        from: NodeId,
        partition: &Partition,
        wanted: &alter_partition_request::PartitionData,
        isr: &[NodeId],
    ) -> Result<(), ErrorCode> {
        if wanted.leader_epoch > partition.leader_epoch || wanted.partition_epoch > partition.partition_epoch
        {
            // Whoever asked has seen more than we: a newer controller is in office.
            return Err(ErrorCode::NOT_CONTROLLER);
        }
        if wanted.leader_epoch < partition.leader_epoch {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        if partition.leader != from {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        if wanted.partition_epoch < partition.partition_epoch {
            return Err(ErrorCode::INVALID_UPDATE_VERSION);
        }
        let mut sorted = isr.to_vec();
        sorted.sort_unstable();
        let twice = sorted.windows(2).any(|pair| pair[0] == pair[1]);
        if twice || !isr.contains(&from) || isr.iter().any(|node| !partition.replicas.contains(node)) {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let recovery = LeaderRecoveryState::from_value(wanted.leader_recovery_state);
        let back = partition.leader_recovery_state == LeaderRecoveryState::Recovered;
        if recovery == LeaderRecoveryState::Recovering && (isr.len() > 1 || back) {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let epochs = wanted.new_isr_with_epochs.iter();
        let stale = epochs.into_iter().any(|member| {
            let registered = self.image().broker(member.broker_id.0).map(|broker| broker.epoch);
            member.broker_epoch != -1 && registered != Some(member.broker_epoch)
        });
        let absent = |node: &NodeId| !self.image().broker(*node).is_some_and(|broker| broker.is_active());
        if stale || isr.iter().any(absent) {
            return Err(ErrorCode::INELIGIBLE_REPLICA);
        }
        Ok(())
    }
}

/// Version 3 carries epochs beside the ids.
fn wanted_isr(wanted: &alter_partition_request::PartitionData) -> Vec<NodeId> {
    if wanted.new_isr_with_epochs.is_empty() {
        wanted.new_isr.iter().map(|id| id.0).collect()
    } else {
        wanted.new_isr_with_epochs.iter().map(|member| member.broker_id.0).collect()
    }
}
