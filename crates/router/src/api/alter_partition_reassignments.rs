//! AlterPartitionReassignments (45), versions 0–1 (KIP-455, KIP-860).
//!
//! Moves partitions to other brokers, or gives up moving them. Version 1 may forbid that the number of replicas changes.
//!
//! Not done: authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    alter_partition_reassignments_request::ReassignableTopic,
    alter_partition_reassignments_response::{ReassignablePartitionResponse, ReassignableTopicResponse},
};
use ottla_types::ErrorCode;

use super::text::said;
use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

pub(crate) struct AlterPartitionReassignments {
    controller: Arc<dyn Ask>,
}

impl AlterPartitionReassignments {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for AlterPartitionReassignments {
    type Request = AlterPartitionReassignmentsRequest;
    type Response = AlterPartitionReassignmentsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: AlterPartitionReassignmentsRequest,
    ) -> Reply<AlterPartitionReassignmentsResponse> {
        let named: Vec<_> = request.topics.iter().map(|topic| (topic.name.clone(), indexes(topic))).collect();
        let may_grow = request.allow_replication_factor_change;
        let asked = self.controller.ask(ctx, Command::AlterPartitionReassignments(request));
        relay(asked, pick!(AlterPartitionReassignments), move |error| {
            let topics = named.into_iter().map(|(name, indexes)| {
                let failed = |index| {
                    ReassignablePartitionResponse::default()
                        .with_partition_index(index)
                        .with_error_code(error.code.0)
                        .with_error_message(said(&error))
                };
                let partitions = indexes.into_iter().map(failed).collect();
                ReassignableTopicResponse::default().with_name(name).with_partitions(partitions)
            });
            AlterPartitionReassignmentsResponse::default()
                .with_allow_replication_factor_change(may_grow)
                .with_error_code(error.code.0)
                .with_error_message(said(&error))
                .with_responses(topics.collect())
        })
    }

    fn says_not_controller(answer: &AlterPartitionReassignmentsResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}

fn indexes(topic: &ReassignableTopic) -> Vec<i32> {
    topic.partitions.iter().map(|partition| partition.partition_index).collect()
}
