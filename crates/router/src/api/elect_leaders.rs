//! ElectLeaders (43), versions 0–2 (KIP-183, KIP-460).
//!
//! Elects the preferred leaders, or any replica at all, of partitions that are named or of all. Versions: 1 says which
//! kind of election, and an error for the whole answer; 0 knows preferred leaders only.
//!
//! Not done: authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_protocol::messages::{
    ElectLeadersRequest, ElectLeadersResponse,
    elect_leaders_response::{PartitionResult, ReplicaElectionResult},
};
use ottla_types::ErrorCode;

use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

pub(crate) struct ElectLeaders {
    controller: Arc<dyn Ask>,
}

impl ElectLeaders {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for ElectLeaders {
    type Request = ElectLeadersRequest;
    type Response = ElectLeadersResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(&self, ctx: &RequestContext, request: ElectLeadersRequest) -> Reply<ElectLeadersResponse> {
        let named = request.topic_partitions.clone().unwrap_or_default();
        let asked = self.controller.ask(ctx, Command::ElectLeaders(request));
        relay(asked, pick!(ElectLeaders), move |code| {
            let topics = named.into_iter().map(|topic| {
                let failed =
                    |index| PartitionResult::default().with_partition_id(index).with_error_code(code.0);
                ReplicaElectionResult::default()
                    .with_topic(topic.topic)
                    .with_partition_result(topic.partitions.into_iter().map(failed).collect())
            });
            ElectLeadersResponse::default()
                .with_error_code(code.0)
                .with_replica_election_results(topics.collect())
        })
    }

    fn says_not_controller(answer: &ElectLeadersResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}
