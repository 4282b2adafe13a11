//! CreatePartitions (37), versions 0–3 (KIP-195).
//!
//! Versions: 2 is flexible, 3 may answer THROTTLING_QUOTA_EXCEEDED; nothing else differs.
//!
//! Not done: controller mutation quotas (KIP-599), authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, TopicName,
    create_partitions_response::CreatePartitionsTopicResult,
};
use ottla_types::{ApiError, ErrorCode};

use super::create_topics::deadline;
use super::text::said;
use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay_within},
};

pub(crate) struct CreatePartitions {
    controller: Arc<dyn Ask>,
}

impl CreatePartitions {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for CreatePartitions {
    type Request = CreatePartitionsRequest;
    type Response = CreatePartitionsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=3;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: CreatePartitionsRequest,
    ) -> Reply<CreatePartitionsResponse> {
        let names: Vec<TopicName> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let Some(deadline) = deadline(request.timeout_ms) else {
            return Reply::Now(all_failed(names, &ErrorCode::REQUEST_TIMED_OUT.into()));
        };
        let asked = self.controller.ask(ctx, Command::CreatePartitions(request));
        // After a timeout the change goes on; the client asks again.
        relay_within(deadline, asked, pick!(CreatePartitions), move |error| all_failed(names, &error))
    }

    fn says_not_controller(answer: &CreatePartitionsResponse) -> bool {
        answer.results.iter().any(|result| ErrorCode(result.error_code) == ErrorCode::NOT_CONTROLLER)
    }
}

fn all_failed(names: Vec<TopicName>, error: &ApiError) -> CreatePartitionsResponse {
    let failed = |name| {
        CreatePartitionsTopicResult::default()
            .with_name(name)
            .with_error_code(error.code.0)
            .with_error_message(said(error))
    };
    CreatePartitionsResponse::default().with_results(names.into_iter().map(failed).collect())
}
