//! CreatePartitions (37), versions 0–3 (KIP-195).
//!
//! Versions: 2 is flexible, 3 may answer THROTTLING_QUOTA_EXCEEDED; nothing else differs.
//!
//! Not done: controller mutation quotas (KIP-599), authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::{Answer, Command};
use ottla_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, TopicName,
    create_partitions_response::CreatePartitionsTopicResult,
};
use ottla_types::ErrorCode;

use super::create_topics::deadline;
use crate::{Controllers, Handler, Reply, RequestContext};

pub(crate) struct CreatePartitions {
    controllers: Arc<Controllers>,
}

impl CreatePartitions {
    pub(crate) fn new(controllers: Arc<Controllers>) -> Self {
        Self { controllers }
    }
}

impl Handler for CreatePartitions {
    type Request = CreatePartitionsRequest;
    type Response = CreatePartitionsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=3;

    fn handle(
        &self,
        _: &RequestContext,
        request: CreatePartitionsRequest,
    ) -> Reply<CreatePartitionsResponse> {
        let names: Vec<TopicName> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let Some(deadline) = deadline(request.timeout_ms) else {
            return Reply::Now(all_failed(names, ErrorCode::REQUEST_TIMED_OUT));
        };
        let asked = self.controllers.ask(Command::CreatePartitions(request));
        Reply::later(async move {
            match tokio::time::timeout(deadline, asked).await {
                Ok(Ok(Answer::CreatePartitions(response))) => response,
                Ok(Ok(_)) => unreachable!("an answer is of its command's kind"),
                Ok(Err(code)) => all_failed(names, code),
                Err(_) => all_failed(names, ErrorCode::REQUEST_TIMED_OUT),
            }
        })
    }
}

fn all_failed(names: Vec<TopicName>, code: ErrorCode) -> CreatePartitionsResponse {
    let failed = |name| {
        CreatePartitionsTopicResult::default()
            .with_name(name)
            .with_error_code(code.0)
            .with_error_message(None)
    };
    CreatePartitionsResponse::default().with_results(names.into_iter().map(failed).collect())
}
