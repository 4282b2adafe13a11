//! DeleteTopics (20), versions 1–6 (KIP-4, KIP-516).
//!
//! Versions: 3 answers TOPIC_DELETION_DISABLED where deletion is off, older ones INVALID_REQUEST; 6 names topics by name
//! or id.
//!
//! Not done: controller mutation quotas (KIP-599), authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_protocol::messages::{
    DeleteTopicsRequest, DeleteTopicsResponse, delete_topics_request::DeleteTopicState,
    delete_topics_response::DeletableTopicResult,
};
use ottla_types::{ApiError, ErrorCode};

use super::create_topics::deadline;
use super::text::said;
use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay_within},
};

pub(crate) struct DeleteTopics {
    controller: Arc<dyn Ask>,
    enabled: bool,
}

impl DeleteTopics {
    /// `enabled` is `delete.topic.enable`.
    pub(crate) fn new(controller: Arc<dyn Ask>, enabled: bool) -> Self {
        Self { controller, enabled }
    }
}

fn knows_that_deletion_can_be_off(version: i16) -> bool {
    version >= 3
}

impl Handler for DeleteTopics {
    type Request = DeleteTopicsRequest;
    type Response = DeleteTopicsResponse;
    const VERSIONS: RangeInclusive<i16> = 1..=6;

    fn handle(&self, ctx: &RequestContext, request: DeleteTopicsRequest) -> Reply<DeleteTopicsResponse> {
        let by_name = request.topic_names.iter();
        let by_name = by_name.map(|name| DeleteTopicState::default().with_name(Some(name.clone())));
        let topics: Vec<DeleteTopicState> = request.topics.iter().cloned().chain(by_name).collect();
        if !self.enabled {
            let code = if knows_that_deletion_can_be_off(ctx.api_version) {
                ErrorCode::TOPIC_DELETION_DISABLED
            } else {
                ErrorCode::INVALID_REQUEST
            };
            return Reply::Now(all_failed(topics, &code.into()));
        }
        let Some(deadline) = deadline(request.timeout_ms) else {
            return Reply::Now(all_failed(topics, &ErrorCode::REQUEST_TIMED_OUT.into()));
        };
        let asked = self.controller.ask(ctx, Command::DeleteTopics(request));
        // After a timeout the change goes on; the client asks again.
        relay_within(deadline, asked, pick!(DeleteTopics), move |error| all_failed(topics, &error))
    }

    fn says_not_controller(answer: &DeleteTopicsResponse) -> bool {
        answer.responses.iter().any(|result| ErrorCode(result.error_code) == ErrorCode::NOT_CONTROLLER)
    }
}

fn all_failed(topics: Vec<DeleteTopicState>, error: &ApiError) -> DeleteTopicsResponse {
    let failed = |topic: DeleteTopicState| {
        DeletableTopicResult::default()
            .with_name(topic.name)
            .with_topic_id(topic.topic_id)
            .with_error_code(error.code.0)
            .with_error_message(said(error))
    };
    DeleteTopicsResponse::default().with_responses(topics.into_iter().map(failed).collect())
}

#[cfg(test)]
mod tests {
    use ottla_protocol::{api, encode_response, messages::TopicName};

    use super::*;

    #[test]
    fn every_version_can_say_every_answer() {
        let topic = DeleteTopicState::default()
            .with_name(Some(TopicName::default()))
            .with_topic_id(ottla_types::TopicId::METADATA.0);
        let response = all_failed(vec![topic], &ErrorCode::NONE.into());
        for version in DeleteTopics::VERSIONS {
            encode_response(api::DELETE_TOPICS, version, 1, &response).expect("encodes");
        }
    }
}
