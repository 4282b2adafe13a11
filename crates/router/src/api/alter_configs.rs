//! AlterConfigs (33), versions 0–2 (KIP-133). IncrementalAlterConfigs has taken its place.
//!
//! Sets all that a resource says of itself: what the request does not name falls back to its default. Versions: 2 is
//! flexible; nothing else differs. What a broker resource is to have is checked here first, as Kafka's brokers do.
//!
//! Not done: authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::{Answer, Command};
use ottla_protocol::{
    StrBytes,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, alter_configs_response::AlterConfigsResourceResponse,
    },
};
use ottla_types::{ApiError, ErrorCode};

use super::{broker_changes::OwnConfig, text::said};
use crate::{Handler, Reply, RequestContext, ask::Ask};

pub(crate) struct AlterConfigs {
    controller: Arc<dyn Ask>,
    /// A broker changes its own settings only; a controller, which has `None`, those of any.
    own: Option<OwnConfig>,
}

impl AlterConfigs {
    pub(crate) fn on_broker(controller: Arc<dyn Ask>, own: OwnConfig) -> Self {
        Self { controller, own: Some(own) }
    }

    pub(crate) fn on_controller(controller: Arc<dyn Ask>) -> Self {
        Self { controller, own: None }
    }
}

impl Handler for AlterConfigs {
    type Request = AlterConfigsRequest;
    type Response = AlterConfigsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(&self, ctx: &RequestContext, request: AlterConfigsRequest) -> Reply<AlterConfigsResponse> {
        let AlterConfigsRequest { resources, validate_only, .. } = request;
        let (mut asked, mut refused) = (Vec::new(), Vec::new());
        for resource in resources {
            match self.own.as_ref().map_or(Ok(()), |own| own.check_replacement(&resource)) {
                Ok(()) => asked.push(resource),
                Err(e) => refused.push(answer(resource.resource_type, &resource.resource_name, &e)),
            }
        }
        if asked.is_empty() {
            return Reply::Now(AlterConfigsResponse::default().with_responses(refused));
        }
        let named = asked.iter().map(|r| (r.resource_type, r.resource_name.clone()));
        let named: Vec<_> = named.collect();
        let request = AlterConfigsRequest::default().with_resources(asked).with_validate_only(validate_only);
        let answered = self.controller.ask(ctx, Command::AlterConfigs(request));
        Reply::later(async move {
            let mut response = match answered.await {
                Ok(Answer::AlterConfigs(response)) => response,
                Ok(_) => unreachable!("an answer is of its command's kind"),
                Err(error) => {
                    let failed = named.iter().map(|(kind, name)| answer(*kind, name, &error));
                    AlterConfigsResponse::default().with_responses(failed.collect())
                }
            };
            response.responses.splice(0..0, refused);
            response
        })
    }

    fn says_not_controller(answer: &AlterConfigsResponse) -> bool {
        answer.responses.iter().any(|r| ErrorCode(r.error_code) == ErrorCode::NOT_CONTROLLER)
    }
}

fn answer(kind: i8, name: &StrBytes, error: &ApiError) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_resource_type(kind)
        .with_resource_name(name.clone())
        .with_error_code(error.code.0)
        .with_error_message(said(error))
}
