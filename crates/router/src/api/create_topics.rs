//! CreateTopics (19), versions 2–7 (KIP-4, KIP-464, KIP-516, KIP-525).
//!
//! Versions: 4 takes -1 for the defaults; 5 answers with partitions, replication factor and all effective configurations;
//! 7 with the topic's id. Fields older versions lack are dropped when the answer is encoded.
//!
//! Not done: controller mutation quotas (KIP-599), authorization.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use ottla_controller::Command;
use ottla_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, TopicName, create_topics_response::CreatableTopicResult,
};
use ottla_types::{ApiError, ErrorCode};

use super::text::said;
use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay_within},
};

pub(crate) struct CreateTopics {
    controller: Arc<dyn Ask>,
}

impl CreateTopics {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for CreateTopics {
    type Request = CreateTopicsRequest;
    type Response = CreateTopicsResponse;
    const VERSIONS: RangeInclusive<i16> = 2..=7;

    fn handle(&self, ctx: &RequestContext, request: CreateTopicsRequest) -> Reply<CreateTopicsResponse> {
        let names: Vec<TopicName> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let Some(deadline) = deadline(request.timeout_ms) else {
            // Kafka's controller takes nothing up whose time has passed.
            return Reply::Now(all_failed(names, &ErrorCode::REQUEST_TIMED_OUT.into()));
        };
        let asked = self.controller.ask(ctx, Command::CreateTopics(request));
        // After a timeout the change goes on; the client asks again.
        relay_within(deadline, asked, pick!(CreateTopics), move |error| all_failed(names, &error))
    }

    fn says_not_controller(answer: &CreateTopicsResponse) -> bool {
        answer.topics.iter().any(|result| ErrorCode(result.error_code) == ErrorCode::NOT_CONTROLLER)
    }
}

/// How long a request may wait; `None` when its time is up already.
pub(super) fn deadline(timeout_ms: i32) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
}

fn all_failed(names: Vec<TopicName>, error: &ApiError) -> CreateTopicsResponse {
    let failed = |name| {
        CreatableTopicResult::default()
            .with_name(name)
            .with_error_code(error.code.0)
            .with_error_message(said(error))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_configs(Some(Vec::new()))
    };
    CreateTopicsResponse::default().with_topics(names.into_iter().map(failed).collect())
}

#[cfg(test)]
mod tests {
    use ottla_protocol::{api, encode_response};

    use super::*;

    #[test]
    fn every_version_can_say_every_answer() {
        let topic = CreatableTopicResult::default()
            .with_name(TopicName::default())
            .with_topic_id(ottla_types::TopicId::METADATA.0)
            .with_error_message(None)
            .with_num_partitions(3)
            .with_replication_factor(1)
            .with_configs(Some(vec![Default::default()]));
        let response = CreateTopicsResponse::default().with_topics(vec![topic]);
        for version in CreateTopics::VERSIONS {
            encode_response(api::CREATE_TOPICS, version, 1, &response).expect("encodes");
            let failed = all_failed(vec![TopicName::default()], &ErrorCode::NOT_CONTROLLER.into());
            encode_response(api::CREATE_TOPICS, version, 1, &failed).expect("encodes");
        }
    }
}
