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

use super::text::said;
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
        let version = ctx.api_version;
        let named = request.topic_partitions.clone().unwrap_or_default();
        let asked = self.controller.ask(ctx, Command::ElectLeaders(request));
        relay(asked, pick!(ElectLeaders), move |error| {
            let topics = named.into_iter().map(|topic| {
                let failed = |index| {
                    PartitionResult::default()
                        .with_partition_id(index)
                        .with_error_code(error.code.0)
                        .with_error_message(said(&error))
                };
                ReplicaElectionResult::default()
                    .with_topic(topic.topic)
                    .with_partition_result(topic.partitions.into_iter().map(failed).collect())
            });
            ElectLeadersResponse::default()
                .with_error_code(if may_fail_whole(version) { error.code.0 } else { ErrorCode::NONE.0 })
                .with_replica_election_results(topics.collect())
        })
    }

    fn says_not_controller(answer: &ElectLeadersResponse) -> bool {
        let partitions = answer.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
        let mut codes = partitions.map(|partition| partition.error_code).chain([answer.error_code]);
        codes.any(|code| ErrorCode(code) == ErrorCode::NOT_CONTROLLER)
    }
}

/// From version 1 on there is an error for the whole answer.
fn may_fail_whole(version: i16) -> bool {
    version >= 1
}

#[cfg(test)]
mod tests {
    use ottla_protocol::{
        api,
        messages::{TopicName, elect_leaders_request::TopicPartitions},
    };

    use super::*;
    use crate::{
        api::testing::{FakeQuorum, ask, body},
        ask::Here,
    };

    #[tokio::test]
    async fn who_is_not_the_active_controller_says_who_is() {
        let handler = ElectLeaders::new(Arc::new(Here(FakeQuorum::new(false))));
        let topic = TopicPartitions::default().with_topic(TopicName("foo".into())).with_partitions(vec![0]);
        let request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic]));
        let said = "5468652061637469766520636f6e74726f6c6c6572206170706561727320746f206265206e6f646520312e";
        let answer = ask(&handler, 0, request.clone()).await;
        assert!(ElectLeaders::says_not_controller(&answer));
        assert_eq!(
            body(api::ELECT_LEADERS, 0, answer),
            format!("00000000000000010003666f6f00000001000000000029002b{said}")
        );
        assert_eq!(
            body(api::ELECT_LEADERS, 2, ask(&handler, 2, request).await),
            format!("0000000000290204666f6f020000000000292c{said}000000")
        );
    }
}
